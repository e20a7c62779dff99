package main

import (
	"time"

	"crossfade.dev/test/bench/figures"
	"crossfade.dev/test/bench/wire"
)

// perRequest is the processor time that the proxy used for a request, in microseconds.
func perRequest(r wire.Result) float64 {
	return micro(r.Proxy.Total) / float64(max(1, r.Requests))
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// A regime is the rounds of an item in which the kernel cost about the same.
type regime struct {
	title  string
	rounds []int
}

// regimes sorts the rounds by what the kernel cost in them, which the floor shows: it does nothing else. A round
// counts when the floor was in the same regime before and after it.
func (o outcome) regimes() (all []regime, mixed int) {
	costs := make([]float64, len(o.floor.rounds))
	for i, r := range o.floor.rounds {
		costs[i] = perRequest(r)
	}
	upper, two := figures.Split(costs)
	if !two {
		return []regime{everything(max(1, len(costs)-1))}, 0
	}
	cheap, dear := regime{title: "kernel cheap"}, regime{title: "kernel dear"}
	for i := range len(costs) - 1 {
		switch {
		case upper[i] != upper[i+1]:
			mixed++
		case upper[i]:
			dear.rounds = append(dear.rounds, i)
		default:
			cheap.rounds = append(cheap.rounds, i)
		}
	}
	const fewest = 2
	for _, r := range []regime{cheap, dear} {
		if len(r.rounds) < fewest {
			mixed += len(r.rounds)
			continue
		}
		all = append(all, r)
	}
	if len(all) == 0 { // it changed all the time: there is nothing to tell apart
		return []regime{everything(len(costs) - 1)}, 0
	}
	return all, mixed
}

// everything is a regime of this many rounds.
func everything(rounds int) regime {
	g := regime{title: "all rounds"}
	for i := range rounds {
		g.rounds = append(g.rounds, i)
	}
	return g
}

// of picks one figure of each of a regime's rounds.
func (g regime) of(s showing, figure func(wire.Result) float64) []float64 {
	var all []float64
	for _, i := range g.rounds {
		if i < len(s.rounds) {
			all = append(all, figure(s.rounds[i]))
		}
	}
	return all
}

// ratio is one's cost beside another's: the median over the rounds of the ratio within a round. The second result
// is how far apart the middle half of them lies; ok is false when there are none.
func (g regime) ratio(of, to showing) (median, low, high float64, ok bool) {
	var all []float64
	for _, i := range g.rounds {
		if i < len(of.rounds) && i < len(to.rounds) {
			all = append(all, perRequest(of.rounds[i])/perRequest(to.rounds[i]))
		}
	}
	return figures.Median(all), figures.Quantile(all, 0.25), figures.Quantile(all, 0.75), len(all) > 0
}

// find returns what a peer showed.
func (o outcome) find(peer string) (showing, bool) {
	if peer == floorName {
		return o.floor, len(o.floor.rounds) > 0
	}
	for _, s := range o.showings {
		if s.peer == peer {
			return s, len(s.rounds) > 0 || s.memory > 0
		}
	}
	return showing{}, false
}
