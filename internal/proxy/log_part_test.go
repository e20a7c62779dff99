package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// A logLine is what a line of the access log says of how a request ended.
type logLine struct {
	Level, End, Reason string
	Status             int
}

func nextLine(t *testing.T, r io.Reader) (l logLine) {
	t.Helper()
	b, err := bufio.NewReader(r).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(b, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The access log says of whatever we ended that it was cut, why, and what its client saw of it; without a warning, as
// the report of the leave warns once of all of them.
func TestTheLogOfWhatWasCut(t *testing.T) {
	const (
		get    = "GET / HTTP/1.1\r\nHost: app\r\n\r\n"
		ask    = "GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		half   = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
		event  = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n"
		change = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n"
	)
	part := func(w *world) { w.part(true) }
	leave := func(w *world) { w.p.PartEndpoint("app-0") }
	cut := func(w *world) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.live {
			c.Cut()
		}
	}
	for _, tc := range []struct {
		name, asks, answers string
		end                 func(*world)
		want                logLine
	}{
		{"a request without an answer", get, "", part, logLine{"INFO", "cut", partedReason, 503}},
		{"half an answer", get, half, part, logLine{"INFO", "cut", partedReason, 200}},
		{"events", get, event, part, logLine{"INFO", "cut", lastedReason, 200}},
		{"a WebSocket", ask, change, part, logLine{"INFO", "cut", lastedReason, 101}},
		{"its endpoint leaves", get, "", leave, logLine{"INFO", "cut", oustedReason, 503}},
		{"half an answer of an endpoint that leaves", get, half, leave, logLine{"INFO", "cut", oustedReason, 200}},
		{"the hard end of half an answer", get, half, cut, logLine{"INFO", "cut", cutReason, 200}},
		{"the hard end of a WebSocket", ask, change, cut, logLine{"INFO", "cut", cutReason, 101}},
		{"its client leaves", get, "", nil, logLine{"WARN", "aborted", "the client left", 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked, over := make(chan struct{}, 1), make(chan struct{})
			r, log := io.Pipe()
			o := Options{LingerTimeout: 100 * time.Millisecond, HalfCloseTimeout: 20 * time.Millisecond, Log: slog.New(slog.NewJSONHandler(log, nil))}
			w := newWorld(t, o, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				if answer := accepts(r); strings.Contains(tc.answers, "%s") {
					fmt.Fprintf(c, tc.answers, answer)
				} else {
					_, _ = io.WriteString(c, tc.answers)
				}
				asked <- struct{}{}
				<-over
			}))
			t.Cleanup(func() { close(over); _ = log.Close(); _, _ = io.Copy(io.Discard, r) })
			c := w.dialRaw()
			c.say("%s", tc.asks)
			if <-asked; tc.answers != "" {
				if _, err := c.r.ReadByte(); err != nil { // its head has come
					t.Fatal(err)
				}
			}
			if tc.end != nil {
				tc.end(w)
			} else {
				_ = c.Close()
			}
			got := nextLine(t, r)
			if tc.end == nil {
				got.Reason = tc.want.Reason
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// A client of HTTP/2 is answered 200 where one of HTTP/1.1 is answered 101.
func TestTheLogOfAWebSocketOfHTTP2(t *testing.T) {
	for _, answers := range versions {
		r, log := io.Pipe()
		n := tunnelThrough(t, Options{LingerTimeout: 100 * time.Millisecond, Log: slog.New(slog.NewJSONHandler(log, nil))}, false, fleet.HTTP2, answers)
		t.Cleanup(func() { _ = log.Close(); _, _ = io.Copy(io.Discard, r) })
		n.part(true)
		if got, want := nextLine(t, r), (logLine{"INFO", "cut", lastedReason, 200}); got != want {
			t.Errorf("%v: got %+v, want %+v", answers, got, want)
		}
		n.done()
	}
}
