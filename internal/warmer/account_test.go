package warmer

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// The cost of a window is the medians' mean by weight: it does not move when other kinds come up, and one slow answer
// among many does not show.
func TestCostOfAWindow(t *testing.T) {
	a := newAccount([]fleet.WarmupRequest{{Weight: 3}, {}})
	for _, step := range []struct {
		took [2][]float64 // ms, by kind
		want float64
	}{
		{[2][]float64{{10, 30, 20}, {100}}, (3*20 + 100) / 4.},
		{[2][]float64{{20, 20, 5000}, {}}, (3*20 + 100) / 4.}, // the second kind costs what it last did
		{[2][]float64{{10, 20}, {50, 70, 60}}, (3*15 + 60) / 4.},
	} {
		for kind, times := range step.took {
			for _, took := range times {
				a.add(outcome{kind: kind, took: ms(took)})
			}
		}
		if w, ok := a.close(1); !ok || w.cost != ms(step.want) {
			t.Errorf("cost %v, want %v", w.cost, ms(step.want))
		}
	}
	if a.first != ms(40) || a.last != ms((45+60)/4.) {
		t.Errorf("first %v, last %v", a.first, a.last)
	}
	if _, ok := a.close(1); ok {
		t.Error("a window of nothing ended")
	}
}

// Every outcome is counted once, whatever comes.
func TestAccountConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.IntRange(1, 5).Draw(t, "kinds")
		a := newAccount(make([]fleet.WarmupRequest, kinds))
		sent, failed := 0, 0
		for range rapid.IntRange(0, 200).Draw(t, "outcomes") {
			o := outcome{kind: rapid.IntRange(0, kinds-1).Draw(t, "kind"), took: time.Duration(rapid.IntRange(0, 100).Draw(t, "took"))}
			if rapid.Bool().Draw(t, "fails") {
				o.cause = fmt.Sprint("cause ", rapid.IntRange(0, 60).Draw(t, "cause"))
			}
			o.cut = rapid.Bool().Draw(t, "cut")
			a.add(o)
			if !o.cut {
				sent++
				if o.cause != "" {
					failed++
				}
			}
			if w, ok := a.close(windowRequests); ok && (w.failed < 0 || w.failed > 1 || (w.cost == 0) != (w.failed == 1)) {
				t.Fatalf("window %+v", w)
			}
		}
		causes := 0
		for _, n := range a.why {
			causes += n
		}
		if a.sent != sent || a.failed != failed || causes != failed || len(a.why) > 33 {
			t.Fatalf("sent %d of %d, failed %d of %d, %d for %d causes", a.sent, sent, a.failed, failed, causes, len(a.why))
		}
	})
}

func TestDeckLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint32Range(0, 20), 1, 12).Draw(t, "weights")
		var requests []fleet.WarmupRequest
		for _, w := range weights {
			requests = append(requests, fleet.WarmupRequest{Weight: w})
		}
		d := newDeck(requests)
		for i := range requests {
			if got := d.next(); got != i {
				t.Fatalf("kind %d came up first, want %d: all of them once", got, i)
			}
		}
		dealt := make([]float64, len(requests))
		n := rapid.IntRange(0, 500).Draw(t, "n")
		for range n {
			dealt[d.next()]++
		}
		for i := range weights {
			for j := range weights {
				one, other := 1/d.weights[i], 1/d.weights[j]
				if ahead := dealt[i]*one - dealt[j]*other; ahead > one+other+1e-9 {
					t.Fatalf("after %d of weights %v: %v", n, weights, dealt)
				}
			}
		}
	})
}
