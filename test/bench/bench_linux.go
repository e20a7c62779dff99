package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"crossfade.dev/test/bench/figures"
	"crossfade.dev/test/bench/wire"
)

// A bench runs items on peers.
type bench struct {
	options
	loop *wire.Loop
	pair pair
	port int // the next that is free
}

// A showing is what one peer showed in one item.
type showing struct {
	peer    string
	rounds  []wire.Result // one per round
	shares  []float64     // per round: what a warming endpoint got beside a warm one
	memory  float64       // bytes per idle connection
	resting int           // bytes before there were any
	suite   string        // of TLS, what was agreed on

	instructions float64 // per request, in user space; 0: not counted
	err          error   // why it was not measured to the end
}

// An outcome is one item with all peers. Round r of the floor stands at its rounds r and r+1: before and after the
// round.
type outcome struct {
	item
	floor    showing
	showings []showing
}

// run measures everything that is selected.
func (b *bench) run(ctx context.Context) ([]outcome, error) {
	loop, err := wire.New(scene{members: 100}.endpoints())
	if err != nil {
		return nil, err
	}
	defer func() { _ = loop.Close() }() // the program ends
	b.loop = loop
	if b.pair, err = newPair(b.dir); err != nil {
		return nil, err
	}
	b.port = 18000
	var all []outcome
	for at := 0; at < len(b.items); {
		end := at
		for end < len(b.items) && b.items[end].scene == b.items[at].scene {
			end++
		}
		some, err := b.stage(ctx, b.items[at].scene, b.items[at:end])
		all = append(all, some...)
		if err != nil {
			return all, err
		}
		at = end
	}
	return all, nil
}

// stage starts the peers in one scene and measures its items.
func (b *bench) stage(ctx context.Context, s scene, list []item) ([]outcome, error) {
	fmt.Fprintf(b.out, "scene %s: starting %d peers\n", s.name, len(b.peers))
	var all []outcome
	var runners []*runner
	defer func() {
		for _, r := range runners {
			r.stop()
		}
	}()
	for _, p := range b.peers {
		at := place{scene: s, dir: filepath.Join(b.dir, s.name, filepath.Base(p.name)), port: b.port, pair: b.pair}
		at.tls = s.tls && p.name != floorName
		b.port++
		r, err := launch(ctx, p, at)
		if err != nil {
			return nil, err
		}
		runners = append(runners, r)
	}
	for _, r := range runners {
		if r.dead = b.ready(ctx, r); r.dead != nil {
			fmt.Fprintf(b.out, "  %s is left out: %v\n%s\n", r.name, r.dead, r.lastWords())
		}
	}
	if s.warming > 0 {
		fmt.Fprintf(b.out, "  waiting %v until the first endpoints are warm\n", window)
		if err := b.loop.Idle(window + time.Second); err != nil {
			return nil, err
		}
	}
	for _, it := range list {
		if ctx.Err() != nil {
			return all, ctx.Err()
		}
		o, err := b.measure(ctx, it, runners)
		if err != nil {
			return all, err
		}
		all = append(all, o)
	}
	return all, nil
}

// startup is how long a peer may take until it answers.
const startup = 20 * time.Second

// ready waits until a peer answers every one of its routes.
func (b *bench) ready(ctx context.Context, r *runner) error {
	probe := item{name: "probe", size: 200}
	for start := time.Now(); ; {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", r.cmds[len(r.cmds)-1].Process.Pid)); err != nil {
			return errors.New("it has ended")
		}
		w := probe.work(r, 0, 20*time.Millisecond)
		w.Conns = 1
		_, err := b.loop.Do(w)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Since(start) > startup {
			return fmt.Errorf("no answer %v after its start: %w", startup, err)
		}
		if err := b.loop.Idle(100 * time.Millisecond); err != nil {
			return err
		}
	}
}

// measure measures one item on all peers.
func (b *bench) measure(ctx context.Context, it item, runners []*runner) (outcome, error) {
	o := outcome{item: it, showings: make([]showing, len(runners))}
	for i, r := range runners {
		o.showings[i] = showing{peer: r.name, err: r.dead}
	}
	fmt.Fprintf(b.out, "%s\n", it.title)
	rounds := b.rounds
	switch it.kind {
	case memory:
		rounds = 1
	case latency:
		rounds = max(1, rounds/2)
	case cost:
	}
	for round := range rounds {
		if err := b.round(ctx, &o, round, runners); err != nil {
			return o, err
		}
	}
	if it.kind == cost {
		b.one(&o.showings[0], it, runners[0]) // the floor, after the last round
		if err := errors.Join(b.instructions(ctx, &o, runners), b.profile(ctx, it, runners)); err != nil {
			return o, err
		}
	}
	o.floor, o.showings = o.showings[0], o.showings[1:]
	b.brief(o)
	return o, nil
}

// round measures every peer once; the floor first, the others each time in another order.
func (b *bench) round(ctx context.Context, o *outcome, round int, runners []*runner) error {
	if o.scene.warming > 0 {
		for i, r := range runners {
			if r.rewarm == nil || o.showings[i].err != nil {
				continue
			}
			if err := r.rewarm(round); err != nil {
				o.showings[i].err = fmt.Errorf("to start a warm-up: %w", err)
			}
		}
		if err := b.loop.Idle(1500 * time.Millisecond); err != nil {
			return err
		}
	}
	b.one(&o.showings[0], o.item, runners[0])
	others := len(runners) - 1
	for i := range others {
		at := 1 + (i+round)%others
		b.one(&o.showings[at], o.item, runners[at])
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// rate is what every peer is given to do when latency is measured.
const rate = 15_000

// one measures one peer once. Whoever errs is not measured again.
func (b *bench) one(s *showing, it item, r *runner) {
	if s.err != nil {
		return
	}
	w := it.work(r, b.warm, b.span)
	switch it.kind {
	case memory:
		s.err = b.idle(s, w, r)
		return
	case latency:
		w.Rate, w.Conns, w.Measure = rate, 256, 3*b.span
	case cost:
	}
	clear(b.loop.Served)
	result, err := b.loop.Do(w)
	if w.TLS != nil && w.TLS.Suite != "" {
		s.suite = w.TLS.Suite
	}
	if err != nil {
		s.err = err
		fmt.Fprintf(b.out, "  %s is left out: %v\n", r.name, err)
		return
	}
	s.rounds = append(s.rounds, result)
	if r.warming > 0 {
		s.shares = append(s.shares, share(b.loop.Served, r.scene.warming))
	}
}

// share returns what one of the last n endpoints got beside what one of the others did.
func share(served []int, n int) float64 {
	var cold, warm float64
	for i, count := range served {
		if i < len(served)-n {
			warm += float64(count)
		} else {
			cold += float64(count)
		}
	}
	if warm == 0 {
		return 0
	}
	return (cold / float64(n)) / (warm / float64(len(served)-n))
}

// idle measures what connections cost that are open and say nothing.
func (b *bench) idle(s *showing, w wire.Work, r *runner) error {
	w.Conns = 16
	if _, err := b.loop.Do(w); err != nil {
		return err
	}
	if err := b.loop.Idle(2 * time.Second); err != nil {
		return err
	}
	before, err := r.memory()
	if err != nil {
		return err
	}
	s.resting = before
	return b.loop.Hold(w, b.idlers, 2*time.Second, func() error {
		after, err := r.memory()
		s.memory = float64(after-before) / float64(b.idlers)
		return err
	})
}

// brief tells who watches what came out of an item.
func (b *bench) brief(o outcome) {
	all, _ := o.regimes()
	for _, s := range append([]showing{o.floor}, o.showings...) {
		switch {
		case s.err != nil:
			fmt.Fprintf(b.out, "  %-10s %v\n", s.peer, s.err)
		case o.kind == memory:
			fmt.Fprintf(b.out, "  %-10s %6.2f KB per connection\n", s.peer, s.memory/1024)
		case o.kind == latency:
			fmt.Fprintf(b.out, "  %-10s p50 %.0f µs, p99 %.0f µs\n", s.peer, latencyAt(0.5)(s.rounds[0]), latencyAt(0.99)(s.rounds[0]))
		default:
			for _, g := range all {
				costs := g.of(s, perRequest)
				fmt.Fprintf(b.out, "  %-10s %6.2f µs ± %2.0f %%  %6.0f/s  load's core %3.0f %%%s  %s\n", s.peer,
					figures.Median(costs), 100*figures.Spread(costs), figures.Median(g.of(s, perSecond)),
					100*figures.Median(g.of(s, loadBusy)), beside(o, g, s), g.title)
			}
		}
	}
}

// beside is crossfade's cost beside somebody's, for who watches.
func beside(o outcome, g regime, s showing) string {
	us, measured := o.find(ours)
	if !measured || s.peer == ours {
		return ""
	}
	ratio, low, high, _ := g.ratio(us, s)
	return fmt.Sprintf("  crossfade ÷ it %.2f (%.2f to %.2f)", ratio, low, high)
}
