package drain

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A fleet of connections on virtual time, as a data plane would have it.
type place struct {
	now      time.Time
	sight    Sight
	done     []Do // what was to be done, but for nothing
	when     []time.Duration
	leave    *Leave
	shutdown time.Duration // that sockets take to be left
	stopped  time.Time
	hurried  bool
	early    string // what was ended before its time
}

func begin(t Timers) *place {
	now := time.Unix(1_000_000, 0)
	return &place{now: now, leave: NewLeave(t, "SIGTERM", now)}
}

// step does one step, and what it wants done.
func (p *place) step() Do {
	p.sight.Queued = p.stopped.IsZero() || p.now.Sub(p.stopped) < p.shutdown
	do := p.leave.Step(p.sight, p.now)
	if do.Stop {
		p.stopped = p.now
	}
	t, served := p.leave.timers, p.now.Sub(p.stopped)
	if !p.hurried && (do.Brief > 0 && p.sight.Requests > 0 && served < t.Requests || do.Long > 0 && served < t.Long) {
		p.early = fmt.Sprintf("%+v is to be done to %+v %v after the sockets were left", do, p.sight, served)
	}
	p.sight.Parted += do.Brief + do.Long
	p.sight.Long -= do.Long
	p.sight.Requests = max(0, p.sight.Requests-do.Brief)
	if do != (Do{}) {
		p.done = append(p.done, do)
		p.when = append(p.when, p.now.Sub(time.Unix(1_000_000, 0)))
	}
	return do
}

// run steps every tenth of a second, and after each calls f, until the leave is over.
func (p *place) run(t interface{ Fatalf(string, ...any) }, f func(after time.Duration)) {
	const most = 100_000
	for range most {
		p.step()
		if p.leave.Stage() == Closed {
			return
		}
		p.now = p.now.Add(100 * time.Millisecond)
		f(p.now.Sub(time.Unix(1_000_000, 0)))
	}
	t.Fatalf("the leave has not ended after %v", p.now.Sub(time.Unix(1_000_000, 0)))
}

func (p *place) want(t *testing.T, when []time.Duration, done []Do) {
	t.Helper()
	if diff := cmp.Diff(done, p.done); diff != "" {
		t.Errorf("what was to be done (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(when, p.when); diff != "" {
		t.Errorf("and when (-want +got):\n%s", diff)
	}
}

const second = time.Second

// timers are such that every bound is another number.
func timers() Timers {
	return Timers{Min: 10 * second, Notice: 15 * second, Quiet: 5 * second, Requests: 30 * second, Long: 120 * second, Spread: 10 * second}
}

func TestNobodyIsThere(t *testing.T) {
	p := begin(timers())
	p.run(t, func(time.Duration) {})
	// Nobody comes in the quiet time: the least that load balancers need is all.
	p.want(t, []time.Duration{0, 10 * second, 10*second + 100*time.Millisecond}, []Do{{Tell: true}, {Stop: true}, {Close: true}})
	r := p.leave.Report(p.now)
	if diff := cmp.Diff(map[Stage]float64{LameDuck: 10, Draining: .1}, r.Seconds); diff != "" {
		t.Errorf("seconds (-want +got):\n%s", diff)
	}
}

func TestLameDuckLastsWhileConnectionsCome(t *testing.T) {
	p := begin(timers())
	p.run(t, func(time.Duration) { p.sight.Accepted = p.now })
	p.want(t, []time.Duration{0, 15 * second, 15*second + 100*time.Millisecond}, []Do{{Tell: true}, {Stop: true}, {Close: true}})
}

func TestLameDuckEndsWhenNobodyComesAnyMore(t *testing.T) {
	p := begin(timers())
	p.run(t, func(after time.Duration) {
		if after <= 7*second {
			p.sight.Accepted = p.now
		}
	})
	p.want(t, []time.Duration{0, 12 * second, 12*second + 100*time.Millisecond}, []Do{{Tell: true}, {Stop: true}, {Close: true}})
}

func TestWhoHasASuccessorStopsAtOnce(t *testing.T) {
	p := begin(timers())
	p.sight.Shared = true
	p.run(t, func(time.Duration) {})
	p.want(t, []time.Duration{0, 100 * time.Millisecond}, []Do{{Tell: true, Stop: true}, {Close: true}})
}

func TestFailedHealthChecksStopNobody(t *testing.T) {
	p := begin(timers())
	p.leave.Hold()
	p.run(t, func(after time.Duration) {
		if after == 60*second {
			p.leave.Release("SIGTERM") // balancers have had their time
		}
	})
	p.want(t, []time.Duration{0, 60 * second, 60*second + 100*time.Millisecond}, []Do{{Tell: true}, {Stop: true}, {Close: true}})
	if r := p.leave.Report(p.now); r.Reason != "SIGTERM" {
		t.Errorf("got reason %q, want SIGTERM", r.Reason)
	}
}

func TestRequestsEndWhatLastsIsTold(t *testing.T) {
	p := begin(timers())
	p.sight = Sight{Shared: true, Conns: 4, Requests: 2, Long: 1} // and one is idle
	p.run(t, func(after time.Duration) {
		p.sight.Asked = p.now
		if after == 20*second { // one ends by itself
			p.sight.Requests--
			p.sight.Conns--
		}
	})
	p.want(t, []time.Duration{0, 30*second + 100*time.Millisecond, 35*second + 100*time.Millisecond, 120*second + 100*time.Millisecond, 123*second + 100*time.Millisecond}, []Do{
		{Tell: true, Stop: true},
		{Brief: 1},
		{Brief: 1}, // two, over ten seconds
		{Long: 1},
		{Close: true}, // whether they have said goodbye or not
	})
}

func TestIdleConnectionsCloseWhenNobodyAsks(t *testing.T) {
	p := begin(timers())
	p.sight = Sight{Shared: true, Conns: 3}
	p.run(t, func(after time.Duration) {
		if after <= 4*second {
			p.sight.Asked = p.now
		}
	})
	p.want(t, []time.Duration{0, 9 * second, 12 * second}, []Do{{Tell: true, Stop: true}, {Brief: 3}, {Close: true}})
	if r := p.leave.Report(p.now); r.Seconds[Forced] != 0 {
		t.Errorf("got %vs forced, want none: nothing was open", r.Seconds[Forced])
	}
}

func TestASecondSignalHurries(t *testing.T) {
	p := begin(timers())
	p.sight = Sight{Conns: 20, Requests: 10, Long: 10}
	p.run(t, func(after time.Duration) {
		if after == second {
			p.leave.Hurry()
		}
	})
	if got, most := p.now.Sub(time.Unix(1_000_000, 0)), 15*second; got > most {
		t.Errorf("got an end after %v, want it within %v: the spread and goodbyes", got, most)
	}
	most := 0
	for _, do := range p.done {
		most = max(most, do.Brief, do.Long)
	}
	if most > 1 {
		t.Errorf("got %d ended at once, want them spread", most)
	}
}

func TestWithoutASpreadAllEndAtOnce(t *testing.T) {
	ts := timers()
	ts.Spread = 0
	p := begin(ts)
	p.sight = Sight{Shared: true, Conns: 3000, Requests: 1000, Long: 2000}
	p.run(t, func(time.Duration) { p.sight.Asked = p.now })
	p.want(t, []time.Duration{0, 30 * second, 120 * second, 123 * second}, []Do{
		{Tell: true, Stop: true}, {Brief: 1000}, {Long: 2000}, {Close: true},
	})
}

func TestNothingEndsWhileSomebodyMayWaitToBeAccepted(t *testing.T) {
	p := begin(timers())
	p.shutdown = 4 * second
	p.sight.Shared = true
	p.run(t, func(time.Duration) {})
	p.want(t, []time.Duration{0, 4 * second}, []Do{{Tell: true, Stop: true}, {Close: true}})
}

// Not even where no request has any time: who is in the queue is served, or hears why not.
func TestTheQueueIsHeardWithoutTime(t *testing.T) {
	for _, hurry := range []bool{false, true} {
		p := begin(Timers{})
		if hurry {
			p = begin(timers())
			p.leave.Hurry()
		}
		p.shutdown = second
		p.run(t, func(after time.Duration) {
			if after == second {
				p.sight.Conns, p.sight.Requests = 1, 1
			}
			if after == 2*second {
				p.sight.Conns, p.sight.Parted = 0, 0
			}
		})
		ended := 0
		for _, do := range p.done {
			ended += do.Brief
		}
		if last := p.when[len(p.when)-1]; ended != 1 || last != 2*second {
			t.Errorf("hurry %v: got %+v at %v, want the one who came from the queue ended, and then the end", hurry, p.done, p.when)
		}
	}
}

// Whatever happens, a leave does each thing once and in order, cuts nothing before its time, and ends in the time that
// it says is the longest.
func TestALeaveEndsInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		duration := func(name string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * second
		}
		ts := Timers{
			Min: duration("min", 20), Notice: duration("notice", 20), Quiet: duration("quiet", 10),
			Requests: duration("requests", 40), Long: duration("long", 60), Spread: duration("spread", 10),
		}
		p := begin(ts)
		p.sight.Shared = rapid.Bool().Draw(rt, "shared")
		p.shutdown = time.Duration(rapid.IntRange(0, 10).Draw(rt, "tenths of a second that sockets take")) * 100 * time.Millisecond
		hurry := duration("hurry", 200)
		events := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 400).Draw(rt, "what happens")
		p.run(rt, func(after time.Duration) {
			p.happens(events[int(after/(100*time.Millisecond))%len(events)])
			if after == hurry {
				p.leave.Hurry()
				p.hurried = true
			}
		})
		if got, most := p.now.Sub(time.Unix(1_000_000, 0)), ts.Longest(); got > most {
			rt.Fatalf("got an end after %v, want at most %v", got, most)
		}
		if p.early != "" {
			rt.Fatal(p.early)
		}
		var tells, stops, closes int
		for i, do := range p.done {
			if do.Tell && i > 0 || do.Close && i < len(p.done)-1 || do.Brief+do.Long > 0 && stops == 0 {
				rt.Fatalf("step %d of %+v is out of order", i, p.done)
			}
			tells, stops, closes = tells+one(do.Tell), stops+one(do.Stop), closes+one(do.Close)
		}
		if tells != 1 || stops != 1 || closes != 1 {
			rt.Fatalf("told %d times, stopped %d times, closed %d times, want once each", tells, stops, closes)
		}
	})
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// happens lets one thing happen on the connections.
func (p *place) happens(what int) {
	s := &p.sight
	accepts := p.leave.Stage() == LameDuck
	idle := s.Conns - s.Requests - s.Long - s.Parted
	switch {
	case what == 0 && accepts:
		s.Conns, s.Accepted = s.Conns+1, p.now
	case what == 1 && idle > 0:
		s.Requests++
	case what == 2 && idle > 0:
		s.Long++
	case what == 3 && s.Requests > 0: // its client heard that it should go
		s.Requests, s.Conns = s.Requests-1, s.Conns-1
	case what == 4 && s.Long > 0:
		s.Long, s.Conns = s.Long-1, s.Conns-1
	case what == 5 && s.Parted > 0:
		s.Parted, s.Conns = s.Parted-1, s.Conns-1
	}
	if s.Requests+s.Long > 0 {
		s.Asked = p.now
	}
}
