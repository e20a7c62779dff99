package local

import (
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
			s.t.Errorf("got %d starts, want %d: control knows of none of them yet", got, maxBeginning)
		}
		s.after(2 * time.Second)
		if got := s.starts(); got != 2*maxBeginning {
			s.t.Errorf("got %d starts, want the next %d", got, maxBeginning)
		}
		s.mute = false
	}, web(2*maxBeginning))
}
