package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// Server-sent events end in order after a whole one, which may still have to come; where it does not, they are cut. What
// only ends requests leaves them alone.
func TestPartOfEvents(t *testing.T) {
	for _, tc := range []struct {
		name                 string
		before, after, hears string
		cut                  bool
	}{
		{"between two", "data: 1\n\n", "", "data: 1\n\n", false},
		{"in the midst", "data: 1\r\n\r\nid: 7\r\nda", "ta: 2\r\n\r\ndata: 3\r\n\r\n", "data: 1\r\n\r\nid: 7\r\ndata: 2\r\n\r\n", false},
		{"in the midst for ever", "data: 1\n\ndata: 2\n", "", "data: 1\n\ndata: 2\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
				t.Helper()
				goOn, left := make(chan string), make(chan struct{})
				w := newSecureWorld(t, secure, patienceFor(tc.cut), handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
					rw.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
					_, _ = io.WriteString(rw, tc.before)
					for {
						_ = http.NewResponseController(rw).Flush()
						select {
						case more := <-goOn:
							_, _ = io.WriteString(rw, more)
						case <-r.Context().Done():
							close(left)
							return
						}
					}
				}))
				w.speak(answers)
				c, url := w.browser(asks)
				a, err := c.Get(url + "/events")
				if err != nil {
					t.Fatal(err)
				}
				defer a.Body.Close()
				begun := make([]byte, len(tc.before))
				if _, err := io.ReadFull(a.Body, begun); err != nil {
					t.Fatal(err)
				}
				if r, l := w.openNow(); r != 0 || l != 1 {
					t.Errorf("got %d and %d open, want one that lasts", r, l)
				}
				w.part(false)
				goOn <- ""
				w.part(true)
				if tc.after != "" {
					goOn <- tc.after
				}
				rest, err := io.ReadAll(a.Body)
				if got := string(begun) + string(rest); got != tc.hears || (err != nil) != tc.cut {
					t.Errorf("got %q and %v, want %q, cut: %t", got, err, tc.hears, tc.cut)
				}
				<-left
				c.CloseIdleConnections()
				told := uint64(1)
				if tc.cut {
					told = 0
				}
				w.wantTally(cutOne(drain.Events, told))
			})
		})
	}
}

// patienceFor is short where what is waited for does not come.
func patienceFor(cut bool) Options {
	if cut {
		return Options{LingerTimeout: 50 * time.Millisecond}
	}
	return Options{LingerTimeout: time.Minute}
}

// Calls end with the status UNAVAILABLE: alone where there is no answer yet, else as trailers after a whole message, which
// may still have to come; where it does not, they are cut.
func TestPartOfCalls(t *testing.T) {
	const message, half, rest, next = "\x00\x00\x00\x00\x02hi", "\x00\x00\x00", "\x00\x03you", "\x00\x00\x00\x00\x00"
	for _, tc := range []struct {
		name, before, after, hears string
		begun, cut                 bool
	}{
		{"before the answer", "", "", "", false, false},
		{"before the first message", "", "", "", true, false},
		{"between two", message, "", message, true, false},
		{"in the midst", message + half, rest + next, message + half + rest, true, false},
		{"in the midst for ever", message + half, "", message + half, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			forSecurity(t, func(t *testing.T, secure bool) {
				t.Helper()
				goOn, come, left := make(chan string), make(chan struct{}, 1), make(chan struct{})
				w := newSecureWorld(t, secure, patienceFor(tc.cut), serveStreams(t, func(s *http2.Stream) {
					defer close(left)
					gone := make(chan struct{})
					s.OnGone(func() { close(gone) })
					if tc.begun {
						_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
						_, _ = s.WriteBody([]byte(tc.before), false)
						s.Flush()
					}
					for come <- struct{}{}; ; {
						select {
						case more := <-goOn:
							_, _ = s.WriteBody([]byte(more), false)
							s.Flush()
						case <-gone:
							return
						}
					}
				}))
				w.speak(fleet.HTTP2)
				c := w.dialH2()
				s, err := c.Open(call("/x/m"), false)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = s.WriteBody([]byte(message), false)
				s.Flush()
				<-come
				begun := make([]byte, len(tc.before))
				if tc.begun {
					if a, err := s.ReadHead(); err != nil || a.Status != 200 {
						t.Fatal(a, err)
					}
					if _, err := io.ReadFull(http2.Pipe{Stream: s}, begun); err != nil {
						t.Fatal(err)
					}
				}
				if r, l := w.openNow(); r != 0 || l != 1 {
					t.Errorf("got %d and %d open, want one that lasts", r, l)
				}
				w.part(false)
				goOn <- ""
				w.part(true)
				if tc.after != "" {
					goOn <- tc.after
				}
				a, headErr := s.ReadHead()
				b, err := io.ReadAll(http2.Pipe{Stream: s})
				if got := string(begun) + string(b); got != tc.hears || (err != nil) != tc.cut || headErr != nil {
					t.Errorf("got %q, %v and %v; want %q, cut: %t", got, headErr, err, tc.hears, tc.cut)
				}
				status, _ := http1.Lookup(s.Trailers(), "grpc-status")
				text, _ := http1.Lookup(s.Trailers(), "grpc-message")
				if !tc.begun && headErr == nil {
					status, _ = http1.Lookup(a.Fields, "grpc-status")
					text, _ = http1.Lookup(a.Fields, "grpc-message")
				}
				if !tc.cut && (string(status) != "14" || !strings.Contains(string(text), "is leaving")) {
					t.Errorf("got status %q, %q; want 14 and why", status, text)
				}
				s.Close()
				<-left
				told := uint64(1)
				if tc.cut {
					told = 0
				}
				w.wantTally(cutOne(drain.GRPC, told))
			})
		})
	}
}
