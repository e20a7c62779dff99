package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// An open end of a tunnel.
type end interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// A newTunnel is one through a world, with both of its ends.
type newTunnel struct {
	*world
	client, endpoint end
	done             func()
	over             chan struct{} // closed when the endpoint is done
}

// tunnelThrough opens a WebSocket.
func tunnelThrough(t *testing.T, o Options, secure bool, asks, answers fleet.HTTP) *newTunnel {
	t.Helper()
	n := &newTunnel{over: make(chan struct{})}
	ends := make(chan end, 1)
	var address string
	if answers == fleet.HTTP1 {
		address = script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", accepts(r))
			ends <- c
			<-n.over
		})
	} else {
		address = serveStreams(t, func(s *http2.Stream) {
			_ = s.WriteHead(&http2.Head{Status: 200}, false)
			s.Flush()
			ends <- flushing{http2.Pipe{Stream: s}}
			<-n.over
		})
	}
	n.world = newSecureWorld(t, secure, o, address)
	n.speak(answers)
	done := sync.OnceFunc(func() { close(n.over) })
	t.Cleanup(done)
	n.done = done
	if asks == fleet.HTTP1 {
		n.client = n.ask()
	} else {
		n.client = n.askStream()
	}
	n.endpoint = <-ends
	return n
}

// ask has the world switch over.
func (n *newTunnel) ask() end {
	n.t.Helper()
	c := n.dialRaw()
	c.say("GET /chat HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	a, err := http.ReadResponse(c.r, nil)
	if err != nil || a.StatusCode != 101 {
		n.t.Fatal(a, err)
	}
	return c
}

// askStream is ask over HTTP/2.
func (n *newTunnel) askStream() end {
	n.t.Helper()
	h2 := n.dialH2()
	eventually(n.t, "the settings have come", h2.Extended)
	h := get("/chat")
	h.Method, h.Protocol = []byte("CONNECT"), []byte(websocket)
	s, err := h2.Open(h, false)
	if err != nil {
		n.t.Fatal(err)
	}
	if a, err := s.ReadHead(); err != nil || a.Status != 200 {
		n.t.Fatal(a, err)
	}
	n.t.Cleanup(s.Close)
	return flushing{http2.Pipe{Stream: s}}
}

// accepts reads the head of a request for a WebSocket, and returns what shows that its key was understood.
func accepts(r *bufio.Reader) string {
	head, _ := readHead(r)
	for _, line := range head {
		if key, ok := strings.CutPrefix(line, "Sec-WebSocket-Key: "); ok {
			a := acceptOf([]byte(key))
			return string(a[:])
		}
	}
	return ""
}

// flushing is a stream that keeps nothing back.
type flushing struct{ http2.Pipe }

func (f flushing) Write(b []byte) (int, error) {
	n, err := f.Pipe.Write(b)
	f.Flush()
	return n, err
}

func (c *raw) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *raw) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return net.ErrClosed
	}
	return half.CloseWrite()
}

func (n *newTunnel) say(to end, b string) {
	n.t.Helper()
	if _, err := io.WriteString(to, b); err != nil {
		n.t.Fatal(err)
	}
}

func (n *newTunnel) hear(from end, want string) {
	n.t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(from, b); err != nil || string(b) != want {
		n.t.Fatalf("got %q, %v; want %q", b, err, want)
	}
}

// silent wants nothing more, and the end in order, or not.
func (n *newTunnel) silent(from end, inOrder bool) {
	n.t.Helper()
	if b, err := io.ReadAll(from); len(b) > 0 || (err == nil) != inOrder {
		n.t.Errorf("got %q, %v; want nothing more, in order: %t", b, err, inOrder)
	}
}

// Frames of a WebSocket.
const (
	hi       = "\x81\x02hi"
	away     = "\x88\x02\x03\xe9"                 // Close, 1001
	reply    = "\x88\x82\x01\x02\x03\x04\x02\xeb" // the client's, masked
	bye      = "\x88\x02\x03\xe8"                 // Close, 1000
	fragment = "\x01\x02hi"                       // more of the message follows
	masked   = "\x81\x83\x00\x00\x00\x00abc"      // no server says it, but it is a frame
	ping     = "\x89\x00"                         // a control frame
)

// A WebSocket's client gets the rest of the frame that is on its way, a Close frame, and nothing after it; its reply comes
// to the endpoint; both ends close in order.
func TestPartOfAWebSocket(t *testing.T) {
	long := "\x82\x7e\x01\x00" + strings.Repeat("x", 256)
	longer := "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("y", 1<<16)
	for _, tc := range []struct{ name, before, after, hears string }{
		{"before the first frame", "", hi, ""},
		{"between two frames", hi + masked + ping, hi, hi + masked + ping},
		{"between two fragments", fragment, "\x80\x02ho", fragment},
		{"in a head", hi + long[:3], long[3:] + hi, hi + long},
		{"in a payload", long[:100], long[100:] + hi, long},
		{"in a long payload", longer[:5], longer[5:] + hi, longer},
		{"after the first byte", hi + "\x81", "\x01a" + hi, hi + "\x81\x01a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
				t.Helper()
				n := tunnelThrough(t, patienceFor(false), secure, asks, answers)
				n.say(n.endpoint, tc.before)
				n.hear(n.client, tc.before)
				n.part(false) // means others
				n.say(n.client, masked)
				n.hear(n.endpoint, masked)
				if r, l := n.openNow(); r != 0 || l != 1 {
					t.Errorf("got %d and %d open, want one that lasts", r, l)
				}
				n.part(true)
				n.say(n.endpoint, tc.after)
				n.hear(n.client, strings.TrimPrefix(tc.hears, tc.before)+away)
				n.say(n.endpoint, hi)
				n.say(n.client, reply)
				n.hear(n.endpoint, reply)
				n.say(n.endpoint, away)
				_ = n.endpoint.CloseWrite()
				n.silent(n.client, true)
				_ = n.client.CloseWrite()
				n.silent(n.endpoint, true)
				n.done()
				_ = n.client.Close()
				n.wantTally(cutOne(drain.WebSocket, 1))
				n.wantEnds(ended(ending.Parted))
			})
		})
	}
}

// A frame that does not come to its end is cut.
func TestPartInAFrameForEver(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		const half = hi + "\x81\x05half"
		n := tunnelThrough(t, patienceFor(true), secure, asks, answers)
		n.say(n.endpoint, half)
		n.hear(n.client, half)
		n.part(true)
		n.silent(n.client, false)
		n.silent(n.endpoint, false)
		n.done()
		_ = n.client.Close()
		n.wantTally(cutOne(drain.WebSocket, 0))
	})
}

// A client that does not reply, and an endpoint that does not close, have a moment.
func TestPartWithoutAReply(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		n := tunnelThrough(t, patienceFor(true), secure, asks, answers)
		n.say(n.endpoint, hi)
		n.hear(n.client, hi)
		n.part(true)
		n.hear(n.client, away)
		n.silent(n.client, false)
		n.silent(n.endpoint, false)
		n.done()
		_ = n.client.Close()
		n.wantTally(cutOne(drain.WebSocket, 1))
	})
}

// A WebSocket that the endpoint is closing already has a moment to close, and was not cut.
func TestPartOfAWebSocketThatCloses(t *testing.T) {
	forAll(t, func(t *testing.T, secure bool, asks, answers fleet.HTTP) {
		t.Helper()
		n := tunnelThrough(t, patienceFor(false), secure, asks, answers)
		n.say(n.endpoint, hi+bye)
		n.hear(n.client, hi+bye)
		n.part(true)
		n.say(n.client, reply)
		n.hear(n.endpoint, reply)
		_ = n.endpoint.CloseWrite()
		n.silent(n.client, true)
		_ = n.client.CloseWrite()
		n.silent(n.endpoint, true)
		n.done()
		_ = n.client.Close()
		n.wantTally(map[drain.Protocol]drain.Count{drain.WebSocket: {Opened: 1, Completed: 1}})
	})
}
