package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
)

// standard returns an echo of net/http that speaks HTTP/2 in plaintext, and over TLS where config is not nil.
func standard(tb testing.TB, config *tls.Config) netip.AddrPort {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var speaks http.Protocols
	speaks.SetHTTP1(true)
	speaks.SetHTTP2(true)
	speaks.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Protocols: &speaks, TLSConfig: config, ReadHeaderTimeout: time.Minute,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 5},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 {
				w.WriteHeader(http.StatusTeapot)
			}
			_, _ = io.Copy(w, r.Body)
		}),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if config != nil {
			_ = s.ServeTLS(l, "", "")
		} else {
			_ = s.Serve(l)
		}
	}()
	tb.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// Another implementation is understood: as many streams as it allows, bodies larger than a window.
func TestStandardEndpoint(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	pair, _, _ := ca.issue(nil, "good", "shop.test")
	for name, config := range map[string]*tls.Config{
		"plaintext": nil, "TLS": {Certificates: []tls.Certificate{pair}},
	} {
		t.Run(name, func(t *testing.T) {
			traffic, o := new(evidence.Traffic), Options{}
			if config != nil {
				o.TLS = trusting(t, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file})
			}
			p := New(standard(t, config), o, traffic)
			defer p.Close()
			body := make([]byte, 300_000)
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					for n := range 10 {
						if err := transfer(t, p, body[:(i*10+n)*1000]); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if n := traffic.Connects.Load(); n != 4 {
				t.Errorf("got %d connections, want 4 of 5 streams", n)
			}
		})
	}
}

// transfer is call for a body that does not fit into the windows: it is sent and read at once.
func transfer(t *testing.T, p *Pool, body []byte) error {
	t.Helper()
	c, err := p.Open(t.Context(), time.Now(), time.Time{}, posted, false)
	if err != nil {
		return err
	}
	var wrote sync.WaitGroup
	defer func() {
		wrote.Wait()
		p.Put(c, time.Now())
	}()
	wrote.Go(func() { _, _ = c.Stream.WriteBody(body, true) })
	if h, err := c.Stream.ReadHead(); err != nil || h.Status != http.StatusOK {
		return fmt.Errorf("got %v, %w", h, err)
	}
	got, err := io.ReadAll(c)
	if err == nil && len(got) != len(body) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// trusting returns what spec asks for, read.
func trusting(tb testing.TB, spec *fleet.ClientTLS) *TLS {
	tb.Helper()
	way := NewTLS(spec)
	way.Refresh(time.Now())
	if err := way.Err(); err != nil {
		tb.Fatal(err)
	}
	return way
}

// Over TLS, HTTP/2 is agreed on or there is no connection; and HTTP/1.1 to the same address is HTTP/1.1.
func TestALPN(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	pair, _, _ := ca.issue(nil, "good", "shop.test")
	for name, test := range map[string]struct {
		offers []string
		fails  string
	}{
		"h2":           {[]string{"h2", "http/1.1"}, ""},
		"only another": {[]string{"http/1.1"}, "no application protocol"},
		"no ALPN":      {nil, errNoHTTP2.Error()},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(name+", "+tls.VersionName(version), func(t *testing.T) {
				agreed := make(chan string, 10)
				config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: test.offers, MaxVersion: version}
				config.VerifyConnection = func(cs tls.ConnectionState) error {
					agreed <- fmt.Sprintln(cs.NegotiatedProtocol, cs.DidResume)
					return nil
				}
				wrap := func(nc net.Conn) net.Conn { return tls.Server(nc, config) }
				s := listeningOver(t, wrap, http2.Options{}, echo)
				traffic := new(evidence.Traffic)
				p := New(s.addr, Options{TLS: trusting(t, &fleet.ClientTLS{SNI: "shop.test", CA: ca.file})}, traffic)
				defer p.Close()
				_, err := call(t.Context(), p, []byte("hello"))
				if test.fails != "" {
					if !errors.Is(err, ErrConnect) || !strings.Contains(err.Error(), test.fails) || traffic.ConnectFail.Load() != 1 {
						t.Errorf("got %v, %d failed", err, traffic.ConnectFail.Load())
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				c, err := p.Get(t.Context(), time.Now(), time.Time{}, false)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
				for _, want := range []string{"h2 false\n", "http/1.1 false\n"} {
					if got := <-agreed; got != want {
						t.Errorf("agreed on %q, want %q: another protocol is another session", got, want)
					}
				}
			})
		}
	}
}

// What the endpoint allows may change: nobody is sent beyond it, and nobody who waits for more is forgotten.
func TestTheLimitMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &raw{says: settings(0) + settingsAck}
		traffic := new(evidence.Traffic)
		p := New(netip.AddrPort{}, Options{Dial: r.dial}, traffic)
		var through atomic.Int64
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				c, err := p.Open(t.Context(), time.Now(), time.Time{}, posted, true)
				if err != nil {
					t.Error(err)
					return
				}
				through.Add(1)
				time.Sleep(time.Minute)
				p.Put(c, time.Now())
			})
		}
		want := func(n int64, conns uint64) {
			t.Helper()
			if synctest.Wait(); through.Load() != n || traffic.Connects.Load() != conns {
				t.Errorf("got %d through on %d connections, want %d on %d", through.Load(), traffic.Connects.Load(), n, conns)
			}
		}
		time.Sleep(time.Minute)
		want(0, 1) // another connection would not help
		r.says = settings(3) + settingsAck
		r.say(settings(3))
		want(10, 4)
		all.Wait()
		p.Close()
		r.close()
		time.Sleep(time.Minute)
	})
}

// A connection of either version makes room for one of the other, where a pool may have one only.
func TestVersionsShareThePlaces(t *testing.T) {
	inWorld(t, http2.Options{}, Options{MaxConns: 1}, echo, func(w *world) {
		t := w.t
		for range 3 {
			if _, err := call(t.Context(), w.Pool, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			c, err := w.Get(t.Context(), time.Now(), time.Now().Add(time.Second), false)
			if err != nil {
				t.Fatal(err)
			}
			w.put(c)
		}
		stream := w.open()
		var c *Conn
		go func() { c = get(t, w.Pool, time.Now()) }()
		synctest.Wait()
		if c != nil {
			t.Error("got a connection too many")
		}
		w.put(stream)
		synctest.Wait()
		if c == nil {
			t.Fatal("the place is kept from who waits for it")
		}
		go func() { stream = w.open() }()
		time.Sleep(20 * time.Second) // longer than one attempt waits
		w.put(c)
		synctest.Wait()
		w.put(stream)
	})
}

// What pools may come to together holds for streams, and an idle connection is closed for who waits elsewhere.
func TestLimitsOfStreams(t *testing.T) {
	limits := NewLimits(Bounds{Conns: 1, Pending: 2, Requests: 3})
	inWorld(t, http2.Options{}, Options{Limits: limits}, forever, func(w *world) {
		t := w.t
		var held []*Conn
		for range 3 {
			held = append(held, w.open())
		}
		if _, err := w.Open(t.Context(), time.Now(), time.Time{}, posted, true); !errors.Is(err, ErrLimited) {
			t.Errorf("got %v, want ErrLimited: three requests are under way", err)
		}
		other := New(netip.AddrPort{}, Options{Limits: limits, Dial: w.site.dial}, new(evidence.Traffic))
		defer other.Close()
		outcomes := make(chan *Conn)
		for range 2 {
			go func() {
				c, err := other.Open(t.Context(), time.Now(), time.Time{}, posted, true)
				if err != nil {
					t.Error(err)
				}
				outcomes <- c
			}()
		}
		synctest.Wait()
		if _, err := other.Open(t.Context(), time.Now(), time.Time{}, posted, true); !errors.Is(err, ErrLimited) {
			t.Errorf("got %v, want ErrLimited: two wait", err)
		}
		w.put(held...) // the connection falls idle: its place goes to the other pool
		for range 2 {
			other.Put(<-outcomes, time.Now())
		}
		w.wantActive(0)
		if requests, pending := limits.requests.Load(), limits.pending.Load(); requests != 0 || pending != 0 {
			t.Errorf("got %d requests and %d pending in the end", requests, pending)
		}
		other.Close()
		time.Sleep(time.Second)
		if limits.open != 0 {
			t.Errorf("got %d places taken in the end", limits.open)
		}
	})
}

// Many requests come, wait, give up, end whole and torn, while the endpoint leaves, breaks off and dies, in every
// interleaving that chance finds: what the endpoint allows holds, and in the end nothing is left.
func TestNothingIsLeftOfStreams(t *testing.T) {
	const workers, rounds, allowed = 24, 150, 3
	before := descriptors(t)
	var over atomic.Int64
	s := listening(t, http2.Options{MaxStreams: allowed, ExtendedConnect: true}, func(s *http2.Stream) {
		if n, _ := s.Conn().OpenStreams(); n > allowed {
			over.Add(1)
		}
		echo(s)
	})
	goroutines := runtime.NumGoroutine()
	traffic := new(evidence.Traffic)
	limits := NewLimits(Bounds{Conns: 4, Requests: workers})
	p := New(s.addr, Options{MaxConns: 5, MaxPending: workers / 2, MaxRequests: 200, Limits: limits}, traffic)
	var all sync.WaitGroup
	for w := range workers {
		chance := rand.New(rand.NewPCG(1, uint64(w)))
		all.Go(func() {
			for range rounds {
				visitStreams(t, p, s, chance)
			}
		})
	}
	all.Wait()
	p.Close()
	s.close()
	for traffic.ActiveConnects.Load() != 0 || runtime.NumGoroutine() > goroutines { // they hear of it
		runtime.Gosched()
	}
	wantOpen(t, p, 0, 0, 0)
	if n := over.Load(); n != 0 {
		t.Errorf("%d times there were more streams than allowed", n)
	}
	if q, f := len(p.streams.queue), len(p.streams.links)+p.streams.making; q != 0 || f != 0 {
		t.Errorf("got %d waiting and %d connections", q, f)
	}
	if limits.requests.Load() != 0 || limits.pending.Load() != 0 || limits.open != 0 {
		t.Errorf("got %d requests, %d pending, %d connections counted", limits.requests.Load(), limits.pending.Load(), limits.open)
	}
	if after := descriptors(t); after > before+1 { // the listener
		t.Errorf("got %d descriptors, had %d", after, before)
	}
}

// visitStreams is one request.
func visitStreams(t *testing.T, p *Pool, s *site, chance *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if chance.IntN(4) == 0 {
		go cancel()
	}
	now := time.Now()
	c, err := p.Open(ctx, now, now.Add(time.Minute), posted, false)
	switch chance.IntN(100) {
	case 0:
		s.each((*http2.Server).LeaveNow)
	case 1:
		s.each((*http2.Server).Close)
	case 2:
		p.Sweep(now.Add(time.Hour))
	}
	if err != nil {
		return
	}
	var torn sync.WaitGroup
	switch chance.IntN(4) {
	case 0:
		_ = c.Close()
	case 1:
		torn.Go(func() { _ = c.Close() })
		fallthrough
	default:
		_, _ = c.Stream.WriteBody([]byte("hello"), true)
		_, _ = c.Stream.ReadHead()
		_, _ = c.Buffer.Fill(c, 100)
	}
	torn.Wait()
	p.Put(c, now)
}
