//go:build integration

package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where a yard's endpoints are, in this process.
const (
	yardPages = "127.7.2.1:9001" // answers with what it was sent; /ws is a WebSocket that does
	yardCalls = "127.7.2.2:9001" // gRPC
)

// yardYAML leads calls of gRPC to the one, and everything else to the other.
const yardYAML = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front}
spec:
  hosts: ["*"]
  gateways: [front]
  http:
    - match: [{uri: {prefix: /grpc.testing.}}]
      route: [{destination: {host: calls.yard}}]
    - route: [{destination: {host: pages.yard}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pages}
spec:
  hosts: [pages.yard]
  resolution: STATIC
  ports: [{number: 9001, name: http, protocol: HTTP}]
  endpoints: [{address: 127.7.2.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: calls}
spec:
  hosts: [calls.yard]
  resolution: STATIC
  ports: [{number: 9001, name: grpc, protocol: GRPC}]
  endpoints: [{address: 127.7.2.2}]
`

// A yard is a control and endpoints; gateways follow it as processes of their own, as unit files and manifests start
// them: there is no `crossfade up`.
type yard struct {
	dir, state string // of configuration; of everybody
	feed       string // socket
	program    string
	user       *syscall.Credential // who processes run as; nil is who runs the test
	control    *worker
}

// newYard starts the endpoints and a control. also are files of configuration by name, besides the usual.
func newYard(t *testing.T, also map[string]string) *yard {
	t.Helper()
	return newYardOf(t, also, nil)
}

// newYardOf is newYard for processes of another user, who can do no more than anybody.
func newYardOf(t *testing.T, also map[string]string, user *syscall.Credential) *yard {
	t.Helper()
	serveYard(t)
	serveCalls(t, yardCalls)
	base, err := os.MkdirTemp("", "yd") //nolint:usetesting // a Unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	y := &yard{
		dir: filepath.Join(base, "config"), state: filepath.Join(base, "state"), feed: filepath.Join(base, "feed", "feed.sock"),
		program: binary(t), user: user,
	}
	for _, dir := range []string{y.dir, y.state} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if user != nil {
		y.settle(t, base)
	}
	y.write(t, "yard.yaml", yardYAML)
	for name, text := range also {
		y.write(t, name, text)
	}
	y.control = begin(t, y.command("control", "--file", y.dir, "--socket", y.feed, "--state", y.state,
		"--gateway-address", "127.0.0.1", "--log-level", "WARN"))
	eventually(t, soon, func() string {
		if _, err := os.Stat(y.feed); err != nil {
			return err.Error()
		}
		return ""
	})
	return y
}

// settle gives the yard's user what is below base, with a program: where this one is, only its owner may look.
func (y *yard) settle(t *testing.T, base string) {
	t.Helper()
	program, err := os.ReadFile(y.program)
	if err != nil {
		t.Fatal(err)
	}
	y.program = filepath.Join(base, "crossfade")
	if err := os.WriteFile(y.program, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{base, y.state} {
		if err := os.Chown(path, int(y.user.Uid), int(y.user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// command is one of crossfade's.
func (y *yard) command(args ...string) *exec.Cmd {
	cmd := exec.Command(y.program, args...)
	if y.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: y.user}
		cmd.Env = append(os.Environ(), "TMPDIR="+filepath.Dir(y.state))
	}
	return cmd
}

func (y *yard) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(y.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// gateway starts a gateway with ports of its own, at an address of its own, and waits until it is ready.
func (y *yard) gateway(t *testing.T, address string, args ...string) *worker {
	t.Helper()
	w := begin(t, y.command(append([]string{
		"gateway", "--id", "gateway-" + address, "--feed", "unix:" + y.feed, "--state", y.state,
		"--address", address, "--admin", address + ":15000", "--log-level", "WARN",
	}, args...)...))
	w.awaitReady(t, address+":15021")
	return w
}

// awaitReady waits until a health port says that whoever has it is to be sent requests.
func (w *worker) awaitReady(t *testing.T, health string) {
	t.Helper()
	eventually(t, soon, func() string {
		select {
		case <-w.exited:
			t.Fatalf("%s ended: %v\n%s", w.cmd, w.cmd.ProcessState, w.said)
		default:
		}
		if got := statusOf("http://" + health + "/healthz/ready"); got != http.StatusOK {
			return fmt.Sprintf("%s/healthz/ready, which answers %d", health, got)
		}
		return ""
	})
}

// statusOf is the status of a GET on a connection of its own; 0 is no answer.
func statusOf(url string) int {
	resp, err := fresh().Get(url)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// A drained is what the tests read of a drain report.
type drained struct {
	ID         string             `json:"id"`
	Reason     string             `json:"reason"`
	Stage      string             `json:"stage"`
	AcceptedIn uint64             `json:"accepted_in"`
	Cut        uint64             `json:"cut"`
	Seconds    map[string]float64 `json:"seconds"`
}

// report reads the drain report of a gateway that has left.
func (y *yard) report(t *testing.T, id string) drained {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(y.state, id+".drain.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d drained
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

// A worker is a process that a test has started.
type worker struct {
	cmd    *exec.Cmd
	said   *transcript
	exited chan struct{} // closed when it has
}

// begin starts a process. When the test ends it is ended, and everything below it.
func begin(t *testing.T, cmd *exec.Cmd) *worker {
	t.Helper()
	w := &worker{cmd: cmd, said: &transcript{}, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = w.said, w.said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.exited)
		_ = cmd.Wait() // leave asks for the exit code
	}()
	t.Cleanup(func() {
		for _, p := range append(descendants(t, cmd.Process.Pid), proc{pid: cmd.Process.Pid}) {
			_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended
		}
		<-w.exited
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, w.said)
		}
	})
	return w
}

func (w *worker) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%v to %s: %v\n%s", s, w.cmd, err, w.said)
	}
}

// leave waits for the end of a process, and returns its exit code.
func (w *worker) leave(t *testing.T) int {
	t.Helper()
	select {
	case <-w.exited:
	case <-time.After(late):
		t.Fatalf("%s has not ended\n%s", w.cmd, w.said)
	}
	return w.cmd.ProcessState.ExitCode()
}

// installed returns the path of a command that may be where only root looks, and is otherwise as need.
func installed(t *testing.T, command string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, command)); err == nil {
			return path
		}
	}
	need(t, command)
	return command
}

// serveYard serves what answers with what it was sent, until the test ends.
func serveYard(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", yardPages)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ws" {
			echoWebSocket(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	})}
	t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(l) }()
}

// echoWebSocket takes a WebSocket and says what it hears, the close frame included.
func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	nc, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer nc.Close()
	_, _ = fmt.Fprintf(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		accepts(r.Header.Get("Sec-Websocket-Key")))
	s := &websocket{duplex: overTCP{nc}, in: bufio.NewReader(both)}
	for {
		f, err := s.hear()
		if err != nil {
			return
		}
		if err := s.say(f.op, f.final, f.payload); err != nil || f.op == opClose {
			return
		}
	}
}

// A strain is several loads at once, none of which may lose anything.
type strain struct {
	names []string
	loads []*load
}

// add begins a load.
func (s *strain) add(t *testing.T, name string, rate int, args ...string) {
	t.Helper()
	s.names = append(s.names, name)
	s.loads = append(s.loads, beginLoad(t, rate, args...))
}

// stop ends all of them and returns how many requests were sent, and how many lost, with what of them.
func (s *strain) stop(t *testing.T) (sent, missed uint64, how string) {
	t.Helper()
	var lines []string
	for i, l := range s.loads {
		account, shots := l.stop(t)
		sent, missed = sent+account.Sent, missed+account.LostTotal
		line := fmt.Sprintf("%s: %d sent, %d ok, %d lost", s.names[i], account.Sent, account.OK, account.LostTotal)
		if gone := lost(shots); len(gone) > 0 {
			maps.DeleteFunc(account.Lost, func(_ string, n uint64) bool { return n == 0 })
			line += fmt.Sprintf(" %v, the first of them %+v", account.Lost, gone[0])
		}
		if account.OK == 0 {
			t.Errorf("%s: nothing was answered", s.names[i])
		}
		lines = append(lines, line)
	}
	return sent, missed, strings.Join(lines, "\n")
}

// gone says whether a connection to an address is refused.
func gone(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err == nil {
		_ = nc.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
