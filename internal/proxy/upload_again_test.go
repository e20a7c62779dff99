package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// A request whose body comes after its head is still the same request when it is sent elsewhere, whatever the body's bytes
// are and however the first instance has turned it away.
func TestATurnedUploadKeepsItsHead(t *testing.T) {
	const times = 40
	body := strings.Repeat("\r\nEvil: x\r\n\r\n", 100)
	for _, version := range []fleet.HTTP{fleet.HTTP1, fleet.HTTP2} {
		t.Run(version.String(), func(t *testing.T) {
			begun := make(chan struct{}, 2) // one for each instance that is asked
			var turned atomic.Int64
			first := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
				for {
					request, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					begun <- struct{}{}
					_, _ = io.Copy(io.Discard, request.Body)
					turned.Add(1)
					fmt.Fprintf(c, "HTTP/1.1 503 Service Unavailable\r\n%s: app-0\r\nContent-Length: 0\r\n\r\n", FieldRefused)
				}
			})
			if version == fleet.HTTP2 {
				first = serveStreams(t, func(s *http2.Stream) {
					begun <- struct{}{}
					_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
					turned.Add(1)
					s.Reset(http2.RefusedStream)
				})
			}
			w := newWorld(t, Options{}, first, handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
				begun <- struct{}{}
				n, _ := io.Copy(io.Discard, r.Body)
				fmt.Fprint(rw, n, r.Header.Get("Whose"), r.Header.Get("Evil"))
			}))
			w.fronted()
			w.speak(version)
			c := w.dial()
			for i := range times {
				c.say("POST / HTTP/1.1\r\nHost: app\r\nWhose: %04d\r\nTransfer-Encoding: chunked\r\n\r\n", i)
				<-begun
				c.say("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
				c.wantAnswer("POST", 200, fmt.Sprintf("%d%04d", len(body), i))
				for len(begun) > 0 {
					<-begun
				}
			}
			w.wantConserved()
			if turned.Load() < 4 {
				t.Errorf("it was turned away %d times, want some", turned.Load())
			}
		})
	}
}
