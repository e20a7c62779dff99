package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/drain"
)

// A gateway whose leave may take longer than it would be left alive refuses to start, with the sum.
func TestPreflight(t *testing.T) {
	feed := []string{"gateway", "--feed", "unix:" + filepath.Join(t.TempDir(), "feed.sock")}
	sidecar := []string{"gateway", "--inbound", "127.0.0.1:1=127.0.0.1:2"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(feed, "--grace", "170s"), "sum=2m30s"},
		{append(feed, "--grace", "100s"), "the drain may take 2m30s (lame duck 15s + the longer of requests 30s and long-lived 2m0s + forced 10s + closing 5s), " +
			"but the process is killed after a grace period of 1m40s"},
		{append(feed, "--grace", "100s", "--drain-notice", "20s", "--drain", "40s", "--drain-long", "30s"), "sum=1m15s"},
		{append(feed, "--grace", "60s", "--drain-long", "30s", "--drain-spread", "5s", "--drain-min", "20s"), "sum=1m0s"},
		{append(feed, "--grace", "59s", "--drain-long", "30s", "--drain-spread", "5s", "--drain-min", "20s"), "lame duck 20s + "},
		{append(sidecar, "--grace", "135s"), "sum=2m15s"},                            // it has no lame duck,
		{append(sidecar, "--grace", "135s", "--drain-min", "1s"), "lame duck 1s + "}, // unless it is told so
		{append(feed, "--drain", "-1s"), "--drain -1s: a duration is not below 0"},
		{append(feed, "--drain-quiet", "-1s"), "--drain-quiet -1s: a duration is not below 0"},
		{append(feed, "--sockets", "/run/x.sock"), "--sockets /run/x.sock: want unix:PATH"},
		{append(sidecar, "--sockets", "unix:/run/x.sock"), "--sockets is for a gateway that follows a control"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		stop() // those that fit end at once, in order
		var errs bytes.Buffer
		args := append(slices.Clone(c.args), "--admin", "127.0.0.1:"+freePort(t), "--state", t.TempDir(), "--health", "")
		code := run(ctx, args, &bytes.Buffer{}, &errs)
		if want, fits := strings.CutPrefix(c.want, "sum="); fits {
			if code != 0 {
				t.Errorf("%v, which takes %s: got exit code %d, %s", c.args[3:], want, code, errs.String())
			}
			continue
		}
		if code != 2 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%v: got exit code %d, %s, want 2 and %q", c.args[3:], code, errs.String(), c.want)
		}
	}
}

// Without --grace people are warned, once.
func TestUnknownGraceIsWarnedAbout(t *testing.T) {
	for grace, want := range map[string]int{"0s": 1, "300s": 0} {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		var errs bytes.Buffer
		if code := run(ctx, []string{"gateway", "--inbound", "127.0.0.1:" + freePort(t) + "=127.0.0.1:1", "--admin", "127.0.0.1:" + freePort(t), "--grace", grace}, &bytes.Buffer{}, &errs); code != 0 {
			t.Errorf("got exit code %d, %s", code, errs.String())
		}
		if got := strings.Count(errs.String(), "nobody has said, by --grace"); got != want {
			t.Errorf("--grace %s: got %d warnings, want %d:\n%s", grace, got, want, errs.String())
		}
	}
}

// The first signal ends the context; those within a second are the same wish; the next is a hurry for who heeds that, and
// else the end.
func TestSignals(t *testing.T) {
	for _, heeded := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := &signals{hurry: make(chan struct{})}
			s.heeded.Store(heeded)
			c := make(chan os.Signal, 1)
			var cause error
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				s.hear(c, func(err error) { cause = err })
			}()
			synctest.Wait()
			has := func(c <-chan struct{}) bool {
				synctest.Wait()
				select {
				case <-c:
					return true
				default:
					return false
				}
			}
			c <- syscall.SIGTERM
			if synctest.Wait(); cause == nil || cause.Error() != "SIGTERM" {
				t.Errorf("got %v, want SIGTERM", cause)
			}
			for range 9 {
				time.Sleep(sameWish / 10)
				c <- os.Interrupt
			}
			if has(s.hurry) || has(ended) {
				t.Error("signals within a second count as another wish")
			}
			time.Sleep(sameWish / 5)
			if has(s.hurry) || has(ended) == heeded {
				t.Errorf("heeded %v: after a second: ended %v, want the next signal to be for who heeds it", heeded, has(ended))
			}
			if !heeded {
				return
			}
			c <- os.Interrupt
			if !has(s.hurry) || has(ended) {
				t.Error("the second wish is not heard")
			}
			c <- os.Interrupt
			if has(ended) {
				t.Error("the second wish comes twice, and ends the program")
			}
			time.Sleep(sameWish)
			if !has(ended) {
				t.Error("the third wish would not end the program")
			}
		})
	}
}

// A gateway that is told twice cuts what is open, says so with its exit code, and leaves a report.
func TestSecondSignalCuts(t *testing.T) {
	arrived := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer app.Close()
	self, err := os.Executable()
	must(t, err)
	port, file := freePort(t), filepath.Join(t.TempDir(), "drain.json")
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{
		"crossfade", "gateway", "--inbound", "127.0.0.1:" + port + "=" + app.Listener.Addr().String(), "--admin", "127.0.0.1:" + freePort(t),
		"--drain", "1h", "--drain-long", "1h", "--drain-spread", "0s", "--drain-report", file, "--log-level", "error",
	}
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	answered := make(chan int, 1)
	go func() {
		for {
			resp, err := app.Client().Get("http://127.0.0.1:" + port)
			if err == nil {
				_ = resp.Body.Close()
				answered <- resp.StatusCode
				return
			}
		}
	}()
	<-arrived
	waitFor(t, "the gateway ends", func() bool {
		_ = cmd.Process.Signal(syscall.SIGTERM) // those of the first second are one wish, and there is none after the second
		select {
		case <-ended:
			return true
		case <-time.After(sameWish + sameWish/2):
			return false
		}
	})
	if code := cmd.ProcessState.ExitCode(); code != exitCut {
		t.Errorf("got exit code %d, want %d", code, exitCut)
	}
	if status := <-answered; status != http.StatusServiceUnavailable {
		t.Errorf("got %d, want the client to hear it", status)
	}
	text, err := os.ReadFile(file)
	must(t, err)
	var r drain.Report
	must(t, json.Unmarshal(text, &r))
	if r.Reason != "SIGTERM" || r.Cut != 1 || r.Stage != drain.Closed || r.Protocols[drain.HTTP1].Leave.Cut != 1 {
		t.Errorf("got %+v, want one request of HTTP/1.1 cut after SIGTERM", r)
	}
}
