package admin

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                       "0 µs",
		0:                                  "0 µs",
		350 * time.Microsecond:             "350 µs",
		2100 * time.Microsecond:            "2.1 ms",
		350 * time.Millisecond:             "350 ms",
		12300 * time.Millisecond:           "12.3 s",
		59940 * time.Millisecond:           "59.9 s",
		59960 * time.Millisecond:           "1 m",
		time.Minute:                        "1 m",
		107700 * time.Millisecond:          "1 m 48 s",
		time.Hour - 400*time.Millisecond:   "1 h",
		3*time.Hour + 5*time.Minute:        "3 h 5 m",
		47*time.Hour + 59*time.Minute:      "47 h 59 m",
		52*time.Hour + 20*time.Minute:      "2 d 4 h",
		2*24*time.Hour - 10*time.Second:    "2 d",
		100*24*time.Hour + 30*time.Second:  "100 d",
		time.Duration(1<<63 - 1):           "106751 d 23 h",
		time.Second - time.Nanosecond:      "999 ms",
		time.Second:                        "1 s",
		time.Millisecond - time.Nanosecond: "999 µs",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPercent(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0 %", 1: "100 %", 0.0931: "9.3 %", 0.5: "50 %", 0.0004: "<0.1 %", 0.0006: "0.1 %", 0.99999: "100 %", 1.19: "119 %",
	} {
		if got := Percent(f); got != want {
			t.Errorf("Percent(%v) = %q, want %q", f, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 3260: "3,260", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"reviews", "reviews:9080", "ratings", "details", "productpage", ""}
	for name, want := range map[string][]string{
		"revews":  {"reviews"},
		"Reviews": {"reviews", "reviews:9080"},
		"rating":  {"ratings"},
		"product": {"productpage"},
		"xyz":     nil,
	} {
		if got := Suggest(name, names); !slices.Equal(got, want) {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	word := rapid.StringMatching(`[ab]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		switch {
		case (distance(a, b) == 0) != (a == b):
			t.Errorf("distance(%q, %q) = %d", a, b, distance(a, b))
		case distance(a, b) != distance(b, a):
			t.Errorf("distance of %q and %q depends on their order", a, b)
		case distance(a, c) > distance(a, b)+distance(b, c):
			t.Errorf("from %q to %q is farther than by way of %q", a, c, b)
		}
	})
}
