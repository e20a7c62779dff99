package warmer

import (
	"cmp"
	"slices"

	"crossfade.dev/internal/fleet"
)

// A deck deals the kinds of a plan by their weights: each once at first, so that all have come up soon, and from then on
// by stride scheduling (C. Waldspurger, W. Weihl, 1995), so that at any time two kinds are no further apart, by their
// weights, than one request of each.
type deck struct {
	fresh   int // of the kinds, those that have not come up yet, from the end
	weights []float64
	passes  []float64 // how far each kind is on: how often it was dealt, by its weight
}

func newDeck(requests []fleet.WarmupRequest) *deck {
	d := &deck{fresh: len(requests)}
	for i := range requests {
		d.weights = append(d.weights, float64(weight(&requests[i])))
		d.passes = append(d.passes, 0.5/d.weights[i])
	}
	return d
}

// weight is that of a kind; no weight is one.
func weight(r *fleet.WarmupRequest) uint32 { return max(1, r.Weight) }

func (d *deck) next() int {
	if d.fresh > 0 {
		d.fresh--
		return len(d.weights) - 1 - d.fresh
	}
	least := slices.Min(d.passes)
	i := slices.IndexFunc(d.passes, func(p float64) bool { return cmp.Compare(p, least) == 0 })
	d.passes[i] += 1 / d.weights[i]
	return i
}
