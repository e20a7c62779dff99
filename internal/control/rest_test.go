package control

import (
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// weigh sets the weight that configuration gives somebody.
func (s *story) weigh(what, incarnation string, weight uint32) {
	s.alter(what, incarnation, func(i *fleet.Instance) { i.Weight = weight })
}

func TestStoryOfAMaintenance(t *testing.T) {
	tell(t, "maintenance", linear, func(s *story) {
		s.warm("a")
		s.come("b", "b1")
		s.wait(96 * time.Second)
		s.command("weight b 0")
		s.show()
		s.command("warmup skip b")
		s.wait(10 * time.Minute)
		s.again(5 * time.Second)
		s.show()
		s.command("weight b 1")
		s.show()
		s.wait(30 * time.Second)
		s.show()
		s.wait(42 * time.Second)
		s.show()
		s.weigh("configuration gives a no weight any more", "a", 0)
		s.wait(time.Hour)
		s.show()
		s.weigh("a has weight again", "a", 1)
		s.show()
	})
}

func TestStoryOfAWeightThatIsZeroFromTheStart(t *testing.T) {
	tell(t, "no-weight", linear, func(s *story) {
		s.warm("a")
		s.note("b comes, of weight 0", func() {
			s.run("b", "b1", "v2")
			s.runs[1].Weight = 0
			s.report()
			s.pass("b1")
		})
		s.wait(5 * time.Minute)
		s.show()
		s.note("b is not reported for a moment", func() {
			b := s.runs[1]
			s.stop("b1")
			s.after(time.Second)
			s.runs = append(s.runs, b)
			s.report()
			s.pass("b1")
		})
		s.weigh("b gets weight", "b1", 1)
		s.show()
		s.wait(time.Minute)
		s.show()
	})
}

func TestStoryOfWeightsThatAreEdited(t *testing.T) {
	tell(t, "edited-weights", linear, func(s *story) {
		all := func(what string, weight uint32) {
			s.note(what, func() {
				for i := range s.runs {
					s.runs[i].Weight = weight
				}
				s.report()
			})
		}
		s.warm("a", "b", "c", "d")
		all("everybody weighs 100", 100)
		s.come("e", "e1")
		s.note("e weighs 100, too", func() { s.runs[4].Weight = 100; s.report() })
		s.show()
		all("everybody weighs 1", 1)
		s.show()
		s.note("a, b and c leave", func() { s.stop("a"); s.stop("b"); s.stop("c") })
		s.show()
		all("everybody weighs 100", 100)
		s.show()
	})
}

// An instance that is an endpoint of two services rests when it has no weight in either.
func TestWhoHasWeightSomewhereDoesNotRest(t *testing.T) {
	s := newStage(t)
	d := reviews(linear)
	d.Instances = nil
	address := []fleet.Endpoint{{Name: "x", Incarnation: "entry/x", Weight: 0}}
	other := []fleet.Endpoint{{Name: "x", Incarnation: "entry/x", Weight: 1}}
	d.Services = []fleet.Service{
		{Name: "a:80", Namespace: "default", Endpoints: address, Pools: []fleet.Pool{{Policy: fleet.Policy{Warmup: linear}}}},
		{Name: "b:80", Namespace: "default", Endpoints: other, Pools: []fleet.Pool{{Policy: fleet.Policy{Warmup: linear}}}},
	}
	s.configure(d)
	s.pass("entry/x")
	for range 60 {
		s.after(time.Second)
	}
	for _, service := range s.w.view.Services {
		m := service.Pools[0].Members[0]
		if got := warmup.Progress(linear, m, s.w.view.Age(&service.Endpoints[0], s.now)); got != 0.5 || m.Drained {
			t.Errorf("%s: half a window later, got %v (%+v), want 0.5", service.Name, got, m)
		}
	}
}
