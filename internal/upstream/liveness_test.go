package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// An endpoint that died unseen gets no request: it is asked first, and another connection is made.
func TestDeadConnectionsGetNoRequest(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, echo, func(w *world) {
		t := w.t
		if _, err := call(t.Context(), w.Pool, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		w.die()
		time.Sleep(10 * time.Second)
		start := time.Now()
		if _, err := call(t.Context(), w.Pool, []byte("hello")); err != nil {
			t.Errorf("lost: %v", err)
		}
		if took := time.Since(start); took > doubtTime {
			t.Errorf("it took %v", took)
		}
		w.wantConns(2)
	})
}

// One that lives is used again, however many requests come while it is asked.
func TestLivingConnectionsAreKept(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxPending: -1}, forever, func(w *world) {
		w.put(w.open())
		time.Sleep(10 * time.Second)
		done := make(chan struct{})
		for range 50 {
			go func() {
				w.put(w.open())
				done <- struct{}{}
			}()
		}
		for range 50 {
			<-done
		}
		w.wantConns(1)
	})
}

// An endpoint that falls silent in the middle of requests gets no other once somebody has given up on it: others do not
// wait, and those that are under way hear of it.
func TestSilentConnectionsGetNoOtherRequest(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
			w.put(w.open())
			w.die()
			w.giveUp()
			start := time.Now()
			if fresh := w.open(); fresh.Reused() || time.Since(start) != 0 {
				t.Errorf("got the silent connection, or waited %v", time.Since(start))
			} else {
				w.put(fresh)
			}
			w.wantConns(2)
		})
	})
	inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
		t := w.t
		other := w.open()
		if _, err := other.Stream.ReadHead(); err != nil {
			t.Fatal(err)
		}
		w.die()
		time.Sleep(time.Second)
		w.giveUp()
		start := time.Now()
		fresh := w.open()
		if fresh.Reused() || time.Since(start) != 0 {
			t.Errorf("got the silent connection, or waited %v", time.Since(start))
		}
		if _, err := other.Read(make([]byte, 1)); err == nil || time.Since(start) > silenceTime {
			t.Errorf("got %v after %v, want to hear of it", err, time.Since(start))
		}
		w.put(other, fresh)
		w.wantConns(2)
	})
}

// giveUp opens a stream and waits for three seconds in vain.
func (w *world) giveUp() {
	w.t.Helper()
	c := w.open()
	c.Stream.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Stream.ReadHead(); !errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Error(err)
	}
	w.put(c)
}

// One that is only slow keeps what it has, and gets more.
func TestSlowConnectionsAreKept(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, slowly, func(w *world) {
		t := w.t
		first := w.open()
		for range 5 {
			w.giveUp()
			synctest.Wait() // until it is asked, and has answered
		}
		if _, err := first.Stream.ReadHead(); err != nil {
			t.Error(err)
		}
		w.put(first)
		w.wantConns(1)
	})
}

// slowly answers after a minute.
func slowly(s *http2.Stream) {
	time.Sleep(time.Minute)
	_ = s.WriteHead(answered, true)
}

// An endpoint that closes a connection without a word gets no request there, even where its leave has arrived and
// nobody has read it yet.
func TestLeavesThatNobodyHasRead(t *testing.T) {
	s, traffic := listening(t, http2.Options{}, echo), new(evidence.Traffic)
	var last atomic.Pointer[hesitant]
	p := New(s.addr, Options{Dial: func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
		nc, err := dialTCP(ctx, addr)
		if err != nil {
			return nil, err
		}
		tcp, _ := nc.(*net.TCPConn)
		h := &hesitant{TCPConn: tcp, heard: make(chan struct{}), read: make(chan struct{})}
		last.Store(h)
		return h, nil
	}}, traffic)
	defer p.Close()
	if _, err := call(t.Context(), p, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	first := last.Load()
	first.hesitates.Store(true)
	s.each((*http2.Server).Close)
	<-first.heard
	now := time.Now().Add(time.Second)
	c, err := p.Open(t.Context(), now, now.Add(time.Minute), posted, true)
	if err != nil {
		t.Fatal(err)
	}
	if c.Reused() || traffic.Connects.Load() != 2 {
		t.Errorf("got a connection that the endpoint has closed, of %d", traffic.Connects.Load())
	}
	p.Put(c, now)
}

// A hesitant connection does not tell what it has read before something is written.
type hesitant struct {
	*net.TCPConn
	hesitates   atomic.Bool
	heard, read chan struct{}
	once        sync.Once
}

func (h *hesitant) Read(b []byte) (int, error) {
	n, err := h.TCPConn.Read(b)
	if h.hesitates.Load() {
		close(h.heard)
		<-h.read
		h.hesitates.Store(false)
	}
	return n, err
}

func (h *hesitant) Write(b []byte) (int, error) {
	if h.hesitates.Load() {
		h.once.Do(func() { close(h.read) })
	}
	return h.TCPConn.Write(b)
}

// Who has a stream open to nobody hears of it.
func TestSilentStreamsEnd(t *testing.T) {
	inWorld(t, http2.Options{}, Options{}, forever, func(w *world) {
		t := w.t
		c := w.open()
		if _, err := c.Stream.ReadHead(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // it lives
		if err := c.Stream.Err(); err != nil {
			t.Error(err)
		}
		w.die()
		start := time.Now()
		if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(start) > pingAfter+time.Minute {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		w.put(c)
		w.wantActive(0)
	})
}

// Endpoints that do not speak HTTP/2, or do not speak at all, have been sent no request; and those that leave as soon as
// they have greeted are not asked for ever.
func TestStrangersGetNoRequest(t *testing.T) {
	for name, stranger := range map[string]struct {
		says  string
		asked uint64
	}{
		"silent":   {"", 1},
		"HTTP/1.1": {"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", 1},
		"leaves":   {settings(100) + goAway, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &raw{says: stranger.says}
				traffic := new(evidence.Traffic)
				p := New(netip.AddrPort{}, Options{Dial: r.dial}, traffic)
				start := time.Now()
				c, err := p.Open(t.Context(), start, time.Time{}, posted, true)
				sent := err == nil && name == "leaves" // between its greeting and its leave: it says that it did not process it
				if sent {
					var reset *http2.StreamError
					if _, err := c.Stream.ReadHead(); !errors.As(err, &reset) || !reset.Unprocessed {
						t.Errorf("got %v, want a request that was not processed", err)
					}
					p.Put(c, time.Now())
				} else if !errors.Is(err, ErrConnect) || time.Since(start) > 5*time.Second {
					t.Errorf("got %v after %v, want ErrConnect", err, time.Since(start))
				}
				time.Sleep(time.Minute)
				if !sent && strings.Contains(r.said(), "a.example") {
					t.Error("it was sent the request")
				}
				if n := traffic.Connects.Load(); n > stranger.asked {
					t.Errorf("got %d connections, want %d at most", n, stranger.asked)
				}
				if places, _, _ := open(p); places != 0 || traffic.ActiveConnects.Load() != 0 {
					t.Errorf("got %d places taken, want none", places)
				}
			})
		})
	}
}

// However many requests wait for one connection that cannot be made, the endpoint is tried once, and all hear why.
func TestOneFailureForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traffic, refused := new(evidence.Traffic), errors.New("refused")
		p := New(netip.AddrPort{}, Options{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
			time.Sleep(time.Second)
			return nil, refused
		}}, traffic)
		outcomes := make(chan error)
		for range 100 {
			go func() {
				_, err := p.Open(t.Context(), time.Now(), time.Time{}, posted, true)
				outcomes <- err
			}()
		}
		for range 100 {
			if err := <-outcomes; !errors.Is(err, ErrConnect) || !errors.Is(err, refused) {
				t.Errorf("got %v, want ErrConnect and why", err)
			}
		}
		if n := traffic.ConnectFail.Load(); n != 1 {
			t.Errorf("got %d attempts, want one", n)
		}
		wantOpen(t, p, 0, 0, 0)
	})
}

// Bodies that nobody reads, of clients that are slow, leave the others of the same connection their room.
func TestStalledStreamsHinderNobody(t *testing.T) {
	const size = 400 << 10
	long := func(s *http2.Stream) {
		if s.WriteHead(answered, false) == nil {
			_, _ = s.WriteBody(make([]byte, size), true)
		}
	}
	inWorld(t, http2.Options{}, Options{}, long, func(w *world) {
		t := w.t
		var stalled []*Conn
		for range 99 {
			stalled = append(stalled, w.open())
		}
		synctest.Wait()
		c := w.open()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := io.Copy(io.Discard, c); n != size || err != nil {
			t.Errorf("got %d bytes, %v, want %d", n, err, size)
		}
		w.put(c)
		w.put(stalled...)
		w.wantConns(1)
	})
}

// Servers of gRPC count how often they are asked: a connection that answers nothing is asked rarely.
func TestConnectionsAreAskedRarely(t *testing.T) {
	var l link
	now := time.Now()
	ask := func(after time.Duration) bool {
		l.doubt = trusted // it has shown that it lives
		l.limit.Store(100)
		return l.ask(silence, now.Add(after))
	}
	if !ask(0) {
		t.Error("a connection in doubt is not asked")
	}
	if ask(time.Second) || ask(askEvery-1) {
		t.Error("it is asked again, though it has answered no request since")
	}
	if !ask(askEvery) {
		t.Error("it is not asked again after so long")
	}
	l.asked = time.Time{} // as when a request is answered
	if !ask(askEvery + time.Second) {
		t.Error("it is not asked, though it has answered a request")
	}
}
