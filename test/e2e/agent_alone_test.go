//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
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

// What an agent without a front may cost.
const (
	agentMemory = 15 << 10               // KiB of its own
	agentStart  = 100 * time.Millisecond // added to the start of its application
	agentIdle   = 10                     // ticks of 10 ms in agentLooked: half a percent of a processor
	agentLooked = 20 * time.Second
)

// The addresses of an instance beside its agent, without anything else of crossfade.
const (
	aloneApp       = "127.0.0.1:9080"
	aloneReadiness = "127.0.0.1:55199"
	aloneOffline   = "127.0.0.1:54199"
)

// alone starts an agent beside details, which registers in a directory.
func alone(t *testing.T, flags ...string) (cmd *exec.Cmd, registry string) {
	t.Helper()
	registry = t.TempDir()
	output := &transcript{}
	args := append([]string{"agent", "--service", "details", "--address", "127.0.0.1", "--port", "9080", "--registry", "file://" + registry, "--drain-callers", "100ms"}, flags...)
	cmd = exec.Command(binary(t), append(args, "--", bookinfo(t), "details", "--listen", aloneApp)...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the agent said:\n%s", output)
		}
	})
	return cmd, registry
}

// bookinfo returns the absolute path of the example's program.
func bookinfo(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", "bookinfo"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// registered waits until a directory lists so many instances.
func registered(t *testing.T, dir string, n int) {
	t.Helper()
	eventually(t, soon, func() string {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(files) != n {
			return fmt.Sprintf("%d entries in the registry, got %v, %v", n, files, err)
		}
		return ""
	})
}

// TestAgentIsSmall looks at what an agent without a front costs the machine and its application.
func TestAgentIsSmall(t *testing.T) {
	cmd, registry := alone(t)
	registered(t, registry, 1)
	before := ticks(t, cmd.Process.Pid)
	<-time.After(agentLooked)
	idle := ticks(t, cmd.Process.Pid) - before
	memory := rssAnon(t, cmd.Process.Pid)
	t.Logf("an agent without a front: %d KiB of its own, %d ms of processor in %v", memory, 10*idle, agentLooked)
	if memory > agentMemory {
		t.Errorf("it has %d KiB of its own, want %d at most", memory, agentMemory)
	}
	if idle > agentIdle {
		t.Errorf("idle it took %d ticks in %v, want %d at most", idle, agentLooked, agentIdle)
	}
	terminate(t, cmd, 0)
	registered(t, registry, 0)

	// The quickest of several starts says what is needed; what a busy machine adds says nothing of us.
	bare, agents := time.Hour, time.Hour
	for range 8 {
		bare = min(bare, timeToPort(t, bookinfo(t), "details", "--listen", aloneApp))
		agents = min(agents, timeToPort(t, binary(t), "agent", "--service", "details", "--address", "127.0.0.1", "--port", "9080",
			"--registry", "file://"+t.TempDir(), "--drain-callers", "100ms", "--", bookinfo(t), "details", "--listen", aloneApp))
	}
	t.Logf("until its port answers: %v alone, %v beside an agent", bare, agents)
	if agents-bare > agentStart {
		t.Errorf("the agent adds %v to the start, want %v at most", agents-bare, agentStart)
	}
}

// timeToPort is how long a program needs until details takes connections. Then it is ended.
func timeToPort(t *testing.T, name string, args ...string) time.Duration {
	t.Helper()
	mustBeFree(t, aloneApp)
	cmd := exec.Command(name, args...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		nc, err := net.Dial("tcp", aloneApp)
		if err == nil {
			_ = nc.Close()
			break
		}
		if time.Since(began) > soon {
			t.Fatalf("%s %v does not listen after %v", name, args, soon)
		}
	}
	took := time.Since(began)
	terminate(t, cmd, -1)
	eventually(t, soon, func() string {
		if answers(aloneApp) {
			return aloneApp + " to be free"
		}
		return ""
	})
	return took
}

// terminate tells a program to stop, and sees how it ends; -1 is any exit code.
func terminate(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended(t, cmd, code)
}

func ended(t *testing.T, cmd *exec.Cmd, code int) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); code >= 0 && got != code {
			t.Errorf("it ended with %d, want %d", got, code)
		}
	case <-time.After(late):
		t.Fatalf("it has not ended after %v", late)
	}
}

// ticks is the processor time of a process, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return user + system
}

// rssAnon is the memory that a process has of its own, in KiB.
func rssAnon(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "RssAnon:"); is {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatalf("no RssAnon of %d", pid)
	return 0
}

// TestAgentPassesOn sees that an application beside an agent gets signals, and that its end is the agent's.
func TestAgentPassesOn(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		signal       syscall.Signal // 0 is none
		code         int
		says         string
	}{
		{"exit code 0", "exit 0", 0, 0, ""},
		{"exit code 7", "echo about to end; exit 7", 0, 7, "about to end"},
		{"killed by a signal", "kill -SEGV $$", 0, 128 + 11, ""},
		{"SIGHUP", "trap 'echo hung up; exit 3' HUP; echo on; while :; do sleep 0.05; done", syscall.SIGHUP, 3, "hung up"},
		{"SIGUSR1", "trap 'echo used; exit 4' USR1; echo on; while :; do sleep 0.05; done", syscall.SIGUSR1, 4, "used"},
		{"SIGTERM", "trap 'echo told; exit 0' TERM; echo on; while :; do sleep 0.05; done", syscall.SIGTERM, 0, "told"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := &transcript{}
			cmd := exec.Command(binary(t), "agent", "--service", "none", "--address", "127.0.0.1", "--registry", "file://"+t.TempDir(), "--drain-callers", "100ms",
				"--readiness-address", "", "--offline", "", "--", "sh", "-c", tt.script)
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.signal != 0 {
				eventually(t, soon, func() string {
					if !strings.Contains(out.String(), "on\n") {
						return "the script to begin: " + out.String()
					}
					return ""
				})
				if err := cmd.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			ended(t, cmd, tt.code)
			if !strings.Contains(out.String(), tt.says) {
				t.Errorf("it said %q, want %q in it", out, tt.says)
			}
		})
	}
}

// TestAgentDoors asks what only this machine may ask as others would.
func TestAgentDoors(t *testing.T) {
	cmd, registry := alone(t)
	registered(t, registry, 1)
	status := func(method, url string, with ...string) int {
		req, err := http.NewRequestWithContext(bounded(t), method, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for pair := range slices.Chunk(with, 2) {
			if pair[0] == "Host" {
				req.Host = pair[1]
			} else {
				req.Header.Set(pair[0], pair[1])
			}
		}
		resp, err := fresh().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/readiness", "/health", "/liveness"} {
		if got := status(http.MethodGet, "http://"+aloneReadiness+path); got != http.StatusOK {
			t.Errorf("GET %s is %d, want 200", path, got)
		}
	}
	for _, foreign := range [][]string{{"Origin", "http://evil.example"}, {"Host", "evil.example"}} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if got := status(method, "http://"+aloneOffline+"/offline", foreign...); got != http.StatusForbidden {
				t.Errorf("%s /offline with %v is %d, want 403", method, foreign, got)
			}
		}
	}
	registered(t, registry, 1)
	for _, address := range outside(t) {
		if answers(net.JoinHostPort(address, "54199")) {
			t.Errorf("/offline can be asked at %s", address)
		}
	}
	if got := status(http.MethodPost, "http://"+aloneOffline+"/offline"); got != http.StatusOK {
		t.Errorf("POST /offline is %d, want 200", got)
	}
	registered(t, registry, 0)
	if got := status(http.MethodGet, "http://"+aloneReadiness+"/readiness"); got == http.StatusOK {
		t.Errorf("after /offline, readiness is %d, want another", got)
	}
	terminate(t, cmd, 0)
}

// outside are this machine's addresses that others reach.
func outside(t *testing.T) (list []string) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() {
			list = append(list, ip.IP.String())
		}
	}
	return list
}
