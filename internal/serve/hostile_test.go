package serve_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/sockets"
)

// However long a bound is that is never reached: every connection has heard before anything ends, in lame duck and where
// there is none.
func TestAllAreToldInTime(t *testing.T) {
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	for name, timers := range map[string]drain.Timers{
		"lame duck": {Min: 400 * time.Millisecond, Notice: never, Quiet: 100 * time.Millisecond, Requests: 5 * time.Second, Long: never},
		"draining":  {Quiet: never, Requests: 5 * time.Second, Long: never},
	} {
		g := start(t, serve.Options{Timers: timers}, view(e, "a", anyPort))
		var h herd
		for range 10 {
			h.clients.Go(func() { h.stay(g.addr("a"), math.MaxInt32) }) // on one connection
		}
		eventually(t, "clients are at it", func() bool { return h.answered.Load() > 400 })
		if err := g.leave(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.clients.Wait()
		r := g.s.Report()
		if lost := h.lost.Load(); lost != 0 || r.Told != 10 || r.Seconds[drain.Forced] != 0 {
			t.Errorf("%s: got %d lost, %d told, %v; want 0 and 10, and nobody forced", name, lost, r.Told, r.Seconds)
		}
	}
}

// A slow is a socket in whose queue somebody is found late.
type slow struct {
	*sockets.Listener
	late chan net.Conn
}

func (l *slow) Leave(admit func(net.Conn), shared bool) error {
	<-time.After(200 * time.Millisecond) // many looks
	admit(<-l.late)
	return l.Listener.Leave(admit, shared)
}

// Where requests have no time at all, who is found in the queue is served all the same, or hears why not; and is counted.
func TestTheQueueIsHeardWithoutTime(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"served": hello,
		"cut": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
	} {
		queue := make(chan net.Conn, 1)
		g := start(t, serve.Options{
			Timers: drain.Timers{Quiet: time.Nanosecond},
			Listen: func(ctx context.Context, address string) (net.Listener, error) {
				l, err := sockets.Open(ctx, address)
				return &slow{l, queue}, err
			},
		}, view(endpoint(t, h), "a", anyPort))
		outside, err := net.Listen("tcp", anyPort)
		if err != nil {
			t.Fatal(err)
		}
		c := mustDial(t, outside.Addr().String())
		accepted, err := outside.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = outside.Close()
		queue <- accepted
		answered := make(chan error, 1)
		go func() {
			_, err := c.post()
			_ = c.Close()
			answered <- err
		}()
		err = g.leave()
		r := g.s.Report()
		n := r.Protocols[drain.HTTP1]
		answer := <-answered
		if name == "served" && (err != nil || answer != nil || n.Leave.Completed != 1) {
			t.Errorf("%s: got %v, %v and %+v, want an answer that is counted", name, err, answer, n)
		}
		if name == "cut" && (err == nil || answer == nil || n.Leave.Cut != 1 || n.Leave.Told != 1) {
			t.Errorf("%s: got %v, %v and %+v, want a 503 that is counted", name, err, answer, n)
		}
	}
}

// What was cut when configuration took a listener away is no matter of a leave that comes later: the exit code says what
// the report says.
func TestTheExitIsOfTheLeave(t *testing.T) {
	arrived := make(chan struct{})
	e := endpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	g := start(t, serve.Options{Timers: drain.Timers{Quiet: time.Second, Requests: time.Millisecond, Long: time.Millisecond}}, view(e, "a", anyPort))
	c := mustDial(t, g.addr("a"))
	ended := make(chan error, 1)
	go func() {
		_, err := c.post()
		_ = c.Close()
		ended <- err
	}()
	<-arrived
	if err := g.apply(view(e, "b", "127.0.0.2:0")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Fatal("the request was answered, want it cut with its listener")
	}
	eventually(t, "it is counted", func() bool { return g.s.Report().Protocols[drain.HTTP1].Ever.Cut == 1 })
	eventually(t, "its connection is gone", func() bool { return g.s.Conns() == 0 })
	err := g.leave()
	if _, cut := errors.AsType[*serve.CutError](err); cut || g.s.Report().Cut != 0 {
		t.Errorf("got %v and %d cut, want nothing: the leave cut nothing", err, g.s.Report().Cut)
	}
}
