package gateway

import (
	"context"
	"errors"
	"sync"
	"testing"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

// A bookkeeper hears what is reported to control.
type bookkeeper struct {
	feed.Control

	mu      sync.Mutex
	away    bool // nothing arrives
	traffic []fleet.Traffic
	last    *fleet.Traffic // of the report that is the last
}

var errAway = errors.New("away")

func (b *bookkeeper) Report(ctx context.Context, r fleet.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errAway
	}
	if r.Traffic != nil {
		b.traffic = append(b.traffic, *r.Traffic)
	}
	if r.Leaving {
		b.last = r.Traffic
	}
	return b.Control.Report(ctx, r)
}

func (b *bookkeeper) goAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// heard is the newest row of the only listener that served anybody, and how many reports there were.
func (b *bookkeeper) heard() (row fleet.ListenerTraffic, reports int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.traffic {
		for _, l := range b.traffic[i].Listeners {
			row = l
		}
	}
	return row, len(b.traffic)
}

// What clients asked is reported once a second, and once more when nothing is served any more: also where control was away
// meanwhile. The next gateway of the same name is another run.
func TestWhatWasServedIsReported(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	control := &bookkeeper{Control: w.control}
	g := w.gateway("", true, func(g *Gateway) { g.Control = control })
	g.wait("it serves", func() bool { return g.get() == "one" })
	const each = 20
	asked := 1
	for range each {
		g.get()
		asked++
	}
	served := func(n int) bool {
		row, _ := control.heard()
		return row.Ended == ending.Sums{ending.Served: uint64(n)} && row.Requests == uint64(n) && row.Active == 0
	}
	g.wait("control knows what was served", func() bool { return served(asked) })
	control.goAway(true)
	for range each {
		g.get()
		asked++
	}
	control.goAway(false)
	g.wait("control knows what was served meanwhile", func() bool { return served(asked) })
	_, reports := control.heard()
	g.wait("two reports of nothing new", func() bool { _, n := control.heard(); return n >= reports+2 })
	g.get()
	asked++
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	last := control.last
	if last == nil || len(last.Listeners) != 1 || len(last.Services) != 1 || len(last.Endpoints) != 1 {
		t.Fatalf("the last report has %+v, want all there is", last)
	}
	l, s, e := last.Listeners[0], last.Services[0], last.Endpoints[0]
	want := ending.Sums{ending.Served: uint64(asked)}
	if l.Ended != want || s.Ended != want || s.Callers[""] != uint64(asked) || e.Requests != uint64(asked) || e.Got != uint64(asked) || e.Share != 1 {
		t.Errorf("the last report has %+v, %+v and %+v, want %d requests in each", l, s, e, asked)
	}
	if quiet := control.traffic[reports+1]; len(quiet.Listeners)+len(quiet.Services)+len(quiet.Endpoints) > 0 {
		t.Errorf("got %+v of a second in which nothing happened", quiet)
	}
	next := w.gateway("", true, func(g *Gateway) { g.Control = control })
	next.wait("the next one reports", func() bool {
		row, _ := control.heard()
		return row.Requests == 0
	})
	if first := control.traffic[0].Run; first == "" || first == next.loop.sums.run {
		t.Errorf("got the run %q, and %q after it: want another", first, next.loop.sums.run)
	}
}

// A gateway that nobody hears ends all the same, a little later.
func TestALastReportThatNobodyTakes(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	control := &bookkeeper{Control: w.control}
	g := w.gateway("", true, func(g *Gateway) { g.Control = control })
	g.wait("it serves", func() bool { return g.get() == "one" })
	control.goAway(true)
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if control.last != nil {
		t.Error("a report has come to a control that is away")
	}
}
