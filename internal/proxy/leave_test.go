package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/http2"
)

// far returns two ends of a connection on which everything takes so long on its way, in either direction.
func far(lag time.Duration) (a, b net.Conn) {
	a, a2 := net.Pipe()
	b2, b := net.Pipe()
	carry := func(from, to net.Conn) {
		type parcel struct {
			due  time.Time
			text []byte
		}
		way := make(chan parcel, 1<<16)
		go func() {
			defer close(way)
			for {
				b := make([]byte, 32<<10)
				n, err := from.Read(b)
				if n > 0 {
					way <- parcel{time.Now().Add(lag), b[:n]}
				}
				if err != nil {
					return
				}
			}
		}()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.text); err != nil {
				break
			}
		}
		_ = to.Close()
		_ = from.Close()
		for range way { // what is on its way is lost
		}
	}
	go carry(a2, b2)
	go carry(b2, a2)
	return a, b
}

// leaving has 64 clients send uploads whose bodies cannot be sent again, over connections of HTTP/2 on which everything
// takes so long on its way, and tells those connections to go, time and again. It returns how many were sent and lost, and what the
// last of those heard.
func leaving(t *testing.T, lag time.Duration, tell func(*Conn)) (sent, lost int, last error) {
	t.Helper()
	const clients, rounds = 64, 5
	every := 1500*time.Millisecond + 2*lag
	o := Options{}
	var open sync.WaitGroup
	o.Upstream.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		ours, theirs := net.Pipe()
		open.Go(func() { answerAll(theirs) })
		return ours, nil
	}
	w := &world{t: t, o: o, p: New(o), door: NewDoor("test"), live: map[*Conn]bool{}}
	w.apply(w.view("127.0.0.1:1"))
	ctx, end := context.WithCancel(t.Context())
	c := &hopper{dial: func() net.Conn {
		ours, theirs := far(lag)
		c := w.p.NewConn(theirs, w.door)
		w.mu.Lock()
		w.live[c] = true
		w.mu.Unlock()
		open.Go(func() {
			c.Serve(ctx)
			w.mu.Lock()
			delete(w.live, c)
			w.mu.Unlock()
		})
		return ours
	}}
	var mu sync.Mutex
	var at sync.WaitGroup
	stop := make(chan struct{})
	for i := range clients {
		at.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond / 3)
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := c.upload()
				mu.Lock()
				if sent++; err != nil {
					lost++
					last = err
				}
				mu.Unlock()
			}
		})
	}
	for range rounds {
		time.Sleep(every)
		w.mu.Lock()
		for c := range w.live {
			go tell(c)
		}
		w.mu.Unlock()
	}
	time.Sleep(every)
	close(stop)
	at.Wait()
	time.Sleep(time.Minute)
	end()
	w.mu.Lock()
	for c := range w.live {
		go c.Cut()
	}
	w.mu.Unlock()
	w.p.Close()
	open.Wait()
	return sent, lost, last
}

// A hopper is a client of HTTP/2 that opens its streams on one connection until that leaves, then on another one. That of
// net/http will not do: when it hears of a leave between two of its steps, it closes a body that it has not read from yet.
type hopper struct {
	dial func() net.Conn
	mu   sync.Mutex
	h2   *http2.Client
}

// open opens a stream, where the last one is left behind if it takes none.
func (c *hopper) open(h *http2.Head) (*http2.Stream, error) {
	for {
		c.mu.Lock()
		if c.h2 == nil {
			c.h2 = http2.NewClient(c.dial(), &http2.Options{})
			go c.h2.Run() // whoever uses it hears how it ended
		}
		h2 := c.h2
		c.mu.Unlock()
		s, err := h2.Open(h, false)
		if !errors.Is(err, http2.ErrLeaving) && !errors.Is(err, http2.ErrClosed) {
			return s, err
		}
		c.mu.Lock()
		if c.h2 == h2 {
			c.h2 = nil
		}
		c.mu.Unlock()
	}
}

// upload sends a body that comes in pieces, and wants 200.
func (c *hopper) upload() error {
	h := get("/")
	h.Method = []byte("POST")
	s, err := c.open(h)
	if err != nil {
		return err
	}
	defer s.Close()
	const pieces = 3
	for i := range pieces {
		if _, err := s.WriteBody([]byte("a piece"), i == pieces-1); err != nil {
			return err
		}
		s.Flush()
		time.Sleep(20 * time.Millisecond)
	}
	a, err := s.ReadHead()
	if err != nil {
		return err
	}
	if b, err := io.ReadAll(http2.Pipe{Stream: s}); err != nil || string(b) != "21" || a.Status != 200 {
		return fmt.Errorf("got %d, %q, %w", a.Status, b, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// answerAll is an endpoint that counts what it is sent.
func answerAll(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReader(c); ; {
		request, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, request.Body)
		if err != nil {
			return
		}
		text := strconv.FormatInt(n, 10)
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text); err != nil {
			return
		}
	}
}

// Who comes over HTTP/2 while we leave is served what it came for, by a front and in lame duck, also where its first request
// takes a while; then it hears, as does who asks for nothing.
func TestWhoComesWhileWeLeaveIsServed(t *testing.T) {
	for _, front := range []bool{true, false} {
		for gap, served := range map[time.Duration]bool{0: true, time.Millisecond: true, time.Second: true, time.Minute: false} {
			t.Run(fmt.Sprint(front, gap), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { comesWhileLeaving(t, front, gap, served) })
			})
		}
	}
}

func comesWhileLeaving(t *testing.T, front bool, gap time.Duration, served bool) {
	t.Helper()
	var open sync.WaitGroup
	o := Options{}
	o.Upstream.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
		ours, theirs := net.Pipe()
		open.Go(func() { answerAll(theirs) })
		return ours, nil
	}
	if front {
		o.Front = &Front{}
	}
	w := &world{t: t, o: o, p: New(o), door: NewDoor("test"), live: map[*Conn]bool{}}
	w.apply(w.view("127.0.0.1:1"))
	if front {
		o.Front.Order(Orders{Incarnation: "r-1", Leaving: true})
	} else {
		w.door.Leave()
	}
	ours, theirs := net.Pipe()
	c := w.p.NewConn(theirs, w.door)
	open.Go(func() { c.Serve(t.Context()) })
	h2 := http2.NewClient(ours, &http2.Options{})
	open.Go(func() { _ = h2.Run() })
	synctest.Wait() // whatever can be said has been
	if !front {
		c.Leave() // as whoever tells those that are open, and does not know which has heard
	}
	time.Sleep(gap)
	switch s, err := h2.Open(get("/"), true); {
	case !served:
		if !errors.Is(err, http2.ErrLeaving) && !errors.Is(err, http2.ErrClosed) {
			t.Errorf("got %v after %v, want that it has heard", err, gap)
		}
	case err != nil:
		t.Errorf("got %v, want a stream", err)
	default:
		if a, err := s.ReadHead(); err != nil || a.Status != 200 {
			t.Errorf("got %+v, %v", a, err)
		}
		s.Close()
		synctest.Wait()
		if _, err := h2.Open(get("/"), true); !errors.Is(err, http2.ErrLeaving) && !errors.Is(err, http2.ErrClosed) {
			t.Errorf("got %v for the second, want that it has heard", err)
		}
	}
	time.Sleep(time.Minute)
	if n := len(w.p.conns.all()); n != 0 {
		t.Errorf("got %d connections after a minute, want none", n)
	}
	h2.Close()
	w.p.Close()
	open.Wait()
}

// leaveIdle tells a connection to leave, and parts it in the next moment, for it seems that nobody asks for anything.
func leaveIdle(c *Conn) {
	c.Leave()
	if requests, long := c.Open(); requests+long == 0 {
		c.Part(false)
	}
}

// However far away a client of HTTP/2 is, it loses nothing when its connection leaves; one that is told at once which
// stream was the last loses what is on the way.
func TestLeaveLosesNothing(t *testing.T) {
	if onlyPlain {
		t.Skip("nothing parks here")
	}
	for _, lag := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond, 700 * time.Millisecond} {
		t.Run(lag.String(), func(t *testing.T) {
			for how, leave := range map[string]func(*Conn){"told": (*Conn).Leave, "told, and parted where idle": leaveIdle} {
				synctest.Test(t, func(t *testing.T) {
					sent, lost, err := leaving(t, lag, leave)
					t.Logf("%s: %d of %d lost", how, lost, sent)
					if lost > 0 || sent < 100 {
						t.Errorf("%s: got %d of %d lost, want none of many: %v", how, lost, sent, err)
					}
				})
			}
			synctest.Test(t, func(t *testing.T) {
				sent, lost, _ := leaving(t, lag, func(c *Conn) {
					if h2 := c.h2.Load(); h2 != nil {
						h2.LeaveNow()
					}
				})
				t.Logf("control: %d of %d lost", lost, sent)
				if lost == 0 {
					t.Errorf("control: got none of %d lost, want some", sent)
				}
			})
		})
	}
}
