//go:build integration

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where things are when every program stands by itself. The far instance is in a network of its own.
const (
	nearNet   = "10.77.0.1"
	farNet    = "10.77.0.2"
	etcdPort  = "2379"
	webPort   = "9080"
	leaseFor  = 3 * time.Second
	noticedBy = 4 * time.Second // an endpoint that answers nobody is left out by then, whatever its lease
)

const webYAML = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: web}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: ["*"]
  gateways: [web]
  http: [{route: [{destination: {host: web, port: {number: 9080}}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 9080}]
`

// webLifecycle is put into etcd, where control and agents that follow none find it.
const webLifecycle = `apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: web}
spec:
  service: web
  warmup: {duration: 4s, curve: linear}
  drain: {quiet: 2s, callers: 5s, timeout: 20s}
`

// A spread is etcd, control, a gateway and instances, each started as an operator would start it.
type spread struct {
	*mesh
	run      string // the directory of sockets
	registry string // URL
	etcd     *exec.Cmd
	control  *exec.Cmd
	output   *transcript
}

// spreadOut starts everything but instances.
func spreadOut(t *testing.T) *spread {
	t.Helper()
	s := &spread{
		mesh: &mesh{dir: t.TempDir(), state: t.TempDir()}, run: t.TempDir(), output: &transcript{},
		registry: fmt.Sprintf("etcd://%s:%s/?ttl=%v", nearNet, etcdPort, leaseFor),
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the programs said:\n%s", s.output)
		}
	})
	for _, address := range []string{ingress, gatewayAdmin, controlAdmin} {
		mustBeFree(t, address)
	}
	s.write(t, "web.yaml", webYAML)
	s.etcd = s.program(t, nil, binary(t), "etcd", "--data", filepath.Join(s.state, "etcd"), "--listen", "http://"+nearNet+":"+etcdPort)
	s.startControl(t)
	s.program(t, nil, binary(t), "gateway", "--feed", "unix:"+s.socket(), "--id", "gateway-1", "--state", s.state, "--log-level", "error",
		"--drain", "2s", "--drain-min", "0s", "--drain-notice", "0s", "--drain-long", "2s", "--drain-quiet", "1s", "--drain-spread", "0s", "--grace", "1m")
	eventually(t, soon, func() string {
		if _, err := everyEndpoint(t); err != nil {
			return err.Error()
		}
		return ""
	})
	return s
}

func (s *spread) socket() string { return filepath.Join(s.run, "feed.sock") }

func (s *spread) startControl(t *testing.T) {
	t.Helper()
	s.control = s.program(t, nil, binary(t), "control", "-f", s.dir, "--socket", s.socket(), "--state", s.state, "--registry", s.registry,
		"--gateway-address", "127.0.0.1", "--log-level", "warn")
}

// program starts a program, in the network of another process where one is given. It is ended with the test.
func (s *spread) program(t *testing.T, in *exec.Cmd, args ...string) *exec.Cmd {
	t.Helper()
	if in != nil {
		args = within(in, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = s.output, s.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		over := time.AfterFunc(soon, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		over.Stop()
	})
	return cmd
}

// instance starts an agent with its front beside details at an address.
func (s *spread) instance(t *testing.T, in *exec.Cmd, address string, flags ...string) *exec.Cmd {
	t.Helper()
	inner := "127.0.0.1"
	if in == nil {
		inner = strings.Replace(address, "127.0.1.", "127.0.2.", 1)
	}
	args := append([]string{
		binary(t), "agent", "--service", "web", "--name", "web-" + address, "--address", address, "--port", webPort,
		"--inbound", address + ":" + webPort + "=" + inner + ":" + webPort, "--admin", inner + ":15000",
		"--readiness-address", address + ":55199", "--offline", inner + ":54199", "--registry", s.registry, "--log-level", "error",
	}, flags...)
	return s.program(t, in, append(args, "--", bookinfo(t), "details", "--listen", inner+":"+webPort)...)
}

// within is a command in the network of another process.
func within(holder *exec.Cmd, args ...string) []string {
	return append([]string{"nsenter", "--net", "--target", strconv.Itoa(holder.Process.Pid), "--"}, args...)
}

// besides makes a network of its own that is joined to this one, and returns the process that holds it.
func besides(t *testing.T) (holder *exec.Cmd) {
	t.Helper()
	need(t, "ip")
	need(t, "nsenter")
	holder = exec.Command("unshare", "--net", "sleep", "600")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
		_ = exec.Command("ip", "link", "del", "near0").Run()
	})
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string {
		if other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", holder.Process.Pid)); err != nil || other == own {
			return "a network of its own"
		}
		return ""
	})
	pid := strconv.Itoa(holder.Process.Pid)
	for _, step := range [][]string{
		{"ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", pid},
		{"ip", "addr", "add", nearNet + "/24", "dev", "near0"},
		{"ip", "link", "set", "near0", "up"},
		within(holder, "ip", "addr", "add", farNet+"/24", "dev", "far0"),
		within(holder, "ip", "link", "set", "far0", "up"),
		within(holder, "ip", "link", "set", "lo", "up"),
	} {
		command(t, step...)
	}
	return holder
}

func command(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// webs waits until the instances at these addresses, and no others, are in one of the stages.
func webs(t *testing.T, addresses []string, stages ...string) map[string]endpoint {
	t.Helper()
	found := map[string]endpoint{}
	eventually(t, late, func() string {
		all, err := everyEndpoint(t)
		if err != nil {
			return err.Error()
		}
		clear(found)
		for _, e := range all {
			if slices.Contains(stages, e.Stage) {
				found[e.host()] = e
			}
		}
		for _, address := range addresses {
			if _, ok := found[address]; !ok || len(found) != len(addresses) || len(all) != len(addresses) {
				return fmt.Sprintf("%v in %v, got %+v", addresses, stages, all)
			}
		}
		return ""
	})
	return found
}

// older sees that nobody began anew: the same incarnations, older than they were, at their full share.
func older(t *testing.T, when string, before map[string]endpoint) map[string]endpoint {
	t.Helper()
	var addresses []string
	for address := range before {
		addresses = append(addresses, address)
	}
	now := webs(t, addresses, "Serving")
	for address, was := range before {
		is := now[address]
		t.Logf("%s: %s is %v old, was %v", when, is.Name, is.Age.Round(time.Millisecond), was.Age.Round(time.Millisecond))
		if is.Incarnation != was.Incarnation || is.Age < was.Age || is.Ramp.Share != 1 {
			t.Errorf("%s: got %+v, want what was there, older, and whole: %+v", when, is, was)
		}
	}
	return now
}

// TestRegistryAway takes etcd away from everybody, and one instance from all others, and turns control's clock back.
// Traffic goes on, and nobody warms up again.
func TestRegistryAway(t *testing.T) {
	far := besides(t)
	s := spreadOut(t)
	const first, third = "127.0.1.1", "127.0.1.3"
	document := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(document, []byte(webLifecycle), 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, "apply", "-f", document, "--registry", s.registry)
	s.instance(t, nil, first, "--feed", "unix:"+s.socket())
	remote := s.instance(t, far, farNet)
	warming := webs(t, []string{first, farNet}, "Warming")
	both := webs(t, []string{first, farNet}, "Serving")
	for address, e := range both {
		if was := warming[address]; was.Incarnation != e.Incarnation || e.Age < 4*time.Second {
			t.Errorf("%s: got %+v, want it to have warmed up for 4 s, by the Lifecycle in etcd", address, e)
		}
	}
	l := beginLoad(t, 100, "http://"+ingress+"/details/0")
	l.seconds(t, 1)
	unharmed := func(what string, during func()) {
		t.Helper()
		from := time.Now()
		during()
		to := time.Now()
		account, shots := l.stop(t)
		gone := lost(shots)
		slow := slices.DeleteFunc(shots, func(s shot) bool { return s.Ended-s.Sent < time.Second })
		last := time.Duration(0) // after the beginning, when a slow one was sent
		for _, s := range slow {
			last = max(last, l.zero.Add(s.Sent).Sub(from))
		}
		t.Logf("%s: %v, %d requests, %d lost, %d took more than a second, the last of them sent after %v", what,
			to.Sub(from).Round(time.Second), account.Sent, len(gone), len(slow), last.Round(time.Millisecond))
		if len(gone) > 0 || account.OK == 0 {
			t.Errorf("%s: %d requests were lost of %d, want none: %v; the first %+v", what, len(gone), account.Sent, account.Lost, gone[:min(3, len(gone))])
		}
		if last > noticedBy {
			t.Errorf("%s: a request sent %v after the beginning took more than a second, want none after %v", what, last, noticedBy)
		}
		l = beginLoad(t, 100, "http://"+ingress+"/details/0")
		l.seconds(t, 1)
	}
	hung := func(f func()) { // etcd answers nobody meanwhile
		t.Helper()
		resume := pause(t, proc{pid: s.etcd.Process.Pid})
		defer resume()
		f()
	}

	unharmed("etcd hangs for more than a lease", func() {
		hung(func() { <-time.After(2 * leaseFor) })
		l.seconds(t, int((2 * leaseFor).Seconds()))
	})
	both = older(t, "after etcd hung", both)
	unharmed("etcd is killed and started again", func() {
		kill(t, proc{pid: s.etcd.Process.Pid})
		_ = s.etcd.Wait()
		l.seconds(t, 5)
		s.etcd = s.program(t, nil, binary(t), "etcd", "--data", filepath.Join(s.state, "etcd"), "--listen", "http://"+nearNet+":"+etcdPort)
		l.seconds(t, 5)
	})
	both = older(t, "after etcd was killed", both)

	var newcomer *exec.Cmd
	unharmed("etcd hangs while an instance starts", func() {
		hung(func() {
			newcomer = s.instance(t, nil, third, "--feed", "unix:"+s.socket())
			l.seconds(t, 3)
			if got := s.status(t, "http://"+third+":55199/readiness"); got != http.StatusInternalServerError {
				t.Errorf("while the registry is away, the newcomer's readiness is %d, want 500", got)
			}
		})
		webs(t, []string{first, farNet, third}, "Serving")
		if got := s.status(t, "http://"+third+":55199/readiness"); got != http.StatusOK {
			t.Errorf("registered, the newcomer's readiness is %d, want 200", got)
		}
	})
	unharmed("etcd hangs while an instance leaves", func() {
		hung(func() { terminate(t, newcomer, 0) })
		webs(t, []string{first, farNet}, "Serving")
	})
	both = older(t, "after one came and left without etcd", both)

	// What was sent to the instance that nobody reaches any more waits for it, or is tried elsewhere; a moment later nobody
	// sends there.
	unharmed("an instance is cut off", func() {
		command(t, within(far, "ip", "link", "set", "far0", "down")...)
		l.seconds(t, 3+int((2*leaseFor).Seconds()))
		command(t, within(far, "ip", "link", "set", "far0", "up")...)
		webs(t, []string{first, farNet}, "Serving")
	})
	both = older(t, "after the cut was healed", both)

	unharmed("control is restarted with its clock set back", func() {
		terminate(t, s.control, 0)
		setBack(t, filepath.Join(s.state, "control.json"))
		s.startControl(t)
		l.seconds(t, 3)
	})
	older(t, "after control's clock was set back", both)
	unharmed("an agent that follows no control leaves", func() {
		terminate(t, remote, 0)
		webs(t, []string{first}, "Serving")
	})
	if account, shots := l.stop(t); len(lost(shots)) > 0 {
		t.Errorf("at the end %d of %d were lost", len(lost(shots)), account.Sent)
	}
}

// setBack makes what control has kept look as if its clock had been set back by a day since, and its machine restarted.
func setBack(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	var kept map[string]json.RawMessage
	err = errors.Join(err, json.Unmarshal(text, &kept))
	if err != nil {
		t.Fatal(err)
	}
	if kept["wall"], err = json.Marshal(time.Now().Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	kept["boot"] = json.RawMessage(`"another"`)
	if text, err = json.Marshal(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
