package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// A calledFront has been called past the gateways.
type calledFront struct {
	proxy.Front

	mu     sync.Mutex
	counts evidence.Counts
	last   time.Time
}

func (f *calledFront) call(kind ending.Kind, n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts.Total += n
	f.counts.Ends[kind] += n
	f.last = time.Now()
}

func (f *calledFront) Seen() proxy.Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proxy.Seen{Total: f.counts.Total, Foreign: f.counts.Total, Last: f.last, LastForeign: f.last}
}

func (f *calledFront) Direct(yield func(port uint32, c *evidence.Counts)) {
	f.mu.Lock()
	c := f.counts
	f.mu.Unlock()
	if c.Total > 0 {
		yield(9080, &c)
	}
}

// A listener hears what control is told, and takes every other report only.
type listener struct {
	feed.Control

	mu    sync.Mutex
	heard []fleet.Report
	bell  chan struct{} // rung after every report; size one
}

var errNotTaken = errors.New("not taken")

func (l *listener) Report(ctx context.Context, r fleet.Report) error {
	l.mu.Lock()
	l.heard = append(l.heard, r)
	n := len(l.heard)
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
	if n%2 == 0 && !r.Leaving {
		return errNotTaken
	}
	return l.Control.Report(ctx, r)
}

// await waits for a report that is as it is wanted.
func (l *listener) await(t *testing.T, what string, ok func(fleet.Report) bool) fleet.Report {
	t.Helper()
	after := time.After(patient)
	for i := 0; ; {
		l.mu.Lock()
		heard := l.heard[i:]
		l.mu.Unlock()
		for _, r := range heard {
			if ok(r) {
				return r
			}
		}
		i += len(heard)
		select {
		case <-after:
			t.Fatalf("control was never told %s", what)
		case <-l.bell:
		}
	}
}

// Control is told what came past the gateways, whole each time, under the name of one run: also with the last report, which
// has what came until nobody listened any more.
func TestControlHearsWhatCamePastTheGateways(t *testing.T) {
	cycle := fleet.PlainLifecycle()
	cycle.Name, cycle.Namespace, cycle.Service = "web", "default", "web"
	heard := &listener{Control: ruled(t, cycle), bell: make(chan struct{}, 1)}
	front := &calledFront{}
	r := beside(t, "server", func(r *run) {
		r.Registrar, r.Control, r.Front = nil, heard, front
		r.Adjust = func(l *fleet.Lifecycle) {
			l.Leave = fleet.Leave{Quiet: time.Hour, Callers: time.Millisecond, Timeout: patient}
		}
		r.DataPlane = func(ctx context.Context) error {
			<-ctx.Done()
			front.call(ending.Refused, 2)
			return nil
		}
		opened := make(chan struct{})
		close(opened)
		r.Opened = opened
	})
	first := heard.await(t, "of nobody", func(r fleet.Report) bool { return r.Traffic != nil })
	if first.Traffic.Run == "" || len(first.Traffic.Listeners) > 0 {
		t.Errorf("got %+v, want a run, and nothing that came", first.Traffic)
	}
	front.call(ending.Served, 3)
	next := heard.await(t, "what came", func(r fleet.Report) bool { return r.Traffic != nil && len(r.Traffic.Listeners) > 0 })
	want := []fleet.ListenerTraffic{{Name: "9080", Requests: 3, Ended: ending.Sums{ending.Served: 3}}}
	if diff := cmp.Diff(want, next.Traffic.Listeners); diff != "" || next.Traffic.Run != first.Traffic.Run || next.Traffic.StillCalled {
		t.Errorf("got %+v (-want +got):\n%s", next.Traffic, diff)
	}
	r.stop(errTold)
	r.wait(t)
	last := heard.await(t, "the last", func(r fleet.Report) bool { return r.Leaving })
	want[0].Requests, want[0].Ended[ending.Refused] = 5, 2
	if diff := cmp.Diff(want, last.Traffic.Listeners); diff != "" || !last.Traffic.StillCalled {
		t.Errorf("it was called until it ended; got still called: %v (-want +got):\n%s", last.Traffic.StillCalled, diff)
	}
	if err := last.Traffic.CheckDirect(); err != nil {
		t.Error(err)
	}
}
