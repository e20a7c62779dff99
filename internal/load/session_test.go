package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// net/http is asked in each protocol, in clear and with TLS, and sees what was meant.
func TestProtocolsAgainstNetHTTP(t *testing.T) {
	body := make([]byte, 300<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(body)
	var wrong atomic.Int64
	handler := func(proto int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(got, body) || r.ProtoMajor != proto || r.Host != "reviews:9080" || r.Method != http.MethodPut ||
				r.RequestURI != "/a%20b?q=1" || r.Header.Get("X-One") != "1" || r.ContentLength != int64(len(body)) {
				wrong.Add(1)
			}
			w.Header().Set("X-Who", "me")
			_, _ = w.Write(got)
		}
	}
	for _, c := range []struct {
		protocol Protocol
		secure   bool
	}{{HTTP1, false}, {HTTP1, true}, {HTTP2, false}, {HTTP2, true}} {
		t.Run(fmt.Sprintf("%v, TLS %t", c.protocol, c.secure), func(t *testing.T) {
			plan := Plan{
				Protocol: c.protocol, Method: http.MethodPut, Body: body, Requests: 40, Connections: 2, EndpointHeader: "x-who",
				Headers: []Header{{"Host", "reviews:9080"}, {"X-One", "1"}},
			}
			major := 1
			if c.protocol == HTTP2 {
				major, plan.Streams = 2, 4
			}
			var base string
			switch {
			case c.secure:
				server := httptest.NewUnstartedServer(handler(major))
				server.EnableHTTP2 = major == 2
				server.StartTLS()
				defer server.Close()
				base = server.URL
				plan.TLS = trusting(server)
			case major == 2:
				base = serveHTTP2(t, handler(2))
			default:
				server := httptest.NewServer(handler(1))
				defer server.Close()
				base = server.URL
			}
			plan.URLs = []string{base + "/a%20b?q=1"}
			report, err := Run(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			if report.OK != 40 || report.Endpoints["me"] != 40 || report.Connects != 2 || wrong.Load() != 0 {
				t.Errorf("got %d ok, endpoints %v, %d connections, %d requests that came otherwise, %+v %v; want 40, me, 2, 0",
					report.OK, report.Endpoints, report.Connects, wrong.Load(), report.Lost, report.OtherDetails)
			}
		})
	}
}

// trusting trusts the server under whatever name the request says.
func trusting(server *httptest.Server) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // The certificate is compared instead.
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.ServerName != "reviews" || !state.PeerCertificates[0].Equal(server.Certificate()) {
				return fmt.Errorf("name %q or another's certificate", state.ServerName)
			}
			return nil
		},
	}
}

func TestWhoIsNotTrustedGetsNothing(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = nil
	server.StartTLS()
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		config *tls.Config
		host   string
		ok     uint64
	}{
		"trusted":         {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, "example.com", 1},
		"another name":    {&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, "example.org", 0},
		"nobody's friend": {nil, "example.com", 0},
	} {
		asked.Store(0)
		report, err := Run(t.Context(), Plan{
			URLs: []string{server.URL}, Protocol: HTTP2, Requests: 1, TLS: c.config, Headers: []Header{{"Host", c.host}},
		})
		if err != nil || report.OK != c.ok || report.Lost.Other != 1-c.ok || asked.Load() != int64(c.ok) {
			t.Errorf("%s: got %+v, %v and %d requests, want %d ok", name, report, err, asked.Load(), c.ok)
		}
	}
}

// A server that leaves after every third request is followed by another connection each time: nothing is lost, and
// nothing is sent on a connection that has said that it leaves.
func TestLeavingCostsNothing(t *testing.T) {
	const requests, each = 300, 3
	leaves := func(p *peer, id uint32) bool {
		if p.nth == each-1 {
			p.goAway(1<<31 - 1) // as Leave does: what comes before it is heard is served
		}
		return answers(p, id)
	}
	report, err := Run(t.Context(), Plan{
		URLs: []string{listenHTTP2(t, takesTurns(leaves))}, Protocol: HTTP2, Requests: requests, Connections: 1, Streams: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if report.OK != requests || report.Connects != requests/each || report.GoAways["NO_ERROR"] != requests/each || report.IdleClosed != 0 {
		t.Errorf("got %d ok, %d connections, GOAWAY %v, %d closed idle, lost %+v; want %d, %d, as many, 0",
			report.OK, report.Connects, report.GoAways, report.IdleClosed, report.Lost, requests, requests/each)
	}
}

// What a GOAWAY did not take is lost as that, and what it took is waited for, whatever comes meanwhile.
func TestGoAwaySplitsWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Pointer[peer]
		script := func() turn {
			return func(p *peer, id uint32) bool {
				if !first.CompareAndSwap(nil, p) && first.Load() != p {
					return answers(p, id) // on the second connection
				}
				if id == 9 { // five are in flight; three were taken
					p.goAway(5)
					time.Sleep(time.Second)
					for id := uint32(1); id <= 5; id += 2 {
						answers(p, id)
					}
				}
				return true
			}
		}
		report, err := Run(t.Context(), inBubbleHTTP2(Plan{Requests: 20, Connections: 1, Streams: 5}, script))
		if err != nil {
			t.Fatal(err)
		}
		if report.OK != 18 || report.Lost != (Losses{Unprocessed: 2}) || report.Connects != 2 || report.Latency.Max < time.Second {
			t.Errorf("got %d ok, %+v lost, %d connections, at most %s; want 18, 2 unprocessed, 2, 1s", report.OK, report.Lost, report.Connects, report.Latency.Max)
		}
	})
}

func TestRoomOfTheServerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, most := 0, 0
		script := func() turn {
			return func(p *peer, id uint32) bool {
				open++
				most = max(most, open)
				if open == 3 { // nobody is answered before the room is full
					for ; open > 0; open-- {
						answers(p, id-uint32(2*(open-1)))
					}
				}
				return true
			}
		}
		room := http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3}
		report, err := Run(t.Context(), inBubbleHTTP2(Plan{Requests: 30, Connections: 1, Streams: 10}, script, room))
		if err != nil {
			t.Fatal(err)
		}
		if report.OK != 30 || most != 3 {
			t.Errorf("got %d ok and %d streams at a time, want 30 and 3; lost %+v", report.OK, most, report.Lost)
		}
	})
}

// A server may take a body byte by byte, and send one that is much larger than our windows.
func TestWindows(t *testing.T) {
	body := make([]byte, 40_000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(body)
	var sums sync.Map
	url := listenHTTP2(t, takesTurns(answers), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 7})
	report, err := Run(t.Context(), Plan{URLs: []string{url}, Protocol: HTTP2, Body: body, Requests: 4, Streams: 2})
	if err != nil || report.OK != 4 {
		t.Errorf("through a window of 7 bytes: got %+v, %v, want 4 ok", report, err)
	}
	large := make([]byte, 3*sessionWindow)
	url = serveHTTP2(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		sums.Store(sha256.Sum256(got), true)
		w.Header().Set("Content-Length", strconv.Itoa(len(large)))
		_, _ = w.Write(large)
	})
	report, err = Run(t.Context(), Plan{URLs: []string{url}, Protocol: HTTP2, Body: large, Requests: 6, Streams: 3, Connections: 1})
	if err != nil || report.OK != 6 || report.Connects != 1 {
		t.Errorf("large bodies both ways: got %+v, %v, want 6 ok on one connection", report, err)
	}
	if _, ok := sums.Load(sha256.Sum256(large)); !ok {
		t.Error("the server got another body than was sent")
	}
}

// A peer that sends more than it was allowed has broken the connection, or the stream.
func TestMoreThanTheWindow(t *testing.T) {
	books := newAccount()
	client, server := net.Pipe()
	defer server.Close()
	c := newSession(client, books)
	s := &stream{id: 1, begun: true, allowed: 10, wake: make(chan struct{}, 1)}
	c.streams[1], c.next = s, 3
	frame := func(n int) *http2.DataFrame {
		var wire bytes.Buffer
		_ = http2.NewFramer(&wire, nil).WriteData(1, false, make([]byte, n))
		f, err := http2.NewFramer(nil, &wire).ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		data, _ := f.(*http2.DataFrame)
		return data
	}
	if err := c.takeData(frame(10)); err != nil || s.done {
		t.Errorf("10 bytes of 10: got %v, done %t", err, s.done)
	}
	s.allowed = 10
	if err := c.takeData(frame(11)); err != nil || !s.done || s.err == nil {
		t.Errorf("11 bytes of 10: got %v, done %t with %v, want the stream reset", err, s.done, s.err)
	}
	c.allowed = 10
	if err := c.takeData(frame(11)); err == nil {
		t.Error("11 bytes of the connection's 10: got no error, want the connection's end")
	}
}

// A connection on which nothing has come since a request was sent is not trusted with another.
func TestASilentConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(*peer, uint32) bool { return true }
		slow := func(p *peer, id uint32) bool {
			_ = p.framer.WritePing(false, [8]byte{})
			return true
		}
		plan := Plan{Requests: 5, Connections: 1, Streams: 1, Timeout: time.Second}
		report, err := Run(t.Context(), inBubbleHTTP2(plan, takesTurns(hangs, slow, answers)))
		if err != nil {
			t.Fatal(err)
		}
		if report.OK != 3 || report.Lost != (Losses{Timeout: 2}) || report.Connects != 2 {
			t.Errorf("got %d ok, %+v, %d connections; want 3, 2 timeouts, 2: one that hung, one that was slow", report.OK, report.Lost, report.Connects)
		}
	})
}

func TestAConnectionForEachRequestOverHTTP2(t *testing.T) {
	url := listenHTTP2(t, takesTurns(answers))
	report, err := Run(t.Context(), Plan{URLs: []string{url}, Protocol: HTTP2, Requests: 20, Connections: 4, NoKeepAlive: true})
	if err != nil || report.OK != 20 || report.Connects != 20 || report.IdleClosed != 0 {
		t.Errorf("got %+v, %v, want 20 ok on 20 connections", report, err)
	}
}

func TestServersThatTakeConnectionsAndNoStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := inBubbleHTTP2(Plan{Requests: 2, Connections: 1, Streams: 1}, nil)
		plan.dial = func(context.Context, netip.AddrPort) (net.Conn, error) {
			client, server := buffered()
			go func() {
				p := &peer{framer: http2.NewFramer(server, server)}
				_ = p.framer.WriteSettings()
				p.goAway(0)
				_, _ = io.Copy(io.Discard, server)
			}()
			return client, nil
		}
		report, err := Run(t.Context(), plan)
		if err != nil || report.Lost != (Losses{Unprocessed: 2}) || report.Connects < 2 || report.Connects > 2*patience {
			t.Errorf("got %+v, %v, want 2 unprocessed after %d connections each at most", report, err, patience)
		}
	})
}
