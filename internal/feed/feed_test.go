package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// patience bounds waits for what must happen; nothing is measured against it.
const patience = 20 * time.Second

// A site is a control that serves its feed on a socket, until it is stopped.
type site struct {
	control *control.Control
	path    string
	stop    func()
}

func newSite(t testing.TB, path string) *site {
	t.Helper()
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	server := Server{Control: c, Path: path, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- c.Run(ctx) }()
	go func() { done <- server.Run(ctx) }()
	return &site{control: c, path: path, stop: func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		}
	}}
}

func dial(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "feed") //nolint:usetesting // a Unix socket's path is short, t.TempDir's is not.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "feed.sock")
}

func TestSnapshotsGoDownAndReportsComeUp(t *testing.T) {
	s := newSite(t, socket(t))
	defer s.stop()
	client := dial(t, s.path)
	views := make(chan fleet.View, 100)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lost := make(chan error, 1)
	go func() {
		for { // the server may not listen yet
			err := client.Follow(ctx, Hello{ID: "gateway-1", Role: "gateway"}, func(v fleet.View) { views <- v })
			if ctx.Err() != nil {
				lost <- err
				return
			}
		}
	}()
	want := func(what string, ok func(fleet.View) bool) fleet.View {
		t.Helper()
		for {
			select {
			case v := <-views:
				if ok(v) {
					return v
				}
			case <-ctx.Done():
				t.Fatalf("no view in which %s", what)
			}
		}
	}
	if err := s.control.Configure(ctx, &fleet.Desired{Digest: "one"}); err != nil {
		t.Fatal(err)
	}
	want("the configuration is in force and the gateway itself is known", func(v fleet.View) bool {
		return v.Config == "one" && len(v.Gateways) == 1
	})
	err := client.Report(ctx, fleet.Report{From: "gateway-1", Role: "gateway", Events: []fleet.Event{{Kind: "endpoint.ejected"}}})
	if err != nil {
		t.Fatal(err)
	}
	v := want("the reported event is remembered", func(v fleet.View) bool {
		return len(v.Events) > 0 && v.Events[len(v.Events)-1].Kind == "endpoint.ejected"
	})
	if from := v.Events[len(v.Events)-1].From; from != "gateway-1" {
		t.Errorf("the event is from %q, want gateway-1", from)
	}
	if at := time.Since(v.Taken); at < 0 || at > patience {
		t.Errorf("the view was taken %v ago", at)
	}
	cancel()
	if err := <-lost; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v, want that its context ended", err)
	}
}

func TestControlGoesAwayAndComesBack(t *testing.T) {
	path := socket(t)
	first := newSite(t, path)
	if err := first.control.Configure(t.Context(), &fleet.Desired{Digest: "one"}); err != nil {
		t.Fatal(err)
	}
	client := dial(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	follow := func() (seen bool, err error) {
		err = client.Follow(ctx, Hello{ID: "g", Role: "gateway"}, func(fleet.View) {
			if !seen {
				seen = true
				go first.stop()
			}
		})
		return seen, err
	}
	for {
		seen, err := follow()
		if !errors.Is(err, ErrLost) {
			t.Fatalf("Follow = %v, want ErrLost", err)
		}
		if seen {
			break
		}
	}
	if err := client.Report(ctx, fleet.Report{From: "g"}); !errors.Is(err, ErrLost) {
		t.Errorf("Report = %v, want ErrLost", err)
	}
	second := newSite(t, path) // on the same socket
	defer second.stop()
	for ctx.Err() == nil {
		if err := client.Report(ctx, fleet.Report{From: "g"}); err == nil {
			return
		}
	}
	t.Error("the client did not find control again")
}

func TestTwoControlsDoNotShareASocket(t *testing.T) {
	s := newSite(t, socket(t))
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil { // until the first one listens
		var d net.Dialer
		if conn, err := d.DialContext(ctx, "unix", s.path); err == nil {
			conn.Close()
			break
		}
	}
	other := Server{Control: s.control, Path: s.path, Log: slog.New(slog.DiscardHandler)}
	if err := other.Run(ctx); err == nil {
		t.Error("a second server took the socket of the first")
	}
	info, err := os.Stat(filepath.Dir(s.path))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode of the socket's directory = %o, want 700", got)
	}
}

// Other users hear nothing, where the directory is as it is made and even where somebody has opened it to them.
func TestOtherUsersAreRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	s := newSite(t, socket(t))
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ours := dial(t, s.path)
	for err := errors.New("not yet"); err != nil && ctx.Err() == nil; { // until it serves
		err = ours.Report(ctx, fleet.Report{From: "g", Role: "gateway"})
	}
	const nobody = 65534
	if err := askAs(nobody, s.path); !errors.Is(err, unix.EACCES) {
		t.Errorf("a directory that is ours alone: got %v, want %v", err, unix.EACCES)
	}
	dir := filepath.Dir(s.path)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o777), os.Chmod(dir, 0o777), os.Chmod(s.path, 0o777)); err != nil { //nolint:gosec // on purpose
		t.Fatal(err)
	}
	if err := askAs(nobody, s.path); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("a directory that is open: got %v, want that the connection is closed", err)
	}
	if err := askAs(0, s.path); err != nil {
		t.Errorf("control: root asks as nobody did: %v", err)
	}
}

// askAs begins to speak HTTP/2 at a socket as another user does, and returns why nothing was answered. It costs a thread.
func askAs(user uintptr, path string) error {
	why := make(chan error, 1)
	go func() {
		why <- func() error {
			runtime.LockOSThread() // for good: nobody else is to be that user
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, user, user, user); errno != 0 {
				return errno
			}
			conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
			if err != nil {
				return err
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
				return err
			}
			_, err = conn.Read(make([]byte, 1))
			return err
		}()
	}()
	return <-why
}

func TestAFollowerHasAnID(t *testing.T) {
	s := newSite(t, socket(t))
	defer s.stop()
	err := s.control.Follow(t.Context(), Hello{}, func(fleet.View) {})
	if err == nil {
		t.Error("a follower without an id was let in")
	}
}

// Following takes a twentieth of one processor, as long as a rest of a second suffices for that.
func TestRestsInProportionToWhatAViewCosts(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: 0, time.Millisecond: 19 * time.Millisecond, 50 * time.Millisecond: 950 * time.Millisecond, time.Minute: time.Second,
	} {
		if got := rest(took); got != want {
			t.Errorf("after %s: got %s, want %s", took, got, want)
		}
	}
}
