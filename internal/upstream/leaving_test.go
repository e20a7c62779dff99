package upstream

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// An endpoint that leaves gets no new stream; those that it has go on, on a connection that ends with them; and there is
// a place for the next connection at once.
func TestTheEndpointLeaves(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxConns: 1}, echo, func(w *world) {
		t := w.t
		old, err := w.Open(t.Context(), time.Now(), time.Time{}, posted, false)
		if err != nil {
			t.Fatal(err)
		}
		old.Stream.Flush()
		synctest.Wait()
		w.each(func(s *http2.Server) { s.LeaveNow() })
		synctest.Wait()
		fresh := w.open()
		if fresh.Reused() {
			t.Error("got the connection that leaves")
		}
		w.wantConns(2)
		if _, err := old.Stream.WriteBody([]byte("bye"), true); err != nil {
			t.Error(err)
		}
		if _, err := old.Buffer.Fill(old, 100); err != nil || string(old.Buffer.Bytes()) != "bye" {
			t.Errorf("got %q, %v, want the answer", old.Buffer.Bytes(), err)
		}
		w.put(old)
		time.Sleep(time.Minute)
		if active := w.traffic.ActiveConnects.Load(); active != 1 {
			t.Errorf("got %d active connections, want the new one", active)
		}
		w.put(fresh)
		w.wantConns(2)
	})
}

// An endpoint leaves again and again, in one step and in two, in the middle of many requests. What it has not looked at
// is sent again; nothing is lost.
func TestLeavingLosesNothing(t *testing.T) {
	for name, leave := range map[string]func(*http2.Server){
		"in one step":  (*http2.Server).LeaveNow,
		"in two steps": (*http2.Server).Leave,
	} {
		t.Run(name, func(t *testing.T) {
			s := listening(t, http2.Options{MaxStreams: 10, LeaveAfter: 5 * time.Millisecond}, echo)
			p := New(s.addr, Options{MaxConns: 5}, new(evidence.Traffic))
			defer p.Close()
			const workers, rounds, between = 40, 50, 30
			var calls atomic.Int64
			var all sync.WaitGroup
			for range workers {
				all.Go(func() {
					for range rounds {
						again, err := true, errors.New("not sent")
						for try := 0; again && err != nil && try < 100; try++ {
							again, err = call(t.Context(), p, []byte("hello"))
						}
						if err != nil {
							t.Errorf("lost: %v", err)
						}
						if calls.Add(1)%between == 0 {
							s.each(leave)
						}
					}
				})
			}
			all.Wait()
			if n := s.conns(); n < 10 {
				t.Errorf("got %d connections, want one after the other", n)
			}
		})
	}
}

func TestStreamsOfAClosedPool(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
		t := w.t
		active := func() int64 {
			time.Sleep(10 * time.Second)
			return w.traffic.ActiveConnects.Load()
		}
		w.put(w.open())
		w.Pool.Close()
		if n := active(); n != 0 {
			t.Errorf("got %d idle connections, want none", n)
		}
		a := w.open() // of a request that was routed before
		b := w.open()
		w.wantConns(2)
		w.put(a)
		if n := active(); n != 1 {
			t.Errorf("got %d connections in use, want 1", n)
		}
		w.put(b)
		if n := active(); n != 0 {
			t.Errorf("got %d connections that nobody needs", n)
		}
	})
}

func TestIdleStreamsExpire(t *testing.T) {
	inWorld(t, http2.Options{}, Options{IdleTimeout: time.Minute, MaxStreams: 1}, forever, func(w *world) {
		t := w.t
		a, b := w.open(), w.open()
		w.put(a)
		time.Sleep(59 * time.Second)
		w.Sweep(time.Now())
		w.wantActive(2)
		time.Sleep(time.Second)
		w.Sweep(time.Now())
		w.wantActive(1) // b is in use
		w.put(b)
		time.Sleep(time.Minute)
		c := w.open() // b's expires on the way
		if c.Reused() {
			t.Error("got an expired connection")
		}
		w.wantActive(1)
		w.put(c)
	})
}

func (w *world) wantActive(n int64) {
	w.t.Helper()
	synctest.Wait()
	if got := w.traffic.ActiveConnects.Load(); got != n {
		w.t.Errorf("got %d active connections, want %d", got, n)
	}
}

// A connection that has served long enough, or often enough, ends with what it carries.
func TestWornConnections(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxLifetime: time.Minute}, forever, func(w *world) {
		t := w.t
		a := w.open()
		time.Sleep(time.Minute)
		b := w.open()
		w.wantConns(2)
		if got := w.carried(); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("got %v streams, want one on each", got)
		}
		w.put(a)
		w.wantActive(1)
		w.put(b)
		time.Sleep(time.Minute)
		w.Sweep(time.Now())
		w.wantActive(0)
	})
	inWorld(t, http2.Options{}, Options{MaxRequests: 3, MaxConns: 1}, echo, func(w *world) {
		t := w.t
		failed := make(chan error)
		for range 10 {
			go func() {
				_, err := call(t.Context(), w.Pool, []byte("hello"))
				failed <- err
			}()
		}
		for range 10 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
		w.wantConns(4)
	})
}

// A connection that nobody waits for any more, when it is made, keeps its place from nobody: neither from another pool
// nor, where its own is closed, from the endpoint.
func TestConnectionsThatCameTooLate(t *testing.T) {
	limits := NewLimits(Bounds{Conns: 1})
	inWorld(t, http2.Options{}, Options{Limits: limits}, forever, func(w *world) {
		t := w.t
		w.slow = 2 * time.Second
		if _, err := w.Open(t.Context(), time.Now(), time.Now().Add(time.Second), posted, true); !errors.Is(err, ErrWait) {
			t.Errorf("got %v, want ErrWait", err)
		}
		other := New(netip.AddrPort{}, Options{Limits: limits, Dial: w.site.dial}, new(evidence.Traffic))
		defer other.Close()
		start := time.Now()
		c, err := other.Open(t.Context(), start, start.Add(time.Minute), posted, true)
		if err != nil || time.Since(start) != 3*time.Second { // one for the first to be made, two for this one
			t.Fatalf("got %v after %v", err, time.Since(start))
		}
		other.Put(c, time.Now())
	})
	inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
		w.slow = 2 * time.Second
		_, _ = w.Open(w.t.Context(), time.Now(), time.Now().Add(time.Second), posted, true)
		w.Pool.Close()
		time.Sleep(time.Minute)
		w.wantConns(1)
		w.wantActive(0)
	})
}
