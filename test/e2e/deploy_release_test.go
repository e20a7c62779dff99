//go:build integration

package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// releaseRounds is how often all pods are replaced.
func releaseRounds() int {
	if full() {
		return 10
	}
	return 1
}

// behind is how far what sends to pods is behind what became of them: endpoints go from the kubelet to the API server,
// to a controller, and back to the kube-proxy of every node.
const behind = 500 * time.Millisecond

// A cluster runs the manifest's pods as processes, each at an address of its own, and passes connections on to those
// that were ready a moment ago.
type cluster struct {
	y    *yard
	m    *manifests
	door string
	also []string // arguments for the gateway that come after the manifest's
	pods []*pod
	born int

	mu    sync.Mutex
	ready []string // addresses
}

// A pod is its two containers.
type pod struct {
	address          string
	control, gateway *worker
}

// newCluster starts as many pods, and what sends to them.
func newCluster(t *testing.T, pods int, also ...string) *cluster {
	t.Helper()
	c := &cluster{m: readManifests(t), door: "127.7.0.2:8080", also: also, y: &yard{dir: t.TempDir(), state: t.TempDir()}}
	serveYard(t)
	serveCalls(t, yardCalls)
	mountConfig(t, c.y.dir, map[string]string{"yard.yaml": yardYAML})
	l, err := net.Listen("tcp", c.door)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go c.proxy(l)
	for range pods {
		p := c.start(t)
		c.pods = append(c.pods, p)
		c.tell(append(c.addresses(), p.address))
	}
	return c
}

// start runs a pod's containers in their order, and waits for its readiness as the manifest asks for it.
func (c *cluster) start(t *testing.T) *pod {
	t.Helper()
	c.born++
	p := &pod{address: fmt.Sprintf("127.7.3.%d", c.born)}
	run, err := os.MkdirTemp("", "pd") //nolint:usetesting // a Unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	// A pod's own network, files and environment.
	inside := strings.NewReplacer("$(POD_NAME)", "pod-"+p.address, "0.0.0.0", p.address, "/run/crossfade", run,
		"/etc/crossfade", c.y.dir, "/var/lib/crossfade", c.y.state)
	container := func(of core.Container, also ...string) *worker {
		var args []string
		for _, arg := range of.Args {
			args = append(args, inside.Replace(arg))
		}
		return begin(t, exec.Command(binary(t), append(append(args, "--log-level=WARN"), also...)...))
	}
	_, gateway, control := c.m.pod()
	p.control = container(control, "--admin="+p.address+":15014", "--mesh="+p.address+":15001", "--state="+filepath.Join(c.y.state, p.address))
	p.gateway = container(gateway, append(c.also, "--admin="+p.address+":15000")...)
	p.gateway.awaitReady(t, p.address+":15021")
	if status := statusOf("http://" + p.address + ":8080/"); status != http.StatusOK {
		t.Errorf("%s is ready, and answers the first request with %d", p.address, status)
	}
	return p
}

// end takes a pod away as the kubelet does: what sends to it hears of that at the same time, which is later.
func (c *cluster) end(t *testing.T, p *pod) {
	t.Helper()
	rest := slices.DeleteFunc(c.addresses(), func(address string) bool { return address == p.address })
	heard := time.AfterFunc(behind, func() { c.tell(rest) })
	defer heard.Stop()
	_, gateway, _ := c.m.pod()
	command := gateway.Lifecycle.PreStop.Exec.Command
	preStop := exec.CommandContext(bounded(t), binary(t), append(slices.Clone(command[1:]), "--admin", p.address+":15000")...)
	out, err := preStop.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", preStop, err, out)
	}
	p.gateway.signal(t, syscall.SIGTERM)
	if code := p.gateway.leave(t); code != 0 {
		t.Errorf("the gateway left with exit code %d, want 0", code)
	}
	select {
	case <-p.control.exited:
		t.Errorf("control ended before the gateway")
	default:
	}
	p.control.signal(t, syscall.SIGTERM)
	p.control.leave(t)
	c.tell(rest) // in any case
}

func (c *cluster) addresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ready)
}

func (c *cluster) tell(ready []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ready = ready
}

// proxy passes each connection on to one of the pods, as kube-proxy does: to nobody else where that one refuses.
func (c *cluster) proxy(l net.Listener) {
	for {
		from, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer from.Close()
			all := c.addresses()
			to, err := net.Dial("tcp", all[rand.IntN(len(all))]+":8080")
			if err != nil {
				_ = from.(*net.TCPConn).SetLinger(0) // the client is refused, too
				return
			}
			defer to.Close()
			pass(from, to)
		}()
	}
}

// pass copies both ways until both are over; the end of one way is passed on by itself.
func pass(a, b net.Conn) {
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil {
				_ = way[1].Close() // who may still send learns that nobody listens
			}
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// roll replaces all pods as the manifest's strategy says: one more first, and then one less.
func (c *cluster) roll(t *testing.T) {
	t.Helper()
	for range c.pods {
		young := c.start(t)
		c.tell(append(c.addresses(), young.address))
		c.end(t, c.pods[0])
		c.pods = append(c.pods[1:], young)
	}
}

// reconfigure replaces the ConfigMap's files as the kubelet does, and sees that every pod goes by the new ones.
func (c *cluster) reconfigure(t *testing.T) {
	t.Helper()
	const all, other = "hosts: [\"*\"]\n  gateways", "hosts: [other.example]\n  gateways"
	mountConfig(t, c.y.dir, map[string]string{"yard.yaml": strings.Replace(yardYAML, all, other, 1)})
	for _, p := range c.pods {
		eventually(t, soon, func() string {
			if got := statusOf("http://" + p.address + ":8080/"); got != http.StatusNotFound {
				return fmt.Sprintf("%s to have no route any more, which answers %d", p.address, got)
			}
			return ""
		})
	}
}

func (c *cluster) strain(t *testing.T) *strain {
	t.Helper()
	url := "http://" + c.door + "/"
	s := &strain{}
	s.add(t, "fresh connections", 200, "--keepalive=false", "--source", "127.9.0.0/24", url)
	s.add(t, "keep-alive POST", 100, "--connections", "20", "--method", "POST", "--body", "1KB", url)
	s.add(t, "HTTP/2 POST", 100, "--http2", "--connections", "4", "--method", "POST", "--body", "20KB", url)
	s.loads[2].seconds(t, 1)
	return s
}

// TestKubernetesRelease runs the containers of deploy/kubernetes with the flags that stand there, timers shorter, and
// replaces all pods under load. The control leaves the lame duck out: what is sent to a pod before everybody has heard
// that it is gone is lost.
func TestKubernetesRelease(t *testing.T) {
	const pods = 2
	timers := []string{"--drain-quiet=1s", "--drain=10s", "--drain-long=10s", "--drain-spread=1s", "--grace=60s"}
	t.Run("as in the manifest", func(t *testing.T) {
		c := newCluster(t, pods, append(timers, "--drain-min=1s", "--drain-notice=5s")...)
		s := c.strain(t)
		var late uint64
		for range releaseRounds() {
			c.roll(t)
		}
		for i := range pods * releaseRounds() {
			late += c.y.report(t, fmt.Sprintf("pod-127.7.3.%d", i+1)).AcceptedIn
		}
		sent, missed, how := s.stop(t)
		if missed > 0 {
			t.Errorf("%d of %d were lost, want none\n%s", missed, sent, how)
		}
		if late == 0 {
			t.Errorf("nobody connected to a pod that was leaving: this run proves nothing")
		}
		t.Logf("%d pods replaced, %d requests; %d connections came to pods that were leaving\n%s", pods*releaseRounds(), sent, late, how)
		c.reconfigure(t)
	})
	t.Run("without a lame duck", func(t *testing.T) {
		c := newCluster(t, pods, append(timers, "--drain-min=0", "--drain-notice=0")...)
		for run := 1; run <= 5; run++ {
			s := c.strain(t)
			c.roll(t)
			if sent, missed, how := s.stop(t); missed > 0 {
				t.Logf("run %d: %d of %d were lost\n%s", run, missed, sent, how)
				return
			}
		}
		t.Errorf("five runs lost nothing: what sees nothing proves nothing")
	})
}
