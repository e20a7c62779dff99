package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/store/file"
)

// A prompter is a control whose every word a test gives. It knows those who follow and those who only ask apart by their
// order: who follows comes first.
type prompter struct {
	views  chan fleet.View // to who follows
	newest chan fleet.View // to who asks
	asked  chan struct{}   // closed when somebody does

	mu   sync.Mutex // guards the following
	came int
}

func newPrompter() *prompter {
	return &prompter{views: make(chan fleet.View), newest: make(chan fleet.View), asked: make(chan struct{})}
}

func (p *prompter) Follow(ctx context.Context, _ fleet.Hello, apply func(fleet.View)) error {
	p.mu.Lock()
	p.came++
	from := p.views
	if p.came == 2 {
		from = p.newest
		close(p.asked)
	}
	p.mu.Unlock()
	for {
		select {
		case v := <-from:
			apply(v)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *prompter) Report(context.Context, fleet.Report) error { return nil }

// A watched lender has no sockets, and says when somebody wanted one.
type watched struct{ lender }

// errNoSockets is what it answers.
var errNoSockets = errors.New("there are no sockets here")

func (*watched) Listen(context.Context, string) (net.Listener, error) { return nil, errNoSockets }

// accepts says whether it has begun to accept, as far as its lender lets it.
func accepts(l *loop) bool { return l.server.Unserved() != nil }

// numbered is a view of a service with so many endpoints, behind one listener.
func numbered(number uint64, endpoints int) fleet.View {
	s := &fleet.Snapshot{
		Number: number, Config: "one",
		Services:  []fleet.Service{{Name: "web:80", Host: "web", Port: 80, Pools: []fleet.Pool{{}}}},
		Listeners: []fleet.Listener{{Name: "http", Address: "127.0.0.1:8080", Port: 80}},
	}
	for range endpoints {
		s.Services[0].Pools[0].Members = append(s.Services[0].Pools[0].Members, fleet.Member{Endpoint: 0, Base: 1})
		s.Services[0].Endpoints = append(s.Services[0].Endpoints, fleet.Endpoint{Name: "web-1", Incarnation: "web-1#1", Weight: 1, Stage: fleet.Serving})
	}
	return fleet.View{Snapshot: s, Taken: time.Now()}
}

// debuts has a replica begin in a bubble, under a control that a test prompts.
func debuts(t *testing.T, state string, play func(*prompter, *loop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPrompter()
		l := newLoop(&Gateway{
			ID: "ingressgateway-1", Group: "istio-system/ingressgateway", State: state, Control: p, Timers: lingering(),
			Loan: &watched{lender{true, make(chan struct{})}}, Log: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithCancel(t.Context())
		var tasks sync.WaitGroup
		for _, task := range []func(context.Context) error{l.run, l.follow, l.inquire} {
			tasks.Go(func() {
				if err := task(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		play(p, l)
		stop()
		tasks.Wait()
	})
}

// A replica that is a snapshot behind others does not accept what they accept: control may have said something since it
// told the first view. It waits until it goes by that.
func TestAReplicaIsNotBehindOthers(t *testing.T) {
	debuts(t, "", func(p *prompter, l *loop) {
		p.views <- numbered(1, 0)
		<-p.asked
		synctest.Wait()
		if accepts(l) || l.unready() == "" {
			t.Error("it accepts before it knows whether its snapshot is the newest")
		}
		p.newest <- numbered(2, 1) // others go by that one already
		synctest.Wait()
		if accepts(l) || l.unready() == "" {
			t.Error("it accepts by snapshot 1, and 2 has the only endpoint")
		}
		p.views <- numbered(2, 1)
		synctest.Wait()
		if !accepts(l) {
			t.Error("it does not accept by the newest snapshot")
		}
		p.views <- numbered(3, 0)
		synctest.Wait()
		if got := l.proxy.State().View().Number; got != 3 || !accepts(l) {
			t.Errorf("it goes by %d, want 3 as soon as it is told", got)
		}
	})
}

// What control says first is the newest where control says so.
func TestAReplicaAcceptsByTheNewest(t *testing.T) {
	debuts(t, "", func(p *prompter, l *loop) {
		p.views <- numbered(7, 1)
		p.newest <- numbered(7, 1)
		synctest.Wait()
		if !accepts(l) {
			t.Error("it does not accept")
		}
	})
}

// A control that falls silent holds nobody up for ever: after it has told something, or before. Before, what was kept is
// older than what a control that can be reached will say.
func TestAReplicaDoesNotWaitForEver(t *testing.T) {
	for _, tt := range []struct {
		name string
		want time.Duration // after which it accepts
		play func(*prompter)
	}{
		{"nothing is told", askMost, func(*prompter) {}},
		{"it does not say what is newest", askAgain, func(p *prompter) { p.views <- numbered(7, 1) }},
		{"it has more, and does not tell", askMost, func(p *prompter) {
			p.views <- numbered(7, 1)
			p.newest <- numbered(8, 1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := t.TempDir()
			if err := file.Save(state+"/istio-system.ingressgateway.json", numbered(5, 1), time.Now()); err != nil {
				t.Fatal(err)
			}
			debuts(t, state, func(p *prompter, l *loop) {
				tt.play(p)
				time.Sleep(tt.want - time.Millisecond)
				synctest.Wait()
				if accepts(l) {
					t.Errorf("it accepts within %v", tt.want)
				}
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				if !accepts(l) {
					t.Errorf("it does not accept after %v", tt.want)
				}
			})
		})
	}
}
