package etcd

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"crossfade.dev/internal/registry/registrytest"
	"crossfade.dev/internal/secure"
)

// asServer is set for a process of this test that is an etcd.
const asServer = "CROSSFADE_TEST_ETCD"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		s := Server{
			Data: os.Args[1], Listen: os.Args[2], Files: secure.Files{Certificate: os.Args[3], Key: os.Args[4], CA: os.Args[5]},
			Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})), Ready: func() { fmt.Fprintln(os.Stdout, "ready") },
		}
		if err := s.Run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A server is an etcd in a process of its own.
type server struct {
	data, listen string
	files        secure.Files
	cmd          *exec.Cmd
}

// newServer starts one; it ends with the test.
func newServer(t *testing.T, listen string, files secure.Files) *server {
	t.Helper()
	s := &server{data: t.TempDir(), listen: listen, files: files}
	if listen == "" { // short: the path of a socket has 107 bytes
		dir, err := os.MkdirTemp("", "etcd-") //nolint:usetesting // t.TempDir is too long
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s.listen = "unix://" + filepath.Join(dir, "etcd.sock")
	}
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(os.Args[0], s.data, s.listen, s.files.Certificate, s.files.Key, s.files.CA)
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

// kill ends it as a power cut would end a process: it has no say in it.
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

// url is where its clients find it.
func (s *server) url(query string) string {
	return "etcd+" + s.listen + "?" + strings.TrimPrefix(query, "&")
}

func dial(t *testing.T, url string) *Client {
	t.Helper()
	c, err := Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// raw is a client of etcd itself, for what others do to it.
func raw(t *testing.T, c *Client) *clientv3.Client {
	t.Helper()
	etcd, err := c.connected(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return etcd
}

// world is an etcd of its own, that goes away and comes back as these say.
func world(t *testing.T, stop, start func(*server)) registrytest.World {
	t.Helper()
	s := newServer(t, "", secure.Files{})
	other := dial(t, s.url("ttl=3s"))
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	return registrytest.World{
		Dial:  func() registrytest.Client { return dial(t, s.url("ttl=3s")) },
		Stop:  func() { stop(s) },
		Start: func() { start(s) },
		Key:   func(incarnation string) string { return incarnation },
		Lose:  func(key string) { do(raw(t, other).Delete(t.Context(), other.instanceKey(key))) },
		Write: func(key, data string) { do(raw(t, other).Put(t.Context(), other.instanceKey(key), data)) },
	}
}

func TestARegistryThatIsKilled(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.World {
		t.Helper()
		return world(t, func(s *server) { s.kill(t) }, func(s *server) { s.start(t) })
	})
}

// TestARegistryThatHangs has its connections stay, as a partition of the network would.
func TestARegistryThatHangs(t *testing.T) {
	t.Parallel()
	registrytest.Run(t, func(t *testing.T) registrytest.World {
		t.Helper()
		return world(t, func(s *server) { s.signal(t, syscall.SIGSTOP) }, func(s *server) { s.signal(t, syscall.SIGCONT) })
	})
}

// waitFor is longer than anything here takes.
const waitFor = time.Minute
