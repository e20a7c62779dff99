package warmup_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// A pool is a service with one pool, in a shape that is short to write down.
type pool struct {
	policy    fleet.Policy
	capacity  float64
	endpoints []fleet.Endpoint
	overlay   fleet.Overlay
	near      warmup.Near
	places    []fleet.Place
	members   map[int]fleet.Member // of those that somebody moved on the curve
}

func newPool(w fleet.Warmup, ages ...time.Duration) *pool {
	p := &pool{policy: fleet.Policy{Warmup: w}, overlay: fleet.Overlay{}}
	for i, age := range ages {
		p.endpoints = append(p.endpoints, fleet.Endpoint{
			Incarnation: fmt.Sprint("i", i), Weight: 1, Stage: fleet.Warming, Age: age,
		})
	}
	return p
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *pool) decide(later time.Duration) warmup.Decision {
	s, v := p.service()
	return warmup.Decide(v, s, &s.Pools[0], p.overlay, p.near, epoch.Add(later))
}

// service is the pool as the whole of a service, seen at the epoch.
func (p *pool) service() (*fleet.Service, fleet.View) {
	s := &fleet.Service{Endpoints: p.endpoints, Pools: []fleet.Pool{{Policy: p.policy, Capacity: p.capacity, Places: p.places}}}
	for i := range p.endpoints {
		m := p.members[i]
		m.Endpoint = i
		s.Pools[0].Members = append(s.Pools[0].Members, m)
	}
	return s, fleet.View{Snapshot: &fleet.Snapshot{}, Taken: epoch}
}

// Percent says how many hundredths of the requests each endpoint gets.
func (p *pool) percent(later time.Duration) []float64 {
	d := p.decide(later)
	var all float64
	for i, o := range d.Outcomes {
		all += o.Share * float64(p.endpoints[i].Weight)
	}
	got := make([]float64, len(d.Outcomes))
	for i, o := range d.Outcomes {
		got[i] = math.Round(1000*o.Share*float64(p.endpoints[i].Weight)/all) / 10
	}
	return got
}

func reasons(d warmup.Decision) []warmup.Reason {
	var r []warmup.Reason
	for _, o := range d.Outcomes {
		r = append(r, o.Reason)
	}
	return r
}

func shares(d warmup.Decision) []float64 {
	var s []float64
	for _, o := range d.Outcomes {
		s = append(s, math.Round(o.Share*1e4)/1e4)
	}
	return s
}

const (
	old   = 24 * time.Hour
	young = 30 * time.Second // a quarter of a window of 120 s
)

func TestReasons(t *testing.T) {
	const some = 10 * time.Second
	for _, tt := range []struct {
		name    string
		change  func(*pool)
		ages    []time.Duration
		reasons []warmup.Reason
		shares  []float64
	}{
		{
			"a newcomer among the old", func(*pool) {},
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Full, warmup.New},
			[]float64{1, 0.25},
		},
		{
			"at age 0", func(*pool) {},
			[]time.Duration{old, 0},
			[]warmup.Reason{warmup.Full, warmup.New},
			[]float64{1, 0.1},
		},
		{
			"one that waits to be offered", func(p *pool) { p.endpoints[1].Stage = fleet.Starting },
			[]time.Duration{old, 0},
			[]warmup.Reason{warmup.Full, warmup.New},
			[]float64{1, 0},
		},
		{
			"one that lost readiness", func(p *pool) { p.endpoints[1].Stage = fleet.Starting },
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Full, warmup.NotReady},
			[]float64{1, 0},
		},
		{
			"one whose weight is multiplied", func(p *pool) { p.endpoints[0].Factor, p.endpoints[1].Factor = new(0.5), new(0.5) },
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Weighed, warmup.New},
			[]float64{1, 0.25},
		},
		{
			"one whose weight is multiplied by 1", func(p *pool) { p.endpoints[0].Factor = new(1.0) },
			[]time.Duration{old},
			[]warmup.Reason{warmup.Full},
			[]float64{1},
		},
		{
			"one alone", func(*pool) {},
			[]time.Duration{some},
			[]warmup.Reason{warmup.BypassSingle},
			[]float64{1},
		},
		{
			"one left over", func(p *pool) { p.endpoints[0].Stage = fleet.Draining },
			[]time.Duration{old, some},
			[]warmup.Reason{warmup.Drained, warmup.BypassSingle},
			[]float64{0, 1},
		},
		{
			"all cold, equally", func(*pool) {},
			[]time.Duration{some, some},
			[]warmup.Reason{warmup.BypassAllCold, warmup.BypassAllCold},
			[]float64{1, 1},
		},
		{
			"all cold, at age 0 with a minimum of 0", func(p *pool) { p.policy.Warmup.Minimum = 0 },
			[]time.Duration{0, 0, 0},
			[]warmup.Reason{warmup.BypassAllCold, warmup.BypassAllCold, warmup.BypassAllCold},
			[]float64{1, 1, 1},
		},
		{
			"all cold, of different ages", func(*pool) {},
			[]time.Duration{2 * young, young},
			[]warmup.Reason{warmup.BypassAllCold, warmup.BypassAllCold},
			[]float64{1, 0.5},
		},
		{
			"back after a failed check", func(p *pool) { p.overlay["i1"] = fleet.Mark{Progress: 1, Returned: epoch} },
			[]time.Duration{old, old},
			[]warmup.Reason{warmup.Full, warmup.Recovered},
			[]float64{1, 0.5},
		},
		{
			"ejected", func(p *pool) { p.overlay["i1"] = fleet.Mark{Ejected: true} },
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Full, warmup.Ejected},
			[]float64{1, 0},
		},
		{
			"ejected in the middle of its ramp, back in less than it had", func(p *pool) {
				p.overlay["i1"] = fleet.Mark{Progress: 0.2, Returned: epoch}
			},
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Full, warmup.Recovered},
			[]float64{1, 0.1},
		},
		{
			"drained by weight, however warm", func(p *pool) { p.endpoints[1].Weight = 0 },
			[]time.Duration{old, old},
			[]warmup.Reason{warmup.Full, warmup.Drained},
			[]float64{1, 0},
		},
		{
			"draining while it warms up", func(p *pool) { p.endpoints[1].Stage = fleet.Draining },
			[]time.Duration{old, young},
			[]warmup.Reason{warmup.Full, warmup.Drained},
			[]float64{1, 0},
		},
		{
			"not there yet", func(p *pool) { p.endpoints[1].Stage = fleet.Starting },
			[]time.Duration{old, 0},
			[]warmup.Reason{warmup.Full, warmup.New},
			[]float64{1, 0},
		},
		{
			"all ejected: better one that may answer than none", func(p *pool) {
				p.overlay["i0"], p.overlay["i1"] = fleet.Mark{Ejected: true}, fleet.Mark{Ejected: true}
				p.endpoints[2].Stage = fleet.Draining
			},
			[]time.Duration{old, young, old},
			[]warmup.Reason{warmup.Ejected, warmup.Ejected, warmup.Drained},
			[]float64{1, 1, 0},
		},
		{
			"nobody", func(p *pool) { p.endpoints[0].Stage, p.endpoints[1].Stage = fleet.Gone, fleet.Draining },
			[]time.Duration{old, old},
			[]warmup.Reason{warmup.Drained, warmup.Drained},
			[]float64{0, 0},
		},
		{
			"off", func(p *pool) { p.policy.Warmup = off },
			[]time.Duration{old, 0},
			[]warmup.Reason{warmup.Full, warmup.Full},
			[]float64{1, 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(linear, tt.ages...)
			tt.change(p)
			d := p.decide(0)
			if diff := cmp.Diff(tt.reasons, reasons(d)); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.shares, shares(d)); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBaselineIsMatureFromTheFirstMoment(t *testing.T) {
	m := warmup.Rebase(fleet.Member{}, off, linear, young)
	s := &fleet.Service{Endpoints: []fleet.Endpoint{{Weight: 1, Stage: fleet.Serving, Age: young}}}
	p := &fleet.Pool{Policy: fleet.Policy{Warmup: linear}, Members: []fleet.Member{m}}
	v := fleet.View{Snapshot: &fleet.Snapshot{}, Taken: epoch}
	got := warmup.Decide(v, s, p, nil, warmup.Near{}, epoch).Outcomes[0]
	want := warmup.Outcome{Progress: 1, Curve: 1, Share: 1, Reason: warmup.Baseline}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Two that are 50 s and 1 s old when the last warm one leaves: no cliff, neither then nor when the older of the
// two has arrived.
func TestLastWarmOneLeaves(t *testing.T) {
	p := newPool(fleet.Warmup{Window: 60 * time.Second, Minimum: 0.1}, old, 50*time.Second, time.Second)
	if got := p.percent(0)[2]; math.Abs(got-5) > 0.3 {
		t.Errorf("before: the younger gets %v %%, want 5", got)
	}
	p.endpoints[0].Stage = fleet.Draining
	for _, tt := range []struct {
		later time.Duration
		want  float64
	}{
		{0, 10.7},
		{8 * time.Second, 13.4},
		{9 * time.Second, 14.5},  // the older is one second from arriving,
		{10 * time.Second, 15.5}, // and has arrived
		{11 * time.Second, 16.7},
	} {
		if got := p.percent(tt.later)[2]; math.Abs(got-tt.want) > 0.051 {
			t.Errorf("%v later: the younger gets %v %%, want %v", tt.later, got, tt.want)
		}
	}
	// Nor is there one anywhere in between.
	last := p.percent(0)[2]
	for later := time.Duration(0); later < 60*time.Second; later += 100 * time.Millisecond {
		got := p.percent(later)[2]
		if got < last-0.11 || got > last+0.5 {
			t.Fatalf("%v later: %v %% becomes %v %%", later, last, got)
		}
		last = got
	}
}

func replaced(n int, warm int, capacity float64) *pool {
	p := newPool(linear)
	for i := range n {
		e := fleet.Endpoint{Incarnation: fmt.Sprint("i", i), Weight: 1, Stage: fleet.Warming}
		if i < warm {
			e.Age = old
		}
		p.endpoints = append(p.endpoints, e)
	}
	p.capacity = capacity
	return p
}

func TestShiftBudgetOfNineOfTen(t *testing.T) {
	p := replaced(10, 1, 10)
	d := p.decide(0)
	if got, want := p.percent(0)[0], 20.0; got != want {
		t.Errorf("the last warm one carries %v %%, want %v: twice the tenth that it did", got, want)
	}
	if want := (warmup.ShiftBudget{Floor: 4.0 / 9, Needed: 5, Have: 5}); math.Abs(d.Groups[0].Budget.Floor-want.Floor) > 1e-9 ||
		d.Groups[0].Budget.Needed != want.Needed || math.Abs(d.Groups[0].Budget.Have-want.Have) > 1e-9 {
		t.Errorf("budget: got %+v, want %+v", d.Groups[0].Budget, want)
	}
	if got := d.Outcomes[1].Reason; got != warmup.Budget {
		t.Errorf("reason: got %q, want %q", got, warmup.Budget)
	}
	p.capacity = 0 // control
	if got, want := p.percent(0)[0], 52.6; got != want {
		t.Errorf("without the budget the last warm one carries %v %%, want %v: 5.3 times as much", got, want)
	}
}

func TestShiftBudgetLeavesScaleOutsAlone(t *testing.T) {
	for _, tt := range []struct {
		name string
		pool *pool
	}{
		{"1 → 2", replaced(2, 1, 1)},
		{"1 → 0 → 1", replaced(2, 1, 2)},
		{"1 → 10", replaced(10, 1, 1)},
		{"10 → 20", replaced(20, 10, 10)},
		{"half of ten", replaced(10, 5, 10)},
		{"nothing is known of before", replaced(10, 1, 0)},
	} {
		d := tt.pool.decide(0)
		if got := d.Outcomes[len(d.Outcomes)-1]; d.Groups[0].Budget.Binds() || got.Share != 0.1 || got.Reason != warmup.New {
			t.Errorf("%s: got %+v with %+v, want a share of 0.1, new", tt.name, got, d.Groups[0].Budget)
		}
	}
}

func TestShiftBudgetSaysWhenThereIsNoMoreToHave(t *testing.T) {
	p := replaced(2, 1, 100) // 98 of 100 went away
	d := p.decide(0)
	want := warmup.ShiftBudget{Floor: 1, Needed: 50, Have: 2, Warm: 1}
	if d.Groups[0].Budget != want {
		t.Errorf("budget: got %+v, want %+v", d.Groups[0].Budget, want)
	}
}

func TestShiftBudgetFollowsLambda(t *testing.T) {
	p := replaced(10, 1, 10)
	p.policy.ShiftBudget = 1.25
	if got, want := p.percent(0)[0], 12.5; got != want {
		t.Errorf("λ 1.25: the warm one carries %v %%, want %v", got, want)
	}
}
