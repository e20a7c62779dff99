//go:build integration

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// An unmodified is a registry, and instances of one application that register themselves there. Each has a port of its own,
// which is its name here.
type unmodified struct {
	application
	t      *testing.T // for what outlives a part of it
	zk     *zk.Conn   // to ZooKeeper itself
	dir    string
	output *transcript
	server *exec.Cmd
	next   int

	stop     chan struct{}
	watching sync.WaitGroup
	mu       sync.Mutex
	seen     []glimpse
}

// A glimpse is what the registry listed from a moment on, as anybody sees it: weights by port.
type glimpse struct {
	at   time.Time
	list map[int]float64
}

// unmodifiedIn starts a registry for an application, and watches whom it lists.
func unmodifiedIn(t *testing.T, a application) *unmodified {
	t.Helper()
	builtHere(t, a)
	u := &unmodified{application: a, t: t, dir: t.TempDir(), output: &transcript{}, stop: make(chan struct{})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the registry said:\n%s", u.output)
		}
	})
	mustBeFree(t, u.registry())
	u.startRegistry(t)
	if a.path != "" {
		conn, _, err := zk.Connect([]string{holdZooKeeper}, holdSession, zk.WithLogger(silent{}))
		if err != nil {
			t.Fatal(err)
		}
		u.zk = conn
		t.Cleanup(conn.Close)
	}
	u.watching.Go(u.watch)
	t.Cleanup(func() { close(u.stop); u.watching.Wait() })
	return u
}

// registry is where the registry itself is.
func (u *unmodified) registry() string {
	if u.path != "" {
		return holdZooKeeper
	}
	return holdNacos
}

func (u *unmodified) startRegistry(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(u.registry())
	u.server = exec.Command(filepath.Join(root, "scripts/servers", u.kind()), filepath.Join(u.dir, u.kind()), port)
	// Who sends no beats is gone within 8 s, in place of 30; beats come every 5 s.
	u.server.Env = append(os.Environ(), "RNACOS_NAMING_HEALTH_TIMEOUT_SECOND=7", "RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND=8")
	u.server.Stdout, u.server.Stderr = u.output, u.output
	untilEnd(u.t, u.server)
	eventually(t, soon, u.starting)
}

// starting says what a registry that was started still waits for.
func (u *unmodified) starting() string {
	if u.path == "" {
		for _, address := range []string{holdNacos, holdNacosGRPC} {
			if !answers(address) {
				return address + " to answer"
			}
		}
		return ""
	}
	nc, err := net.Dial("tcp", holdZooKeeper)
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	// Its port is open before it can serve, and whoever comes between may never be answered.
	err = nc.SetDeadline(time.Now().Add(time.Second))
	_, err2 := io.WriteString(nc, "srvr")
	status, err3 := io.ReadAll(nc)
	if err := errors.Join(err, err2, err3); err != nil || !strings.Contains(string(status), "Mode:") {
		return fmt.Sprintf("ZooKeeper to serve: %s, %v", status, err)
	}
	return ""
}

// untilEnd starts a program that ends with the test, at the latest.
func untilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // the test's Ctrl-C is not theirs, its end is
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// restart kills the registry and starts it again. ZooKeeper has kept sessions and all that is theirs; Nacos nobody who lives by
// a connection or by beats.
func (u *unmodified) restart(t *testing.T) {
	t.Helper()
	kill(t, proc{pid: u.server.Process.Pid})
	_ = u.server.Wait()
	u.startRegistry(t)
}

// watch looks at the registry fifty times a second.
func (u *unmodified) watch() {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		_, _ = u.look() // it may be away
		select {
		case <-u.stop:
			return
		case <-again.C:
		}
	}
}

// glimpses are those from a moment on, what was listed at that moment included.
func (u *unmodified) glimpses(from time.Time) []glimpse {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := max(0, len(u.seen)-1)
	for at > 0 && u.seen[at].at.After(from) {
		at--
	}
	return slices.Clone(u.seen[at:])
}

// listed says whether anybody saw it from a moment on.
func (u *unmodified) listed(r *registrant, from time.Time) bool {
	return slices.ContainsFunc(u.glimpses(from), func(s glimpse) bool { _, is := s.list[r.port]; return is })
}

// goneAt is when it was first seen no more after a moment; false while it is listed.
func (u *unmodified) goneAt(r *registrant, after time.Time) (time.Time, bool) {
	for _, s := range u.glimpses(after) {
		if _, is := s.list[r.port]; !is {
			return s.at, true
		}
	}
	return time.Time{}, false
}

// look asks the registry itself, as anybody may, and remembers the answer.
func (u *unmodified) look() (list map[int]float64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.path == "" {
		list, err = lookIntoNacos()
	} else {
		list, err = u.lookIntoZooKeeper()
	}
	if n := len(u.seen); err == nil && (n == 0 || !maps.Equal(u.seen[n-1].list, list)) {
		u.seen = append(u.seen, glimpse{time.Now(), list})
	}
	return list, err
}

func (u *unmodified) lookIntoZooKeeper() (map[int]float64, error) {
	list := map[int]float64{}
	names, _, err := u.zk.Children(u.path)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return nil, err
	}
	for _, name := range names {
		port, weight, err := u.entry(name)
		if errors.Is(err, zk.ErrNoNode) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		list[port] = max(weight, list[port]) // two while its weight changes
	}
	return list, nil
}

func (u *unmodified) entry(name string) (port int, weight float64, err error) {
	if strings.HasPrefix(u.path, "/dubbo/") {
		text, err := url.PathUnescape(name)
		if err != nil {
			return 0, 0, err
		}
		provider, err := url.Parse(text)
		if err != nil {
			return 0, 0, err
		}
		port, err = strconv.Atoi(provider.Port())
		if err != nil {
			return 0, 0, err
		}
		weight, err = strconv.ParseFloat(provider.Query().Get("weight"), 64)
		return port, weight, err
	}
	data, _, err := u.zk.Get(u.path + "/" + name)
	if err != nil {
		return 0, 0, err
	}
	var in struct {
		Port int `json:"port"`
	}
	err = json.Unmarshal(data, &in)
	return in.Port, 1, err
}

func lookIntoNacos() (map[int]float64, error) {
	resp, err := fresh().Get("http://" + holdNacos + "/nacos/v1/ns/instance/list?serviceName=orders&healthyOnly=false")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list: %s, %w: %s", resp.Status, err, body)
	}
	var answer struct {
		Hosts []struct {
			Port    int     `json:"port"`
			Weight  float64 `json:"weight"`
			Enabled bool    `json:"enabled"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	list := map[int]float64{}
	for _, h := range answer.Hosts {
		if h.Enabled {
			list[h.Port] = h.Weight
		}
	}
	return list, nil
}

// lists waits until the registry lists exactly these.
func (u *unmodified) lists(t *testing.T, want ...*registrant) {
	t.Helper()
	eventually(t, soon, func() string {
		got, err := u.look()
		if err != nil {
			return err.Error()
		}
		if missing := differ(got, want); missing != "" {
			return missing
		}
		return ""
	})
}

// listsNow sees that it does so now.
func (u *unmodified) listsNow(t *testing.T, why string, want ...*registrant) {
	t.Helper()
	got, err := u.look()
	if err != nil {
		t.Fatal(err)
	}
	if d := differ(got, want); d != "" {
		t.Errorf("%s: %s", why, d)
	}
}

func differ(got map[int]float64, want []*registrant) string {
	same := len(got) == len(want)
	var ports []int
	for _, r := range want {
		_, is := got[r.port]
		same = same && is
		ports = append(ports, r.port)
	}
	if same {
		return ""
	}
	return fmt.Sprintf("the registry lists %v, want %v", got, ports)
}

// remove takes one out of the registry, as an operator would.
func (u *unmodified) remove(t *testing.T, r *registrant) {
	t.Helper()
	if u.path == "" {
		ask(t, http.MethodDelete, "http://"+holdNacos+"/nacos/v1/ns/instance?serviceName=orders&ip="+r.host+"&port="+r.portText())
		return
	}
	names, _, err := u.zk.Children(u.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		port, _, err := u.entry(name)
		if err != nil {
			t.Fatal(err)
		}
		if port == r.port {
			if err := u.zk.Delete(u.path+"/"+name, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
}
