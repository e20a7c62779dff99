package zookeeper

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/hold"
)

// A server is ZooKeeper in a process of its own.
type server struct {
	*testing.T
	dir  string
	port int
	cmd  *exec.Cmd
	more []string // lines of its configuration
}

// newServer starts one; it ends with the test.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{T: t, dir: t.TempDir(), port: free(t)}
	s.start()
	t.Cleanup(s.stop)
	return s
}

// everybodys is a server for the tests that do not need one of their own.
var everybodys struct {
	sync.Mutex
	*server
}

// shared starts it, the first time. What a test has there has names of its own.
func shared(t *testing.T) *server {
	t.Helper()
	everybodys.Lock()
	defer everybodys.Unlock()
	if everybodys.server == nil {
		dir, err := os.MkdirTemp("", "zookeeper") //nolint:usetesting // it outlives the test
		if err != nil {
			t.Fatal(err)
		}
		s := &server{T: t, dir: dir, port: free(t)}
		s.start()
		everybodys.server = s
	}
	return everybodys.server
}

func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newEnsemble starts three servers, of which one may go.
func newEnsemble(t *testing.T) []*server {
	t.Helper()
	lines := []string{"initLimit=20", "syncLimit=10"}
	for i := 1; i <= 3; i++ {
		lines = append(lines, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i, free(t), free(t)))
	}
	var all []*server
	for i := 1; i <= 3; i++ {
		s := &server{T: t, dir: t.TempDir(), port: free(t), more: lines}
		if err := os.WriteFile(filepath.Join(s.dir, "myid"), []byte(strconv.Itoa(i)), 0o600); err != nil {
			t.Fatal(err)
		}
		s.launch()
		t.Cleanup(s.stop)
		all = append(all, s)
	}
	for _, s := range all {
		s.serves()
	}
	return all
}

func (s *server) start() {
	s.Helper()
	s.launch()
	s.serves()
}

func (s *server) launch() {
	s.Helper()
	script, err := filepath.Abs("../../../scripts/servers/zookeeper")
	if err != nil {
		s.Fatal(err)
	}
	if _, err := os.Stat("/usr/share/java/zookeeper.jar"); err != nil {
		const missing = "ZooKeeper is not there: run scripts/setup"
		if os.Getenv("CI") != "" {
			s.Fatal(missing)
		}
		s.Skip(missing)
	}
	s.cmd = exec.Command(script, append([]string{s.dir, strconv.Itoa(s.port)}, s.more...)...)
	s.cmd.Env = append(os.Environ(), "ZOOKEEPER_LOG=off")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
}

func (s *server) serves() {
	s.Helper()
	eventually(s.T, "ZooKeeper answers", func() bool { return strings.Contains(word(s.address(), "srvr"), "Mode: ") })
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// open returns a proxy before servers, with further parameters.
func open(t *testing.T, servers, parameters string) *Proxy {
	t.Helper()
	u, err := hold.ParseURL("zookeeper://" + servers + "?listen=127.0.0.1:0" + parameters)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// word asks with a command of four letters.
func word(address, word string) string {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte(word)); err != nil {
		return ""
	}
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(late) {
			t.Fatalf("not in a minute: %s", what)
		}
		pause(t)
	}
}

func pause(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(10 * time.Millisecond):
	case <-t.Context().Done():
	}
}

// Most of these tests wait, for sessions to run out and servers to come up: more of them go beside each other than there are
// processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	code := m.Run()
	if s := everybodys.server; s != nil {
		s.stop()
		_ = os.RemoveAll(s.dir)
	}
	os.Exit(code)
}
