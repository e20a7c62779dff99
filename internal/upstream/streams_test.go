package upstream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

func TestStreamsShareAConnection(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, echo, func(w *world) {
		t := w.t
		a := w.open()
		if a.Reused() || a.Served() != 0 || a.Asks() || a.Buffer == nil || a.Stream == nil {
			t.Errorf("got served %d, asks %v, %v, %v", a.Served(), a.Asks(), a.Buffer, a.Stream)
		}
		b := w.open()
		if !b.Reused() || b.Served() != 1 {
			t.Errorf("got served %d, want 1", b.Served())
		}
		w.put(a, b)
		for range 10 {
			if _, err := call(t.Context(), w.Pool, []byte("hello")); err != nil {
				t.Fatal(err)
			}
		}
		w.wantConns(1)
		if active := w.traffic.ActiveConnects.Load(); active != 1 {
			t.Errorf("got %d active, want 1", active)
		}
	})
}

// Connections are added when all are full, up to the bound; the first one with room takes the next stream; and who has
// waited longest comes first.
func TestStreamsGrow(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxStreams: 3, MaxConns: 2}, forever, func(w *world) {
		t := w.t
		var held []*Conn
		for range 6 {
			held = append(held, w.open())
		}
		w.wantConns(2)
		if got := w.carried(); !slices.Equal(got, []int{3, 3}) {
			t.Errorf("got %v streams, want 3 on each", got)
		}
		waiting := make([]*Conn, 4)
		for i := range waiting {
			go func() { waiting[i] = w.open() }()
			synctest.Wait()
		}
		for i, c := range []*Conn{held[5], held[0], held[1], held[2]} {
			if waiting[i] != nil {
				t.Errorf("the waiter %d did not wait for its turn", i)
			}
			w.put(c)
			if synctest.Wait(); waiting[i] == nil {
				t.Fatalf("the waiter %d has not come through", i)
			}
		}
		w.put(held[3], held[4], waiting[0])
		w.put(w.open())
		synctest.Wait()
		if got := w.carried(); !slices.Equal(got, []int{3, 0}) {
			t.Errorf("got %v streams, want all on the first", got)
		}
		w.put(waiting[1:]...)
		w.wantConns(2)
	})
}

// What the endpoint allows is kept to from the first stream on.
func TestTheEndpointsLimitHolds(t *testing.T) {
	inWorld(t, http2.Options{MaxStreams: 2}, Options{}, forever, func(w *world) {
		t := w.t
		var held []*Conn
		for range 7 {
			held = append(held, w.open())
		}
		w.wantConns(4)
		if refused := w.stats.Refused.Load(); refused != 0 {
			t.Errorf("the endpoint refused %d streams", refused)
		}
		w.put(held...)
	})
}

func TestWaitingForStreamsIsBounded(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxStreams: 1, MaxConns: 1, MaxPending: 2}, forever, func(w *world) {
		t := w.t
		held := w.open()
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		type outcome struct {
			err   error
			after time.Duration
		}
		outcomes := make(chan outcome, 2)
		wait := func(ctx context.Context, deadline time.Time) {
			_, err := w.Open(ctx, time.Now(), deadline, posted, true)
			outcomes <- outcome{err, time.Since(start)}
		}
		go wait(t.Context(), start.Add(3*time.Second))
		go wait(ctx, time.Time{})
		synctest.Wait()
		if _, err := w.Open(t.Context(), time.Now(), time.Time{}, posted, true); !errors.Is(err, ErrOverflow) {
			t.Errorf("got %v, want ErrOverflow", err)
		}
		if n := w.traffic.Overflow.Load(); n != 1 {
			t.Errorf("got %d overflows, want 1", n)
		}
		if got := <-outcomes; !errors.Is(got.err, ErrWait) || got.after != 3*time.Second {
			t.Errorf("got %v after %v, want ErrWait at the deadline", got.err, got.after)
		}
		cancel()
		if got := <-outcomes; !errors.Is(got.err, ErrWait) {
			t.Errorf("got %v, want ErrWait", got.err)
		}
		w.put(held)
		w.put(w.open())
		w.wantConns(1)
	})
}

// A thousand requests come at once where there is no connection yet.
func TestBurst(t *testing.T) {
	for name, test := range map[string]struct {
		theirs, ours, bound int
		conns, first        int
	}{
		"as many as we let":          {theirs: 250, ours: 0, conns: 10, first: 10},
		"fewer than we would":        {theirs: 10, ours: 0, conns: 100, first: 10},
		"one, then as many as need":  {theirs: 250, ours: 1000, conns: 4, first: 1},
		"one for all":                {theirs: 1000, ours: 1000, conns: 1, first: 1},
		"up to the bound, then wait": {theirs: 10, ours: 0, bound: 7, conns: 7, first: 7},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{MaxStreams: test.ours, MaxConns: test.bound}
			answered := func(s *http2.Stream) {
				time.Sleep(time.Second)
				_ = s.WriteHead(&http2.Head{Status: 200}, true)
			}
			inWorld(t, http2.Options{MaxStreams: test.theirs}, o, answered, func(w *world) {
				t := w.t
				w.slow = 100 * time.Millisecond
				failed := make(chan error, 1000)
				for range 1000 {
					go func() {
						c := w.open()
						_, err := c.Stream.ReadHead()
						w.put(c)
						failed <- err
					}()
				}
				synctest.Wait()
				w.Pool.streams.mu.Lock()
				if got := w.Pool.streams.making; got != test.first {
					t.Errorf("got %d connections on their way at first, want %d", got, test.first)
				}
				w.Pool.streams.mu.Unlock()
				for range 1000 {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
				w.wantConns(test.conns)
				if refused := w.stats.Refused.Load(); refused != 0 {
					t.Errorf("the endpoint refused %d streams", refused)
				}
			})
		})
	}
}

// A field that cannot be written, and a tunnel that is not served, cost no place.
func TestOpenRefuses(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxStreams: 1, MaxConns: 1}, echo, func(w *world) {
		t := w.t
		wrong := *posted
		wrong.Path = []byte("/ HTTP/1.1\r\n")
		tunnel := *posted
		tunnel.Method, tunnel.Protocol = []byte("CONNECT"), []byte("websocket")
		for range 3 {
			if _, err := w.Open(t.Context(), time.Now(), time.Time{}, &wrong, true); !errors.Is(err, http2.ErrField) {
				t.Errorf("got %v, want ErrField", err)
			}
			if _, err := w.Open(t.Context(), time.Now(), time.Time{}, &tunnel, false); !errors.Is(err, ErrNoTunnel) {
				t.Errorf("got %v, want ErrNoTunnel", err)
			}
		}
		if _, err := call(t.Context(), w.Pool, []byte("hello")); err != nil {
			t.Error(err)
		}
	})
}

func TestTunnel(t *testing.T) {
	inWorld(t, http2.Options{ExtendedConnect: true}, Options{}, echo, func(w *world) {
		t := w.t
		tunnel := *posted
		tunnel.Method, tunnel.Protocol = []byte("CONNECT"), []byte("websocket")
		c, err := w.Open(t.Context(), time.Now(), time.Time{}, &tunnel, false)
		if err != nil {
			t.Fatal(err)
		}
		defer w.put(c)
		if _, err := c.Stream.WriteBody([]byte("hello"), true); err != nil {
			t.Fatal(err)
		}
		if h, err := c.Stream.ReadHead(); err != nil || h.Status != 200 {
			t.Errorf("got %v, %v", h, err)
		}
		if n, err := c.Buffer.Fill(c, 100); n != 5 || err != nil || string(c.Buffer.Bytes()) != "hello" {
			t.Errorf("got %q, %v", c.Buffer.Bytes(), err)
		}
	})
}

// Close ends the stream, as often as anybody likes, and nothing else.
func TestCloseOfAStream(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
		t := w.t
		a, b := w.open(), w.open()
		synctest.Wait()
		for range 3 {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if got := w.carried(); !slices.Equal(got, []int{1}) {
			t.Errorf("got %v streams, want the other", got)
		}
		var failed *http2.StreamError
		if _, err := a.Read(make([]byte, 1)); !errors.As(err, &failed) || failed.Code != http2.Cancel {
			t.Errorf("got %v, want what we did", err)
		}
		w.put(a, b)
	})
}

var answered = &http2.Head{Status: 200}

func TestOpenAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s, now := listening(t, http2.Options{}, patient), time.Now()
	p := New(s.addr, Options{MaxLifetime: time.Hour, Limits: NewLimits(Bounds{Conns: 1, Pending: 1, Requests: 1})}, new(evidence.Traffic))
	defer p.Close()
	ctx := t.Context()
	request := func() {
		c, err := p.Open(ctx, now, now.Add(time.Minute), posted, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Stream.ReadHead(); err != nil {
			t.Fatal(err)
		}
		p.Put(c, now)
	}
	for range 100 {
		request()
	}
	if got := testing.AllocsPerRun(1000, request); got > 1 { // that of the endpoint, which is in this process too
		t.Errorf("a request allocates %v times, want once at most", got)
	}
	got := testing.AllocsPerRun(1000, func() {
		c, _, err := p.enter(ctx, now)
		if err != nil {
			t.Fatal(err)
		}
		p.Put(c, now)
	})
	if got != 0 {
		t.Errorf("a place allocates %v times, want none", got)
	}
}
