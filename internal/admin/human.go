package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Percent writes a fraction as people read it: 0.0931 is "9.3 %", 1 is "100 %". What is there but would read as
// nothing is "<0.1 %".
func Percent(fraction float64) string {
	percent := fraction * 100
	if percent > 0 && percent < 0.05 {
		return "<0.1 %"
	}
	return strings.TrimSuffix(strconv.FormatFloat(percent, 'f', 1, 64), ".0") + " %"
}

// Span writes a duration as people read it, to two units at most: "350 ms", "12.3 s", "1 m 48 s", "3 h 5 m", "2 d 4 h".
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	if d < time.Second {
		return shortSpan(d)
	}
	if tenth := d.Round(100 * time.Millisecond); tenth < time.Minute {
		return trimmed(tenth.Seconds()) + " s"
	}
	if d.Round(time.Second) < time.Hour {
		return twoUnits(d, time.Minute, "m", time.Second, "s")
	}
	if d.Round(time.Minute) < 2*day {
		return twoUnits(d, time.Hour, "h", time.Minute, "m")
	}
	return twoUnits(d, day, "d", time.Hour, "h")
}

// shortSpan writes a duration below a second.
func shortSpan(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < 10*time.Millisecond:
		return trimmed(float64(d)/float64(time.Millisecond)) + " ms"
	default:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
}

// twoUnits writes d in a large and a small unit, the small one only when there is some.
func twoUnits(d, large time.Duration, l string, small time.Duration, s string) string {
	d = d.Round(small)
	if rest := d % large / small; rest > 0 {
		return fmt.Sprintf("%d %s %d %s", d/large, l, rest, s)
	}
	return fmt.Sprintf("%d %s", d/large, l)
}

// Count writes a whole number with a comma between thousands: 3260 is "3,260".
func Count[T ~int | ~int64 | ~uint64](n T) string {
	digits := fmt.Sprint(n)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// amount writes a number of requests that need not be whole: to a tenth while it is small.
func amount(f float64) string {
	if f < 100 {
		return trimmed(f)
	}
	return Count(int64(f + 0.5))
}

// trimmed writes a number to a tenth, and a whole one without.
func trimmed(f float64) string { return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") }

// plural writes a count of things: "1 endpoint", "2 endpoints".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return Count(n) + " " + thing + "s"
}

// statusText writes an HTTP status as a number.

func statusText(status int) string { return strconv.Itoa(status) }
