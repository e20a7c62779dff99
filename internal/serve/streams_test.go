package serve_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/serve"
)

// A herd is a flock over HTTP/2: on each connection, several post side by side, and all of them move when it takes no
// more streams. A stream that was opened and has no answer is lost, also one that could be opened elsewhere.
type herd struct {
	lost, answered, moved atomic.Int64
	clients               sync.WaitGroup
}

func (h *herd) post(n int, gateway, successor string, after int) {
	for range n {
		h.clients.Go(func() {
			h.stay(gateway, -1)
			h.moved.Add(1)
			h.stay(successor, after)
		})
	}
}

// stay posts at one place until it cannot be reached any more, or so many answers have come.
func (h *herd) stay(addr string, most int) {
	for {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			if !errors.Is(err, syscall.ECONNREFUSED) {
				h.lost.Add(1)
			}
			return
		}
		c := http2.NewClient(nc, &http2.Options{})
		go func() { _ = c.Run() }()
		var side sync.WaitGroup
		var done atomic.Int64
		for range 4 {
			side.Go(func() {
				for most < 0 || done.Load() < int64(most) {
					err := postStream(c)
					switch {
					case err == nil:
						h.answered.Add(1)
						done.Add(1)
					case errors.Is(err, http2.ErrLeaving), errors.Is(err, http2.ErrClosed):
						return
					default:
						h.lost.Add(1)
						return
					}
				}
			})
		}
		side.Wait()
		c.Close()
		if most >= 0 {
			return
		}
	}
}

// postStream sends one request that may not be sent twice.
func postStream(c *http2.Client) error {
	s, err := c.Open(&http2.Head{Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte("/")}, false)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.WriteBody([]byte("hi"), true); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	head, err := s.ReadHead()
	if err != nil {
		return fmt.Errorf("hearing: %w", err)
	}
	if b, err := io.ReadAll(http2.Pipe{Stream: s}); err != nil || head.Status != 200 || string(b) != "hello" {
		return fmt.Errorf("got %d %q, %w", head.Status, b, err)
	}
	return nil
}

// Clients of HTTP/2 are told before they are turned away: no stream is opened in vain.
func TestDrainLosesNoStreams(t *testing.T) {
	e := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		hello(w, r)
	})
	successor := start(t, serve.Options{}, view(e, "a", anyPort))
	for round := range 2 {
		g := start(t, serve.Options{Timers: quiet(500 * time.Millisecond)}, view(e, "a", anyPort))
		var h herd
		h.post(10, g.addr("a"), successor.addr("a"), 20)
		eventually(t, "clients are at it", func() bool { return h.answered.Load() > 400 })
		if err := g.leave(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		h.clients.Wait()
		if lost, moved := h.lost.Load(), h.moved.Load(); lost != 0 || moved != 10 {
			t.Errorf("round %d: got %d lost of %d and %d clients moved, want 0 and 10", round, lost, h.answered.Load(), moved)
		}
	}
}
