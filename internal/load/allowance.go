package load

import (
	"fmt"
	"strconv"
	"strings"
)

// An Allowance is how many requests may be lost: a number, or a part of those sent. The zero value allows none.
type Allowance struct {
	Count    uint64
	Fraction float64 // 0..1, in addition to Count
}

// ParseAllowance reads "0", "25" or "0.1%".
func ParseAllowance(text string) (Allowance, error) {
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		value, err := strconv.ParseFloat(strings.TrimSpace(percent), 64)
		if err != nil || !(value >= 0 && value <= 100) {
			return Allowance{}, fmt.Errorf("read allowed loss %q: not a percentage from 0%% to 100%%", text)
		}
		return Allowance{Fraction: value / 100}, nil
	}
	count, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return Allowance{}, fmt.Errorf("read allowed loss %q: want a number or a percentage", text)
	}
	return Allowance{Count: count}, nil
}

// Allows says whether a run's losses are within the allowance. Requests that were due and never sent count as
// lost here: a run that could not do what was asked proves nothing.
func (a Allowance) Allows(r *Report) bool {
	failed := r.LostTotal + r.Unsent
	return failed <= a.Count || float64(failed) <= a.Fraction*float64(r.Sent+r.Unsent)
}

// MaxBody bounds the body of a request, in bytes.
const MaxBody = 256 << 20

// ParseSize reads a number of bytes: "512", "10KB" (1000 each), "4KiB" (1024 each), up to [MaxBody].
func ParseSize(text string) (int, error) {
	for _, unit := range []struct {
		suffix string
		bytes  uint64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"KB", 1e3}, {"MB", 1e6}, {"B", 1}, {"", 1}} { // no suffix before one that ends in it
		number, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n*unit.bytes > MaxBody {
			break
		}
		return int(n * unit.bytes), nil
	}
	return 0, fmt.Errorf("read size %q: want bytes as in 512, 10KB or 4MiB, at most 256MiB", text)
}
