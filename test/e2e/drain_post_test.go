//go:build integration

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A poster is a client with one connection, which it keeps. It POSTs, thinks, and POSTs again; nothing is sent twice,
// and an answer counts when it holds what was sent. A connection that the server closed while nothing was asked is
// replaced, which costs nothing.
type poster struct {
	address string
	think   time.Duration // in the mean, between half of it and one and a half
	account *drainAccount

	nc net.Conn
	in *bufio.Reader
}

// run goes on until ctx ends, and finishes what it has begun.
func (p *poster) run(ctx context.Context, id uint64) {
	rng := rand.New(rand.NewPCG(id, 0))
	defer p.hangUp()
	for n := 0; ctx.Err() == nil; n++ {
		err := p.post(fmt.Sprintf("post %d of client %d", n, id))
		p.account.note("http/1.1", err)
		if err != nil {
			p.hangUp()
		}
		wait := time.NewTimer(time.Duration(float64(p.think) * (0.5 + rng.Float64())))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}

func (p *poster) hangUp() {
	if p.nc != nil {
		_ = p.nc.Close()
	}
	p.nc = nil
}

func (p *poster) post(body string) error {
	if p.nc == nil || !quiet(p.nc) {
		p.hangUp()
		var err error
		if p.nc, err = net.Dial("tcp", p.address); err != nil {
			return err
		}
		p.in = bufio.NewReader(p.nc)
	}
	if err := p.nc.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p.nc, "POST /post HTTP/1.1\r\nHost: drain.camp\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	resp, err := http.ReadResponse(p.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		return fmt.Errorf("the answer's head: %w", err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the answer's body: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), body) {
		return fmt.Errorf("got %s: %.200s", resp.Status, answer)
	}
	if resp.Close {
		p.hangUp()
	}
	return nil
}

// quiet says whether a connection is open as far as its client can know, and nothing has come on it.
func quiet(nc net.Conn) bool {
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = errors.Is(err, syscall.EAGAIN)
		return true
	})
	return err == nil && open
}

// thinkTimes are those of the clients that keep their connections.
var thinkTimes = []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second}

// postDelay is how far away the clients are, one way: so long, what is said on a connection may meet its end.
const postDelay = 3 * time.Millisecond

// postWhile has so many clients of each think time POST while something is done, which can wait for so many more, and
// returns what became of it. Everything is said and heard through a relay.
func postWhile(t *testing.T, address string, each int, thinks []time.Duration, do func(more func(int))) *drainAccount {
	t.Helper()
	far := &relay{late: postDelay, to: []string{address}}
	address = far.begin(t)
	account := newDrainAccount()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i, think := range thinks {
		for n := range each {
			p := &poster{address: address, think: think, account: account}
			all.Go(func() { p.run(ctx, uint64(1000*i+n)) })
		}
	}
	account.more(t, 2*each*len(thinks)) // all are connected
	do(func(n int) { account.more(t, n) })
	stop()
	all.Wait()
	return account
}

// A plainProxy is what one writes in an afternoon: httputil.ReverseProxy in an http.Server that ends with Shutdown.
// Its incarnations share one listening socket, so that no connection is lost between them.
type plainProxy struct {
	t      *testing.T
	socket *os.File
	two    bool // speaks HTTP/2, in the clear
	app    http.Handler
	server *http.Server
}

// beginPlain starts one in front of an app that gives bodies back, and returns where it is.
func beginPlain(t *testing.T, two bool) (p *plainProxy, address string) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(app.Close)
	behind, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 200}
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	p = &plainProxy{t: t, socket: socket, two: two, app: proxy}
	p.restart()
	t.Cleanup(func() {
		_ = p.server.Close()
		_ = socket.Close()
	})
	return p, l.Addr().String()
}

// restart starts the next incarnation, and shuts the one before it down as the documentation says.
func (p *plainProxy) restart() {
	p.t.Helper()
	l, err := net.FileListener(p.socket)
	if err != nil {
		p.t.Fatal(err)
	}
	before := p.server
	next := &http.Server{Handler: p.app, Protocols: new(http.Protocols), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	next.Protocols.SetHTTP1(!p.two)
	next.Protocols.SetUnencryptedHTTP2(p.two)
	go func() { _ = next.Serve(l) }()
	p.server = next
	if before == nil {
		return
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), soon)
	defer cancel()
	if err := before.Shutdown(ctx); err != nil {
		p.t.Errorf("the control's Shutdown: %v", err)
	}
}

// restarts restarts it so often, and waits each time.
func (p *plainProxy) restarts(n int, wait func()) {
	p.t.Helper()
	for range n {
		p.restart()
		wait()
	}
}

// TestDrainControlPost is the control of keep-alive POSTs: the same clients, and Shutdown.
func TestDrainControlPost(t *testing.T) {
	mustLose(t, "http.Server.Shutdown under keep-alive POSTs", func(t *testing.T) *drainAccount {
		t.Helper()
		p, address := beginPlain(t, false)
		return postWhile(t, address, 100, thinkTimes[:2], func(more func(int)) { p.restarts(4, func() { more(2000) }) })
	})
}
