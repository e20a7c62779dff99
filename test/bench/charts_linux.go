package main

import (
	"fmt"

	"crossfade.dev/test/bench/chart"
	"crossfade.dev/test/bench/figures"
)

// charts draws what was measured, by kind.
func charts(outcomes []outcome) map[string]string {
	var cpu, waits, held []chart.Group
	for _, o := range outcomes {
		group := chart.Group{Title: o.title}
		for _, s := range append([]showing{o.floor}, o.showings...) {
			if bar, ok := o.bar(s); ok {
				group.Bars = append(group.Bars, bar)
			}
		}
		switch o.kind {
		case cost:
			cpu = append(cpu, group)
		case latency:
			waits = append(waits, group)
		case memory:
			held = append(held, group)
		}
	}
	all := map[string]string{}
	if len(cpu) > 0 {
		all["cpu"] = chart.Bars("CPU time per request, µs (less is better)", cpu)
	}
	if len(waits) > 0 {
		all["latency"] = chart.Bars(fmt.Sprintf("Latency at %d requests/s: p50, and p99 behind it (less is better)", rate), waits)
	}
	if len(held) > 0 {
		all["memory"] = chart.Bars("Memory per idle connection (less is better)", held)
	}
	return all
}

func (o outcome) bar(s showing) (chart.Bar, bool) {
	b := chart.Bar{Label: s.peer, Ours: s.peer == ours}
	every, _ := o.regimes()
	g := every[0] // with two regimes, the cheap one
	switch o.kind {
	case cost:
		b.Value = figures.Median(g.of(s, perRequest))
		b.Text = fmt.Sprintf("%.2f", b.Value)
	case latency:
		if !o.holds(s) {
			return b, false
		}
		g = everything(len(s.rounds))
		b.Value, b.Behind = figures.Median(g.of(s, latencyAt(0.5))), figures.Median(g.of(s, latencyAt(0.99)))
		b.Text = fmt.Sprintf("%.0f µs, p99 %.0f µs", b.Value, b.Behind)
	case memory:
		b.Value = max(0, s.memory/1024)
		b.Text = fmt.Sprintf("%.2f KB", b.Value)
	}
	return b, len(s.rounds) > 0 || s.memory > 0
}
