package warmup_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

var (
	linear    = fleet.Warmup{Window: 120 * time.Second, Minimum: 0.1}
	quadratic = fleet.Warmup{Window: 120 * time.Second, Minimum: 0.1, Aggression: 0.5}
	off       = fleet.Warmup{}
)

func share(w fleet.Warmup, m fleet.Member, age time.Duration) float64 {
	return warmup.Share(w, warmup.Progress(w, m, age))
}

func TestRebase(t *testing.T) {
	const age = 60 * time.Second
	short := fleet.Warmup{Window: 80 * time.Second, Minimum: 0.1}
	for _, tt := range []struct {
		name       string
		last, next fleet.Warmup
		age        time.Duration
		progress   float64 // right after
		share      float64
		whole      time.Duration // the age at which the ramp is over
	}{
		{"nothing changed", linear, linear, age, 0.5, 0.5, 120 * time.Second},
		{"a shorter window keeps progress", linear, short, age, 0.5, 0.5, 100 * time.Second},
		{"a longer window keeps progress", short, linear, 40 * time.Second, 0.5, 0.5, 100 * time.Second},
		{"a new curve keeps the share", linear, quadratic, age, math.Sqrt(0.5), 0.5, age + 35147*time.Millisecond},
		{"a new curve keeps the share, back", quadratic, linear, age, 0.25, 0.25, age + 90*time.Second},
		{"still on the minimum, a new window keeps progress", linear, short, 6 * time.Second, 0.05, 0.1, 82 * time.Second},
		{"switched off: full", linear, off, age, 1, 1, 0},
		{"switched on for a living endpoint: mature", off, linear, age, 1, 1, 0},
		{"arrived stays so in a longer window", short, linear, 90 * time.Second, 1, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := warmup.Rebase(fleet.Member{Endpoint: 7}, tt.last, tt.next, tt.age)
			if m.Endpoint != 7 {
				t.Errorf("endpoint: got %d, want 7", m.Endpoint)
			}
			if got := warmup.Progress(tt.next, m, tt.age); math.Abs(got-tt.progress) > 1e-9 {
				t.Errorf("progress: got %v, want %v", got, tt.progress)
			}
			if got := share(tt.next, m, tt.age); math.Abs(got-tt.share) > 1e-9 {
				t.Errorf("share: got %v, want %v", got, tt.share)
			}
			if got := share(tt.next, m, tt.whole-10*time.Millisecond); tt.whole > 0 && got >= 1 {
				t.Errorf("share just before %v: got %v, want below 1", tt.whole, got)
			}
			if got := share(tt.next, m, max(tt.age, tt.whole)); got < 1-1e-5 {
				t.Errorf("share in the end: got %v, want 1", got)
			}
		})
	}
}

func TestSwitchedOffAndOnAgainIsMature(t *testing.T) {
	m := warmup.Rebase(fleet.Member{}, linear, off, 10*time.Second)
	m = warmup.Rebase(m, off, linear, 20*time.Second)
	if got := share(linear, m, 20*time.Second); got != 1 {
		t.Errorf("share: got %v, want 1", got)
	}
}

func drawWarmup(t *rapid.T, name string) fleet.Warmup {
	return fleet.Warmup{
		Window:     time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, name+" window")),
		Minimum:    rapid.Float64Range(0, 1).Draw(t, name+" minimum"),
		Aggression: rapid.Float64Range(0.1, 10).Draw(t, name+" aggression"),
	}
}

func TestRebaseNeverJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		age := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "age"))
		last := drawWarmup(t, "first")
		var m fleet.Member
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			next := drawWarmup(t, "next")
			before := share(last, m, age)
			m = warmup.Rebase(m, last, next, age)
			if got, want := share(next, m, age), max(before, next.Minimum); math.Abs(got-want) > 1e-9 {
				t.Fatalf("share %v becomes %v, want %v", before, got, want)
			}
			age += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "later"))
			last = next
		}
	})
}

func TestReentry(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	back := func(progress float64, ago time.Duration) fleet.Mark {
		return fleet.Mark{Progress: progress, Returned: now.Add(-ago)}
	}
	for _, tt := range []struct {
		name      string
		published float64
		mark      fleet.Mark
		want      float64
	}{
		{"never left", 0.7, fleet.Mark{Progress: 0.2}, 0.7},
		{"left warm, back now", 1, back(1, 0), 0.5},
		{"left long mature", 1, back(12, 0), 0.5},
		{"left half warm, back now", 1, back(0.5, 0), 0.25},
		{"grows at the ordinary pace", 1, back(1, 30*time.Second), 0.75},
		{"arrives", 1, back(1, 60*time.Second), 1},
		{"never ahead of control", 0.3, back(1, 10*time.Second), 0.3},
		{"returned in the future", 1, back(1, -time.Second), 0.5},
		{"no number", 1, back(math.NaN(), 0), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := warmup.Reentry(linear, tt.published, tt.mark, now); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if got := warmup.Reentry(off, 1, back(1, 0), now); got != 1 {
		t.Errorf("without a window: got %v, want 1", got)
	}
}

// What a data plane noted before somebody skipped or restarted the warm-up no longer counts; a pause changes nothing.
func TestReachedSinceSomebodyMovedIt(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const age = 10 * time.Minute
	mark := fleet.Mark{Progress: 1, Returned: now.Add(-12 * time.Second)} // 0.6 by now
	whole := fleet.Member{Base: 1}
	for _, tt := range []struct {
		name   string
		member fleet.Member
		want   float64
	}{
		{"nobody", whole, 0.6},
		{"skipped since", warmup.Skip.Apply(whole, linear, age-5*time.Second), 1},
		{"skipped before", warmup.Skip.Apply(whole, linear, age-20*time.Second), 0.6},
		{"restarted since", warmup.Restart.Apply(whole, linear, age-6*time.Second), 0.05},
		{"restarted before", warmup.Restart.Apply(whole, linear, age-60*time.Second), 0.5}, // never ahead of control
		{"paused since", warmup.Pause.Apply(fleet.Member{}, linear, age-5*time.Second), 0.6},
		{"skipped before, paused since", warmup.Pause.Apply(warmup.Skip.Apply(whole, linear, age-20*time.Second), linear, age), 0.6},
	} {
		if got := warmup.Reached(linear, tt.member, age, mark, now); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	skipped := warmup.Skip.Apply(whole, linear, age)
	if got := warmup.Reached(linear, skipped, age, fleet.Mark{}, now); got != 1 {
		t.Errorf("without a mark: got %v, want 1", got)
	}
}

// Nothing is earned at weight 0, and who comes back begins with half of what it had reached.
func TestRestAndReturn(t *testing.T) {
	for _, tt := range []struct {
		name            string
		member          fleet.Member
		age             time.Duration // at weight 0; it is so for an hour
		resting         float64
		returns, passed float64 // at once, and a quarter of the window later
		reason          warmup.Reason
	}{
		{"warm", fleet.Member{}, old, 1, 0.5, 0.75, warmup.Recovered},
		{"on its way", fleet.Member{}, 96 * time.Second, 0.8, 0.4, 0.65, warmup.Recovered},
		{"never had a request", fleet.Member{}, 0, 0, 0, 0.25, warmup.New},
		{"skipped", fleet.Member{Base: 1, At: young, Manual: true, Moved: young}, 2 * young, 1, 0.5, 0.75, warmup.Recovered},
		{"paused", fleet.Member{Base: 0.6, At: young, Manual: true, Paused: true}, old, 0.6, 0.3, 0.3, warmup.Manual},
	} {
		rests := warmup.Rest(tt.member, linear, tt.age)
		if got := warmup.Progress(linear, rests, tt.age+time.Hour); math.Abs(got-tt.resting) > 1e-9 {
			t.Errorf("%s: at weight 0 for an hour: got %v, want %v", tt.name, got, tt.resting)
		}
		back := warmup.Return(rests, tt.age+time.Hour)
		for after, want := range map[time.Duration]float64{0: tt.returns, linear.Window / 4: tt.passed} {
			if got := warmup.Progress(linear, back, tt.age+time.Hour+after); math.Abs(got-want) > 1e-9 {
				t.Errorf("%s: %v after its return: got %v, want %v", tt.name, after, got, want)
			}
		}
		p := newPool(linear, old, tt.age+time.Hour)
		p.members = map[int]fleet.Member{1: back}
		if got := p.decide(0).Outcomes[1].Reason; got != tt.reason {
			t.Errorf("%s: the reason is %q, want %q", tt.name, got, tt.reason)
		}
	}
}

func TestTick(t *testing.T) {
	for _, tt := range []struct{ window, want time.Duration }{
		{0, 0},
		{-time.Second, 0},
		{500 * time.Millisecond, 5 * time.Millisecond},
		{12 * time.Second, 120 * time.Millisecond},
		{100 * time.Second, time.Second},
		{time.Hour, time.Second},
	} {
		if got := warmup.Tick(fleet.Warmup{Window: tt.window}); got != tt.want {
			t.Errorf("Tick(%v): got %v, want %v", tt.window, got, tt.want)
		}
	}
}
