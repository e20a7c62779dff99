//go:build integration

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	"unsafe"
)

// A manager is what a service that is notified of itself sees of systemd: a socket that it sends its state to.
type manager struct {
	path string
	news chan map[string]string // one message each
}

// manage opens the socket, at a path that is short.
func manage(t *testing.T) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd") //nolint:usetesting // a Unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &manager{path: filepath.Join(dir, "notify"), news: make(chan map[string]string, 100)}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			message := map[string]string{}
			for line := range strings.Lines(string(buffer[:n])) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				message[name] = value
			}
			m.news <- message
		}
	}()
	return m
}

// want waits for the next message that says more than how things go.
func (m *manager) want(t *testing.T, name string) map[string]string {
	t.Helper()
	for {
		select {
		case got := <-m.news:
			delete(got, "STATUS")
			if len(got) == 0 {
				continue
			}
			if got[name] != "1" {
				t.Fatalf("the service says %v, want %s=1", got, name)
			}
			return got
		case <-time.After(late):
			t.Fatalf("the service has not said %s=1", name)
		}
	}
}

// monotonic is CLOCK_MONOTONIC in microseconds, as systemd counts.
func monotonic(t *testing.T) int64 {
	t.Helper()
	const clock = 1
	var now syscall.Timespec
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		t.Fatal(errno)
	}
	return now.Nano() / 1000
}

// beginSystemd sends what clients do to the port that systemd holds.
func beginSystemd(t *testing.T) *strain {
	t.Helper()
	url := "http://" + ingress + "/"
	s := &strain{}
	s.add(t, "fresh connections", 300, "--keepalive=false", "--source", "127.9.0.0/24", url)
	s.add(t, "keep-alive POST", 150, "--connections", "30", "--method", "POST", "--body", "1KB", url)
	s.add(t, "HTTP/2 POST", 150, "--http2", "--connections", "4", "--method", "POST", "--body", "20KB", url)
	s.loads[2].seconds(t, 1)
	return s
}

// TestSystemdProtocol has systemd's own tool open the port and start the supervisor at the first connection, and hears
// what the supervisor says of itself: ready, reloading with every replica replaced and nothing lost, stopping.
func TestSystemdProtocol(t *testing.T) {
	activate := installed(t, "systemd-socket-activate")
	y := newYard(t, map[string]string{"istiogateway.yaml": rollingYAML})
	m := manage(t)
	supervisor := begin(t, exec.Command(activate, append([]string{
		"--listen=" + ingress, "--setenv=NOTIFY_SOCKET=" + m.path, binary(t),
	}, y.supervision()...)...))
	eventually(t, soon, func() string {
		if said := supervisor.said.String(); !strings.Contains(said, "Listening on") { // to ask it would start the service
			return activate + " to listen: " + said
		}
		return ""
	})
	first := send1(t)
	m.want(t, "READY")
	if err := first(); err != nil {
		t.Errorf("who connected before anybody was there: %v", err)
	}
	y.awaitReplicas(t, supervisor)
	old := replicasOf(t, supervisor.cmd.Process.Pid)

	s := beginSystemd(t)
	began := monotonic(t)
	supervisor.signal(t, syscall.SIGHUP)
	reloading := m.want(t, "RELOADING")
	if at, err := strconv.ParseInt(reloading["MONOTONIC_USEC"], 10, 64); err != nil || at < began || at > monotonic(t) {
		t.Errorf("reloading since %q µs (%v), want between %d and now", reloading["MONOTONIC_USEC"], err, began)
	}
	m.want(t, "READY")
	eventually(t, soon, func() string {
		now := replicasOf(t, supervisor.cmd.Process.Pid)
		for _, p := range now {
			if slices.ContainsFunc(old, func(o proc) bool { return o.pid == p.pid }) {
				return fmt.Sprintf("%v to leave", p)
			}
		}
		if len(now) != rollingReplicas {
			return fmt.Sprintf("%d replicas, of which there are %d", rollingReplicas, len(now))
		}
		return ""
	})
	s.loads[0].seconds(t, 1)
	sent, missed, how := s.stop(t)
	if missed > 0 {
		t.Errorf("a reload lost %d of %d, want none\n%s", missed, sent, how)
	}
	t.Logf("a reload of %d replicas: %d requests\n%s", len(old), sent, how)

	supervisor.signal(t, syscall.SIGTERM)
	m.want(t, "STOPPING")
	if code := supervisor.leave(t); code != 0 {
		t.Errorf("the supervisor left with exit code %d, want 0", code)
	}
}

// TestSystemdRestart keeps the port open as systemd does, and restarts the service: who connects while there is none is
// served by the next. Without it they are refused.
func TestSystemdRestart(t *testing.T) {
	y := newYard(t, map[string]string{"istiogateway.yaml": rollingYAML})
	t.Run("with socket activation", func(t *testing.T) {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false) // as systemd opens them
		l, err := plain.Listen(t.Context(), "tcp", ingress)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		held, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		supervisor := y.activated(t, held)
		s := beginSystemd(t)
		supervisor.signal(t, syscall.SIGTERM)
		if code := supervisor.leave(t); code != 0 {
			t.Errorf("the supervisor left with exit code %d, want 0", code)
		}
		if n := len(replicasOf(t, os.Getpid())); n > 0 {
			t.Errorf("it left %d replicas behind", n)
		}
		const between = 50
		var answers []func() error
		for range between {
			answers = append(answers, send1(t))
		}
		y.activated(t, held)
		for _, answer := range answers {
			if err := answer(); err != nil {
				t.Errorf("who connected while there was no service: %v", err)
			}
		}
		s.loads[0].seconds(t, 1)
		sent, missed, how := s.stop(t)
		if missed > 0 {
			t.Errorf("a restart lost %d of %d, want none\n%s", missed, sent, how)
		}
		t.Logf("a restart: %d requests, and %d made while there was no service\n%s", sent, between, how)
	})
	t.Run("without", func(t *testing.T) {
		supervisor := y.supervise(t)
		supervisor.signal(t, syscall.SIGTERM)
		supervisor.leave(t)
		if !gone(ingress) {
			t.Errorf("somebody answers at %s: what sees nothing proves nothing", ingress)
		}
	})
}

// activated starts a supervisor with a port that it is handed, as systemd does, and waits until it serves.
func (y *yard) activated(t *testing.T, socket *os.File) *worker {
	t.Helper()
	m := manage(t)
	// LISTEN_PID says whom the sockets are for, which is known when the process is there.
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, binary(t)}, y.supervision()...)...)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=crossfade-gateway.socket", "NOTIFY_SOCKET="+m.path)
	cmd.ExtraFiles = []*os.File{socket} // descriptor 3, where systemd's begin
	w := begin(t, cmd)
	m.want(t, "READY")
	return w
}

// send1 connects and sends a request; what it returns waits for the answer.
func send1(t *testing.T) (answer func() error) {
	t.Helper()
	nc, err := net.Dial("tcp", ingress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(late))
	if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: front\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
		t.Fatal(err)
	}
	return func() error {
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || string(body) != "hello") {
			err = errors.New(resp.Status)
		}
		return err
	}
}
