package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

var errTold = errors.New("SIGTERM")

func one(all map[string]fleet.Instance) bool { return len(all) == 1 }

func TestALife(t *testing.T) {
	r := beside(t, "server", func(r *run) {
		r.Lifecycle = &fleet.Lifecycle{Name: "web", Warmup: fleet.Warmup{Window: 100 * time.Millisecond, Minimum: 0.1, Aggression: 0.5}}
	})
	r.memory.await(t, "the instance", one)
	r.diary.await(t, "warmup.ended")
	r.stop(errTold)
	r.wait(t)
	if !r.exit.OK() || r.err != nil {
		t.Errorf("got %v, %v, want that it ended well", r.exit, r.err)
	}
	want := []string{
		"instance.started", "probe.passed", "registration.completed", "warmup.started", "readiness.passed", "warmup.ended",
		"offline.requested", "deregistered", "drained", "instance.stopped",
	}
	if diff := cmp.Diff(want, r.diary.told()); diff != "" {
		t.Errorf("what was told (-want +got):\n%s", diff)
	}
	if got := r.diary.reason("offline.requested"); got != "SIGTERM" {
		t.Errorf("got that it left for %q, want SIGTERM", got)
	}
	if n := r.memory.listed(); n != 0 {
		t.Errorf("%d are listed, want none", n)
	}
	put := r.memory.puts[0]
	if !put.Ready || put.Leaving || put.Front || put.Warmup == nil || put.Warmup.Window != 100*time.Millisecond {
		t.Errorf("got %+v published, want one that serves and warms up", put)
	}
	if p := put.Published; p == nil || p.Age != 0 || p.Started.IsZero() || p.Registered.Before(p.Started) {
		t.Errorf("got %+v published of its age, want one that began, and was then registered", p)
	}
}

func TestExitCodesPass(t *testing.T) {
	r := beside(t, "short", nil)
	r.wait(t)
	if r.exit.Code != 7 || r.err != nil {
		t.Errorf("got %v, %v, want exit code 7", r.exit, r.err)
	}
	if got := r.diary.reason("instance.died"); got != "exit code 7" {
		t.Errorf("got that it died of %q", got)
	}
}

func TestSignalsPass(t *testing.T) {
	signals := make(chan os.Signal)
	r := beside(t, "hung up", func(r *run) { r.Signals = signals })
	r.memory.await(t, "the instance", one)
	again := time.NewTicker(10 * time.Millisecond) // it may not listen to signals yet, and be ended by this one: then so it is
	defer again.Stop()
	for {
		select {
		case signals <- syscall.SIGHUP:
			<-again.C
			continue
		case <-r.done:
		}
		break
	}
	if r.exit.Code != 5 && r.exit.Signal != syscall.SIGHUP {
		t.Errorf("got %v, want that it heard SIGHUP", r.exit)
	}
	if n := r.memory.listed(); n != 0 {
		t.Errorf("%d are listed after its death, want none", n)
	}
}

// An application that dies is out of the registry at once.
func TestACrash(t *testing.T) {
	signals := make(chan os.Signal)
	r := beside(t, "server", func(r *run) { r.Signals = signals })
	r.memory.await(t, "the instance", one)
	signals <- syscall.SIGKILL
	r.wait(t)
	if r.exit.Code != 128+9 || r.err != nil {
		t.Errorf("got %v, %v, want 137", r.exit, r.err)
	}
	if n := r.memory.listed(); n != 0 {
		t.Errorf("%d are listed, want none", n)
	}
	if told := r.diary.told(); told[len(told)-1] != "instance.died" {
		t.Errorf("got %v, want instance.died last", told)
	}
}

// While the registry is away at the start, the application runs, and is not ready; then it is registered.
func TestTheRegistryIsAwayAtTheStart(t *testing.T) {
	r := beside(t, "server", func(r *run) { r.memory.away = true })
	r.diary.await(t, "registration.failed")
	if slices.Contains(r.diary.told(), "readiness.passed") {
		t.Error("it is ready before it is registered")
	}
	r.memory.setAway(false)
	r.memory.await(t, "the instance", one)
	r.diary.await(t, "readiness.passed")
}

// From when a registry is asked it may have the instance, whatever it answers; until then it has not.
func TestWhatIsAskedMayBeDone(t *testing.T) {
	r := newRunner(&Agent{Registrar: newMemory()})
	r.enlist(time.Now())
	if got := r.sight.Listing; got != Absent {
		t.Errorf("before anything was asked: got listing %v, want %v", got, Absent)
	}
	r.now.Listing = Listed
	r.enlist(time.Now())
	if got := r.sight.Listing; got != Asked {
		t.Errorf("when it has been asked: got listing %v, want %v", got, Asked)
	}
}

// A registry that is away when the instance leaves does not keep it for ever.
func TestTheRegistryIsAwayAtTheEnd(t *testing.T) {
	hurry := make(chan struct{})
	r := beside(t, "server", func(r *run) { r.Hurry = hurry })
	r.memory.await(t, "the instance", one)
	r.memory.setAway(true)
	r.stop(errTold)
	r.diary.await(t, "registration.failed")
	close(hurry)
	r.wait(t)
	if !r.exit.OK() || !slices.Contains(r.diary.told(), "drain.overdue") {
		t.Errorf("got %v, %v, want it stopped, and that people hear how", r.exit, r.diary.told())
	}
}

// A probe that fails takes the instance out of service; what passes again goes on at its age.
func TestReadinessComesAndGoes(t *testing.T) {
	r := beside(t, "server", func(r *run) {
		r.Probe = &fleet.Probe{Check: fleet.Check{Path: "/", Interval: 10 * time.Millisecond, Unhealthy: 2}}
	})
	r.memory.await(t, "one that serves", func(all map[string]fleet.Instance) bool { return all["web-1-0"].Ready })
	if err := os.Remove(r.up); err != nil {
		t.Fatal(err)
	}
	r.memory.await(t, "one that does not", func(all map[string]fleet.Instance) bool { return one(all) && !all["web-1-0"].Ready })
	if err := os.WriteFile(r.up, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.memory.await(t, "one that serves again", func(all map[string]fleet.Instance) bool { return all["web-1-0"].Ready })
	last := r.memory.puts[len(r.memory.puts)-1]
	if last.Published.Age <= 0 {
		t.Errorf("got age %v published, want how long it had been registered", last.Published.Age)
	}
}

func TestItIsNeverReady(t *testing.T) {
	r := beside(t, "server", func(r *run) {
		r.Patience = 100 * time.Millisecond
		r.Probe = &fleet.Probe{Check: fleet.Check{Path: "/", Interval: 10 * time.Millisecond}}
		if err := os.Remove(r.up); err != nil {
			t.Error(err)
		}
	})
	r.wait(t)
	if !errors.Is(r.err, ErrNotReady) {
		t.Errorf("got %v, want %v", r.err, ErrNotReady)
	}
	if len(r.memory.puts) != 0 {
		t.Errorf("got %+v published, want nothing", r.memory.puts)
	}
}

func TestItCannotBeStarted(t *testing.T) {
	r := beside(t, "server", func(r *run) { r.App.Path = "/nowhere" })
	r.wait(t)
	if r.err == nil || r.exit.Code != 1 || !strings.Contains(r.err.Error(), "/nowhere") {
		t.Errorf("got %v, %v, want exit code 1 and what could not be started", r.exit, r.err)
	}
}

func TestStopping(t *testing.T) {
	will, deaf := t.TempDir()+"/will", t.TempDir()+"/deaf"
	r := beside(t, "deaf", func(r *run) {
		r.Grace = time.Second
		r.App.Env = append(r.App.Env, "DEAF="+deaf)
		r.Probe = &fleet.Probe{Exec: []string{"test", "-e", deaf}, Check: fleet.Check{Interval: 10 * time.Millisecond}}
		r.PreStop = &fleet.PreStop{Exec: []string{"touch", will}}
	})
	r.memory.await(t, "the instance", one)
	r.stop(errTold)
	r.wait(t)
	if r.exit.Signal != syscall.SIGKILL {
		t.Errorf("got %v, want it killed", r.exit)
	}
	if _, err := os.Stat(will); err != nil || !slices.Contains(r.diary.told(), "prestop.done") {
		t.Errorf("got %v, and the trace of its preStop: %v", r.diary.told(), err)
	}
	if told := r.diary.told(); told[len(told)-1] != "instance.killed" {
		t.Errorf("got %v, want instance.killed last", told)
	}
}

func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// Both who asks and who asks again hear when it is safe to stop; the application goes on, and nothing is listed again.
func TestGoingOffline(t *testing.T) {
	ready, offline := listens(t), listens(t)
	r := beside(t, "server", func(r *run) { r.Readiness, r.Offline = ready, offline })
	r.diary.await(t, "readiness.passed")
	if code, body := get(t, http.MethodGet, "http://"+ready+"/readiness"); code != http.StatusOK || !strings.Contains(body, `"stage":"warm"`) {
		t.Errorf("readiness is %d %s, want 200", code, body)
	}
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		code, body := get(t, method, "http://"+offline+"/offline")
		var report drain.Report
		if err := json.Unmarshal([]byte(body), &report); err != nil || code != http.StatusOK {
			t.Fatalf("%s /offline is %d %s, %v", method, code, body, err)
		}
		if report.ID != "agent/web-1-0" || report.Reason != "POST /offline" || report.Stage != drain.Closed || report.Cut != 0 {
			t.Errorf("got the report %+v, want that of the first", report)
		}
	}
	if n := r.memory.listed(); n != 0 {
		t.Errorf("%d are listed, want none", n)
	}
	code, body := get(t, http.MethodGet, "http://"+ready+"/readiness")
	if code != http.StatusInternalServerError || !strings.Contains(body, `"stage":"offline"`) {
		t.Errorf("readiness is %d %s, want 500 and why", code, body)
	}
	if code, _ := get(t, http.MethodGet, "http://"+ready+"/liveness"); code != http.StatusOK {
		t.Errorf("liveness is %d, want 200: its application runs", code)
	}
	r.stop(errTold)
	r.wait(t)
	if !r.exit.OK() {
		t.Errorf("got %v, want that it ended well", r.exit)
	}
}

func listens(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + itoa(freePort(t))
}

// Two agents in one place are noticed before the second application begins.
func TestAPlaceThatIsTaken(t *testing.T) {
	at := listens(t)
	first := beside(t, "server", func(r *run) { r.Offline = at })
	first.diary.await(t, "instance.started")
	second := beside(t, "server", func(r *run) { r.Offline = at })
	second.wait(t)
	if second.err == nil || !strings.Contains(second.err.Error(), "listen for /offline") || len(second.diary.told()) != 0 {
		t.Errorf("got %v after %v, want that the place is taken, before anything begins", second.err, second.diary.told())
	}
}

func TestOfflineIsForLoopback(t *testing.T) {
	r := beside(t, "server", func(r *run) { r.Offline = "0.0.0.0:0" })
	r.wait(t)
	if !errors.Is(r.err, errNotLoopback) {
		t.Errorf("got %v, want %v", r.err, errNotLoopback)
	}
}

func TestAFrontThatCannotGoOn(t *testing.T) {
	broken := errors.New("out of sockets")
	r := beside(t, "server", func(r *run) {
		r.DataPlane = func(context.Context) error { return broken }
	})
	r.wait(t)
	if !errors.Is(r.err, broken) {
		t.Errorf("got %v, want %v", r.err, broken)
	}
	if len(r.memory.puts) != 0 {
		t.Error("it was registered, and nobody could reach it")
	}
}
