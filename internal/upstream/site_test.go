package upstream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// A site is an endpoint of HTTP/2. It listens on loopback, or is dialed as a pipe.
type site struct {
	addr    netip.AddrPort
	o       http2.Options
	handle  func(*http2.Stream)
	stats   http2.Stats
	wrap    func(net.Conn) net.Conn // nil: as it is
	slow    time.Duration           // a connection takes that long
	mu      sync.Mutex
	servers []*http2.Server // all that there ever were
	pipes   []*mortal
	all     sync.WaitGroup
}

// echo answers with the body of the request.
func echo(s *http2.Stream) {
	body, err := io.ReadAll(http2.Pipe{Stream: s})
	if err != nil || s.WriteHead(&http2.Head{Status: 200}, false) != nil {
		return
	}
	_, _ = s.WriteBody(body, true)
}

// forever never answers.
func forever(s *http2.Stream) {
	_ = s.WriteHead(&http2.Head{Status: 200}, false)
	s.Flush()
	for {
		if _, err := s.ReadBody(make([]byte, 100)); err != nil && !errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			gone := make(chan struct{})
			s.OnGone(func() { close(gone) })
			<-gone
			return
		}
	}
}

func newSite(o http2.Options, handle func(*http2.Stream)) *site {
	s := &site{o: o, handle: handle}
	s.o.Stats = &s.stats
	return s
}

// listening returns a site on loopback.
func listening(tb testing.TB, o http2.Options, handle func(*http2.Stream)) *site {
	tb.Helper()
	return listeningOver(tb, nil, o, handle)
}

// listeningOver returns a site on loopback that speaks over what wrap makes of a socket.
func listeningOver(tb testing.TB, wrap func(net.Conn) net.Conn, o http2.Options, handle func(*http2.Stream)) *site {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := newSite(o, handle)
	s.wrap = wrap
	s.addr = netip.MustParseAddrPort(l.Addr().String())
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(nc)
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		s.close()
	})
	return s
}

// dial is an Options.Dial.
func (s *site) dial(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	if s.slow > 0 {
		select {
		case <-time.After(s.slow):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ours, theirs := net.Pipe()
	m := &mortal{Conn: theirs}
	s.mu.Lock()
	s.pipes = append(s.pipes, m)
	s.mu.Unlock()
	s.serve(m)
	return ours, nil
}

// die has nothing pass any more on the pipes that there are.
func (s *site) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.pipes {
		m.dead.Store(true)
	}
}

// A mortal is the site's end of a pipe. When it is dead, what is sent there goes nowhere.
type mortal struct {
	net.Conn
	dead atomic.Bool
}

func (m *mortal) Read(b []byte) (int, error) {
	for {
		n, err := m.Conn.Read(b)
		if err != nil || !m.dead.Load() {
			return n, err
		}
	}
}

func (m *mortal) Write(b []byte) (int, error) {
	if m.dead.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func (s *site) serve(nc net.Conn) {
	if s.wrap != nil {
		nc = s.wrap(nc)
	}
	c := http2.NewServer(nc, nil, &s.o)
	s.mu.Lock()
	s.servers = append(s.servers, c)
	s.mu.Unlock()
	s.all.Go(func() { _ = c.Serve(s.handle) })
}

// close ends the connections, and waits for them.
func (s *site) close() {
	s.each(func(c *http2.Server) { c.Close() })
	s.all.Wait()
}

func (s *site) each(do func(*http2.Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.servers {
		do(c)
	}
}

// conns is how many connections there ever were.
func (s *site) conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.servers)
}

// carried is how many streams are open on each connection.
func (s *site) carried() (open []int) {
	s.each(func(c *http2.Server) {
		n, _ := c.OpenStreams()
		open = append(open, n)
	})
	return open
}

var posted = &http2.Head{
	Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("a.example"), Path: []byte("/"),
	Fields: []http1.Field{{Name: []byte("te"), Value: []byte("trailers")}},
}

// A world is a pool with the site that it leads to, in a bubble.
type world struct {
	*site
	*Pool
	t *testing.T
}

func inWorld(t *testing.T, so http2.Options, o Options, handle func(*http2.Stream), story func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(so, handle)
		o.Dial = s.dial
		w := &world{site: s, Pool: New(netip.AddrPort{}, o, new(evidence.Traffic)), t: t}
		story(w)
		w.Pool.Close()
		w.site.close()
		time.Sleep(time.Minute)
		if active := w.traffic.ActiveConnects.Load(); active != 0 {
			t.Errorf("got %d active connections in the end, want none", active)
		}
		if places, _, _ := open(w.Pool); places != 0 || len(w.Pool.streams.queue) != 0 {
			t.Errorf("got %d places taken in the end and %d waiting, want none", places, len(w.Pool.streams.queue))
		}
	})
}

// open opens a stream whose request has no body.
func (w *world) open() *Conn {
	w.t.Helper()
	c, err := w.Open(w.t.Context(), time.Now(), time.Time{}, posted, true)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) put(conns ...*Conn) {
	for _, c := range conns {
		w.Put(c, time.Now())
	}
}

func (w *world) wantConns(ever int) {
	w.t.Helper()
	synctest.Wait()
	if got := w.conns(); got != ever || w.traffic.Connects.Load() != uint64(ever) {
		w.t.Errorf("got %d connections ever, %d counted, want %d", got, w.traffic.Connects.Load(), ever)
	}
}

// call sends body and reads it back. It says whether the request may be sent again where it failed.
func call(ctx context.Context, p *Pool, body []byte) (again bool, err error) {
	now := time.Now()
	c, err := p.Open(ctx, now, time.Time{}, posted, false)
	if err != nil {
		return true, err
	}
	defer func() { p.Put(c, now) }()
	var h *http2.Head
	_, err = c.Stream.WriteBody(body, true)
	if err == nil {
		h, err = c.Stream.ReadHead()
	}
	var got []byte
	if err == nil {
		got, err = io.ReadAll(c)
	}
	if err != nil {
		var failed *http2.StreamError
		return errors.As(err, &failed) && failed.Unprocessed, err
	}
	if h.Status != 200 || !bytes.Equal(got, body) {
		return false, errors.New("another answer than asked for")
	}
	return false, nil
}

// A raw endpoint says the same on every connection, frame by frame, and listens.
type raw struct {
	says  string
	mu    sync.Mutex
	heard bytes.Buffer
	conns []net.Conn
}

func (r *raw) dial(context.Context, netip.AddrPort) (net.Conn, error) {
	ours, theirs := net.Pipe()
	r.mu.Lock()
	r.conns = append(r.conns, theirs)
	r.mu.Unlock()
	if r.says != "" {
		go func() { _, _ = io.WriteString(theirs, r.says) }()
	}
	go func() {
		for buf := make([]byte, 1000); ; {
			n, err := theirs.Read(buf)
			r.mu.Lock()
			r.heard.Write(buf[:n])
			r.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return ours, nil
}

// say says more, on every connection.
func (r *raw) say(frame string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_, _ = io.WriteString(c, frame)
	}
}

// said is all that it was told.
func (r *raw) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard.String()
}

// settings is the frame by which n streams at a time are allowed.
func settings(n uint32) string {
	return string(binary.BigEndian.AppendUint32([]byte("\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03"), n))
}

// settingsAck is the frame that says that ours are obeyed.
const settingsAck = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"

// goAway is the frame by which an endpoint leaves that has looked at no stream.
const goAway = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (r *raw) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close()
	}
}
