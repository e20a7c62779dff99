package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// A request whose body came after its head is not sent again with its head alone: the endpoint would store nothing where
// there was something, or take the next request for the body.
func TestNothingIsSentAgainWithoutItsBody(t *testing.T) {
	for _, answers := range versions {
		for _, asks := range versions {
			heads := make(chan string, 10)
			w := newWorld(t, Options{}, breaksOnPut(t, answers, heads))
			w.speak(answers)
			a, _ := ask(t, w.client(fleet.HTTP1), w.request("GET", "/warm", nil))
			if a.StatusCode != 200 {
				t.Fatalf("got %s, want 200", a.Status)
			}
			<-heads
			w.wantConserved() // the connection has been put back
			status := w.putLate(asks, heads)
			if status != 502 {
				t.Errorf("%s to %s: got %d, want 502: nobody can know what became of it", asks, answers, status)
			}
			if len(heads) > 0 {
				t.Errorf("%s to %s: the endpoint got %q, a second time", asks, answers, <-heads)
			}
			w.wantConserved()
		}
	}
}

// breaksOnPut starts an endpoint whose first connection breaks when it has the body of a PUT. It says what it gets.
func breaksOnPut(t *testing.T, version fleet.HTTP, heads chan<- string) string {
	t.Helper()
	return script(t, func(n int, c *net.TCPConn, r *bufio.Reader) {
		if version == fleet.HTTP2 {
			_ = http2.NewServer(c, nil, &http2.Options{}).Serve(func(s *http2.Stream) {
				heads <- string(s.Request().Method)
				if n == 0 && string(s.Request().Method) == "PUT" {
					_, _ = io.ReadFull(http2.Pipe{Stream: s}, make([]byte, 5))
					_ = c.SetLinger(0)
					_ = c.Close()
					return
				}
				_ = s.WriteHead(&http2.Head{Status: 200, Sized: true}, true)
			})
			return
		}
		for {
			lines, err := readHead(r)
			if err != nil {
				return
			}
			heads <- lines[0]
			if n == 0 && lines[0] == "PUT /b HTTP/1.1" {
				_, _ = io.ReadFull(r, make([]byte, 5))
				_ = c.SetLinger(0)
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
}

// putLate sends a PUT whose body follows once the endpoint has the head, and returns the answer's status.
func (w *world) putLate(version fleet.HTTP, heads <-chan string) int {
	w.t.Helper()
	if version == fleet.HTTP1 {
		c := w.dial()
		c.say("PUT /b HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\n")
		<-heads
		c.say("hello")
		a, _ := c.answer("PUT")
		return a.StatusCode
	}
	h := get("/b")
	h.Method, h.Sized, h.ContentLength = []byte("PUT"), true, 5
	s, err := w.dialStreams().Open(h, false)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	s.Flush()
	<-heads
	_, _ = s.WriteBody([]byte("hello"), true)
	a, err := s.ReadHead()
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Status
}

// An answer that the endpoint's connection cuts short, by whatever kind of end, is cut for the client.
func TestCutAnswersAreNotWhole(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for _, answers := range versions {
			for _, asks := range versions {
				heard := make(chan struct{}) // the client has begun to read
				w := newWorld(t, Options{}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
					end := c.CloseWrite
					if reset {
						end = func() error {
							_ = c.SetLinger(0)
							return c.Close()
						}
					}
					if answers == fleet.HTTP1 {
						_, _ = readHead(r)
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n")
						<-heard
						_ = end()
						return
					}
					_ = http2.NewServer(c, nil, &http2.Options{}).Serve(func(s *http2.Stream) {
						_ = s.WriteHead(&http2.Head{Status: 200}, false)
						_, _ = s.WriteBody([]byte("some"), false)
						s.Flush()
						<-heard
						_ = end()
						hang(s)
					})
				}))
				w.speak(answers)
				a, err := w.client(asks).Do(w.request("GET", "/", nil))
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.ReadFull(a.Body, make([]byte, 4))
				close(heard)
				if b, err := io.ReadAll(a.Body); err == nil {
					t.Errorf("%s to %s, reset %v: got some and %q as a whole answer, want it cut", asks, answers, reset, b)
				}
				w.wantConserved()
			}
		}
	}
}

// While an endpoint does not take a body, its answer is heard all the same, and a client that leaves is noticed.
func TestBodiesThatWaitHinderNobody(t *testing.T) {
	come := make(chan struct{}, 1)
	w := newWorld(t, Options{StallTimeout: time.Hour}, script(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) {
		_ = http2.NewServer(c, nil, &http2.Options{StreamWindow: 1}).Serve(func(s *http2.Stream) {
			if string(s.Request().Path) == "/refused" {
				_ = s.WriteHead(&http2.Head{Status: 401}, true)
				return
			}
			come <- struct{}{}
			hang(s)
		})
	}))
	w.speak(fleet.HTTP2)
	c := w.dialStreams()
	post := func(path string) *http2.Stream {
		h := get(path)
		h.Method = []byte("POST")
		s, err := c.Open(h, false)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.WriteBody(make([]byte, 1000), true)
		return s
	}
	s := post("/refused")
	if a, err := s.ReadHead(); err != nil || a.Status != 401 {
		t.Errorf("got %+v and %v, want 401 before the body was taken", a, err)
	}
	s.Close()
	s = post("/silent")
	<-come
	s.Close()
	eventually(t, "the endpoint is rid of it", func() bool { return len(w.p.State().Open()) == 0 })
	w.wantConserved()
}
