package local

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// starts returns how many applications were started.
func (s *theatre) starts() int {
	n := 0
	for _, line := range s.log {
		if strings.Contains(line, " START web-") {
			n++
		}
	}
	return n
}

func TestManyBeginInTurnAndANewWishCountsAtOnce(t *testing.T) {
	play(t, func(s *theatre) {
		s.boot = time.Hour // that an application takes long keeps nobody waiting: only its start does
		s.after(time.Millisecond)
		if got := s.starts(); got != maxBeginning {
			s.t.Errorf("got %d starts in the first moment, want %d", got, maxBeginning)
		}
		s.after(time.Second)
		before := s.starts()
		if before < 4*maxBeginning || before > 500 {
			s.t.Errorf("got %d starts after a second, want more turns, and not all", before)
		}
		heard := 0
		for _, e := range s.events {
			if e.Kind == "instance.starting" {
				heard++
			}
		}
		if heard < before-maxBeginning {
			s.t.Errorf("control has heard of %d that start, want it to see %d come", heard, before)
		}
		s.scale(1)
		s.after(10 * time.Second)
		if got := s.starts(); got != before {
			s.t.Errorf("got %d starts after the wish was taken back, want none", got-before)
		}
		s.want("web-1 Starting 127.1.0.1")
	}, web(1000))
}

func TestNobodyIsHiredWhileAllStop(t *testing.T) {
	var s *theatre
	before := 0
	play(t, func(theatre *theatre) {
		s = theatre
		s.after(500 * time.Millisecond)
		before = s.starts()
	}, web(1000))
	if got := s.starts(); before < maxBeginning || got != before {
		t.Errorf("got %d starts before the end, and %d after, want some, and none", before, got-before)
	}
}

func TestOneThatCannotBeginKeepsNobodyWaitingForLong(t *testing.T) {
	play(t, func(s *theatre) {
		s.mute = true
		s.after(beginPatience - time.Second)
		if got := s.starts(); got != maxBeginning {
			s.t.Errorf("got %d starts, want %d: their sidecars do not listen yet", got, maxBeginning)
		}
		s.after(2 * time.Second)
		if got := s.starts(); got != 2*maxBeginning {
			s.t.Errorf("got %d starts, want the next %d", got, maxBeginning)
		}
		s.mute = false
	}, web(2*maxBeginning))
}

func TestWhoWasNeverReadyHearsWhereToListen(t *testing.T) {
	const where = "; it was never ready: it must listen on $HOST:$PORT, here 127.2.0.1:80, " +
		"not on all addresses: its sidecar has the port on 127.1.0.1"
	play(t, func(s *theatre) {
		s.after(500 * time.Millisecond) // it does not listen yet
		s.crash("127.2.0.1", 1)
		s.after(5 * time.Second) // it does now
		s.crash("127.2.0.1", 2)
		s.after(100 * time.Millisecond)
		got := s.told()
		if died := got[1]; !strings.HasPrefix(died, "instance.died: exit code 1; starts again in ") || !strings.HasSuffix(died, where) {
			s.t.Errorf("got %q, want that it died and where it must listen", died)
		}
		if died := got[4]; !strings.HasPrefix(died, "instance.died: exit code 2") || strings.Contains(died, "HOST") {
			s.t.Errorf("got %q, want no hint: it had found the place", died)
		}
	}, web(1))

	w := web(1)
	w.Readiness.Interval, w.Readiness.Unhealthy = 5*time.Second, 3
	play(t, func(s *theatre) {
		s.boot = time.Hour
		s.after(3 * time.Second)
		got := s.told()
		if want := "probe.failed: not ready yet; connection refused"; got[len(got)-1] != want {
			s.t.Errorf("got %q last, want %q: it may only be slow", got[len(got)-1], want)
		}
		s.after(13 * time.Second)
		got = s.told()
		if want := "probe.failed: connection refused" + where; got[len(got)-1] != want {
			s.t.Errorf("got %q last, want %q", got[len(got)-1], want)
		}
	}, w)

	w.Readiness.Port = 81 // none of its ports
	play(t, func(s *theatre) {
		s.boot = time.Hour
		s.after(16 * time.Second)
		got := s.told()
		if want := "probe.failed: connection refused" + where + "; its readiness probe asks 127.2.0.1:81"; got[len(got)-1] != want {
			s.t.Errorf("got %q last, want %q", got[len(got)-1], want)
		}
	}, w)

	w = web(1)
	play(t, func(s *theatre) {
		s.failing["127.2.0.1"] = true
		s.after(8 * time.Second) // it listens after a second
		s.crash("127.2.0.1", 1)
		s.after(100 * time.Millisecond)
		got := s.told()
		if want := "probe.failed: 503 Service Unavailable"; !slices.Contains(got, want) {
			s.t.Errorf("got %q, want %q among it: it listens", got, want)
		}
		if last := got[len(got)-1]; !strings.HasPrefix(last, "instance.died: exit code 1") || strings.Contains(last, "HOST") {
			s.t.Errorf("got %q last, want that it died and no hint: it has answered", last)
		}
	}, w)

	w = web(1)
	w.Readiness = nil
	play(t, func(s *theatre) {
		s.boot = time.Hour
		s.after(portPatience + time.Second)
		got := s.told()
		if want := "probe.failed: connection refused" + where; got[len(got)-1] != want {
			s.t.Errorf("got %q last, want %q", got[len(got)-1], want)
		}
	}, w)

	w.Ports = nil
	w.Command = []string{"/bin/nohook"}
	play(t, func(s *theatre) {
		s.after(2 * time.Second)
		for _, event := range s.told() {
			if strings.Contains(event, "HOST") {
				s.t.Errorf("got %q, want no hint: it has no port", event)
			}
		}
	}, w)
}
