package serve_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/serve"
)

// A streamer is a client that has agreed on HTTP/2 by ALPN, and asks for all on one connection.
type streamer struct {
	t     *testing.T
	http  http.Client
	addr  string
	conns atomic.Int32
}

func streaming(t *testing.T, addr string, config *tls.Config) *streamer {
	t.Helper()
	s := &streamer{t: t, addr: addr}
	config.NextProtos = []string{"h2"}
	transport := &http.Transport{Protocols: new(http.Protocols), DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		s.conns.Add(1)
		return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
	}}
	transport.Protocols.SetHTTP2(true)
	s.http = http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

// ask returns the status of an answer; it may be called from many goroutines.
func (s *streamer) ask(host string) (int, error) {
	r, err := http.NewRequest(http.MethodGet, "https://"+s.addr+"/", http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Host = host
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.ProtoMajor != 2 {
		err = fmt.Errorf("answered in %s", resp.Proto)
	}
	return resp.StatusCode, err
}

func (s *streamer) wantStatus(host string, want int) {
	s.t.Helper()
	if got, err := s.ask(host); got != want || err != nil {
		s.t.Errorf("asked for %s: got %d, %v, want %d", host, got, err, want)
	}
}

// Of many requests at once on one connection, each is answered as its own host demands, while configuration changes.
func TestStreamsOfOneConnectionAreGuardedOneByOne(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	open := files.server(ca, "shop.example.com", "www.example.com")
	guarded := files.mutual(files.server(ca, "till.example.com"), ca)
	g := start(t, serve.Options{}, secure(e, open, guarded))
	s := streaming(t, g.addr("a"), unchecked("shop.example.com"))
	s.wantStatus("shop.example.com", 200)
	var group sync.WaitGroup
	for _, c := range []struct {
		host string
		want int
	}{{"shop.example.com", 200}, {"Www.example.com.:8443", 200}, {"till.example.com", 421}, {"example.org", 421}} {
		for range 2 {
			group.Go(func() {
				for range 25 {
					s.wantStatus(c.host, c.want)
				}
			})
		}
	}
	for i := range 10 {
		servers := [][]fleet.ServerTLS{{open, guarded}, {guarded, open}}[i%2]
		if err := g.apply(secure(e, servers...)); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	if n := s.conns.Load(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
}

// What a connection may ask for goes by the servers that are in force when it asks, stream by stream.
func TestStreamsAfterAChange(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	one := files.server(ca, "shop.example.com")
	g := start(t, serve.Options{}, secure(e, one))
	s := streaming(t, g.addr("a"), unchecked("shop.example.com"))
	for i, step := range []struct {
		servers []fleet.ServerTLS
		want    int
	}{
		{[]fleet.ServerTLS{one}, 200},
		{[]fleet.ServerTLS{files.server(ca, "*.example.com"), one}, 200},
		{[]fleet.ServerTLS{files.mutual(one, ca)}, 421}, // clients must now show a certificate, which this one has not
		{[]fleet.ServerTLS{one}, 200},
		{nil, 200}, // anybody may have it in the clear
	} {
		if err := g.apply(secure(e, step.servers...)); err != nil {
			t.Fatal(err)
		}
		if got, err := s.ask("shop.example.com"); got != step.want || err != nil {
			t.Errorf("step %d: got %d, %v, want %d", i, got, err, step.want)
		}
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
}
