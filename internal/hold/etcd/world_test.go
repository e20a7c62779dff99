package etcd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/hold/holdtest"
	"crossfade.dev/internal/registry/etcd"
	"crossfade.dev/internal/secure"
)

// asServer is set for a process of this test that is an etcd.
const asServer = "CROSSFADE_TEST_ETCD"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		s := etcd.Server{
			Data: os.Args[1], Listen: os.Args[2], Files: secure.Files{Certificate: os.Args[3], Key: os.Args[4], CA: os.Args[5]},
			Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Ready: func() { fmt.Fprintln(os.Stdout, "ready") },
		}
		if err := s.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil { // they wait, most of the time
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A server is an etcd in a process of its own.
type server struct {
	data, address string
	files         secure.Files // with them it speaks TLS
	cmd           *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	return newSecureServer(t, secure.Files{})
}

func newSecureServer(t *testing.T, files secure.Files) *server {
	t.Helper()
	s := &server{data: t.TempDir(), address: freeAddress(t), files: files}
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

// freeAddress is one that nobody listens at. The system gives its port to no connection of anybody's either.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(15_000+rand.IntN(15_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func (s *server) start(t *testing.T) {
	t.Helper()
	scheme := "http://"
	if s.files.Certificate != "" {
		scheme = "https://"
	}
	s.cmd = exec.Command(os.Args[0], s.data, scheme+s.address, s.files.Certificate, s.files.Key, s.files.CA)
	s.cmd.Env = append(os.Environ(), asServer+"=1")
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("etcd is not ready: %q, %v", line, err)
	}
}

func (s *server) kill(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
}

func (s *server) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// open returns a proxy before a server; the parameters are added to its URL.
func open(t *testing.T, s *server, parameters string) *Proxy {
	t.Helper()
	u, err := hold.ParseURL("etcd://" + s.address + "?listen=127.0.0.1:0&prefix=/services/" + parameters)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A naming is an application with etcd's own client, and its naming package, as people use them.
type naming struct {
	t    *testing.T
	etcd *clientv3.Client
	port int
	ttl  int64              // of its lease, in seconds
	stop context.CancelFunc // of what keeps its lease

	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
	lease clientv3.LeaseID // 0: it has none
}

var errDead = errors.New("the application is dead")

// newNaming returns one that talks to an address.
func newNaming(t *testing.T, address string, port int) *naming {
	t.Helper()
	a := &naming{t: t, port: port, ttl: 5, conns: map[net.Conn]bool{}}
	var err error
	a.etcd, err = clientv3.New(clientv3.Config{
		Endpoints: []string{"http://" + address}, DialTimeout: time.Minute, Logger: zap.NewNop(), AutoSyncInterval: 200 * time.Millisecond,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(a.dial)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Kill)
	return a
}

// dial makes connections that can be broken.
func (a *naming) dial(ctx context.Context, address string) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return nil, errDead
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(address, "http://"))
	if err == nil {
		a.conns[c] = true
	}
	return c, err
}

func (a *naming) key(service string) string {
	return "/services/" + service + "/127.0.0.1:" + strconv.Itoa(a.port)
}

// keep has the lease live as long as the application.
func (a *naming) keep(ctx context.Context) error {
	if a.lease != 0 {
		return nil
	}
	lease, err := a.etcd.Grant(ctx, a.ttl)
	if err != nil {
		return err
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	said, err := a.etcd.KeepAlive(keeping, lease.ID)
	if err != nil {
		stop()
		return err
	}
	a.lease, a.stop = lease.ID, stop
	go func() {
		for range said {
		}
	}()
	return nil
}

func (a *naming) Register(ctx context.Context, service string) error {
	if err := a.keep(ctx); err != nil {
		return err
	}
	m, err := endpoints.NewManager(a.etcd, "/services/"+service)
	if err != nil {
		return err
	}
	e := endpoints.Endpoint{Addr: "127.0.0.1:" + strconv.Itoa(a.port), Metadata: map[string]string{"weight": "100", "zone": "a"}}
	return m.AddEndpoint(ctx, a.key(service), e, clientv3.WithLease(a.lease))
}

func (a *naming) Deregister(ctx context.Context, service string) error {
	m, err := endpoints.NewManager(a.etcd, "/services/"+service)
	if err != nil {
		return err
	}
	return m.DeleteEndpoint(ctx, a.key(service))
}

func (a *naming) Sees(ctx context.Context, service string) (bool, error) {
	got, err := a.etcd.Get(ctx, a.key(service))
	if err != nil {
		return false, err
	}
	return len(got.Kvs) == 1, nil
}

func (a *naming) Reconnect(ctx context.Context) error {
	a.mu.Lock()
	for c := range a.conns {
		c.Close()
		delete(a.conns, c)
	}
	a.mu.Unlock()
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err := a.etcd.Get(attempt, "nothing")
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// Kill ends its connections. Its client gives up what it would have said over them.
func (a *naming) Kill() {
	a.mu.Lock()
	if a.dead {
		a.mu.Unlock()
		return
	}
	a.dead = true
	for c := range a.conns {
		c.Close()
	}
	a.mu.Unlock()
	if a.stop != nil {
		a.stop()
	}
	_ = a.etcd.Close() // it cannot say anything any more
}

// find is what a client without a proxy finds in a service.
func find(ctx context.Context, c *clientv3.Client, service string) ([]holdtest.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	got, err := c.Get(ctx, "/services/"+service+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var list []holdtest.Seen
	for _, kv := range got.Kvs {
		var value struct {
			Addr     string
			Metadata map[string]string
		}
		if err := json.Unmarshal(kv.Value, &value); err != nil {
			return nil, err
		}
		_, port, _ := net.SplitHostPort(value.Addr)
		seen := holdtest.Seen{Metadata: value.Metadata, Raw: string(kv.Value)}
		seen.Port, _ = strconv.Atoi(port)
		seen.Weight, _ = strconv.ParseFloat(value.Metadata["weight"], 64)
		seen.Weight /= 100
		list = append(list, seen)
	}
	return list, nil
}

// world is an etcd, alone or one that a test shares with others.
func world(t *testing.T, s *server) holdtest.World {
	t.Helper()
	peer := newNaming(t, s.address, 1)
	return holdtest.World{
		Open: func() holdtest.Proxy { return open(t, s, "") },
		App: func(address string, port int) holdtest.App {
			if address == "" {
				address = s.address
			}
			return newNaming(t, address, port)
		},
		Peer: func(ctx context.Context, service string) ([]holdtest.Seen, error) {
			return find(ctx, peer.etcd, service)
		},
		Stop:  func() { s.kill(t) },
		Start: func() { s.start(t) },
		Room:  holdtest.Room{Metadata: true, Weight: true, Self: true},
	}
}

func worlds(t *testing.T) func(*testing.T, bool) holdtest.World {
	t.Helper()
	shared := newServer(t)
	return func(t *testing.T, alone bool) holdtest.World {
		t.Helper()
		if alone {
			return world(t, newServer(t))
		}
		return world(t, shared)
	}
}

// TestARegistryThatHangs has its connections stay, as a partition of the network would.
func TestARegistryThatHangs(t *testing.T) {
	t.Parallel()
	holdtest.Away(t, func(t *testing.T) holdtest.World {
		t.Helper()
		s := newServer(t)
		w := world(t, s)
		plain := w.App
		w.App = func(address string, port int) holdtest.App {
			app, ok := plain(address, port).(*naming)
			if !ok {
				t.Fatal("it has another client")
			}
			app.ttl = 60 // it does not run out while etcd hangs
			return app
		}
		w.Stop = func() { s.signal(t, syscall.SIGSTOP) }
		w.Start = func() { s.signal(t, syscall.SIGCONT) }
		return w
	})
}

func TestConformance(t *testing.T) {
	t.Parallel()
	holdtest.Run(t, worlds(t))
}

func TestCost(t *testing.T) { holdtest.Cost(t, worlds(t)) }
