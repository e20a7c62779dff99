package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// Requests of a connection of HTTP/2 are ended while what lasts on it goes on: the client opens no more streams, and the
// connection ends with the last. All that is counted.
func TestPartOfStreams(t *testing.T) {
	forSecurity(t, func(t *testing.T, secure bool) {
		t.Helper()
		come := make(chan struct{}, 8)
		w := newSecureWorld(t, secure, Options{LingerTimeout: 100 * time.Millisecond}, serveStreams(t, func(s *http2.Stream) {
			switch path := string(s.Request().Path); path {
			case "/begun":
				_ = s.WriteHead(&http2.Head{Status: 200}, false)
				_, _ = s.WriteBody([]byte("half"), false)
				s.Flush()
			case "/lasts":
				_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
				s.Flush()
			}
			come <- struct{}{}
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			hang(s)
		}))
		w.speak(fleet.HTTP2)
		c := w.dialH2()
		open := func(h *http2.Head, end bool) *http2.Stream {
			t.Helper()
			s, err := c.Open(h, end)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			<-come
			return s
		}
		lasts := open(call("/lasts"), false)
		if _, err := lasts.ReadHead(); err != nil {
			t.Fatal(err)
		}
		begun, waits := open(get("/begun"), true), open(get("/waits"), true)
		post := get("/uploads")
		post.Method = []byte("POST")
		uploads, err := c.Open(post, false)
		if err != nil {
			t.Fatal(err)
		}
		defer uploads.Close()
		_, _ = uploads.WriteBody([]byte("begun"), false)
		uploads.Flush()
		<-come
		half := make([]byte, 4)
		if _, err := io.ReadFull(http2.Pipe{Stream: begun}, half); err != nil {
			t.Fatal(err)
		}
		if r, l := w.openNow(); r != 3 || l != 1 {
			t.Errorf("got %d and %d open, want 3 and 1", r, l)
		}
		w.part(false)
		for _, s := range []*http2.Stream{waits, uploads} {
			a, err := s.ReadHead()
			b, _ := io.ReadAll(http2.Pipe{Stream: s})
			if err != nil || a.Status != 503 || !strings.Contains(string(b), "is leaving") {
				t.Errorf("got %+v, %q and %v, want 503 and why", a, b, err)
			}
		}
		if b, err := io.ReadAll(http2.Pipe{Stream: begun}); err == nil {
			t.Errorf("got %q and a clean end", b)
		}
		if _, err := c.Open(get("/"), true); !errors.Is(err, http2.ErrLeaving) {
			t.Errorf("got %v, want no more streams", err)
		}
		eventually(t, "only what lasts is open", func() bool { r, l := w.openNow(); return r == 0 && l == 1 })
		if err := lasts.Err(); err != nil {
			t.Errorf("what lasts: %v", err)
		}
		w.part(true)
		if _, err := io.ReadAll(http2.Pipe{Stream: lasts}); err != nil || len(lasts.Trailers()) != 2 {
			t.Errorf("got %v and %v, want trailers", err, lasts.Trailers())
		}
		w.wantTally(map[drain.Protocol]drain.Count{
			drain.HTTP2: {Opened: 3, Cut: 3, Told: 2},
			drain.GRPC:  {Opened: 1, Cut: 1, Told: 1},
		})
		if told := w.p.Told(); told != 1 {
			t.Errorf("got %d connections told, want 1", told)
		}
	})
}

// A client that takes nothing keeps neither its streams nor its connection.
func TestPartOfStreamsThatNobodyReads(t *testing.T) {
	w := newWorld(t, Options{LingerTimeout: 50 * time.Millisecond}, serveStreams(t, func(s *http2.Stream) {
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
		for {
			if _, err := s.WriteBody(bytes.Repeat([]byte{1}, 1<<16), false); err != nil { // of one message
				return
			}
		}
	}))
	w.speak(fleet.HTTP2)
	c := w.dialH2()
	s, err := c.Open(call("/"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.ReadFull(http2.Pipe{Stream: s}, make([]byte, 1)); err != nil { // it is in the middle of a message
		t.Fatal(err)
	}
	w.part(true)
	w.wantTally(cutOne(drain.GRPC, 0))
}

// Whoever looks sees what is open, however many there are and however they come and go; in the end, it all adds up.
func TestOpenOfManyStreams(t *testing.T) {
	const streams, rounds = 250, 4
	var hold sync.WaitGroup
	hold.Add(1)
	w := newWorld(t, Options{}, handleBoth(t, func(_ http.ResponseWriter, _ *http.Request) { hold.Wait() }))
	release := sync.OnceFunc(hold.Done)
	t.Cleanup(release)
	c := w.dialStreams()
	eventually(t, "the settings have come", c.Extended)
	ask := func(h *http2.Head) {
		s, err := c.Open(h, true)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		if a, err := s.ReadHead(); err != nil || a.Status != 200 {
			t.Errorf("got %+v and %v, want 200", a, err)
		}
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
	}
	stop := make(chan struct{})
	var looking, asking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r, l := w.openNow(); r < 0 || l < 0 || r+l > streams {
				t.Errorf("got %d and %d open", r, l)
			}
			tally := w.p.Tally()
			for p, c := range tally {
				if c.Open < 0 || c.Open > streams || c.Opened != uint64(c.Open)+c.Completed+c.Failed+c.Cut {
					t.Errorf("%s: got %+v", drain.Protocol(p), c)
				}
			}
		}
	})
	for i := range streams {
		head := get("/")
		if i%5 == 0 {
			head = call("/")
		}
		asking.Go(func() {
			for range rounds {
				ask(head)
			}
		})
	}
	eventually(t, "all are open", func() bool { r, l := w.openNow(); return r == streams*4/5 && l == streams/5 })
	release()
	asking.Wait()
	close(stop)
	looking.Wait()
	c.Close()
	w.wantTally(map[drain.Protocol]drain.Count{
		drain.HTTP2: {Opened: streams * rounds * 4 / 5, Completed: streams * rounds * 4 / 5},
		drain.GRPC:  {Opened: streams * rounds / 5, Completed: streams * rounds / 5},
	})
}

// A stream that waits for a connection to its endpoint is answered, too, in its own words.
func TestPartOfStreamsThatWaitForAConnection(t *testing.T) {
	for _, answers := range versions {
		waits := make(chan struct{}, 8)
		o := Options{LingerTimeout: 100 * time.Millisecond}
		o.Upstream.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
			waits <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		w := newWorld(t, o, "127.0.0.1:1")
		w.speak(answers)
		c := w.dialH2()
		asked, err := c.Open(get("/"), true)
		if err != nil {
			t.Fatal(err)
		}
		defer asked.Close()
		called, err := c.Open(call("/x/m"), false)
		if err != nil {
			t.Fatal(err)
		}
		defer called.Close()
		called.Flush()
		<-waits
		eventually(t, "both are open", func() bool { r, l := w.openNow(); return r == 1 && l == 1 })
		w.part(false)
		if a, err := asked.ReadHead(); err != nil || a.Status != 503 {
			t.Errorf("%s: got %+v and %v, want 503", answers, a, err)
		}
		w.part(true)
		a, err := called.ReadHead()
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := http1.Lookup(a.Fields, "grpc-status"); string(status) != "14" {
			t.Errorf("%s: got status %s, want 14", answers, status)
		}
		w.wantTally(map[drain.Protocol]drain.Count{
			drain.HTTP2: {Opened: 1, Cut: 1, Told: 1},
			drain.GRPC:  {Opened: 1, Cut: 1, Told: 1},
		})
	}
}
