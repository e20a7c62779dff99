//go:build integration

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The default addresses of `crossfade up`.
const (
	ingress      = "127.0.0.1:8080"
	gatewayAdmin = "127.0.0.1:15000"
	meshPort     = "127.0.0.1:15001"
	controlAdmin = "127.0.0.1:15014"
	page         = "http://" + ingress + "/productpage"
)

// Bounds of waiting. A working system needs a tenth of them, also on a busy machine.
const (
	soon = 30 * time.Second
	late = 2 * time.Minute
)

// A mesh is an example under `crossfade up`, from a copy that a test may edit.
type mesh struct {
	dir, state string
	up         *exec.Cmd
	output     *transcript
	exited     chan struct{} // closed when up has ended
}

// start starts Bookinfo and waits until it answers. edit changes the configuration first.
func start(t *testing.T, edit func(m *mesh)) *mesh {
	t.Helper()
	m := launch(t, "bookinfo", func(m *mesh) {
		// Bookinfo gives up on a call after 3 s, which is the machine's doing where it has no time for anybody.
		m.rewrite(t, regexp.MustCompile(`"--listen"`), `"--call-timeout", "15s", "--listen"`)
		if edit != nil {
			edit(m)
		}
	})
	for _, deployment := range []string{"productpage-v1", "details-v1", "ratings-v1", "reviews-v1"} {
		await(t, deployment, "Warming", "Serving")
	}
	eventually(t, soon, func() string {
		if status := m.status(t, page); status != http.StatusOK {
			return "productpage answers " + http.StatusText(status)
		}
		return ""
	})
	return m
}

// launch starts an example and waits until its gateway serves. Its end, and the end of every process below it, is
// seen to when the test ends.
func launch(t *testing.T, example string, edit func(m *mesh)) *mesh {
	t.Helper()
	for _, address := range []string{ingress, gatewayAdmin, meshPort, controlAdmin} {
		mustBeFree(t, address)
	}
	m := &mesh{dir: filepath.Join(t.TempDir(), example), state: t.TempDir(), output: &transcript{}, exited: make(chan struct{})}
	copyYAML(t, filepath.Join(root, "examples", example), m.dir)
	if edit != nil {
		edit(m)
	}
	m.up = exec.Command(binary(t), "up", "-f", m.dir, "--state", m.state)
	m.up.Dir = root
	m.up.Stdout, m.up.Stderr = m.output, m.output
	if err := m.up.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.exited)
		_ = m.up.Wait() // end asks for the exit code
	}()
	t.Cleanup(func() { m.end(t) })
	m.waitReady(t)
	return m
}

func mustBeFree(t *testing.T, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("%s is taken: end what serves it (another crossfade up?) and try again: %v", address, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// copyYAML copies the configuration of an example, not its program.
func copyYAML(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// end interrupts up as Ctrl-C does and sees that it and everything below it is gone.
func (m *mesh) end(t *testing.T) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("crossfade up said:\n%s", m.output)
		}
	}()
	select {
	case <-m.exited:
		t.Errorf("crossfade up had ended by itself: %v", m.up.ProcessState)
	default:
		if err := m.up.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("interrupt crossfade up: %v", err)
		}
	}
	select {
	case <-m.exited:
		want := 0
		if said := m.output.String(); strings.Contains(said, "\nstopped: ") && !strings.Contains(said, "\nstopped: everything was drained") {
			want = 3 // tests that leave something open until the end have it cut
		}
		if code := m.up.ProcessState.ExitCode(); code != want {
			t.Errorf("crossfade up, interrupted, got exit code %d, want %d", code, want)
		}
	case <-time.After(late):
		t.Errorf("crossfade up has not ended %v after an interrupt", late)
	}
	for _, p := range reapAll(t) {
		t.Errorf("left running: %s", p)
	}
	<-m.exited
}

// waitReady waits until the gateway says that it serves.
func (m *mesh) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, soon, func() string {
		select {
		case <-m.exited:
			t.Fatalf("crossfade up ended: %v", m.up.ProcessState)
		default:
		}
		if m.status(t, "http://"+gatewayAdmin+"/ready") != http.StatusOK {
			return "the gateway's /ready"
		}
		return ""
	})
}

// fresh opens a connection for each request: nothing of one question is left for the next.
func fresh() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// status returns the status of a GET, 0 when there was no answer.
func (m *mesh) status(t *testing.T, url string) int {
	t.Helper()
	resp, err := fresh().Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// warmupLine is the line of the example's DestinationRule that the walk is about.
var warmupLine = regexp.MustCompile(`(?m)^( *)(warmupDurationSecs: ).*\n`)

// setWindow changes reviews' window, as somebody does who saves the file.
func (m *mesh) setWindow(t *testing.T, window time.Duration) {
	t.Helper()
	m.rewrite(t, warmupLine, fmt.Sprintf("${1}${2}%gs\n", window.Seconds()))
}

// removeWarmup takes the line out.
func (m *mesh) removeWarmup(t *testing.T) {
	t.Helper()
	m.rewrite(t, warmupLine, "")
}

// rewrite replaces what pattern matches in every YAML file. Something must match.
func (m *mesh) rewrite(t *testing.T, pattern *regexp.Regexp, replacement string) {
	t.Helper()
	m.rewriteIn(t, "*.yaml", pattern, replacement)
}

// rewriteIn replaces what pattern matches in the files that glob names, each file in one step. Something must match.
func (m *mesh) rewriteIn(t *testing.T, glob string, pattern *regexp.Regexp, replacement string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, glob))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if pattern.Match(text) {
			found = true
			m.write(t, filepath.Base(path), pattern.ReplaceAllString(string(text), replacement))
		}
	}
	if !found {
		t.Fatalf("no file %s in %s matches %s", glob, m.dir, pattern)
	}
}

// saved changes the configuration and waits until the gateway shows the event that control makes of it.
func saved(t *testing.T, kind string, change func()) {
	t.Helper()
	before := newest(t, kind)
	change()
	eventually(t, soon, func() string {
		if newest(t, kind) == before {
			return "the event " + kind
		}
		return ""
	})
}

// write puts a file into the configuration's directory in one step.
func (m *mesh) write(t *testing.T, name, text string) {
	t.Helper()
	hidden := filepath.Join(m.dir, "."+name+".new")
	if err := os.WriteFile(hidden, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hidden, filepath.Join(m.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// find returns the processes below up that match accepts.
func (m *mesh) find(t *testing.T, match func(proc) bool) []proc {
	t.Helper()
	var found []proc
	for _, p := range descendants(t, m.up.Process.Pid) {
		if match(p) {
			found = append(found, p)
		}
	}
	return found
}

// one returns the one process below up that match accepts, and waits for it where it is being replaced.
func (m *mesh) one(t *testing.T, what string, match func(proc) bool) proc {
	t.Helper()
	var found []proc
	eventually(t, soon, func() string {
		if found = m.find(t, match); len(found) != 1 {
			return fmt.Sprintf("one process that is %s, got %v", what, found)
		}
		return ""
	})
	return found[0]
}

func isControl(p proc) bool { return p.name() == "crossfade control" }

func isGateway(p proc) bool { return p.name() == "crossfade gateway" }

func (m *mesh) control(t *testing.T) proc {
	t.Helper()
	return m.one(t, "control", isControl)
}

func (m *mesh) gateway(t *testing.T) proc {
	t.Helper()
	return m.one(t, "the gateway", isGateway)
}

// application is the process that the replica's agent stands in front of.
func (m *mesh) application(t *testing.T, e endpoint) proc {
	t.Helper()
	return m.one(t, "the application "+e.Name, func(p proc) bool {
		return !strings.HasPrefix(p.name(), "crossfade") && p.env["POD_IP"] == e.host()
	})
}

// A transcript collects what processes say, from several goroutines.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// cli runs one crossfade command to its end and returns what it printed.
func cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pause stops a process without ending it, until resume or the end of the test.
func pause(t *testing.T, p proc) (resume func()) {
	t.Helper()
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("stop %s: %v", p, err)
	}
	resume = sync.OnceFunc(func() { _ = syscall.Kill(p.pid, syscall.SIGCONT) })
	t.Cleanup(resume)
	return resume
}

// bounded is a context that outlives no test and no patience.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), late)
	t.Cleanup(cancel)
	return ctx
}
