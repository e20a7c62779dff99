package zookeeper

import (
	"errors"
	"io"
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

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/registry/registrytest"
)

// waitFor is longer than anything here takes.
const waitFor = time.Minute

// A server is ZooKeeper in a process of its own.
type server struct {
	data    string
	port    int
	options []string // lines of its configuration
	cmd     *exec.Cmd
}

// newServer starts one; it ends with the test.
func newServer(t *testing.T, options ...string) *server {
	t.Helper()
	s := &server{data: t.TempDir(), port: freePort(t), options: options}
	s.start(t)
	t.Cleanup(func() { s.kill(t) })
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// start runs the script that people use, and waits until the server answers.
func (s *server) start(t *testing.T) {
	t.Helper()
	script, err := filepath.Abs("../../../scripts/servers/zookeeper")
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(script, append([]string{s.data, strconv.Itoa(s.port)}, s.options...)...) //nolint:gosec // ours
	var says strings.Builder
	s.cmd.Stderr, s.cmd.SysProcAttr = &says, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	cmd := s.cmd
	go func() { _ = cmd.Wait(); close(ended) }()
	for late := time.After(waitFor); !s.answers(); {
		select {
		case <-ended:
			if strings.Contains(says.String(), "run scripts/setup") && os.Getenv("CI") != "true" {
				t.Skip(says.String())
			}
			t.Fatalf("ZooKeeper ended: %s", says.String())
		case <-late:
			t.Fatal("ZooKeeper does not answer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answers says whether it has sessions: that it is well it says before.
func (s *server) answers() bool { return strings.Contains(s.says("srvr"), "Mode: ") }

// says is the answer to a word of four letters; "" is none.
func (s *server) says(word string) string {
	conn, err := net.DialTimeout("tcp", s.address(), time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // what fails is seen below
	_, _ = io.WriteString(conn, word)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// received is how many packets the server has had.
func (s *server) received(t *testing.T) int {
	t.Helper()
	for line := range strings.Lines(s.says("srvr")) {
		if n, is := strings.CutPrefix(strings.TrimSpace(line), "Received: "); is {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			return count
		}
	}
	t.Fatal("it does not say how much it received")
	return 0
}

// kill ends it as a power cut would end a process: it has no say in it.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	for late := time.After(waitFor); s.answers(); {
		select {
		case <-late:
			t.Fatal("ZooKeeper cannot be killed")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A relay stands between clients and a server, as a network does.
type relay struct {
	listen string
	to     string

	mu      sync.Mutex
	l       net.Listener
	conns   map[net.Conn]bool
	taken   int           // connections, ever
	stalled chan struct{} // closed while bytes go through
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	r := &relay{listen: "127.0.0.1:0", to: to, conns: map[net.Conn]bool{}, stalled: make(chan struct{})}
	close(r.stalled)
	r.open(t)
	r.listen = r.l.Addr().String()
	t.Cleanup(func() { r.flow(); r.cut() })
	return r
}

func (r *relay) open(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", r.listen)
	if err != nil {
		t.Error(err)
		return
	}
	r.mu.Lock()
	r.l = l
	r.mu.Unlock()
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", r.to)
			if err != nil {
				_ = a.Close()
				continue
			}
			r.mu.Lock()
			r.conns[a], r.conns[b] = true, true
			r.taken++
			r.mu.Unlock()
			go r.pass(a, b)
			go r.pass(b, a)
		}
	}()
}

// pass copies until either end is closed.
func (r *relay) pass(from, to net.Conn) {
	defer func() {
		_, _ = from.Close(), to.Close()
		r.mu.Lock()
		delete(r.conns, from)
		r.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		flows := r.stalled
		r.mu.Unlock()
		<-flows
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, and refuses others until open.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.l.Close()
	for c := range r.conns {
		_ = c.Close()
	}
}

// stall lets nothing through, and tells nobody; flow is the end of that.
func (r *relay) stall() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stalled = make(chan struct{})
}

func (r *relay) flow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stalled:
	default:
		close(r.stalled)
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

// plainly is a client of ZooKeeper itself, for what others do to it.
func plainly(t *testing.T, address string) *zk.Conn {
	t.Helper()
	conn, _, err := zk.Connect([]string{address}, 10*time.Second, zk.WithLogger(silent{}), zk.WithHostProvider(&servers{}), zk.WithMaxBufferSize(maxAnswer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// rootOf is where a test is alone at a server that it shares.
func rootOf(t *testing.T) string {
	t.Helper()
	return "/" + strings.NewReplacer("/", "-", ",", "").Replace(t.Name())
}

// world is a root of its own at a server, that clients reach at an address.
func world(t *testing.T, s *server, address, kind string, stop, start func()) registrytest.World {
	t.Helper()
	root := rootOf(t) + "/services"
	url := "zookeeper://" + address + root + "?ttl=3s&layout=" + kind
	directory := root + "/reviews"
	if kind == string(dubbo) {
		directory += "/providers"
	}
	conn := plainly(t, s.address())
	w := registrytest.World{
		Dial:  func() registrytest.Client { return dial(t, url) },
		Stop:  stop,
		Start: start,
		Key:   func(incarnation string) string { return key(t, conn, layout(kind), directory, incarnation) },
		Lose: func(key string) {
			if err := conn.Delete(key, -1); err != nil {
				t.Errorf("lose %s: %v", key, err)
			}
		},
		Write: func(key, data string) {
			if _, err := conn.Create(key, []byte(data), 0, zk.WorldACL(zk.PermAll)); err != nil {
				t.Errorf("write %s: %v", key, err)
			}
		},
		End: func(c registrytest.Client) { _ = c.(*Client).Close() },
		Impostor: `{"name":"reviews","id":"z","address":"127.6.6.6","port":9080,"payload":{"@class":"` +
			`org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","metadata":{"crossfade.incarnation":"a-1"}}}`,
	}
	return w
}

// key is the path of an incarnation's node, or of what the suite calls so.
func key(t *testing.T, conn *zk.Conn, kind layout, directory, incarnation string) string {
	t.Helper()
	if kind == dubbo && incarnation == "z" {
		return directory + "/dubbo%3A%2F%2F127.6.6.6%3A9080%2Freviews%3Fcrossfade.incarnation%3Da-1"
	}
	names, _, err := conn.Children(directory)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		t.Error(err)
	}
	for _, name := range names {
		data, _, err := conn.Get(directory + "/" + name)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			t.Error(err)
		}
		p := place{root: strings.TrimSuffix(directory, "/reviews"), layout: kind}
		if r, err := p.read("reviews", name, data, 0); err == nil && r.Metadata["crossfade.incarnation"] == incarnation {
			return directory + "/" + name
		}
	}
	return directory + "/" + incarnation
}
