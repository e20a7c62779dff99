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

// A crowd is a pool whose capacity is kept as control keeps it, and the words for what happens to it.
type crowd struct {
	service  fleet.Service
	capacity warmup.Capacity
	now      time.Time
	born     int
}

// newCrowd returns n warm endpoints: i0, i1 and so on.
func newCrowd(n int, policy fleet.Policy) *crowd {
	c := &crowd{now: epoch}
	c.service.Pools = []fleet.Pool{{Policy: policy}}
	for range n {
		c.service.Endpoints = append(c.service.Endpoints, c.endpoint(old, fleet.Locality{}))
	}
	c.change(func() {})
	return c
}

func (c *crowd) endpoint(age time.Duration, where fleet.Locality) fleet.Endpoint {
	c.born++
	return fleet.Endpoint{
		Incarnation: fmt.Sprint("i", c.born-1), Weight: 1, Age: age, Stage: fleet.Warming, Locality: where,
	}
}

func (c *crowd) pool() *fleet.Pool { return &c.service.Pools[0] }

func (c *crowd) after(d time.Duration) {
	c.now = c.now.Add(d)
	for i := range c.service.Endpoints {
		c.service.Endpoints[i].Age += d
	}
}

func (c *crowd) change(f func()) {
	c.capacity.Stood(&c.service, c.pool(), 0, c.now)
	moved := map[string]fleet.Member{}
	for _, m := range c.pool().Members {
		moved[c.service.Endpoints[m.Endpoint].Incarnation] = m
	}
	f()
	c.pool().Members = nil
	for i, e := range c.service.Endpoints {
		m := moved[e.Incarnation]
		m.Endpoint = i
		c.pool().Members = append(c.pool().Members, m)
	}
	c.capacity.Measure(&c.service, c.pool(), c.now)
}

func (c *crowd) join(n int) { c.joinAt(n, fleet.Locality{}) }

func (c *crowd) joinAt(n int, where fleet.Locality) {
	c.change(func() {
		for range n {
			c.service.Endpoints = append(c.service.Endpoints, c.endpoint(0, where))
		}
	})
}

// leave takes the n oldest away.
func (c *crowd) leave(n int) {
	c.change(func() { c.service.Endpoints = slices.Delete(c.service.Endpoints, 0, n) })
}

// replace puts new ones in the place of the n oldest, all at the same moment.
func (c *crowd) replace(n int) {
	c.change(func() {
		c.service.Endpoints = slices.Delete(c.service.Endpoints, 0, n)
		for range n {
			c.service.Endpoints = append(c.service.Endpoints, c.endpoint(0, fleet.Locality{}))
		}
	})
}

func (c *crowd) move(incarnation string, m warmup.Move) {
	c.change(func() {})
	for i := range c.pool().Members {
		at := &c.pool().Members[i]
		if e := &c.service.Endpoints[at.Endpoint]; e.Incarnation == incarnation {
			*at = m.Apply(*at, c.pool().Policy.Warmup, e.Age)
		}
	}
	if m == warmup.Restart {
		c.capacity.Forget(incarnation)
	}
	c.change(func() {})
}

func (c *crowd) decide() warmup.Decision {
	v := fleet.View{Snapshot: &fleet.Snapshot{}, Taken: c.now}
	return warmup.Decide(v, &c.service, c.pool(), nil, warmup.Near{}, c.now)
}

// heaviest is the greatest part of the requests that a warm endpoint of weight 1 carries; 0 when nobody is warm.
func (c *crowd) heaviest() float64 {
	var all, most float64
	for _, o := range c.decide().Outcomes {
		all += o.Share
		if o.Curve == 1 {
			most = max(most, o.Share)
		}
	}
	return most / all
}

func ramping(lambda float64) fleet.Policy { return fleet.Policy{Warmup: linear, ShiftBudget: lambda} }

// Ten are replaced one by one. Nobody warm carries more than λ times the tenth that they did, at whatever pace.
func TestARollingReplacementKeepsItsCapacity(t *testing.T) {
	for _, lambda := range []float64{2, 1.3} {
		for _, pace := range []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, 60 * time.Second} {
			t.Run(fmt.Sprint("λ ", lambda, ", every ", pace), func(t *testing.T) {
				c := newCrowd(10, ramping(lambda))
				var most float64
				for range 10 {
					c.replace(1)
					if got := c.pool().Capacity; got != 10 {
						t.Fatalf("capacity after %v = %v, want 10", c.now.Sub(epoch), got)
					}
					for passed := time.Duration(0); passed < pace; passed += time.Second {
						most = max(most, c.heaviest())
						c.after(time.Second)
					}
				}
				t.Logf("the heaviest of the warm carried %.2f × what it did", 10*most)
				if most > lambda/10+1e-9 {
					t.Errorf("the heaviest of the warm carried %.3f × what it did, want %v at most", 10*most, lambda)
				}
				c.after(linear.Window)
				c.change(func() {})
				if got := c.pool().Capacity; got != 0 {
					t.Errorf("capacity when everybody is warm = %v, want 0", got)
				}
			})
		}
	}
}

// An old one leaves some seconds before the next comes; the newcomers' own crashes change nothing.
func TestAReplacementWithGapsKeepsItsCapacity(t *testing.T) {
	c := newCrowd(10, ramping(1.3))
	for range 9 {
		c.leave(1)
		c.after(8 * time.Second)
		c.join(1)
		c.after(2 * time.Second)
	}
	if got := c.pool().Capacity; got != 10 {
		t.Errorf("capacity = %v, want 10", got)
	}
	c.change(func() { c.service.Endpoints = c.service.Endpoints[:1] }) // all newcomers crash
	c.after(3 * time.Second)
	c.join(9)
	if got := c.pool().Capacity; got != 10 {
		t.Errorf("capacity after the newcomers crashed and came again = %v, want 10", got)
	}
}

func TestAFleetThatShrinksUnderNewcomersLetsItsCapacityGo(t *testing.T) {
	c := newCrowd(20, ramping(2))
	for len(c.service.Endpoints) > 4 { // two leave, one comes
		c.leave(2)
		c.join(1)
		c.after(15 * time.Second)
	}
	c.after(linear.Window - 30*time.Second) // those who came when there were many more are warm
	c.replace(1)
	if got := c.pool().Capacity; got > 5 {
		t.Errorf("capacity of the four that are left = %v, want 5 at most", got)
	}
}

func TestScaleOutsLeaveTheBudgetAlone(t *testing.T) {
	for _, test := range []struct {
		name string
		warm int
		do   func(*crowd)
	}{
		{"1 → 2", 1, func(c *crowd) { c.join(1) }},
		{"6 → 8", 6, func(c *crowd) { c.join(2) }},
		{"1 → 10", 1, func(c *crowd) { c.join(9) }},
		{"restart of 1 of 2", 2, func(c *crowd) { c.replace(1) }},
		{"1 → 0 → 1", 1, func(c *crowd) { c.leave(1); c.after(3 * time.Second); c.join(1) }},
		{"1 → 0 → 1 → 2", 1, func(c *crowd) { c.leave(1); c.join(1); c.after(3 * time.Second); c.join(1) }},
		{"2 → 3 → 4 → 5, every 5 s", 2, func(c *crowd) { c.join(1); c.after(5 * time.Second); c.join(1); c.after(5 * time.Second); c.join(1) }},
		{"2 → 20 one by one", 2, func(c *crowd) {
			for range 18 {
				c.join(1)
				c.after(5 * time.Second)
			}
		}},
	} {
		c := newCrowd(test.warm, ramping(2))
		c.after(time.Minute)
		test.do(c)
		for range 120 {
			if d := c.decide(); d.Groups[0].Budget.Binds() {
				t.Fatalf("%s: the budget binds: %+v", test.name, d.Groups[0].Budget)
			}
			c.after(time.Second)
		}
	}
}

// Whoever comes and goes: the budget never binds where nobody leaves, and where the fleet keeps its size nobody warm
// carries more than λ times an equal part.
func TestCapacityHoldsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "warm")
		lambda := rapid.SampledFrom([]float64{1.1, 1.3, 2, 3}).Draw(t, "lambda")
		grows := rapid.Bool().Draw(t, "grows")
		c := newCrowd(n, ramping(lambda))
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			c.after(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond)
			k := rapid.IntRange(1, n).Draw(t, "how many")
			if grows {
				c.join(k)
			} else {
				c.replace(k)
			}
			d := c.decide()
			switch {
			case grows && d.Groups[0].Budget.Binds():
				t.Fatalf("only newcomers, and the budget binds: %+v", d.Groups[0].Budget)
			case !grows && c.heaviest() > lambda/float64(n)+1e-9:
				t.Fatalf("of %d, one carries %v × its part, want %v at most", n, c.heaviest()*float64(n), lambda)
			case c.pool().Capacity > float64(len(c.service.Endpoints)):
				t.Fatalf("capacity %v of %d endpoints", c.pool().Capacity, len(c.service.Endpoints))
			}
		}
	})
}

// A naive memory of every moment knows the same as one that forgets what can no longer count.
func TestPeakIsTheGreatestOfTheLookback(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type moment struct {
			at time.Time
			n  int
		}
		c := newCrowd(0, ramping(2))
		var all []moment
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			c.after(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			n := rapid.IntRange(0, 9).Draw(t, "n")
			c.change(func() {
				c.service.Endpoints = nil
				for range n {
					c.service.Endpoints = append(c.service.Endpoints, c.endpoint(old, fleet.Locality{}))
				}
			})
			all = append(all, moment{c.now, n})
		}
		c.join(1)
		want := 0
		for i, m := range all {
			stood := c.now // until the next change
			if i+1 < len(all) {
				stood = all[i+1].at
			}
			if c.now.Sub(stood) <= warmup.Lookback {
				want = max(want, m.n)
			}
		}
		if got := c.pool().Capacity; got != float64(want) {
			t.Fatalf("capacity before the newcomer = %v, want %v", got, want)
		}
	})
}

// A pause holds what stood before the newcomer, as far as the fleet still could carry it, and hides no other's.
func TestAPauseHoldsNoMoreThanThereIs(t *testing.T) {
	c := newCrowd(10, ramping(2))
	c.replace(1)
	c.move("i10", warmup.Pause)
	c.after(time.Hour)
	c.change(func() {})
	if got := c.pool().Capacity; got != 10 {
		t.Errorf("capacity an hour into the pause = %v, want still 10: the fleet is as great", got)
	}
	c.leave(6)
	c.after(time.Minute)
	c.change(func() {})
	if got := c.pool().Capacity; got != 4 {
		t.Errorf("capacity after the fleet became smaller = %v, want 4: what is left", got)
	}
	c.join(16)
	c.after(time.Hour)
	c.replace(3) // i7 to i9; then those of this moment are newcomers to a fleet of 20
	if got := c.pool().Capacity; got < 19 {
		t.Errorf("capacity with one paused since there were few = %v, want that of the newcomers, 19.1", got)
	}
	c.move("i10", warmup.Skip)
	c.after(linear.Window)
	c.change(func() {})
	if got := c.pool().Capacity; got != 0 {
		t.Errorf("capacity when everybody is warm = %v, want 0", got)
	}
}

func TestWhoeverBeginsAnewIsANewcomer(t *testing.T) {
	c := newCrowd(2, ramping(2))
	c.join(8)
	if got := c.pool().Capacity; got != 2 {
		t.Fatalf("capacity = %v, want 2", got)
	}
	c.after(linear.Window - time.Second)
	c.move("i2", warmup.Restart)
	if got := c.pool().Capacity; got < 9.9 {
		t.Errorf("capacity after one of the almost warm began anew = %v, want what stood before that, 9.93", got)
	}
}

func TestCapacityGoesOnWhereAnotherLeftIt(t *testing.T) {
	c := newCrowd(10, ramping(2))
	c.replace(9)
	c.after(5 * time.Second)
	c.capacity = warmup.Capacity{}
	c.capacity.Resume(&c.service, c.pool(), 0, c.now)
	c.change(func() {})
	if got := c.pool().Capacity; got != 10 {
		t.Errorf("capacity taken over = %v, want 10", got)
	}
	c.replace(1) // the last old one
	c.after(linear.Window - time.Second)
	if got := c.pool().Capacity; got != 10 {
		t.Errorf("capacity of the next in the chain = %v, want 10", got)
	}
}

func TestCapacityByPlace(t *testing.T) {
	a, b := fleet.Locality{Region: "eu", Zone: "a"}, fleet.Locality{Region: "eu", Zone: "b"}
	policy := ramping(2)
	policy.Locality = &fleet.LocalityPolicy{}
	c := newCrowd(0, policy)
	c.joinAt(6, a)
	c.joinAt(4, b)
	c.after(old)
	c.change(func() {})
	if c.pool().Places != nil {
		t.Errorf("places while nobody warms: got %v, want none", c.pool().Places)
	}
	c.leave(5) // of a
	c.after(time.Second)
	c.joinAt(5, a)
	want := []fleet.Place{{Locality: a, Capacity: 6}, {Locality: b, Capacity: 4}}
	if diff := cmp.Diff(want, c.pool().Places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
	c.change(func() { c.pool().Policy.Locality = nil })
	if c.pool().Places != nil || c.pool().Capacity != 10 {
		t.Errorf("without a locality policy: got %v and %v, want 10 and no places", c.pool().Capacity, c.pool().Places)
	}
}

// Weights are relative: whoever multiplies all of them by the same changes nobody's share, whatever happens before and
// after.
func TestMultipliedWeightsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := ramping(rapid.SampledFrom([]float64{1.3, 2}).Draw(t, "lambda"))
		if rapid.Bool().Draw(t, "by place") {
			policy.Locality = &fleet.LocalityPolicy{}
		}
		n := rapid.IntRange(0, 8).Draw(t, "warm")
		plain, scaled := newCrowd(n, policy), newCrowd(n, policy)
		unit := 1.0
		weigh := func(c *crowd, by float64) {
			for i := range c.service.Endpoints {
				factor := by
				c.service.Endpoints[i].Factor = &factor
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			d := time.Duration(rapid.IntRange(0, 40_000).Draw(t, "ms")) * time.Millisecond
			come, left := rapid.IntRange(0, 4).Draw(t, "come"), rapid.IntRange(0, 4).Draw(t, "left")
			where := rapid.SampledFrom(places).Draw(t, "where")
			if left < len(plain.service.Endpoints) && rapid.Bool().Draw(t, "multiply") { // somebody is here to tell the unit
				unit = rapid.SampledFrom([]float64{0.01, 0.5, 1, 3, 100}).Draw(t, "by")
			}
			for _, c := range []*crowd{plain, scaled} {
				c.after(d)
				c.change(func() {
					c.service.Endpoints = slices.Delete(c.service.Endpoints, 0, min(left, len(c.service.Endpoints)))
					for range come {
						c.service.Endpoints = append(c.service.Endpoints, c.endpoint(0, where))
					}
					if c == scaled {
						weigh(c, unit)
					}
				})
			}
			a, b := plain.decide(), scaled.decide()
			for i := range a.Outcomes {
				if x, y := a.Outcomes[i].Share, b.Outcomes[i].Share; math.Abs(x-y) > 1e-9 {
					t.Fatalf("all weights × %v: the share of %d is %v, want %v as without", unit, i, y, x)
				}
			}
			for k := range a.Groups {
				if x, y := a.Groups[k].Part, b.Groups[k].Part; math.Abs(x-y) > 1e-9 {
					t.Fatalf("all weights × %v: the part of %q is %v, want %v as without", unit, a.Groups[k].Level, y, x)
				}
			}
		}
	})
}

// What stood before a newcomer is weighed as those weigh now who stood there.
func TestEditedWeightsMoveTheCapacity(t *testing.T) {
	weigh := func(c *crowd, weights ...uint32) {
		c.change(func() {
			for i, weight := range weights {
				c.service.Endpoints[i].Weight = weight
			}
		})
	}
	for _, tt := range []struct {
		name     string
		do       func(*crowd)
		capacity float64
		newcomer float64 // share
	}{
		{"100 → 1, with a newcomer on its way", func(c *crowd) { c.join(1); weigh(c, 100, 100, 100); weigh(c, 1, 1, 1) }, 2, 0.1},
		{"1 → 100, likewise", func(c *crowd) { c.join(1); weigh(c, 100, 100, 100) }, 200, 0.1},
		{"100 → 1, and then one comes", func(c *crowd) { weigh(c, 100, 100); weigh(c, 1, 1); c.join(1) }, 2, 0.1},
		{"one for a moment", func(c *crowd) { weigh(c, 10); c.after(time.Second); weigh(c, 1); c.join(1) }, 2, 0.1},
		{"one has left, the other is edited", func(c *crowd) {
			c.change(func() { c.service.Endpoints = c.service.Endpoints[1:] })
			weigh(c, 100)
			c.join(1)
			c.after(linear.Window / 10)
		}, 200, 0.1}, // the other is half of it, and λ is 2
		{"all but one are replaced, and all edited", func(c *crowd) {
			c.join(4)
			c.after(linear.Window)
			c.replace(5)
			weigh(c, 10, 10, 10, 10, 10, 10)
		}, 60, 0.4},
	} {
		c := newCrowd(2, ramping(2))
		c.after(time.Minute)
		tt.do(c)
		outcomes := c.decide().Outcomes
		if got := c.pool().Capacity; math.Abs(got-tt.capacity) > 1e-9 {
			t.Errorf("%s: capacity = %v, want %v", tt.name, got, tt.capacity)
		}
		if got := outcomes[len(outcomes)-1].Share; math.Abs(got-tt.newcomer) > 1e-9 {
			t.Errorf("%s: the newcomer has a share of %v, want %v", tt.name, got, tt.newcomer)
		}
	}
}
