//go:build integration

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// namedOrder is set for a process of this binary that is an application as its users write them: it listens, and
// registers itself in ZooKeeper as Curator does, with a library that knows nothing of us.
const namedOrder = "CROSSFADE_NAMED"

// A namedApplication is what namedOrder says.
type namedApplication struct {
	Address   string // where it listens
	ZooKeeper string
	Opens     time.Duration // from its start until it can serve
}

// beNamed is the main of such a process.
func beNamed(order string) (code int) {
	var a namedApplication
	err := json.Unmarshal([]byte(order), &a)
	if err == nil {
		err = a.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "application:", err)
		return 1
	}
	return 0
}

// serve is the application's life. SIGTERM ends it at once: it takes nothing back that its registry will not take back by
// itself, and waits for nobody.
func (a namedApplication) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	opens := time.Now().Add(a.Opens)
	listener, err := net.Listen("tcp", a.Address)
	if err != nil {
		return err
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if time.Now().Before(opens) {
				http.Error(w, "not yet", http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprintln(w, a.Address)
		}))
	}()
	conn, sessions, err := zk.Connect([]string{a.ZooKeeper}, namedSession, zk.WithLogger(silent{}))
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		select {
		case e := <-sessions:
			if e.State == zk.StateHasSession { // a new one, or one that goes on
				if err := a.register(conn); err != nil {
					fmt.Fprintln(os.Stderr, "register:", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// silent is where a library's log goes.
type silent struct{}

func (silent) Printf(string, ...any) {}

func (a namedApplication) register(conn *zk.Conn) error {
	host, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(map[string]any{
		"name": "web", "id": host, "address": host, "port": json.Number(port), "sslPort": nil, "payload": nil,
		"registrationTimeUTC": time.Now().UnixMilli(), "serviceType": "DYNAMIC", "uriSpec": nil,
	})
	if err != nil {
		return err
	}
	for _, parent := range []string{"/services", "/services/web"} {
		if _, err := conn.Create(parent, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
	}
	_, err = conn.Create("/services/web/"+host, payload, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil // the session goes on
	}
	return err
}

func newNamed(t *testing.T, rng *rand.Rand) *named {
	t.Helper()
	n := &named{
		rng: rng, agents: map[string]*exec.Cmd{},
		spread: &spread{
			mesh: &mesh{dir: t.TempDir(), state: t.TempDir()}, run: t.TempDir(), output: &transcript{},
			registry: "zookeeper://127.0.0.1:" + namedPort + "/services",
		},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the programs said:\n%s", n.output)
		}
	})
	for _, address := range []string{ingress, gatewayAdmin, controlAdmin, "127.0.0.1:" + namedPort} {
		mustBeFree(t, address)
	}
	n.write(t, "web.yaml", webYAML+"---\n"+strings.NewReplacer("4s", "1s", "callers: 5s", "callers: 1500ms", "quiet: 2s", "quiet: 1s").Replace(webLifecycle))
	n.startZooKeeper(t)
	n.startControl(t)
	n.program(t, nil, binary(t), "gateway", "--feed", "unix:"+n.socket(), "--id", "gateway-1", "--state", n.state, "--log-level", "error",
		"--drain", "2s", "--drain-min", "0s", "--drain-notice", "0s", "--drain-long", "2s", "--drain-quiet", "1s", "--drain-spread", "0s", "--grace", "1m")
	return n
}

func (n *named) startZooKeeper(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/usr/share/java/zookeeper.jar"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ZooKeeper is not installed, and CI skips nothing: run scripts/setup")
		}
		t.Skip("ZooKeeper is not installed: run scripts/setup")
	}
	n.zookeeper = n.program(t, nil, filepath.Join(root, "scripts/servers/zookeeper"), filepath.Join(n.state, "zookeeper"), namedPort)
	eventually(t, soon, func() string {
		conn, err := net.Dial("tcp", "127.0.0.1:"+namedPort)
		if err != nil {
			return err.Error()
		}
		return closed(conn)
	})
}

func closed(c net.Conn) string {
	if err := c.Close(); err != nil {
		return err.Error()
	}
	return ""
}

// start starts another application, and returns its address before anybody sends there.
func (n *named) start(t *testing.T) string {
	t.Helper()
	n.next++
	host := fmt.Sprintf("127.0.1.%d", n.next)
	inner := fmt.Sprintf("127.0.2.%d", n.next)
	app := namedApplication{Address: host + ":" + webPort, ZooKeeper: inner + ":" + namedPort, Opens: namedOpens}
	if n.naive {
		app.ZooKeeper = "127.0.0.1:" + namedPort
	}
	order, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"env", namedOrder + "=" + string(order)}
	if !n.naive {
		args = append(args, binary(t), "agent", "--service", "web", "--name", "web-"+host, "--address", host, "--port", "http="+webPort,
			"--probe", "http:///", "--probe-interval", "100ms", "--readiness-address", host+":55199", "--offline", inner+":54199",
			"--hold", "zookeeper://127.0.0.1:"+namedPort+"?listen="+app.ZooKeeper, "--feed", "unix:"+n.socket(), "--log-level", "error", "--")
	}
	n.agents[host] = n.program(t, nil, append(args, self)...)
	return host
}

// settled waits until ZooKeeper lists those that run, and nobody else, and the gateway sends to all of them.
func (n *named) settled(t *testing.T) {
	t.Helper()
	var want []string
	for host := range n.agents {
		want = append(want, host)
	}
	slices.Sort(want)
	conn, _, err := zk.Connect([]string{"127.0.0.1:" + namedPort}, namedSession, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, late, func() string {
		got, _, err := conn.Children("/services/web")
		if err != nil {
			return err.Error()
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Sprintf("ZooKeeper lists %v, want %v", got, want)
		}
		return ""
	})
	if !n.naive {
		webs(t, want, "Serving")
	}
}

// one is the address of any.
func (n *named) one() string {
	var all []string
	for host := range n.agents {
		all = append(all, host)
	}
	slices.Sort(all)
	return all[n.rng.IntN(len(all))]
}

func (n *named) come(t *testing.T) {
	t.Helper()
	n.start(t)
}

// end stops one, and waits until it has ended.
func (n *named) end(t *testing.T, host string) {
	t.Helper()
	terminate(t, n.agents[host], 0)
	delete(n.agents, host)
}

func (n *named) leave(t *testing.T) {
	t.Helper()
	n.start(t)
	n.settled(t)
	n.end(t, n.one())
}

func (n *named) rollout(t *testing.T) {
	t.Helper()
	for range len(n.agents) {
		old := n.one()
		n.start(t)
		n.settled(t)
		n.end(t, old)
	}
}

// goOffline has one go offline. What it registers then, after its session broke as well, is nobody's to see.
func (n *named) goOffline(t *testing.T) {
	t.Helper()
	n.start(t)
	n.settled(t)
	host := n.one()
	cmd := n.agents[host]
	report := ask(t, http.MethodPost, "http://"+strings.Replace(host, "127.0.1.", "127.0.2.", 1)+":54199/offline")
	if !strings.Contains(report, `"cut":0`) {
		t.Errorf("%s went offline: %s", host, report)
	}
	delete(n.agents, host)
	n.settled(t)
	n.killZooKeeper(t) // its application connects, and registers, again
	<-time.After(time.Second)
	n.settled(t)
	terminate(t, cmd, 0)
}

func (n *named) killZooKeeper(t *testing.T) {
	t.Helper()
	kill(t, proc{pid: n.zookeeper.Process.Pid})
	_ = n.zookeeper.Wait()
	n.startZooKeeper(t)
}

func (n *named) hangZooKeeper(t *testing.T) {
	t.Helper()
	resume := pause(t, proc{pid: n.zookeeper.Process.Pid})
	host := n.start(t)
	<-time.After(namedSession / 2)
	if got := n.status(t, "http://"+host+":55199/readiness"); got != http.StatusInternalServerError {
		t.Errorf("while its registry hangs the readiness of %s is %d, want 500", host, got)
	}
	resume()
}

func (n *named) restartControl(t *testing.T) {
	t.Helper()
	terminate(t, n.control, 0)
	n.startControl(t)
}

func (n *named) killApplication(t *testing.T) {
	t.Helper()
	host := n.one()
	cmd := n.agents[host]
	kill(t, n.applicationOf(t, host))
	ended(t, cmd, 128+int(syscall.SIGKILL))
	delete(n.agents, host)
	n.start(t)
}

// applicationOf is the application of an agent.
func (n *named) applicationOf(t *testing.T, host string) proc {
	t.Helper()
	for _, p := range descendants(t, n.agents[host].Process.Pid) {
		return p
	}
	t.Fatalf("the agent of %s has no application", host)
	return proc{}
}

func (n *named) killAgent(t *testing.T) {
	t.Helper()
	host := n.one()
	kill(t, proc{pid: n.agents[host].Process.Pid})
	_ = n.agents[host].Wait()
	delete(n.agents, host)
	n.start(t)
}

// A plainConsumer follows a path of ZooKeeper and sends requests to whom it finds there, each with a connection of its own.
type plainConsumer struct {
	zero   time.Time
	list   atomic.Pointer[[]string]
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	shots []shot
}

func followZooKeeper(t *testing.T, server, path string) *plainConsumer {
	t.Helper()
	conn, _, err := zk.Connect([]string{server}, namedSession, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &plainConsumer{zero: time.Now(), cancel: cancel}
	t.Cleanup(func() { cancel(); c.tasks.Wait(); conn.Close() })
	found := make(chan struct{})
	c.tasks.Go(func() {
		known := sync.OnceFunc(func() { close(found) })
		for ctx.Err() == nil {
			hosts, _, changed, err := conn.ChildrenW(path)
			if err != nil { // the list that it has holds
				wait(ctx, 50*time.Millisecond)
				continue
			}
			c.list.Store(&hosts)
			known()
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	})
	<-found
	c.tasks.Go(func() { c.send(ctx) })
	return c
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// send sends at a constant rate, whatever becomes of it.
func (c *plainConsumer) send(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	tick := time.NewTicker(time.Second / namedRate)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		hosts := *c.list.Load()
		if len(hosts) == 0 {
			c.note(shot{Number: n, Sent: time.Since(c.zero), Ended: time.Since(c.zero), Outcome: "nobody"})
			continue
		}
		host := hosts[rand.IntN(len(hosts))]
		c.tasks.Go(func() {
			s := shot{Number: n, Sent: time.Since(c.zero), Endpoint: host}
			s.Status, s.Outcome = get(client, "http://"+host+":"+webPort+"/")
			s.Ended = time.Since(c.zero)
			c.note(s)
		})
	}
}

func (c *plainConsumer) note(s shot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shots = append(c.shots, s)
}

// get says how a GET ended, in the words of a load.
func get(client *http.Client, url string) (status int, outcome string) {
	answer, err := client.Get(url)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return 0, "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return 0, "reset"
	case os.IsTimeout(err):
		return 0, "timeout"
	case err != nil:
		return 0, "eof"
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return answer.StatusCode, "5xx"
	}
	return answer.StatusCode, "ok"
}

// stop ends it and waits for what is open.
func (c *plainConsumer) stop() (account, []shot) {
	c.cancel()
	c.tasks.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	a := account{Sent: uint64(len(c.shots)), Lost: map[string]uint64{}}
	for _, s := range c.shots {
		if s.Outcome == "ok" {
			a.OK++
			continue
		}
		a.LostTotal++
		a.Lost[s.Outcome]++
	}
	return a, c.shots
}
