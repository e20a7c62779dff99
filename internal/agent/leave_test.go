package agent

import (
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// Who leaves is taken out of the registry only when control has seen to it that nobody sends, and stopped only when
// those who hear nothing had their time.
func TestLeavingBehindAFront(t *testing.T) {
	s := begin(fleet.DefaultLifecycle())
	s.sight.Control, s.sight.Front = Linked, &proxy.Seen{Open: 1, Total: 10, LastForeign: s.now.Add(-time.Minute)}
	s.step()
	s.sight.Wish, s.sight.Reason = Stop, "SIGTERM"
	s.step()
	if s.want(t, Withdrawing); s.do.Listing != Leaving || !s.do.Mark || s.do.Refuse || s.do.Ready {
		t.Errorf("got %+v, want answers marked, and nothing refused", s.do)
	}
	s.pass(20 * second)
	s.want(t, Withdrawing) // as long as control says so
	s.sight.Drained = true
	s.step()
	s.want(t, Lingering)
	s.pass(5 * second)
	s.sight.Front = &proxy.Seen{Open: 1, Total: 11, Foreign: 2, LastForeign: s.now} // somebody came
	s.pass(9900 * time.Millisecond)
	s.want(t, Lingering)
	s.pass(100 * time.Millisecond)
	if s.want(t, Finishing); !s.do.Refuse || s.do.Stop {
		t.Errorf("got %+v, want it to refuse, and not stopped while a request is open", s.do)
	}
	s.pass(10 * second)
	s.want(t, Finishing)
	s.sight.Front = &proxy.Seen{Total: 11}
	s.pass(300 * time.Millisecond)
	if s.want(t, Stopping); !s.do.Stop {
		t.Errorf("got %+v, want it stopped", s.do)
	}
	s.wantTold(t, "registration.completed", "readiness.passed", "offline.requested", "deregistered", "drained")
	r := s.life.Report(s.now)
	if r.Cut != 0 || r.Stage != drain.Closed || r.Seconds[drain.LameDuck] < 34 || r.Seconds[drain.Draining] < 10 {
		t.Errorf("got the report %+v, want 35 s of telling and 10 s of what was open", r)
	}
}

// How long callers are waited for that hear nothing of a leave, by who could have come.
func TestCallersThatHearNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*story)
		want time.Duration
	}{
		"nobody came":               {func(s *story) { s.sight.Front = &proxy.Seen{Total: 5} }, 0},
		"long ago":                  {func(s *story) { s.sight.Front = &proxy.Seen{LastForeign: s.now.Add(-90 * second)} }, 0},
		"somebody came":             {func(s *story) { s.sight.Front = &proxy.Seen{LastForeign: s.now.Add(-89 * second)} }, 10 * second},
		"no front":                  {func(*story) {}, 0},
		"no front, others follow":   {func(s *story) { s.life.Foreign = true }, 90 * second},
		"a front, others, nobody":   {func(s *story) { s.life.Foreign, s.sight.Front = true, &proxy.Seen{} }, 0},
		"no front, no control":      {func(s *story) { s.sight.Control = Nobody }, 90 * second},
		"no port, no control":       {func(s *story) { s.sight.Control, s.life.Reachable = Nobody, false }, 0},
		"a front, no control":       {func(s *story) { s.sight.Control, s.sight.Front = Nobody, &proxy.Seen{Last: s.now.Add(-second)} }, 10 * second},
		"a front, nobody, no contr": {func(s *story) { s.sight.Control, s.sight.Front = Nobody, &proxy.Seen{} }, 0},
	} {
		s := begin(fleet.DefaultLifecycle())
		s.sight.Control = Linked
		tt.set(s)
		s.step()
		began := s.now
		s.sight.Wish, s.sight.Drained = Leave, true
		s.step()
		for s.life.Stage() < Finishing && s.now.Sub(began) < time.Hour {
			s.pass(100 * time.Millisecond)
		}
		if got := s.now.Sub(began); got < tt.want || got > tt.want+200*time.Millisecond {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// An instance that has gone offline stays there, and its application runs.
func TestOfflineStaysOffline(t *testing.T) {
	s := begin(fleet.DefaultLifecycle())
	s.sight.Control, s.sight.Drained = Linked, true
	s.step()
	s.sight.Wish, s.sight.Reason = Leave, "GET /offline"
	s.pass(time.Hour)
	if s.want(t, Offline); s.do.Listing != Absent || s.do.Stop || s.do.Ready {
		t.Errorf("got %+v, want nothing of it listed, and it not stopped", s.do)
	}
	s.sight.Wish = Stop
	s.step()
	s.want(t, Stopping)
}

// Control or the registry may be away for ever: a leave ends all the same, in its time.
func TestLeavingAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		set  func(*story)
		most time.Duration
		told string
	}{
		"control is away":      {func(s *story) { s.sight.Control = Lost }, 91 * second, "drained"},
		"the registry is away": {func(s *story) { s.slow = true; s.sight.Drained = true }, 11 * second, "drained"},
		"control never drains": {func(*story) {}, 121 * second, "drain.overdue"},
		"a request never ends": {func(s *story) { s.sight.Drained, s.sight.Front = true, &proxy.Seen{Open: 1} }, 121 * second, "drain.overdue"},
		"hurry":                {func(s *story) { s.sight.Hurry = true }, 0, "drain.overdue"},
	} {
		s := begin(fleet.DefaultLifecycle())
		s.life.Reachable = false
		s.sight.Control, s.sight.Front = Linked, &proxy.Seen{}
		s.step()
		tt.set(s)
		began := s.now
		s.sight.Wish = Stop
		s.step()
		for s.life.Stage() < Stopping && s.now.Sub(began) < time.Hour {
			s.pass(100 * time.Millisecond)
		}
		if got := s.now.Sub(began); got > tt.most {
			t.Errorf("%s: got %v, want %v at most", name, got, tt.most)
		}
		if !slices.Contains(s.told, tt.told) {
			t.Errorf("%s: got %v, want %s told", name, s.told, tt.told)
		}
	}
}

// What was asked of a registry may have been done although nobody was told: it is not left there, nor said to be gone.
func TestLeavingWhatWasNeverRead(t *testing.T) {
	s := begin(fleet.PlainLifecycle())
	s.slow = true
	s.sight.Control, s.sight.Front, s.sight.Passing = Linked, &proxy.Seen{}, true
	s.step()
	s.sight.Listing, s.sight.Drained = Asked, true
	s.step()
	s.want(t, Registering)
	s.sight.Wish = Stop
	s.step()
	s.want(t, Deregistering)
	s.pass(forget - 100*time.Millisecond)
	s.want(t, Deregistering)
	s.pass(100 * time.Millisecond)
	s.want(t, Stopping)
	if slices.Contains(s.told, "deregistered") || !slices.Contains(s.told, "registration.failed") {
		t.Errorf("got %v, want it told that the registry was away, and not that it has the instance no more", s.told)
	}
	s = begin(fleet.PlainLifecycle())
	s.slow = true
	s.sight.Control, s.sight.Front, s.sight.Passing = Linked, &proxy.Seen{}, true
	s.step()
	s.sight.Listing, s.sight.Exit = Asked, "exit code 1"
	s.step()
	s.want(t, Died)
	s.pass(bury - 100*time.Millisecond)
	s.want(t, Died)
	s.sight.Listing = Absent
	s.step()
	s.want(t, Ended)
}

// One that was never listed has nobody to tell.
func TestLeavingBeforeAnybodyCame(t *testing.T) {
	for _, passing := range []bool{false, true} {
		s := begin(warms())
		s.sight.Control, s.sight.Front, s.sight.Passing = Linked, &proxy.Seen{}, passing
		s.step()
		s.sight.Wish = Stop
		s.step()
		s.want(t, Stopping)
	}
}

// Where we do not follow control, those who follow the registry read the mark before the entry goes: one that goes
// without a mark looks like a lease that ran out.
func TestTheMarkIsReadBeforeTheEntryGoes(t *testing.T) {
	leaves := func() *story {
		s := begin(fleet.PlainLifecycle())
		s.sight.Control, s.life.Followed = Nobody, true
		s.step()
		s.slow, s.sight.Wish = true, Leave // the registry takes its time
		s.step()
		if s.do.Listing != Leaving {
			t.Fatalf("got %+v, want it marked", s.do)
		}
		return s
	}
	s := leaves()
	s.pass(5 * second)
	s.want(t, Withdrawing)
	s.sight.Listing = Leaving
	s.pass(second)
	s.want(t, Withdrawing)
	s.pass(100 * time.Millisecond)
	if s.want(t, Deregistering); s.do.Listing != Absent {
		t.Errorf("got %+v a second after the mark was read, want the entry taken away", s.do)
	}

	away := leaves()
	away.pass(forget - 100*time.Millisecond)
	away.want(t, Withdrawing)
	away.pass(100 * time.Millisecond)
	away.want(t, Deregistering)
	away.pass(again) // it is tried once, and not waited for as long again
	away.want(t, Lingering)
}

// Others than control must see the registration go: it does when they have had time to read that the instance leaves,
// although gateways may have something open still. Where only control follows the registry, that has its time.
func TestOthersFollowTheRegistry(t *testing.T) {
	for foreign, want := range map[bool]time.Duration{true: heeded, false: 20 * second} {
		s := begin(fleet.DefaultLifecycle())
		s.life.Foreign, s.life.Followed, s.sight.Control = foreign, true, Linked
		s.step()
		began := s.now
		s.sight.Wish = Leave
		s.step()
		for !s.do.Gone && s.do.Listing != Absent && s.now.Sub(began) < 20*second {
			s.pass(100 * time.Millisecond)
		}
		if got := s.now.Sub(began); got < want || got > want+200*time.Millisecond || s.do.Listing != Leaving {
			t.Errorf("foreign %v: it is gone after %v, listing %v, want %v, and control told that it leaves", foreign, got, s.do.Listing, want)
		}
		s.want(t, Withdrawing)
		s.sight.Drained = true
		s.step()
		if s.do.Gone || s.do.Listing != Absent {
			t.Errorf("foreign %v: got %+v, want it taken out everywhere", foreign, s.do)
		}
	}
}

// Nobody knows what gateways do while control is away: they and others have their time when the registration is gone.
func TestOthersFollowTheRegistryAndControlIsAway(t *testing.T) {
	for foreign, want := range map[bool]time.Duration{true: heeded, false: 90 * second} {
		s := begin(fleet.DefaultLifecycle())
		s.life.Foreign, s.life.Followed, s.sight.Control = foreign, true, Lost
		s.step()
		began := s.now
		s.sight.Wish = Leave
		for s.step(); s.life.Stage() == Withdrawing; {
			s.pass(100 * time.Millisecond)
		}
		if got := s.now.Sub(began); got < want || got > want+200*time.Millisecond {
			t.Errorf("foreign %v: it is taken out after %v, want %v", foreign, got, want)
		}
	}
}
