//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// detailsProbe is how details is asked whether it is ready, in the example.
var detailsProbe = regexp.MustCompile(`(?s)("bookinfo", "details".*?readinessProbe:\n)            httpGet:\n              path: /health\n              port: 9080\n`)

// TestReplicas is what happens to replicas that nobody asked to leave: one that says it is not ready gets nothing until it
// says it is, and is as old then as it is; and those of an `up` that was killed are nobody's endpoints under the next.
func TestReplicas(t *testing.T) {
	ready := t.TempDir()
	m := start(t, func(m *mesh) {
		for n := range 9 {
			mark(t, ready, "details-v1-"+strconv.Itoa(n))
		}
		command := fmt.Sprintf("            exec: {command: [test, -e, %q]}\n            failureThreshold: 1\n", filepath.Join(ready, "$$(POD_NAME)"))
		m.rewriteIn(t, "bookinfo.yaml", detailsProbe, "${1}"+command)
	})
	scale(t, "details-v1", 2)
	t.Run("not ready for a while", func(t *testing.T) { notReady(t, ready) })
	t.Run("up is killed", func(t *testing.T) { upAgain(t, m) })
}

// mark says that a replica is ready.
func mark(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// notReady has one of two replicas not be ready for some thousand requests.
func notReady(t *testing.T, ready string) {
	t.Helper()
	both := awaitAll(t, "details-v1", 2, func(e endpoint) bool { return e.Stage == "Serving" })
	moody := both[0]
	load := beginLoad(t, 100, "-H", "Host: details:9080", "http://"+meshPort+"/details/0")
	load.seconds(t, 1)
	if answered(t, moody) == 0 {
		t.Errorf("%s got nothing before: what follows shows nothing", moody.Name)
	}
	if err := os.Remove(filepath.Join(ready, moody.Name)); err != nil {
		t.Fatal(err)
	}
	in := func(stage string) func(endpoint) bool {
		return func(e endpoint) bool {
			return e.Name == moody.Name && e.Stage == stage || e.Name != moody.Name && e.Stage == "Serving"
		}
	}
	awaitAll(t, "details-v1", 2, in("Starting"))
	load.seconds(t, 1) // what was chosen before has ended
	before := answered(t, moody)
	load.seconds(t, 2)
	if after := answered(t, moody); after != before {
		t.Errorf("%s got %d requests while it was not ready, want none", moody.Name, after-before)
	}
	mark(t, ready, moody.Name)
	again := awaitAll(t, "details-v1", 2, in("Serving"))
	back := again[slices.IndexFunc(again, func(e endpoint) bool { return e.Name == moody.Name })]
	if back.Incarnation != moody.Incarnation || back.Age < moody.Age {
		t.Errorf("it came back as %s of age %v, want %s, older than %v", back.Incarnation, back.Age, moody.Incarnation, moody.Age)
	}
	load.seconds(t, 2)
	if answered(t, moody) == before {
		t.Errorf("%s gets nothing, though it is ready again", moody.Name)
	}
	account, shots := load.stop(t)
	if n := len(lost(shots)); n > 0 {
		t.Errorf("%d requests lost of %d, want none: %+v", n, account.Sent, lost(shots)[:min(n, 5)])
	}
}

// upAgain kills up, and starts it again while the registry still has everybody who ran below it.
func upAgain(t *testing.T, m *mesh) {
	t.Helper()
	before, err := everyEndpoint(t)
	if err != nil || len(before) == 0 {
		t.Fatalf("got %d endpoints, %v", len(before), err)
	}
	below := descendants(t, m.up.Process.Pid)
	if err := m.up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-m.exited
	eventually(t, soon, func() string {
		for _, p := range below {
			if now, lives := readProc("/proc/" + strconv.Itoa(p.pid)); lives && slices.Equal(now.args, p.args) {
				return "the end of " + p.String()
			}
		}
		return ""
	})
	m.up = exec.Command(m.up.Path, m.up.Args[1:]...)
	m.up.Dir, m.up.Stdout, m.up.Stderr, m.exited = root, m.output, m.output, make(chan struct{})
	if err := m.up.Start(); err != nil {
		t.Fatal(err)
	}
	go func(up *exec.Cmd, exited chan<- struct{}) {
		_ = up.Wait() // end asks for the exit code
		close(exited)
	}(m.up, m.exited)
	m.waitReady(t)
	eventually(t, soon, func() string {
		now, err := everyEndpoint(t)
		if err != nil {
			return err.Error()
		}
		for _, e := range now {
			if slices.ContainsFunc(before, func(b endpoint) bool { return b.Incarnation == e.Incarnation }) {
				return "the end of " + e.Name + " as it was"
			}
		}
		if status := m.status(t, page); status != http.StatusOK {
			return "the page; it answers " + strconv.Itoa(status)
		}
		return ""
	})
}
