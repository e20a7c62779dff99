package nacos

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain has many tests run at one time: they wait for times to be over, most of theirs.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// waitFor is longer than anything here takes.
const waitFor = 3 * time.Minute

// A nacosServer is one in a process of its own: r-nacos, since Nacos's own cannot be had. It knows v1 of HTTP, and gRPC.
type nacosServer struct {
	dir  string
	port int
	env  []string
	cmd  *exec.Cmd
	said bytes.Buffer

	client http.Client
}

// newServer starts one; it ends with the test.
func newServer(t *testing.T, env ...string) *nacosServer {
	t.Helper()
	s := &nacosServer{dir: t.TempDir(), port: freePair(t), env: env}
	s.start(t)
	t.Cleanup(func() {
		s.kill(t)
		if t.Failed() {
			t.Logf("r-nacos said:\n%s", &s.said)
		}
	})
	return s
}

// freePair returns a port that is free, as the one a thousand above it is.
func freePair(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1000)))
		_ = first.Close()
		if err == nil {
			_ = second.Close()
			return port
		}
	}
	t.Fatal("no two ports are free")
	return 0
}

func (s *nacosServer) start(t *testing.T) {
	t.Helper()
	script, err := filepath.Abs("../../../scripts/servers/nacos")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("../../../.cache/bin/rnacos"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("r-nacos is not there: run scripts/setup")
		}
		t.Skip("r-nacos is not there: run scripts/setup")
	}
	s.cmd = exec.Command(script, s.dir, strconv.Itoa(s.port))
	s.cmd.Env = append(append(os.Environ(), "RNACOS_NAMING_HEALTH_TIMEOUT_SECOND=3", "RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND=4"), s.env...)
	s.cmd.Stderr = &s.said
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), waitFor)
	defer cancel()
	for _, port := range []int{s.port, s.port + 1000} {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err == nil {
				_ = conn.Close()
				break
			}
			if pauseFor(ctx, 10*time.Millisecond) != nil {
				t.Fatalf("r-nacos never listened: %v", err)
			}
		}
	}
}

// kill ends it as a power cut would end a process: it has no say in it.
func (s *nacosServer) kill(t *testing.T) {
	t.Helper()
	if s.cmd.ProcessState != nil {
		return
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.cmd.Wait() // it was killed
}

func (s *nacosServer) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// url is where its clients find it.
func (s *nacosServer) url(query string) string {
	return fmt.Sprintf("nacos://127.0.0.1:%d?%s", s.port, strings.TrimPrefix(query, "&"))
}

// do does something to an instance, as anybody could.
func (s *nacosServer) do(t *testing.T, method, query string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, fmt.Sprintf("http://127.0.0.1:%d/nacos/v1/ns/instance?%s", s.port, query), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		t.Error(err)
		return
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %s", method, query, answer.Status)
	}
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
