package supervisor

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

func TestReplicasComeAndGo(t *testing.T) {
	perform(t, func(th *theatre) {
		th.wantCast("") // nobody has said what is wanted
		th.want(ingress(3, "a"))
		th.wantCast("1a? 2a? 3a?")
		th.after(2 * time.Second)
		th.wantCast("1a 2a 3a")
		if diff := cmp.Diff([]string{"<nil>"}, th.heard()); diff != "" {
			t.Errorf("settled (-want +got):\n%s", diff)
		}
		first := th.actor("ingressgateway-1")
		if want := (Order{ID: "ingressgateway-1", Group: "istio-system/ingressgateway", Admin: "127.53.0.1:20101"}); !cmp.Equal(first.Order, want) {
			t.Errorf("got %+v, want %+v", first.Order, want)
		}
		if kept, _ := th.doors.state(); !slices.Equal(kept, []string{"127.0.0.1:15021", "127.0.0.1:8080"}) {
			t.Errorf("got sockets for %v, want those of the listener and of the health port", kept)
		}
		th.want(ingress(1, "a"))
		th.wantCast("1a 2a- 3a-")
		th.after(3 * time.Second)
		th.wantCast("1a")
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.wantCast("1a 2a")
		if len(first.signals()) > 0 {
			t.Errorf("who was always wanted heard %v", first.signals())
		}
	})
}

func TestDefaultGroup(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want()
		th.after(2 * time.Second)
		th.wantCast("1")
	})
}

// A revision replaces another one by one: one more comes, and only when it is ready one leaves.
func TestRevisionsReplaceOneByOne(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.want(ingress(2, "b"))
		th.wantCast("1a 2a 3b?")
		th.after(time.Second + lookYoung)
		th.wantCast("1a 2a- 3b 4b?") // the new one serves, so an old one leaves and the next comes
		th.after(time.Second + lookYoung)
		th.wantCast("1a- 2a- 3b 4b")
		th.after(3 * time.Second)
		th.wantCast("3b 4b")
		if got := th.said("gateway.upgrade_failed"); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestOvertakenRevisionLeavesBeforeItServes(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.want(ingress(2, "b"))
		th.wantCast("1a 2a 3b?")
		th.want(ingress(2, "c"))
		th.wantCast("1a 2a 3b- 4c?")
		th.after(5 * time.Second)
		th.wantCast("4c 5c")
		n := 0
		for _, a := range th.started() {
			if len(a.signals()) == 0 {
				n++
			}
		}
		if len(th.started()) != 5 || n != 2 {
			t.Errorf("got %d replicas, of which %d heard nothing; want 5, of which one of b never served", len(th.started()), n)
		}
	})
}

func TestWhoDiesIsReplaced(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(20 * time.Second)
		th.actor("ingressgateway-1").end(process.Exit{Code: 137, Signal: syscall.SIGKILL})
		th.after(100 * time.Millisecond)
		th.wantCast("1a? 2a")
		th.after(2 * time.Second)
		th.wantCast("1a 2a")
		if got := th.said("gateway.died"); len(got) != 1 || !strings.Contains(got[0], "ingressgateway-1: ended by SIGKILL") {
			t.Errorf("got %q", got)
		}
	})
}

// Who dies again and again is started ever more seldom; what dies together is one mishap.
func TestMishapsAreFollowedByRest(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) { a.dies = 10 * time.Millisecond })
		th.want(ingress(10, "a"))
		th.after(time.Second)
		// 10 at once, then after 0.1 s, 0.2 s, 0.4 s, each shortened by a quarter at most.
		if got := len(th.started()); got != 40 {
			t.Errorf("got %d starts in a second, want 4 times 10", got)
		}
		th.after(5 * time.Minute)
		before := len(th.started())
		th.after(time.Minute)
		if got := len(th.started()) - before; got < 20 || got > 30 {
			t.Errorf("got %d starts in a minute, want 10 every 22.5 to 30 s", got)
		}
		th.recast(func(*actor) {})
		th.want(ingress(10, "b")) // whatever was wrong may be right now
		th.after(2 * time.Second)
		if got := strings.Count(th.cast(), "b"); got != 10 {
			t.Errorf("got %q, want 10 of b", th.cast())
		}
	})
}

// A successor that does not come up changes nothing but the events.
func TestSuccessorsThatDoNotComeUp(t *testing.T) {
	for _, tt := range []struct {
		what   string
		script func(*actor)
		broken error
		want   string
	}{
		{"it dies", func(a *actor) { a.dies = 500 * time.Millisecond }, nil, "ingressgateway-3 was to replace one of the 2 that serve on: it ended by itself: exit code 1; tried again in"},
		{"it is never ready", func(a *actor) { a.ready = -1 }, nil, "ingressgateway-3 was to replace one of the 2 that serve on: it was not ready within 30s (it warms its hands); tried again in"},
		{"there is no such program", nil, &fs.PathError{Op: "fork/exec", Path: "/nowhere", Err: fs.ErrNotExist}, "ingressgateway-3 was to replace one of the 2 that serve on: fork/exec /nowhere: file does not exist; tried again in"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			perform(t, func(th *theatre) {
				th.want(ingress(2, "a"))
				th.after(2 * time.Second)
				th.mu.Lock()
				th.broken = tt.broken
				if tt.script != nil {
					th.script = tt.script
				}
				th.mu.Unlock()
				th.want(ingress(2, "b"))
				th.after(10 * time.Minute)
				for _, id := range []string{"ingressgateway-1", "ingressgateway-2"} {
					if a := th.actor(id); len(a.signals()) > 0 || !a.lives() {
						t.Errorf("%s heard %v, lives %v; want it to serve on", id, a.signals(), a.lives())
					}
				}
				got := th.said("gateway.upgrade_failed")
				if len(got) < 10 || len(got) > 60 || !strings.HasPrefix(got[0], tt.want) {
					t.Errorf("got %d events in 10 minutes, the first %q; want 10 to 60 and %q", len(got), got[:1], tt.want)
				}
				th.mu.Lock()
				th.broken, th.script = nil, func(*actor) {}
				th.mu.Unlock()
				th.after(2 * time.Minute)
				if got := th.cast(); strings.Contains(got, "a") || strings.Count(got, "b") != 2 {
					t.Errorf("when it comes up at last: got %q, want two of b", got)
				}
			})
		})
	}
}

// Where nobody serves, who is not ready is left alone: it may serve a part of what it should.
func TestUnreadyIsLeftAloneWhereNobodyServes(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) { a.ready = -1 })
		th.want(ingress(2, "a"))
		th.after(5 * time.Minute)
		th.wantCast("1a? 2a?")
		if len(th.started()) != 2 {
			t.Errorf("got %d starts, want 2", len(th.started()))
		}
		if status, body := th.ask(http.MethodGet, "/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, "it warms its hands") {
			t.Errorf("got %d %s", status, body)
		}
	})
}

func TestWhoDoesNotLeaveIsKilled(t *testing.T) {
	perform(t, func(th *theatre) {
		group := ingress(2, "a")
		th.recast(func(a *actor) { a.takes = time.Hour })
		th.want(group)
		th.after(2 * time.Second)
		group.Replicas, group.Drain = 1, time.Minute
		th.want(group)
		th.after(65 * time.Second) // a minute, 5 s for closing, and 5 s that nobody needs
		th.wantCast("1a 2a-")
		th.after(5 * time.Second)
		th.wantCast("1a")
		if got, want := th.said("gateway.killed"), []string{"ingressgateway-2 had not left after 1m10s, and was killed"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// When the supervisor leaves, all leave at once, and what any of them lost is told.
func TestQuit(t *testing.T) {
	cut := process.Exit{Code: cutCode}
	for _, tt := range []struct {
		what   string
		script func(*actor)
		want   string
	}{
		{"nothing is lost", func(*actor) {}, ""},
		{"one had to cut", func(a *actor) {
			if a.ID == "ingressgateway-2" {
				a.exit = cut
			}
		}, "supervisor supervisor: requests were cut: ingressgateway-2: exit code 3"},
		{"one fails", func(a *actor) {
			if a.ID == "ingressgateway-2" {
				a.exit = process.Exit{Code: 1}
			}
		}, "supervisor supervisor: ingressgateway-2: exit code 1"},
		{"one has to be killed", func(a *actor) {
			if a.ID == "ingressgateway-1" {
				a.takes = time.Hour
			}
		}, "supervisor supervisor: requests were cut: ingressgateway-1: ended by SIGKILL"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			perform(t, func(th *theatre) {
				th.recast(tt.script)
				th.want(ingress(3, "a"))
				th.after(2 * time.Second)
				th.stop()
				th.after(time.Second)
				th.wantCast("1a- 2a- 3a-")
				_, retired := th.doors.state()
				for _, a := range th.started() {
					if !a.told().Equal(retired) || len(a.signals()) != 1 {
						t.Errorf("%s was told at %v, the sockets at %v", a.ID, a.told(), retired)
					}
				}
				err := <-th.done
				th.done <- err
				got := ""
				if err != nil {
					got = err.Error()
				}
				if _, isCut := errors.AsType[*CutError](err); got != tt.want || isCut != strings.Contains(tt.want, "cut") {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if last := th.last(); !last.Leaving || len(th.started()) != 3 {
					t.Errorf("the last report is %+v, and there were %d; want it to leave, and nobody new", last, len(th.started()))
				}
			})
		})
	}
}

func TestQuitWhileOneStarts(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) { a.exit = process.Exit{Code: 143, Signal: syscall.SIGTERM} }) // it had no time to listen for signals
		th.want(ingress(1, "a"))
		th.stop()
		err := <-th.done
		th.done <- err
		if err != nil {
			t.Errorf("got %v, want nil: it had served nobody", err)
		}
	})
}

func TestHurryIsPassedOn(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) { a.takes = 9 * time.Second })
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.stop()
		th.after(time.Second)
		close(th.hurry)
		th.after(time.Second)
		for _, a := range th.started() {
			if want := []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}; !slices.Equal(a.signals(), want) {
				t.Errorf("%s heard %v, want %v", a.ID, a.signals(), want)
			}
		}
	})
}

func TestRollReplacesAll(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		th.roll <- struct{}{}
		th.after(5 * time.Second)
		th.wantCast("3a 4a")
		th.mu.Lock()
		th.broken = errors.New("text file busy")
		th.mu.Unlock()
		th.roll <- struct{}{}
		th.after(10 * time.Millisecond)
		if want := []string{"<nil>", "<nil>", "ingressgateway-1: text file busy"}; !slices.Equal(th.heard(), want) {
			t.Errorf("settled: got %q, want %q", th.heard(), want)
		}
		th.wantCast("3a 4a")
	})
}

// A group that configuration has no more leaves, and takes no other with it.
func TestGroups(t *testing.T) {
	perform(t, func(th *theatre) {
		egress := fleet.GatewayGroup{Name: "egress", Namespace: "istio-system", Replicas: 1, Revision: "e", Binary: "/opt/crossfade", Labels: map[string]string{"istio": "egress"}}
		th.want(ingress(1, "a"), egress)
		th.after(2 * time.Second)
		th.wantCast("egress-1e 1a")
		a := th.actor("egress-1")
		if want := (Order{ID: "egress-1", Group: "istio-system/egress", Binary: "/opt/crossfade", Labels: egress.Labels, Admin: "127.53.0.1:20102"}); !cmp.Equal(a.Order, want) {
			t.Errorf("got %+v, want %+v", a.Order, want)
		}
		th.want(ingress(1, "a"))
		th.after(3 * time.Second)
		th.wantCast("1a")
		th.want(ingress(0, "a"))
		th.after(3 * time.Second)
		th.wantCast("")
		if kept, _ := th.doors.state(); len(kept) > 0 {
			t.Errorf("with nobody wanted, sockets are kept for %v: clients would wait there for nobody", kept)
		}
	})
}

// A gateway that is renamed serves under its old name until somebody serves under the new one.
func TestRenamedGroup(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		front := ingress(2, "b")
		front.Name = "front"
		th.want(front)
		th.after(time.Second - lookYoung)
		th.wantCast("front-1b? front-2b? 1a 2a")
		th.after(3 * lookYoung)
		th.wantCast("front-1b front-2b 1a- 2a-")
		th.after(3 * time.Second)
		th.wantCast("front-1b front-2b")
	})
}

// Who does not answer any more holds on to clients who get nothing: it is killed, and another takes its place.
func TestWhoHangsIsReplaced(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(2, "a"))
		th.after(2 * time.Second)
		hung, other := th.actor("ingressgateway-1"), th.actor("ingressgateway-2")
		hung.hang(true)
		other.hang(true)
		th.after(readyWithin - 5*time.Second)
		other.hang(false) // it was only slow
		th.after(4 * time.Second)
		if len(hung.signals()) > 0 {
			t.Errorf("it heard %v before its time", hung.signals())
		}
		th.after(10 * time.Second)
		th.wantCast("1a 2a")
		if want := []syscall.Signal{syscall.SIGKILL}; !slices.Equal(hung.signals(), want) || len(other.signals()) > 0 {
			t.Errorf("who hung heard %v, want %v; the other one %v, want nothing", hung.signals(), want, other.signals())
		}
		for kind, want := range map[string]string{"gateway.killed": "ingressgateway-1 had not answered for 3", "gateway.died": "ingressgateway-1: it hung; another is started in"} {
			if got := th.said(kind); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s: got %q, want %q…", kind, got, want)
			}
		}
	})
}

// Where all hang at once, nobody says that those who would come were better off: they are replaced one after another.
func TestWhoHangTogetherAreReplacedOneByOne(t *testing.T) {
	perform(t, func(th *theatre) {
		th.want(ingress(3, "a"))
		th.after(2 * time.Second)
		for _, a := range th.started() {
			a.hang(true)
		}
		th.recast(func(a *actor) { a.ready = 20 * time.Second })
		for i, wait := range []time.Duration{readyWithin + 15*time.Second, 20 * time.Second, 25 * time.Second} {
			th.after(wait)
			if got := len(th.said("gateway.killed")); got != i+1 {
				t.Errorf("%d were killed, want %d", got, i+1)
			}
		}
		th.after(time.Minute)
		if got := th.last().Replicas; len(got) != 3 || len(th.started()) != 6 || slices.ContainsFunc(got, func(r fleet.Replica) bool { return !r.Ready }) {
			t.Errorf("got %+v of %d that were started, want 3 of 6, and ready", got, len(th.started()))
		}
	})
}

// One that starts and hangs is tried again also where nobody else serves.
func TestWhoHangsWhileItStartsIsReplaced(t *testing.T) {
	perform(t, func(th *theatre) {
		th.recast(func(a *actor) { a.hangs = true })
		th.want(ingress(1, "a"))
		th.after(readyWithin)
		th.recast(func(*actor) {})
		th.after(10 * time.Second)
		th.wantCast("1a")
		if got := len(th.started()); got != 2 {
			t.Errorf("got %d starts, want 2", got)
		}
	})
}

// While control takes nothing, what waits for it stays bounded, and what came first is not what is lost.
func TestNoticesAreBounded(t *testing.T) {
	l := newLoop(&Supervisor{Log: slog.New(slog.DiscardHandler)})
	for i := range 4 {
		sent := l.gather()
		for range maxNotices {
			l.notice(t.Context(), fleet.Event{Kind: "gateway.died", Reason: string(rune('a' + i))}, time.Now())
		}
		l.giveBack(sent)
	}
	got := l.gather()
	if len(got) != maxNotices || got[0].Reason != "a" {
		t.Errorf("got %d, the first %+v; want %d, the first of the first", len(got), got[0], maxNotices)
	}
}
