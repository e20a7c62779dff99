package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var forms = map[string]LoadForm{"text": LoadText, "JSON": LoadJSON, "binary": LoadBinary}

// What is written is read back the same, in every form.
func TestLoadsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawLoad(t)
		for name, form := range forms {
			text := want.AppendHeader(nil, form)
			got, err := ParseLoadHeader(text)
			if err != nil {
				t.Fatalf("%s: %q: %v", name, text, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s: %q (-want +got):\n%s", name, text, diff)
			}
		}
		text := want.AppendTrailer(nil)
		got, err := ParseLoadTrailer(text)
		if err != nil {
			t.Fatalf("trailer %q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("trailer %q (-want +got):\n%s", text, diff)
		}
	})
}

func drawLoad(t *rapid.T) Load {
	positive, within, whatever := rapid.Float64Range(0, 1e12), rapid.Float64Range(0, 1), rapid.Float64()
	metrics := func(what string, value *rapid.Generator[float64]) []Metric {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9._/-]{1,20}`), 0, 8, rapid.ID[string]).Draw(t, what)
		slices.Sort(names)
		var list []Metric
		for _, name := range names {
			list = append(list, Metric{name, value.Draw(t, name)})
		}
		return list
	}
	return Load{
		CPU: positive.Draw(t, "cpu"), Memory: within.Draw(t, "memory"), Application: positive.Draw(t, "application"),
		Requests: positive.Draw(t, "requests"), Errors: positive.Draw(t, "errors"),
		Utilization: metrics("utilization", within), Cost: metrics("cost", whatever), Named: metrics("named", whatever),
	}
}

// The forms to the byte, as others write them.
func TestLoadForms(t *testing.T) {
	l := Load{CPU: 0.5, Requests: 1000, Cost: []Metric{{"c", -1}}, Named: []Metric{{WarmAge, 12.5}}}
	for form, want := range map[LoadForm]string{
		LoadText: "TEXT cpu_utilization=0.5,rps_fractional=1000,request_cost.c=-1,named_metrics.warm.age_s=12.5",
		LoadJSON: `JSON {"cpu_utilization":0.5,"rps_fractional":1000,"request_cost":{"c":-1},"named_metrics":{"warm.age_s":12.5}}`,
		// Tags: field 1, 64 bits; 4, a map's entry of 12 bytes, "c" and -1; 6; 8, one of 21.
		LoadBinary: "BIN " + base64.StdEncoding.EncodeToString([]byte(""+
			"\x09\x00\x00\x00\x00\x00\x00\xe0\x3f"+
			"\x22\x0c\x0a\x01c\x11\x00\x00\x00\x00\x00\x00\xf0\xbf"+
			"\x31\x00\x00\x00\x00\x00\x40\x8f\x40"+
			"\x42\x15\x0a\x0awarm.age_s\x11\x00\x00\x00\x00\x00\x00\x29\x40")),
	} {
		if got := string(l.AppendHeader(nil, form)); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	if age, ok := l.Metric(WarmAge); !ok || age != 12.5 {
		t.Errorf("the metric is %v, %v", age, ok)
	}
	if _, ok := l.Metric(WarmShare); ok {
		t.Error("there is a metric that was not said")
	}
}

// What others write is read: colons, other spellings of JSON, padding or not, fields of newer versions.
func TestLoadsOfOthersAreRead(t *testing.T) {
	wire := "\x18\x07" + // rps, of older versions: 7
		"\xa2\x06\x02hi\xa9\x06\x01\x02\x03\x04\x05\x06\x07\x08\xb0\x06\x81\x01\xbd\x06\x01\x02\x03\x04" + // 100 and so on, one of each kind
		"\x42\x03\x0a\x01n" // without a value: 0
	padded, bare := base64.StdEncoding.EncodeToString([]byte(wire)), base64.RawStdEncoding.EncodeToString([]byte(wire))
	seven := Load{Requests: 7, Named: []Metric{{"n", 0}}}
	for text, want := range map[string]Load{
		"TEXT": {},
		"TEXT cpu_utilization:0.3, mem_utilization : 0.8 ,eps=1e2":                        {CPU: 0.3, Memory: 0.8, Errors: 100},
		"TEXT named_metrics.a:b=1,named_metrics.z=2,named_metrics.c=3,utilization.disk=1": {Utilization: []Metric{{"disk", 1}}, Named: []Metric{{"a:b", 1}, {"c", 3}, {"z", 2}}},
		`JSON {"cpuUtilization": "0.25", "rpsFractional": 10, "requestCost": {"b": 1, "a": 2}, "rps": "9"}`: {
			CPU: 0.25, Requests: 10, Cost: []Metric{{"a", 2}, {"b", 1}},
		},
		"JSON {}":           {},
		"BIN ":              {},
		"BIN " + padded:     seven,
		"BIN " + bare:       seven,
		"BIN " + bare + "=": seven,
	} {
		got, err := ParseLoadHeader([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// A report that says anything wrong says nothing.
func TestBadLoadsAreRefused(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "named_metrics.m%d=1,", i)
		}
		return b.String()
	}
	bin := func(wire string) string { return "BIN " + base64.StdEncoding.EncodeToString([]byte(wire)) }
	for _, text := range []string{
		"", "cpu_utilization=0.5", "text cpu_utilization=0.5", "XML <a/>",
		"TEXT cpu_utilization", "TEXT cpu_utilization=", "TEXT =1", "TEXT cpu_utilization=x", "TEXT cpu_utilization=0x1p-2", "TEXT eps=1_0",
		"TEXT cpu_utilization=NaN", "TEXT cpu_utilization=inf", "TEXT cpu_utilization=-Inf", "TEXT named_metrics.a=nan", "TEXT eps=1e999",
		"TEXT cpu_utilization=-1", "TEXT mem_utilization=1.1", "TEXT utilization.disk=1.1", "TEXT utilization.disk=-0.1",
		"TEXT eps=1,eps=1", "TEXT named_metrics.a=1,named_metrics.a=2", "TEXT named_metrics.=1", "TEXT named_metrics.a b=1",
		"TEXT rps=1", "TEXT speed=1", "TEXT named_metrics." + strings.Repeat("a", maxName+1) + "=1",
		"TEXT " + many(MaxMetrics+1), "TEXT " + strings.Repeat(" ", MaxLoad),
		"JSON", "JSON []", "JSON {", `JSON {"eps":1} x`, `JSON {"eps":1}{}`, `JSON {"eps":null}`, `JSON {"eps":{}}`, `JSON {"eps":"NaN"}`,
		`JSON {"eps":1,"eps":1}`, `JSON {"cpu_utilization":1,"cpuUtilization":1}`, `JSON {"named_metrics":1}`, `JSON {"named_metrics":{"a":1},"namedMetrics":{"a":1}}`,
		`JSON {"utilization":{"\u001b[2J":1}}`, `JSON {"speed":1}`,
		"BIN !", bin("\x09"), bin("\x09\x00"), bin("\x0b"), bin("\x42\x05\x0a"), bin("\x00"), bin("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		bin("\x09\x00\x00\x00\x00\x00\x00\xf8\x7f"), // NaN
		bin(strings.Repeat("\x09\x00\x00\x00\x00\x00\x00\xe0\x3f", 2)), bin(strings.Repeat("\x42\x03\x0a\x01n", 2)), bin("\x42\x00"),
		bin("\x42\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
	} {
		if l, err := ParseLoadHeader([]byte(text)); !errors.Is(err, ErrLoad) {
			t.Errorf("%.60q was read as %+v, %v", text, l, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("%.60q: the error has %d bytes", text, len(err.Error()))
		}
	}
	if _, err := ParseLoadHeader([]byte("TEXT " + many(MaxMetrics))); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	if _, err := ParseLoadTrailer(make([]byte, MaxLoad+1)); !errors.Is(err, ErrLoad) {
		t.Errorf("a long trailer: %v", err)
	}
}

// What cannot be said is left out, and what can be is there.
func TestOnlyNumbersAreWritten(t *testing.T) {
	l := Load{
		CPU: math.NaN(), Memory: math.Inf(1), Application: -1, Requests: 1,
		Named: []Metric{{"a", math.NaN()}, {"b", -1}, {"c d", 1}, {"", 1}},
	}
	want := Load{Requests: 1, Named: []Metric{{"b", -1}}}
	for name, form := range forms {
		got, err := ParseLoadHeader(l.AppendHeader(nil, form))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestWritingLoadsAllocatesNothing(t *testing.T) {
	l := Load{Application: 0.5, Requests: 120, Named: []Metric{{WarmAge, 12}, {WarmBoot, BootID("a#1")}, {WarmShare, 0.3}}}
	b := make([]byte, 0, 1024)
	for name, write := range map[string]func(){
		"text":    func() { b = l.AppendHeader(b[:0], LoadText) },
		"binary":  func() { b = l.AppendHeader(b[:0], LoadBinary) },
		"trailer": func() { b = l.AppendTrailer(b[:0]) },
	} {
		if n := testing.AllocsPerRun(100, write); n != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, n)
		}
	}
}

// A boot id is whole, small enough for a double, and another for another incarnation.
func TestBootID(t *testing.T) {
	seen := map[float64]bool{}
	for i := range 1000 {
		id := BootID(fmt.Sprintf("reviews-v1-1#%d", i))
		if id < 0 || id >= 1<<53 || id != math.Trunc(id) || seen[id] {
			t.Fatalf("%d: got %v", i, id)
		}
		seen[id] = true
	}
}

// Whatever comes, the reader holds to its bounds, and what it has read is read again from what is written of it.
func FuzzParseLoad(f *testing.F) {
	l := Load{CPU: 0.5, Named: []Metric{{WarmAge, 12.5}}}
	for _, form := range forms {
		f.Add(l.AppendHeader(nil, form))
	}
	f.Add([]byte(`JSON {"namedMetrics":{"a":"1e3"},"rps":1}`))
	f.Add([]byte("TEXT named_metrics.a:b=1,eps:2"))
	f.Add([]byte("BIN GAcKAA=="))
	f.Fuzz(func(t *testing.T, value []byte) {
		trailer, _ := strings.CutPrefix(string(value), "BIN ")
		for _, parse := range []func() (Load, error){
			func() (Load, error) { return ParseLoadHeader(value) },
			func() (Load, error) { return ParseLoadTrailer([]byte(trailer)) },
		} {
			got, err := parse()
			if err != nil {
				if !errors.Is(err, ErrLoad) {
					t.Fatalf("got %v", err)
				}
				continue
			}
			if n := len(got.Utilization) + len(got.Cost) + len(got.Named); n > MaxMetrics || len(value) > MaxLoad+4 {
				t.Fatalf("read %d metrics from %d bytes", n, len(value))
			}
			again, err := ParseLoadTrailer(got.AppendTrailer(nil))
			if len(got.AppendTrailer(nil)) > MaxLoad { // numbers in text may be shorter than eight bytes
				continue
			}
			if diff := cmp.Diff(normal(got), again); diff != "" || err != nil {
				t.Fatalf("%v (-read +again):\n%s", err, diff)
			}
		}
	})
}

// normal is l without the sign of a zero of its own: what is 0 is not written.
func normal(l Load) Load {
	l.numbers(func(_ int, _ string, v *float64) bool { *v += 0; return true })
	return l
}

// A report is worth reading ten times a second, however many come.
func TestReportsAreReadNowAndThen(t *testing.T) {
	var r Reports
	now := time.Unix(1_000_000, 0)
	due := 0
	for range 10_000 { // in one second
		if r.Due(now) {
			due++
		}
		now = now.Add(100 * time.Microsecond)
	}
	if due != 10 {
		t.Errorf("got %d in a second, want 10", due)
	}
	if r.Last() != nil {
		t.Error("there is a report")
	}
	r.Note(&Load{CPU: 1}, now)
	if got := r.Last(); got == nil || got.CPU != 1 || !got.At.Equal(now) {
		t.Errorf("got %+v", got)
	}
	var none *Reports
	if none.Last() != nil {
		t.Error("nobody has said anything, and there is a report")
	}
}

// Every sign is told once a second while it goes on; refusals count in a row.
func TestSignsAreToldNowAndThen(t *testing.T) {
	var s Signs
	now := time.Unix(1_000_000, 0)
	var told [3]int
	for range 2500 { // 2.5 s
		for i, tell := range []func(time.Time) bool{s.Gone, s.Doubt, s.Leaves} {
			if tell(now) {
				told[i]++
			}
		}
		now = now.Add(time.Millisecond)
	}
	if told != [3]int{3, 3, 3} {
		t.Errorf("got %v, want 3 of each", told)
	}
	if a, b := s.Refused(), s.Refused(); a != 1 || b != 2 {
		t.Errorf("got %d and %d refusals, want 1 and 2", a, b)
	}
	if s.Connected(); s.Refused() != 1 {
		t.Error("the row did not begin anew")
	}
}
