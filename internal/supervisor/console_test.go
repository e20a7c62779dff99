package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// answers is what /stats counts at the listener.
func (th *theatre) answers() string {
	th.Helper()
	status, body := th.ask(http.MethodGet, "/stats?filter=downstream_rq_2xx")
	if status != http.StatusOK {
		th.Errorf("got %d %s", status, body)
	}
	return strings.TrimSpace(strings.TrimPrefix(body, "http.http-80.downstream_rq_2xx: "))
}

func (th *theatre) wantAnswers(want string) {
	th.Helper()
	th.after(2 * freshFor)
	if got := th.answers(); got != want {
		th.Errorf("got %s answers, want %s", got, want)
	}
}

// What replicas count is added up, and what those counted who are no more is not forgotten: to the last request when
// they left, to a second before when they were killed.
func TestCountersOutliveReplicas(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		one, two := th.actor("ingressgateway-1"), th.actor("ingressgateway-2")
		one.counts(10)
		two.counts(5)
		th.wantAnswers("15")
		th.want(ingress(1, "a"))
		th.after(time.Second)
		time.Sleep(two.takes - time.Second - time.Nanosecond)
		two.counts(7) // its last
		th.after(time.Second)
		th.wantCast("1a")
		th.wantAnswers("17")
		th.after(time.Second)
		one.counts(12)
		th.after(2 * time.Second) // it was looked at
		one.counts(13)
		one.end(process.Exit{Code: 137})
		th.after(2 * time.Second)
		th.wantCast("1a")
		if got := th.answers(); got != "19" && got != "20" {
			t.Errorf("got %s answers, want 19, or 20 with the last", got)
		}
		th.actor("ingressgateway-1").counts(1)
		if status, body := th.ask(http.MethodPost, "/reset_counters"); status != http.StatusOK || body != "OK\n" {
			t.Errorf("got %d %s", status, body)
		}
		if got, want := th.told(), []string{"ingressgateway-1 /reset_counters"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		th.wantAnswers("1") // the actor plays no reset; those who are no more count nothing any longer
	})
}

func TestOneThatDoesNotAnswerDoesNotDelayTheOthers(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.actor("ingressgateway-1").counts(1)
		th.wantAnswers("1")
		th.mu.Lock()
		stuck := th.actors[1].Admin
		th.actors[1].Admin = "nowhere"
		th.mu.Unlock()
		th.after(3 * time.Second)
		began := time.Now()
		if got := th.answers(); got != "1" || time.Since(began) > 0 {
			t.Errorf("got %s answers after %v, want 1 at once", got, time.Since(began))
		}
		if status, _ := th.ask(http.MethodGet, "/ready"); status != http.StatusOK {
			t.Errorf("with one that serves, ready: got %d, want 200", status)
		}
		th.mu.Lock()
		defer th.mu.Unlock()
		th.actors[1].Admin = stuck
	})
}

// A gateway that fails its checks does so with all of its replicas, those that come later included.
func TestHealthcheckFailHoldsForThoseWhoCome(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(1, "a"))
		th.after(2 * time.Second)
		if status, body := th.ask(http.MethodPost, "/healthcheck/fail"); status != http.StatusOK {
			t.Errorf("got %d %s", status, body)
		}
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		if status, body := th.ask(http.MethodPost, "/healthcheck/ok"); status != http.StatusOK {
			t.Errorf("got %d %s", status, body)
		}
		th.recast(func(a *actor) { a.firm = true })
		th.want(ingress(3, "a"))
		th.after(2 * time.Second)
		got := th.told()
		want := []string{
			"ingressgateway-1 /healthcheck/fail", "ingressgateway-1 /healthcheck/ok",
			"ingressgateway-2 /healthcheck/fail", "ingressgateway-2 /healthcheck/ok",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if status, body := th.ask(http.MethodPost, "/healthcheck/ok"); status != http.StatusConflict || !strings.Contains(body, `"ingressgateway-3: it accepts nothing any more; `) {
			t.Errorf("with one that does not stay: got %d %s", status, body)
		}
	})
}

// A gateway that is drained as a whole stays as it is: who dies is not replaced, and nobody accepts after the last.
func TestDrainListenersIsForAll(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		if status, body := th.ask(http.MethodPost, "/drain_listeners?graceful"); status != http.StatusOK {
			t.Errorf("got %d %s", status, body)
		}
		if _, retired := th.doors.state(); retired.IsZero() {
			t.Error("the sockets are not retired: those in the queues would wait for nobody")
		}
		got := th.told()
		if want := []string{"ingressgateway-1 /drain_listeners?graceful", "ingressgateway-2 /drain_listeners?graceful"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		th.actor("ingressgateway-1").end(process.Exit{Code: 1})
		th.want(ingress(2, "b")) // nobody said so by a command
		more := ingress(5, "b")
		more.Declared = 5
		th.want(more)
		th.after(time.Minute)
		th.wantCast("2a")
	})
}

// A gateway that was drained as a whole comes back when somebody asks for replicas of it, or calls it back before it has
// stopped accepting.
func TestDrainedGatewayComesBack(t *testing.T) {
	restarted := ingress(2, "b")
	restarted.Restarted = "now"
	for name, tt := range map[string]struct {
		stage drain.Stage
		call  func(*theatre)
		want  string
	}{
		"rollout restart": {drain.Closed, func(th *theatre) { th.want(restarted) }, "3b 4b"},
		"scale":           {drain.Closed, func(th *theatre) { th.want(ingress(3, "a")) }, "3a 4a 5a"},
		"reload":          {drain.Closed, func(th *theatre) { th.roll <- struct{}{} }, "3a 4a"},
		"undrain": {drain.LameDuck, func(th *theatre) {
			if status, body := th.ask(http.MethodPost, "/healthcheck/ok"); status != http.StatusOK {
				th.Errorf("got %d %s", status, body)
			}
			th.actor("ingressgateway-1").end(process.Exit{Code: 1}) // and is replaced again
		}, "1a 2a"},
	} {
		t.Run(name, func(t *testing.T) {
			perform(t, func(th *theatre) {
				th.want(ingress(2, "a"))
				th.after(2 * time.Second)
				if status, body := th.ask(http.MethodPost, "/drain_listeners?graceful"); status != http.StatusOK {
					t.Errorf("got %d %s", status, body)
				}
				for _, a := range th.started() {
					a.mu.Lock()
					a.sum, a.firm = admin.Sum{Of: 1, Drain: &drain.Report{Stage: tt.stage}}, tt.stage > drain.LameDuck
					a.mu.Unlock()
				}
				th.after(time.Minute)
				th.wantCast("1a 2a")
				drained := tt.stage == drain.Closed
				if got := th.last().Replicas; got[0].Drained != drained || got[1].Drained != drained {
					t.Errorf("got %+v, want them drained: %t", got, drained)
				}
				if drained {
					if status, body := th.ask(http.MethodPost, "/healthcheck/ok"); status != http.StatusConflict || !strings.Contains(body, "crossfade rollout restart gateway/ingressgateway") {
						t.Errorf("undrain: got %d %s, want what brings it back", status, body)
					}
				}
				tt.call(th)
				th.after(10 * time.Second)
				if _, retired := th.doors.state(); !retired.IsZero() {
					t.Error("the sockets are still retired")
				}
				th.wantCast(tt.want)
				if got := th.last().Replicas; slices.ContainsFunc(got, func(r fleet.Replica) bool { return !r.Ready || r.Drained }) {
					t.Errorf("got %+v, want all ready", got)
				}
				if status, _ := th.ask(http.MethodPost, "/drain_listeners"); status != http.StatusOK { // and once more
					t.Errorf("got %d", status)
				}
				if _, retired := th.doors.state(); retired.IsZero() {
					t.Error("drained again, the sockets are not retired")
				}
			})
		})
	}
}

// One that somebody drained at its own admin API accepts nothing any more: another takes its place.
func TestDrainedReplicaIsReplaced(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		a := th.actor("ingressgateway-1")
		a.mu.Lock()
		a.sum = admin.Sum{Of: 1, Drain: &drain.Report{Stage: drain.LameDuck}}
		a.mu.Unlock()
		th.after(2 * time.Second)
		th.wantCast("1a 2a") // it accepts still, and may be called back
		a.mu.Lock()
		a.sum.Drain = &drain.Report{Stage: drain.Draining}
		a.mu.Unlock()
		th.after(time.Second)
		th.wantCast("1a- 2a 3a?")
		th.after(4 * time.Second)
		th.wantCast("1a- 2a 3a")
		if len(a.signals()) > 0 {
			t.Errorf("it heard %v while it drains", a.signals())
		}
		a.mu.Lock()
		a.sum.Drain = &drain.Report{Stage: drain.Closed}
		a.mu.Unlock()
		th.after(lookOld)
		if len(a.signals()) > 0 {
			t.Error("who drains it had no time to see that it is done")
		}
		th.after(3 * time.Second)
		th.wantCast("2a 3a")
	})
}

// Such a one is told to end as all others are when the supervisor leaves, and killed if it takes too long.
func TestDrainedReplicaEndsInTime(t *testing.T) {
	for _, stops := range []bool{false, true} {
		perform(t, func(th *theatre) {
			th.want(ingress(2, "a"))
			th.after(2 * time.Second)
			a := th.actor("ingressgateway-1")
			a.mu.Lock()
			a.sum = admin.Sum{Of: 1, Drain: &drain.Report{Stage: drain.Draining}}
			a.mu.Unlock()
			th.after(2 * time.Second)
			want := []syscall.Signal{syscall.SIGKILL}
			if stops {
				want = []syscall.Signal{syscall.SIGTERM}
				th.stop()
			}
			th.after(20 * time.Second)
			if got := a.signals(); !slices.Equal(got, want) || a.lives() {
				t.Errorf("the supervisor stops %t: it heard %v, want %v", stops, got, want)
			}
		})
	}
}

// The drain of several replicas is as far as the one that is least far.
func TestDrainIsTheSum(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		stages := []drain.Stage{drain.LameDuck, drain.Serving}
		for i, stage := range stages {
			a := th.started()[i]
			a.mu.Lock()
			a.sum = admin.Sum{Of: 1, Conns: 3, Drain: &drain.Report{
				Stage: stage, Accepted: 7, Cut: 1, Seconds: map[drain.Stage]float64{drain.LameDuck: float64(i + 1)},
				Protocols: map[drain.Protocol]drain.Requests{drain.HTTP1: {Before: 1, Ever: drain.Count{Open: 1, Opened: 5, Completed: 4}}},
			}}
			a.mu.Unlock()
		}
		th.after(time.Second)
		status, body := th.ask(http.MethodGet, "/api/v1/drain")
		var got drain.Report
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK {
			t.Fatalf("got %d %s: %v", status, body, err)
		}
		http1 := got.Protocols[drain.HTTP1]
		if got.Stage != drain.Serving || got.Accepted != 14 || got.Cut != 2 || len(got.Seconds) > 0 || http1.Ever.Opened != 10 || http1.Before != 2 {
			t.Errorf("got %s", body)
		}
		if _, body := th.ask(http.MethodGet, "/stats?format=prometheus"); !strings.Contains(body, "crossfade_drain_connections 6\n") {
			t.Errorf("want 6 connections in\n%s", body)
		}
	})
}

// What was lost when replicas left is counted on when they are no more, and how each ended.
func TestLeavesAreCounted(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(4, "a"))
		th.after(2 * time.Second)
		clean, cut, killed, died := th.actor("ingressgateway-4"), th.actor("ingressgateway-3"), th.actor("ingressgateway-2"), th.actor("ingressgateway-1")
		cut.exit = process.Exit{Code: cutCode}
		killed.takes = time.Hour
		for i, a := range []*actor{clean, cut, killed} {
			a.mu.Lock()
			a.sum = admin.Sum{Of: 1, Drain: &drain.Report{
				Stage: drain.Forced, Cut: uint64(i), Protocols: map[drain.Protocol]drain.Requests{drain.HTTP1: {Leave: drain.Count{Open: 5, Completed: 10, Cut: uint64(i)}}},
			}}
			a.mu.Unlock()
		}
		counted := func(want ...string) {
			t.Helper()
			_, body := th.ask(http.MethodGet, "/stats?format=prometheus")
			for _, line := range want {
				if !strings.Contains(body, "crossfade_"+line+"\n") {
					t.Errorf("want %s in\n%s", line, body)
				}
			}
		}
		counted(`leaves_total{outcome="clean"} 0`, `leaves_total{outcome="cut"} 0`, `leaves_total{outcome="killed"} 0`)
		th.want(ingress(1, "a"))
		th.after(time.Minute)
		died.end(process.Exit{Code: 137, Signal: syscall.SIGKILL})
		th.after(time.Minute)
		th.wantCast("1a")
		counted(
			`leaves_total{outcome="clean"} 1`, `leaves_total{outcome="cut"} 1`, `leaves_total{outcome="killed"} 2`,
			`drain_requests_total{kind="cut",protocol="http/1.1"} 3`, `drain_requests_total{kind="completed",protocol="http/1.1"} 30`,
			`drain_requests_open{protocol="http/1.1"} 0`, "drain_connections 0",
		)
	})
}

// A supervisor that is told to stop says how many requests were cut.
func TestStopSaysHowManyWereCut(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) {
			a.exit = process.Exit{Code: cutCode}
			a.sum = admin.Sum{Of: 1, Drain: &drain.Report{Stage: drain.Serving, Cut: 4}}
		})
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.stop()
		err := <-th.done
		th.done <- err
		lost, ok := errors.AsType[*CutError](err)
		const want = "8 requests were cut: ingressgateway-1: exit code 3; ingressgateway-2: exit code 3"
		if !ok || lost.Requests != 8 || len(lost.Replicas) != 2 || !strings.HasPrefix(lost.Error(), "8 requests were cut: ingressgateway-") {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// A replica that starts may accept from the next moment on, by what it has come to: an endpoint that it has not heard of
// is not shown, though all others have.
func TestShownIsWhatThoseWhoStartGoBy(t *testing.T) {
	perform(t, func(th *theatre) {
		for range 3 {
			th.want(ingress(1, "a"))
		}
		th.after(2 * time.Second)
		th.recast(func(a *actor) { a.ready, a.sum = time.Hour, admin.Sum{Of: 1, Snapshot: 3} })
		th.want(ingress(2, "a"))
		for i, applied := range []uint64{4, 3} {
			a := th.actor(fmt.Sprintf("ingressgateway-%d", i+1))
			a.mu.Lock()
			a.sum = admin.Sum{Of: 1, Snapshot: applied}
			a.mu.Unlock()
		}
		th.after(time.Second)
		if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != "crossfade.snapshot: 3\n" {
			t.Errorf("with a replica at 4 and one at 3 that starts: got %swant 3", got)
		}
		a := th.actor("ingressgateway-2")
		a.mu.Lock()
		a.sum = admin.Sum{Of: 1, Snapshot: 4}
		a.mu.Unlock()
		th.after(time.Millisecond) // virtual time stands still otherwise
		if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != "crossfade.snapshot: 4\n" {
			t.Errorf("once both are at 4: got %swant 4", got)
		}
	})
}

// Nobody is shown a snapshot that no replica goes by yet: its newest endpoints would have no share.
func TestShownIsWhatReplicasGoBy(t *testing.T) {
	perform(t, func(th *theatre) {
		for range 3 {
			th.want(ingress(1, "a"))
		}
		th.after(2 * time.Second)
		for _, tt := range []struct {
			applied uint64
			want    string
		}{{1, "1"}, {2, "2"}, {3, "3"}, {0, "3"}, {99, "3"}} {
			a := th.actor("ingressgateway-1")
			a.mu.Lock()
			a.sum = admin.Sum{Of: 1, Snapshot: tt.applied}
			a.mu.Unlock()
			th.after(time.Second)
			if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != "crossfade.snapshot: "+tt.want+"\n" {
				t.Errorf("with a replica at %d: got %swant %s", tt.applied, got, tt.want)
			}
		}
		for range 2 * maxEarlier {
			th.want(ingress(1, "a"))
		}
		if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != fmt.Sprintf("crossfade.snapshot: %d\n", th.number) {
			t.Errorf("with a replica that is ahead of all: got %s", got)
		}
		a := th.actor("ingressgateway-1")
		a.mu.Lock()
		a.sum = admin.Sum{Of: 1, Snapshot: 1}
		a.mu.Unlock()
		th.after(time.Second)
		for range 2 * maxEarlier {
			th.want(ingress(1, "a"))
		}
		if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != fmt.Sprintf("crossfade.snapshot: %d\n", th.number-maxEarlier) {
			t.Errorf("with a replica that is behind all that is kept: got %swant %d", got, th.number-maxEarlier)
		}
	})
}

// A client may meet the replica that is behind: what only the other one has come to is not in force.
func TestShownIsWhatAllReplicasGoBy(t *testing.T) {
	perform(t, func(th *theatre) {
		for range 3 {
			th.want(ingress(2, "a"))
		}
		th.after(2 * time.Second)
		for _, tt := range []struct {
			first, second uint64
			want          string
		}{{1, 3, "1"}, {2, 3, "2"}, {3, 3, "3"}} {
			for i, applied := range []uint64{tt.first, tt.second} {
				a := th.actor(fmt.Sprintf("ingressgateway-%d", i+1))
				a.mu.Lock()
				a.sum = admin.Sum{Of: 1, Snapshot: applied}
				a.mu.Unlock()
			}
			th.after(time.Second)
			if _, got := th.ask(http.MethodGet, "/stats?filter=crossfade.snapshot"); got != "crossfade.snapshot: "+tt.want+"\n" {
				t.Errorf("with replicas at %d and %d: got %swant %s", tt.first, tt.second, got, tt.want)
			}
		}
	})
}
