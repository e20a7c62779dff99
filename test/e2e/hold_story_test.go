//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHoldZooKeeper and TestHoldNacos have unmodified applications register themselves through their agents, beside others
// that have none.
func TestHoldZooKeeper(t *testing.T) { hold(t, "zookeeper") }

func TestHoldNacos(t *testing.T) { hold(t, "nacos") }

func hold(t *testing.T, kind string) {
	t.Helper()
	for _, a := range applications() {
		if a.kind() != kind {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			u := unmodifiedIn(t, a)
			t.Run("story", u.story)
			if a.killed {
				t.Run("killed", u.kills)
			}
		})
	}
}

// story is one life, with a registry that dies in each of its states. Beside it lives one without an agent, which shows
// what the same client does where nothing is held and nothing is swallowed.
func (u *unmodified) story(t *testing.T) {
	plain, held := u.alone(t), u.beside(t)
	plain.believes(t)
	held.believes(t)
	u.lists(t, plain)
	if got := held.readiness(t); got != http.StatusInternalServerError {
		t.Errorf("while it is held its readiness is %d, want 500", got)
	}
	u.dies(t, plain, held)
	u.lists(t, plain)

	began := time.Now()
	if u.listed(held, time.Time{}) {
		t.Error("it was listed before it was released")
	}
	held.release(t)
	u.listsNow(t, "it is ready", plain, held)
	t.Logf("ready %v after its probe could pass", time.Since(began).Round(time.Millisecond))
	u.dies(t, plain, held)
	u.lists(t, plain, held)

	held.offline(t)
	gone := time.Now()
	u.listsNow(t, "/offline has answered", plain)
	u.redoes(u, t, plain, held)
	<-time.After(time.Second) // what was not swallowed would be listed by then
	if u.listed(held, gone) {
		t.Error("it was listed again after /offline")
	}
	t.Logf("after /offline: %d registrations swallowed, none passed on", held.swallowed())
	stop(t, held)
	stop(t, plain)
	u.lists(t)
}

// dies is restart, for those that notice soon. Curator says when it is connected again; only then does it register again,
// which is to take the entry out and to make a new one.
func (u *unmodified) dies(t *testing.T, all ...*registrant) {
	t.Helper()
	if u.beats {
		return
	}
	const says = "RECONNECTED"
	had := map[*registrant]int{}
	for _, r := range all {
		had[r] = strings.Count(r.says.String(), says)
	}
	u.restart(t)
	for _, r := range all {
		eventually(t, soon, func() string {
			if u.curator && strings.Count(r.says.String(), says) == had[r] {
				return fmt.Sprintf("%d to connect again", r.port)
			}
			return ""
		})
	}
}

// stop ends one, as a supervisor does.
func stop(t *testing.T, r *registrant) {
	t.Helper()
	terminate(t, r.cmd, -1)
}

// redo takes the one without an agent out of its registry by hand. Clients register what they believe to be registered
// again: the one by itself, the other in vain.
func (u *unmodified) redo(t *testing.T, plain, drained *registrant) {
	t.Helper()
	u.remove(t, plain)
	u.dies(t, plain, drained)
	u.lists(t, plain)
	swallows(t, drained)
}

// redoAfterPause holds both applications still until their sessions have ended; awake, both register again.
func (u *unmodified) redoAfterPause(t *testing.T, plain, drained *registrant) {
	t.Helper()
	wakeDrained, wakePlain := pause(t, drained.application(t)), pause(t, plain.application(t))
	u.lists(t)
	<-time.After(holdSession / 2) // a session ends a while after its last ping, and their pings are not at the same time
	wakePlain()
	wakeDrained()
	u.lists(t, plain)
	swallows(t, drained)
}

func swallows(t *testing.T, r *registrant) {
	t.Helper()
	eventually(t, soon, func() string {
		if r.swallowed() == 0 {
			return "its agent to swallow what it registers again"
		}
		return ""
	})
}

// kills kills applications, and agents, in each state at once. None is left behind, none comes up that was not there, and
// one that was released is gone as soon as one without an agent.
func (u *unmodified) kills(t *testing.T) {
	from := time.Now()
	plain := u.alone(t)
	var held, released, drained [2]*registrant // one loses its application, the other its agent
	for i := range 2 {
		held[i], released[i], drained[i] = u.beside(t), u.beside(t), u.beside(t)
	}
	for i := range 2 {
		for _, r := range []*registrant{held[i], released[i], drained[i]} {
			r.believes(t)
		}
		released[i].release(t)
		drained[i].release(t)
		drained[i].offline(t)
	}
	u.lists(t, plain, released[0], released[1])

	offline := time.Now()
	orphans := []proc{held[1].application(t), released[1].application(t), drained[1].application(t)}
	dead := time.Now()
	kill(t, plain.application(t))
	for _, r := range []*registrant{held[0], released[0], drained[0]} {
		kill(t, r.application(t))
	}
	for _, r := range []*registrant{held[1], released[1], drained[1]} {
		kill(t, proc{pid: r.cmd.Process.Pid})
	}
	u.lists(t)
	for i := range 2 {
		if u.listed(held[i], from) {
			t.Errorf("%d was held, and was listed", held[i].port)
		}
		if u.listed(drained[i], offline) {
			t.Errorf("%d had gone offline, and was listed", drained[i].port)
		}
	}
	for _, r := range []*registrant{held[0], released[0], drained[0]} {
		ended(t, r.cmd, 128+int(syscall.SIGKILL))
	}
	for _, p := range orphans {
		eventually(t, soon, func() string {
			if _, lives := readProc("/proc/" + strconv.Itoa(p.pid)); lives {
				return "the application of a killed agent to end: " + p.String()
			}
			return ""
		})
	}
	u.asSoon(t, plain, released[:], dead)
}

// asSoon compares how long the registry listed those that were killed.
func (u *unmodified) asSoon(t *testing.T, plain *registrant, others []*registrant, dead time.Time) {
	t.Helper()
	without, is := u.goneAt(plain, dead)
	if !is {
		t.Fatal("the one without an agent is listed")
	}
	bound := 2*without.Sub(dead) + time.Second // what a registry takes varies by as much as its tick or its beat
	for i, r := range others {
		with, is := u.goneAt(r, dead)
		t.Logf("killed %s: gone after %v, without an agent after %v", []string{"application", "agent"}[i],
			with.Sub(dead).Round(10*time.Millisecond), without.Sub(dead).Round(10*time.Millisecond))
		if !is || with.Sub(dead) > bound {
			t.Errorf("killed %v ago, it was listed for %v, want %v at most", time.Since(dead), with.Sub(dead), bound)
		}
	}
}
