//go:build linux

package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/sockets"
)

// The test binary, started with an admin address in this variable, is a replica: it borrows DOORWAY's socket, answers each
// connection with a line, and leaves as a replica should.
const replicaVariable = "CROSSFADE_REPLICA"

func TestMain(m *testing.M) {
	if at := os.Getenv(replicaVariable); at != "" {
		if err := replicate(at); err != nil {
			fmt.Fprintln(os.Stderr, "replica:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func replicate(at string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	loan, err := sockets.Borrow(ctx, os.Getenv("DOOR"))
	if err != nil {
		return err
	}
	l, err := loan.Listen(ctx, os.Getenv("DOORWAY"))
	if err != nil {
		return err
	}
	if os.Getenv("STUCK") != "" { // it holds the socket, and accepts nothing
		<-ctx.Done()
		return loan.Close()
	}
	console, err := admin.Listen(ctx, at)
	if err != nil {
		return err
	}
	behind, end := context.WithCancel(context.Background())
	defer end()
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = (&admin.Server{Listener: console, Handler: admin.Handler(admin.Config{World: func() admin.World { return admin.World{Ready: true} }})}).Run(behind)
	})
	answer := func(c net.Conn) {
		serving.Go(func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		})
	}
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			answer(c)
		}
	}()
	<-ctx.Done()
	err = l.(*sockets.Listener).Leave(answer, loan.Shared())
	<-accepting
	end()
	serving.Wait()
	return errors.Join(err, loan.Close())
}

// A told control says what it is told to say.
type told struct {
	views chan fleet.View

	mu     sync.Mutex
	report fleet.Report
	bell   chan struct{}
}

func (c *told) Follow(ctx context.Context, _ feed.Hello, apply func(fleet.View)) error {
	for {
		select {
		case v := <-c.views:
			apply(v)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *told) Report(_ context.Context, r fleet.Report) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report = r
	select {
	case c.bell <- struct{}{}:
	default:
	}
	return nil
}

// until waits for a report.
func (c *told) until(t *testing.T, what string, is func([]fleet.Replica) bool) []fleet.Replica {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		c.mu.Lock()
		replicas := c.report.Replicas
		c.mu.Unlock()
		if is(replicas) {
			return replicas
		}
		select {
		case <-c.bell:
		case <-deadline:
			t.Fatalf("%s: got %+v", what, replicas)
		}
	}
}

func only(revision string, n int) func([]fleet.Replica) bool {
	return func(replicas []fleet.Replica) bool {
		for _, r := range replicas {
			if r.Revision != revision || !r.Ready {
				return false
			}
		}
		return len(replicas) == n
	}
}

// Real processes on real sockets: replicas scale, are replaced, and successors are killed before they serve, while
// clients call, each time on a new connection. None is lost. The control is a replica that is killed with a client: that
// one is lost, and is seen to be.
func TestNobodyIsLostWhenReplicasComeAndGo(t *testing.T) {
	dir, err := os.MkdirTemp("", "sv") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "door", "sockets.sock")
	door, err := sockets.Door(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	console, err := admin.Listen(t.Context(), "127.54.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const doorway = "127.54.0.1:24080"
	control := &told{views: make(chan fleet.View), bell: make(chan struct{}, 1)}
	var stuck atomic.Bool // those who are started now
	s := &Supervisor{
		ID: "supervisor", Control: control, Timers: drain.Timers{Requests: 20 * time.Second}, Admin: console, Door: door,
		Replicas: netip.MustParseAddrPort("127.54.0.1:24100"), Sockets: sockets.NewOwner(sockets.OwnerOptions{}), Log: slog.New(slog.DiscardHandler),
		Start: func(o Order) (Child, error) {
			env := []string{replicaVariable + "=" + o.Admin, "DOOR=" + path, "DOORWAY=" + doorway, "GORACE=atexit_sleep_ms=0"}
			if stuck.Load() {
				env = append(env, "STUCK=1")
			}
			return process.Start(process.Spec{Name: o.ID, Path: os.Args[0], Stderr: os.Stderr, Env: env})
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	number := uint64(0)
	want := func(n int, revision string) {
		number++
		control.views <- fleet.View{Taken: time.Now(), Snapshot: &fleet.Snapshot{
			Number: number, Groups: []fleet.GatewayGroup{ingress(n, revision)}, Listeners: []fleet.Listener{{Address: doorway}},
		}}
	}
	want(2, "a")
	control.until(t, "two of a", only("a", 2))

	callers, failures := callAll(t, doorway)
	for range 3 {
		want(5, "a")
		control.until(t, "five of a", only("a", 5))
		want(1, "a")
		control.until(t, "one of a", only("a", 1))
	}
	stuck.Store(true)
	want(2, "b")
	killed := map[int]bool{}
	for range 3 { // a successor is killed in mid-hand-over
		var next fleet.Replica
		control.until(t, "a successor", func(all []fleet.Replica) bool {
			for _, r := range all {
				if r.Revision == "b" && !r.Ready && !r.Leaving && !killed[r.PID] {
					next = r
					return true
				}
			}
			return false
		})
		killed[next.PID] = true
		kill(t, next)
	}
	stuck.Store(false)
	want(2, "c") // and overtaken
	want(2, "d")
	control.until(t, "two of d", only("d", 2))
	if n := callers(); n < 200 {
		t.Errorf("invalid run: %d calls", n)
	}
	for _, err := range failures() {
		t.Error(err)
	}
	loses(t, control, doorway)
	control.until(t, "two of d again", only("d", 2))
	if status := ready(t, console.Addr().String()); status != http.StatusOK {
		t.Errorf("ready: got %d, want 200", status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", doorway); err == nil {
		_ = c.Close()
		t.Error("with nobody left, somebody who connects waits in a queue for nobody")
	}
}

// loses kills every replica under a client that speaks with one of them.
func loses(t *testing.T, control *told, address string) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	if err := exchange(c, answers, "before\n"); err != nil {
		t.Fatal(err)
	}
	before := control.until(t, "two", func(all []fleet.Replica) bool { return len(all) == 2 })
	for _, r := range before {
		kill(t, r)
	}
	control.until(t, "others", func(all []fleet.Replica) bool {
		return len(all) == 2 && all[0].PID != before[0].PID && all[1].PID != before[1].PID
	})
	if exchange(c, answers, "after\n") == nil {
		t.Error("a client of a replica that was killed lost nothing: the test would not see it")
	}
}

func kill(t *testing.T, r fleet.Replica) {
	t.Helper()
	if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
}

func ready(t *testing.T, at string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+"/ready", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	var client http.Client
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// callAll has clients call until callers is called, which returns how many calls there were.
func callAll(t *testing.T, address string) (callers func() int, failures func() []error) {
	t.Helper()
	var mu sync.Mutex
	var calls int
	var failed []error
	var clients sync.WaitGroup
	over := make(chan struct{})
	for i := range 4 {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 54, 1, byte(i+1))}}
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				err := call(&dialer, address, fmt.Sprintf("%d of %d\n", n, i))
				mu.Lock()
				if calls++; err != nil {
					failed = append(failed, err)
				}
				mu.Unlock()
			}
		})
	}
	return func() int {
			close(over)
			clients.Wait()
			return calls
		}, func() []error {
			return failed[:min(len(failed), 10)]
		}
}

func call(dialer *net.Dialer, address, line string) error {
	c, err := dialer.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	return exchange(c, bufio.NewReader(c), line)
}

// exchange sends a line and wants it back.
func exchange(c net.Conn, answers *bufio.Reader, line string) error {
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	got, err := answers.ReadString('\n')
	if err != nil || got != line {
		return fmt.Errorf("%s: got %q: %w", strings.TrimSpace(line), got, err)
	}
	return nil
}
