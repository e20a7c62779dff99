package dns

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Addresses go for two reasons only: an answer that has others, or denials for the whole grace. And the wait for
// the next lookup is always within the bounds.
func TestAddressesGoOnlyByAnAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := pace{5 * time.Second, time.Hour, 30 * time.Second, func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "random") }}
		e := entry{query: Query{Name: "a.", First: rapid.Bool().Draw(t, "first")}}
		now := time.Unix(1e9, 0)
		var deniedSince time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := slices.Clone(e.addresses)
			var wait time.Duration
			switch rapid.IntRange(0, 3).Draw(t, "outcome") {
			case 0:
				a := Answer{Addresses: addrs("10.0.0.1"), TTL: p.min}
				if rapid.Bool().Draw(t, "other") {
					a.Addresses = addrs("10.0.0.2", "fd00::2")
				} else if rapid.Bool().Draw(t, "missing") {
					a.Missing = &LookupError{Reason: TimedOut}
				}
				wait = e.learn(a, nil, now, p)
				deniedSince = time.Time{}
				for _, addr := range a.Addresses {
					if !slices.Contains(e.addresses, addr) {
						t.Fatalf("addresses %v, want %v among them", e.addresses, addr)
					}
				}
				if a.Missing != nil && len(e.addresses) < len(before) && len(before) > 1 {
					t.Fatalf("addresses %v after %v, want those of the missing family held", e.addresses, before)
				}
			case 1:
				ttl := p.min + time.Duration(rapid.Int64Range(0, int64(p.max-p.min)).Draw(t, "ttl"))
				wait = e.learn(Answer{}, &LookupError{Reason: NoName, TTL: ttl}, now, p)
				if deniedSince.IsZero() {
					deniedSince = now
				}
				kept, over := slices.Equal(before, e.addresses), now.Sub(deniedSince) >= p.grace
				if !over && !kept || over && len(e.addresses) > 0 {
					t.Fatalf("%v after the first denial: addresses %v, had %v", now.Sub(deniedSince), e.addresses, before)
				}
			case 2:
				wait = e.learn(Answer{}, &LookupError{Reason: TimedOut}, now, p)
				if !slices.Equal(before, e.addresses) {
					t.Fatalf("addresses %v after a failure, want %v", e.addresses, before)
				}
			default:
				wait = e.learn(Answer{}, errors.New("whatever"), now, p)
				if !slices.Equal(before, e.addresses) {
					t.Fatalf("addresses %v after a failure, want %v", e.addresses, before)
				}
			}
			if wait <= 0 || wait > p.max+p.max/10 {
				t.Fatalf("wait %v, want more than 0 and no more than %v", wait, p.max)
			}
			if r, _ := e.news(now); e.query.First && len(r.Addresses) > 1 {
				t.Fatalf("%d addresses, want one at most", len(r.Addresses))
			}
			now = now.Add(wait)
		}
	})
}

func TestSpread(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 90 * time.Second, 0.5: 100 * time.Second, 0.75: 105 * time.Second} {
		p := pace{min: time.Second, max: 103 * time.Second, random: func() float64 { return random }}
		if got := p.spread(100 * time.Second); got.Round(time.Millisecond) != want {
			t.Errorf("100 s by chance %v: %v, want %v", random, got, want)
		}
		if got := p.bounded(100 * time.Second); got > p.max {
			t.Errorf("bounded by %v: %v", p.max, got)
		}
	}
}
