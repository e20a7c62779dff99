package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"crossfade.dev/test/bench/figures"
	"crossfade.dev/test/bench/wire"
)

// busy is the part of the load's core from which on it is the load that was measured when the rate is.
const busy = 0.97

// A page is the report that is being written.
type page struct {
	strings.Builder
	options
	form
	outcomes []outcome
	versions map[string]string
}

// report writes the pages and their charts: one of which everything was measured to docs/benchmarks, one of a selection
// beside the logs.
func report(ctx context.Context, o options, outcomes []outcome) error {
	known := versions(ctx, o.peers)
	for _, f := range forms() {
		p := page{options: o, form: f, versions: known}
		for _, one := range outcomes {
			if one.page() == f.name {
				p.outcomes = append(p.outcomes, one)
			}
		}
		if len(p.outcomes) == 0 {
			continue
		}
		if err := p.write(); err != nil {
			return err
		}
	}
	return nil
}

func (p *page) write() error {
	dir := filepath.Join(p.root, "docs", "benchmarks")
	if !p.whole() {
		dir = p.dir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p.opening()
	p.summary()
	for _, it := range p.outcomes {
		p.outcome(it)
	}
	p.closing()
	for kind, svg := range charts(p.outcomes) {
		if err := os.WriteFile(filepath.Join(dir, p.name+"-"+kind+".svg"), []byte(svg), 0o644); err != nil { //nolint:gosec // a page
			return err
		}
	}
	path := filepath.Join(dir, p.name+".md")
	fmt.Fprintf(p.out, "written: %s\n", path)
	return os.WriteFile(path, []byte(p.String()), 0o644)
}

// whole says whether everything was measured that belongs on the page.
func (p *page) whole() bool {
	return p.full && len(p.outcomes) == len(p.selection())
}

func (p *page) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

func (p *page) opening() {
	p.printf("# %s: what a request costs\n\nWritten by `make bench` on %s. %s\n\n",
		p.title, time.Now().UTC().Format("2 January 2006"), strings.Join(machine(), "; ")+".")
	p.printf("Each proxy has one core to itself, clients and endpoints share another, in one thread without switches. "+
		"The proxies take turns: %d rounds, in each of them every proxy for %v after %v of warming up, in changing order, "+
		"%s. CPU time is that of the proxy's processes, user and system, by their nanosecond clocks, "+
		"for the requests that were answered; %s of every answer are checked. Figures are medians of rounds; "+
		"± is the middle half of the rounds, beside their median. A ratio is the median of the ratios within rounds.\n\n",
		p.rounds, p.span, p.warm, p.load, p.checked)
	p.printf("| proxy | version | as it was set up |\n|---|---|---|\n")
	for _, peer := range p.peers {
		p.printf("| %s | %s | %s |\n", peer.name, p.versions[peer.name], peer.about)
	}
}

// summary is crossfade beside everybody.
func (p *page) summary() {
	p.printf("\n## crossfade ÷ peer, CPU time per request\n\n| work |")
	for _, peer := range p.peers {
		if peer.name != ours {
			p.printf(" %s |", peer.name)
		}
	}
	p.printf("\n|---|%s\n", strings.Repeat("---|", len(p.peers)-1))
	for _, o := range p.outcomes {
		if o.kind != cost {
			continue
		}
		all, _ := o.regimes()
		for _, g := range all {
			title := o.title
			if len(all) > 1 {
				title += ", " + g.title
			}
			p.printf("| %s |", title)
			for _, peer := range p.peers {
				if peer.name != ours {
					p.printf(" %s |", p.ratioTo(o, g, ours, peer.name))
				}
			}
			p.printf("\n")
		}
	}
	p.printf("\n![CPU time per request](%s-cpu.svg)\n", p.name)
}

const ours = "crossfade"

func (p *page) ratioTo(o outcome, g regime, of, to string) string {
	a, ok := o.find(of)
	b, ok2 := o.find(to)
	median, _, _, some := g.ratio(a, b)
	if !ok || !ok2 || !some {
		return "–"
	}
	return fmt.Sprintf("%.2f", median)
}

func (p *page) outcome(o outcome) {
	p.printf("\n## %s\n\n", o.title)
	switch o.kind {
	case memory:
		p.memory(o)
	case latency:
		p.latency(o)
	case cost:
		p.cost(o)
	}
	for _, s := range o.showings {
		if s.err != nil {
			p.printf("\n%s was left out: %v.\n", s.peer, s.err)
		}
	}
}

func (p *page) cost(o outcome) {
	all, mixed := o.regimes()
	for i, g := range all {
		if i > 0 {
			p.printf("\n")
		}
		if len(all) > 1 {
			p.printf("%s, %d rounds:\n\n", g.title, len(g.rounds))
		}
		p.printf("| proxy | CPU µs | ± | user | system | ÷ HAProxy | ÷ nginx | requests/s | load's core | k instructions |%s\n|---|---|---|---|---|---|---|---|---|---|%s\n",
			extra(o, " a warming endpoint's part |"), extra(o, "---|"))
		for _, s := range append([]showing{o.floor}, o.showings...) {
			if len(s.rounds) > 0 {
				p.costRow(o, g, s)
			}
		}
	}
	if mixed > 0 {
		p.printf("\n%d rounds are left out: the kernel changed its regime in them, or they were alone in theirs.\n", mixed)
	}
	if o.scene.tls {
		p.printf("\nThe relay carries plaintext here; it is the measure of the kernel. Agreed on: %s.\n", o.suites())
	}
	if o.scene.warming > 0 {
		p.printf("\nThe last column is what a warming endpoint got beside a warm one, in the same rounds.\n")
	}
}

func extra(o outcome, text string) string {
	if o.scene.warming == 0 {
		return ""
	}
	return text
}

func (p *page) costRow(o outcome, g regime, s showing) {
	costs := g.of(s, perRequest)
	rates := g.of(s, perSecond)
	load := figures.Median(g.of(s, loadBusy))
	atLeast := ""
	if load >= busy {
		atLeast = "≥ "
	}
	user := figures.Median(g.of(s, func(r wire.Result) float64 {
		if parts := r.Proxy.User + r.Proxy.System; parts > 0 {
			return float64(r.Proxy.User) / float64(parts)
		}
		return 0
	}))
	total := figures.Median(costs)
	retired := "–"
	if s.instructions > 0 {
		retired = fmt.Sprintf("%.1f", s.instructions/1000)
	}
	p.printf("| %s | %.2f | %.0f %% | %.2f | %.2f | %s | %s | %s%.0f | %.0f %% | %s |", s.peer, total, 100*figures.Spread(costs),
		total*user, total*(1-user), p.ratioTo(o, g, s.peer, "haproxy"), p.ratioTo(o, g, s.peer, "nginx"), atLeast, figures.Median(rates), 100*load, retired)
	switch {
	case o.scene.warming == 0:
	case s.peer == floorName: // it knows one endpoint
		p.printf(" – |")
	default:
		p.printf(" %.2f |", figures.Median(s.shares))
	}
	p.printf("\n")
}

func perSecond(r wire.Result) float64 { return float64(r.Requests) / r.Wall.Seconds() }

func loadBusy(r wire.Result) float64 { return r.Load.Seconds() / r.Wall.Seconds() }

func latencyAt(q float64) func(wire.Result) float64 {
	return func(r wire.Result) float64 { return figures.Quantile(r.Latencies, q) / float64(time.Microsecond) }
}

func (p *page) latency(o outcome) {
	p.printf("%d requests a second, each due when it is due, whatever came back of the others; latency counts from there. "+
		"Medians of %d rounds.\n\n"+
		"| proxy | p50 µs | p99 µs | p99.9 µs | CPU µs | answered/s |\n|---|---|---|---|---|---|\n", rate, len(o.floor.rounds))
	for _, s := range append([]showing{o.floor}, o.showings...) {
		if len(s.rounds) == 0 {
			continue
		}
		every := everything(len(s.rounds))
		if !o.holds(s) {
			p.printf("| %s | does not hold it | | | %.2f | %.0f |\n", s.peer,
				figures.Median(every.of(s, perRequest)), figures.Median(every.of(s, perSecond)))
			continue
		}
		p.printf("| %s | %.0f | %.0f | %.0f | %.2f | %.0f |\n", s.peer, figures.Median(every.of(s, latencyAt(0.5))),
			figures.Median(every.of(s, latencyAt(0.99))), figures.Median(every.of(s, latencyAt(0.999))),
			figures.Median(every.of(s, perRequest)), figures.Median(every.of(s, perSecond)))
	}
	p.printf("\n![Latency](%s-latency.svg)\n", p.name)
}

// holds says whether a peer answers what is asked of it at the fixed rate.
func (o outcome) holds(s showing) bool {
	const nearly = 0.98
	return figures.Median(everything(len(s.rounds)).of(s, perSecond)) >= nearly*rate
}

func (p *page) memory(o outcome) {
	p.printf("%d connections, each of which has had one answer and then says nothing: resident memory of the proxy's own, less what it was without them.\n\n"+
		"| proxy | KB per connection | MB without any |\n|---|---|---|\n", p.idlers)
	for _, s := range append([]showing{o.floor}, o.showings...) {
		if s.memory > 0 {
			p.printf("| %s | %.2f | %.0f |\n", s.peer, s.memory/1024, float64(s.resting)/(1<<20))
		}
	}
	p.printf("\n![Memory](%s-memory.svg)\n", p.name)
}

func (p *page) closing() {
	p.printf(`
## Reading these figures

- Most of a lean proxy's time is the kernel's, and what that costs changes with the machine, by the minute on a shared
  one: compare within a table, never between two runs.
- The load's core is as busy as the proxy's when the proxy is lean. Where it was busier than %.0f %%, the rate is what the
  load could do (≥); the CPU time is the proxy's own in any case.
- Instructions are those of the proxy in user space, per request%s.
- The relay understands nothing and checks nothing: it is what the reads and the writes cost here.
%s- To do it again: `+"`make bench`"+`; this page alone: `+"`BENCH=%s make bench`"+`; less of it: `+"`BENCH=%s BENCH_PEERS=crossfade,haproxy BENCH_ROUNDS=5 make bench`"+`.
`, 100*busy, p.uncountedWhy(), p.notes, strings.Join(p.selection(), ","), p.selection()[0])
}

func (p *page) uncountedWhy() string {
	if p.uncounted == nil {
		return ""
	}
	return "; not here: " + p.uncounted.Error()
}

// suites says which cipher suites were agreed on.
func (o outcome) suites() string {
	var all []string
	for _, s := range o.showings {
		if s.suite != "" && !slices.Contains(all, s.suite) {
			all = append(all, s.suite)
		}
	}
	return strings.Join(all, " and ")
}
