package warmup_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// At adds endpoints at places: "eu/a" stands for one that is warm, "eu/a@30s" for one of that age.
func (p *pool) at(t *testing.T, places ...string) *pool {
	t.Helper()
	for _, place := range places {
		age := old
		for k := range place {
			if place[k] == '@' {
				var err error
				if age, err = time.ParseDuration(place[k+1:]); err != nil {
					t.Fatal(err)
				}
				place = place[:k]
				break
			}
		}
		l, err := fleet.ParseLocality(place)
		if err != nil {
			t.Fatal(err)
		}
		p.endpoints = append(p.endpoints, fleet.Endpoint{
			Incarnation: fmt.Sprint("i", len(p.endpoints)), Weight: 1, Stage: fleet.Warming, Age: age, Locality: l,
		})
	}
	return p
}

func (p *pool) eject(incarnations ...string) {
	for _, i := range incarnations {
		p.overlay[i] = fleet.Mark{Ejected: true, Progress: 1}
	}
}

func stood(place string, capacity float64) fleet.Place {
	l, _ := fleet.ParseLocality(place)
	return fleet.Place{Locality: l, Capacity: capacity}
}

func spread(to map[string]uint32) *fleet.LocalityPolicy {
	return &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{From: "us", To: nil}, {From: "eu/a/*", To: to}, {From: "*", To: nil}}}
}

// Parts are written as "level:part", in hundredths, the nearest first.
func parts(d warmup.Decision) (out []string) {
	for _, g := range d.Groups {
		out = append(out, fmt.Sprintf("%s:%.1f", g.Level, 100*g.Part))
	}
	return out
}

func TestPartsOfGroups(t *testing.T) {
	var near fleet.LocalityPolicy
	for _, tt := range []struct {
		name      string
		policy    *fleet.LocalityPolicy
		endpoints []string
		change    func(*pool)
		want      []string
	}{
		{"no policy", nil, []string{"eu/a", "eu/b"}, nil, []string{":100.0"}},
		{"nowhere in particular", &near, []string{"eu/a", "us/b"}, func(p *pool) { p.near = warmup.Near{} }, []string{":100.0"}},
		{"all levels", &near, []string{"us/x", "eu/b", "eu/a", "eu/a/1"}, nil, []string{"sub-zone:100.0", "zone:0.0", "region:0.0", "others:0.0"}},
		{"nobody near", &near, []string{"us/x", "eu/b"}, nil, []string{"region:100.0", "others:0.0"}},
		{
			"failover",
			&fleet.LocalityPolicy{Failover: []fleet.Failover{{From: "us", To: "eu"}, {From: "eu", To: "asia"}, {From: "eu", To: "us"}}},
			[]string{"us/x", "asia/y"},
			nil,
			[]string{"failover asia:100.0", "others:0.0"},
		},
		{"one newcomer alone in its zone", &near, []string{"eu/a@12s", "eu/b", "eu/b"}, nil, []string{"zone:10.0", "region:90.0"}},
		{"it is half warm", &near, []string{"eu/a@60s", "eu/b"}, nil, []string{"zone:50.0", "region:50.0"}},
		{"it is warm", &near, []string{"eu/a@120s", "eu/b"}, nil, []string{"zone:100.0", "region:0.0"}},
		{"from 3 to 4", &near, []string{"eu/a", "eu/a", "eu/a", "eu/a@0s", "eu/b"}, func(p *pool) {
			p.places = []fleet.Place{stood("eu/a", 3), stood("eu/b", 1)}
		}, []string{"zone:100.0", "region:0.0"}},
		{"from 3 to 4, nobody knows of before", &near, []string{"eu/a", "eu/a", "eu/a", "eu/a@0s", "eu/b"}, nil, []string{"zone:100.0", "region:0.0"}},
		{"9 of 10 replaced", &near, []string{
			"eu/a", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/b",
		}, func(p *pool) { p.places = []fleet.Place{stood("eu/a", 10), stood("eu/b", 1)} }, []string{"zone:19.0", "region:81.0"}},
		{"a second newcomer takes nothing away", &near, []string{"eu/a@60s", "eu/a@12s", "eu/b"}, nil, []string{"zone:50.0", "region:50.0"}},
		{"nor does it bring anything", &near, []string{"eu/a@60s", "eu/a@12s", "eu/b"}, func(p *pool) {
			p.places = []fleet.Place{stood("eu/a", 0.4), stood("eu/b", 1)}
		}, []string{"zone:50.0", "region:50.0"}},
		{"all cold everywhere", &near, []string{"eu/a@12s", "eu/b@12s"}, nil, []string{"zone:50.0", "region:50.0"}},
		{"one of two ejected", &near, []string{"eu/a", "eu/a", "eu/b"}, func(p *pool) { p.eject("i0") }, []string{"zone:70.0", "region:30.0"}},
		{"one of four ejected", &near, []string{"eu/a", "eu/a", "eu/a", "eu/a", "eu/b"}, func(p *pool) { p.eject("i0") }, []string{"zone:100.0", "region:0.0"}},
		{"all ejected", &near, []string{"eu/a", "eu/b"}, func(p *pool) { p.eject("i0") }, []string{"zone:0.0", "region:100.0"}},
		{"one ejected beside a newcomer", &near, []string{"eu/a", "eu/a", "eu/a", "eu/a@0s", "eu/b"}, func(p *pool) {
			p.places = []fleet.Place{stood("eu/a", 3), stood("eu/b", 1)}
			p.eject("i0", "i1")
		}, []string{"zone:51.3", "region:48.7"}}, // 1.4 · 2/4 · 1.1/(3 · 2/4)
		{"a level by level spill", &near, []string{"eu/a@12s", "eu/b@60s", "us/x"}, nil, []string{"zone:10.0", "region:50.0", "others:40.0"}},
		{"everybody ejected", &near, []string{"eu/a", "eu/b", "eu/b", "eu/b"}, func(p *pool) { p.eject("i0", "i1", "i2", "i3") }, []string{"zone:25.0", "region:75.0"}},
		{"nobody may be sent to", &near, []string{"eu/a", "eu/b"}, func(p *pool) {
			p.endpoints[0].Weight, p.endpoints[1].Stage = 0, fleet.Draining
		}, []string{"zone:0.0", "region:0.0"}},
		{"cold at a minimum of 0", &near, []string{"eu/a@0s", "eu/b@0s"}, func(p *pool) { p.policy.Warmup.Minimum = 0 }, []string{"zone:50.0", "region:50.0"}},

		{"distributed", spread(map[string]uint32{"eu/a/*": 80, "eu/b": 20}), []string{"eu/a", "eu/b", "us/x"}, nil, []string{"eu/a/*:80.0", "eu/b:20.0", "elsewhere:0.0"}},
		{"distributed to the most specific", spread(map[string]uint32{"eu/*": 30, "eu/b/*": 20, "*": 50}), []string{"eu/a", "eu/b/1", "us/x"}, nil, []string{"*:50.0", "eu/*:30.0", "eu/b/*:20.0"}},
		{"distributed to a place without endpoints", spread(map[string]uint32{"eu/a": 80, "eu/b": 20}), []string{"eu/b"}, nil, []string{"eu/b:100.0"}},
		{"distributed to one that is cold", spread(map[string]uint32{"eu/a": 80, "eu/b": 20}), []string{"eu/a@12s", "eu/b"}, nil, []string{"eu/a:28.6", "eu/b:71.4"}},
		{"distributed to one that is ejected", spread(map[string]uint32{"eu/a": 80, "eu/b": 20}), []string{"eu/a", "eu/b"}, func(p *pool) { p.eject("i0") }, []string{"eu/a:0.0", "eu/b:100.0"}},
		{"distributed, everybody ejected", spread(map[string]uint32{"eu/a": 80, "eu/b": 20}), []string{"eu/a", "eu/b"}, func(p *pool) { p.eject("i0", "i1") }, []string{"eu/a:80.0", "eu/b:20.0"}},
		{"distributed to nobody who is there", spread(map[string]uint32{"eu/a": 80, "eu/b": 0}), []string{"eu/b", "us/x"}, nil, []string{"eu/b:0.0", "elsewhere:0.0"}},
		{"no distribution for us", &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{From: "us/*", To: map[string]uint32{"eu/a": 100}}}}, []string{"eu/a", "us/x"}, nil, []string{":100.0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPool(linear).at(t, tt.endpoints...)
			p.policy.Locality = tt.policy
			p.near.Locality = fleet.Locality{Region: "eu", Zone: "a", SubZone: ""}
			if tt.name == "all levels" {
				p.near.Locality.SubZone = "1"
			}
			if tt.change != nil {
				tt.change(p)
			}
			if diff := cmp.Diff(tt.want, parts(p.decide(0))); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

// Labels count in order, and only as long as all before them are the same; Istio's failoverPriority. Where there is
// a failover as well, localities count among those whose labels are as near.
func TestPriorityByLabels(t *testing.T) {
	p := newPool(linear).at(t, "eu/a", "eu/b", "us/x", "asia/y", "eu/a")
	p.near = warmup.Near{Locality: fleet.Locality{Region: "eu", Zone: "a"}, Labels: map[string]string{"version": "v1"}}
	for i, version := range []string{"v1", "v1", "v1", "v1", "v2"} {
		p.endpoints[i].Labels = map[string]string{"version": version}
	}
	for _, tt := range []struct {
		name     string
		priority []string
		failover []fleet.Failover
		groups   []int
		levels   []string
	}{
		{"one", []string{"version"}, nil, []int{0, 0, 0, 0, 1}, []string{"1 of 1 labels:100.0", "0 of 1 labels:0.0"}},
		{"as written", []string{"version=v2"}, nil, []int{1, 1, 1, 1, 0}, []string{"1 of 1 labels:100.0", "0 of 1 labels:0.0"}},
		{
			"in order",
			[]string{"topology.kubernetes.io/region", "version", "topology.kubernetes.io/zone"},
			nil,
			[]int{0, 1, 3, 3, 2},
			[]string{"3 of 3 labels:100.0", "2 of 3 labels:0.0", "1 of 3 labels:0.0", "0 of 3 labels:0.0"},
		},
		{"nobody has it", []string{"tier"}, nil, []int{0, 0, 0, 0, 0}, []string{"1 of 1 labels:100.0"}},
		{
			"with failover",
			[]string{"version"},
			[]fleet.Failover{{From: "eu", To: "asia"}},
			[]int{0, 1, 3, 2, 4},
			[]string{"1 of 1 labels, zone:100.0", "1 of 1 labels, region:0.0", "1 of 1 labels, failover asia:0.0", "1 of 1 labels, others:0.0", "0 of 1 labels, zone:0.0"},
		},
	} {
		p.policy.Locality = &fleet.LocalityPolicy{Priority: tt.priority, Failover: tt.failover}
		d := p.decide(0)
		var groups []int
		for _, o := range d.Outcomes {
			groups = append(groups, o.Group)
		}
		if diff := cmp.Diff(tt.groups, groups); diff != "" {
			t.Errorf("%s: groups (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.levels, parts(d)); diff != "" {
			t.Errorf("%s: levels (-want +got):\n%s", tt.name, diff)
		}
	}
}

// One alone in its zone warms up, and its zone's part says so; it is bypassed only when nobody takes the rest.
func TestReasonsInGroups(t *testing.T) {
	p := newPool(linear).at(t, "eu/a@12s", "eu/b", "us/x")
	p.policy.Locality, p.near.Locality = &fleet.LocalityPolicy{}, fleet.Locality{Region: "eu", Zone: "a"}
	if diff := cmp.Diff([]warmup.Reason{warmup.New, "", ""}, reasons(p.decide(0))); diff != "" {
		t.Errorf("others take the rest (-want +got):\n%s", diff)
	}
	p.eject("i1", "i2")
	if diff := cmp.Diff([]warmup.Reason{warmup.BypassSingle, warmup.Ejected, warmup.Ejected}, reasons(p.decide(0))); diff != "" {
		t.Errorf("nobody takes the rest (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{1, 0, 0}, shares(p.decide(0))); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	p.overlay = fleet.Overlay{}
	p.policy.Locality = spread(map[string]uint32{"eu": 100})
	if diff := cmp.Diff([]warmup.Reason{warmup.New, "", warmup.Elsewhere}, reasons(p.decide(0))); diff != "" {
		t.Errorf("distributed (-want +got):\n%s", diff)
	}
}

// Panic is a matter of each group, but of none while the groups together could take everything: somebody who fails is
// not asked where others are well.
func TestPanicInOneGroup(t *testing.T) {
	for _, tt := range []struct {
		near, far       int // endpoints
		nearOut, farOut int // of them ejected
		nearPanics      bool
		farPanics       bool
	}{
		{3, 3, 2, 0, false, false}, // 47 % and all
		{3, 2, 2, 1, false, false}, // 47 % and 70 %
		{5, 6, 4, 3, true, false},  // 28 % and 70 %; the far are at the threshold
		{3, 4, 2, 3, true, true},   // 47 % and 35 %
		{3, 3, 2, 3, true, false},  // nobody is left afar to be panicked about
	} {
		for name, policy := range map[string]*fleet.LocalityPolicy{"failover": {}, "distribute": spread(map[string]uint32{"eu/a": 60, "eu/b": 40})} {
			p := newPool(linear).at(t, slices.Concat(slices.Repeat([]string{"eu/a"}, tt.near), slices.Repeat([]string{"eu/b"}, tt.far))...)
			p.policy.Locality, p.near.Locality, p.policy.Panic = policy, fleet.Locality{Region: "eu", Zone: "a"}, 0.5
			for i := range tt.nearOut {
				p.eject(fmt.Sprint("i", i))
			}
			for i := range tt.farOut {
				p.eject(fmt.Sprint("i", tt.near+i))
			}
			got := reasons(p.decide(0))
			near, far := got[0] == warmup.Panic, got[tt.near] == warmup.Panic
			if near != tt.nearPanics || far != tt.farPanics {
				t.Errorf("%s, %d of %d near and %d of %d far are ejected: panic is %v and %v, want %v and %v",
					name, tt.nearOut, tt.near, tt.farOut, tt.far, near, far, tt.nearPanics, tt.farPanics)
			}
		}
	}
}

// A place that is whole has no part to give to those that get more than they can take.
func TestWhoGetsMoreThanItsWarmthAllowsIsBypassed(t *testing.T) {
	p := newPool(linear).at(t, "eu/a", "eu/b@12s")
	p.policy.Locality, p.near.Locality = spread(map[string]uint32{"eu/a": 1, "eu/b": 99}), fleet.Locality{Region: "eu", Zone: "a"}
	d := p.decide(0)
	if diff := cmp.Diff([]warmup.Reason{"", warmup.BypassSingle}, reasons(d)); diff != "" {
		t.Errorf("%.3f of the requests go to a place that is warm enough for a tenth (-want +got):\n%s", d.Groups[1].Part, diff)
	}
}

// A group that lost most of its weight lets requests go, and needs no floor for those; where nobody takes them, it
// is kept within the budget as without places.
func TestShiftBudgetOfAGroup(t *testing.T) {
	p := newPool(linear).at(t, "eu/a", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/a@0s", "eu/b")
	p.policy.Locality, p.near.Locality = &fleet.LocalityPolicy{}, fleet.Locality{Region: "eu", Zone: "a"}
	p.capacity, p.places = 11, []fleet.Place{stood("eu/a", 10), stood("eu/b", 1)}
	if g := p.decide(0).Groups[0]; g.Budget.Binds() {
		t.Errorf("with others to take the rest: got %+v, want no floor", g)
	}
	p.eject("i10")
	if g := p.decide(0).Groups[0]; math.Abs(g.Budget.Floor-4.0/9) > 1e-9 {
		t.Errorf("with nobody to take the rest: got %+v, want a floor of 4/9", g)
	}
}

// Time alone makes no steps: neither who is warm enough, nor the last of a level to be warm, moves more than time
// does.
func TestTimeAloneMovesNoPartsAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.policy.Warmup = fleet.Warmup{Window: time.Minute, Minimum: rapid.SampledFrom([]float64{0.05, 0.1, 0.5}).Draw(t, "a minimum")}
		p.policy.Locality = drawLocality(t)
		p.near.Locality = rapid.SampledFrom(places).Draw(t, "near")
		end := time.Minute
		for i := range p.endpoints {
			p.endpoints[i].Age = time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "young age"))
			p.endpoints[i].Locality = rapid.SampledFrom(places).Draw(t, "place")
			if rapid.Bool().Draw(t, "at its end") {
				end = time.Minute - p.endpoints[i].Age
			}
		}
		for _, place := range places {
			p.places = append(p.places, fleet.Place{Locality: place, Capacity: rapid.SampledFrom([]float64{0, 0.1, 1, 5, 200}).Draw(t, "stood")})
		}
		a, b := p.decide(end-time.Microsecond), p.decide(end+time.Microsecond)
		var sum float64
		for k := range a.Groups {
			if x, y := a.Groups[k].Part, b.Groups[k].Part; math.Abs(x-y) > 1e-3 {
				t.Fatalf("the part of %q goes from %v to %v at once", a.Groups[k].Level, x, y)
			}
			sum += a.Groups[k].Part
		}
		if sum != 0 && math.Abs(sum-1) > 1e-9 {
			t.Fatalf("parts sum to %v", sum)
		}
	})
}

var places = []fleet.Locality{{}, {Region: "eu"}, {Region: "eu", Zone: "a"}, {Region: "eu", Zone: "a", SubZone: "1"}, {Region: "eu", Zone: "b"}, {Region: "us", Zone: "x"}}

func drawLocality(t *rapid.T) *fleet.LocalityPolicy {
	return rapid.SampledFrom([]*fleet.LocalityPolicy{
		{},
		{Failover: []fleet.Failover{{From: "eu", To: "us"}}},
		{Priority: []string{"topology.kubernetes.io/zone", "topology.istio.io/subzone"}},
		{Distribute: []fleet.Distribution{{From: "*", To: map[string]uint32{"eu/a": 70, "us/*": 30}}}},
	}).Draw(t, "locality")
}
