package control

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// A story is a stage whose play is written down: what people and programs do, what control tells of it, and now
// and then what every endpoint gets, as a gateway works it out from the snapshot.
type story struct {
	*stage

	text  strings.Builder
	began time.Time
}

// tell plays a story and compares its transcript with testdata/NAME.txt. Read the difference: it is what people
// will see.
func tell(t *testing.T, name string, warmup fleet.Warmup, play func(*story)) {
	t.Helper()
	s := &story{stage: newStage(t)}
	s.began = s.now
	fmt.Fprintf(&s.text, "A warm-up of %v from %.0f %%.\n", warmup.Window, 100*warmup.Minimum)
	s.note("control has a configuration", func() { s.configure(reviews(warmup)) })
	play(s)
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(s.text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), s.text.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s\nIf that is what you want: go test ./internal/control -update", path, diff)
	}
}

// note does something, and writes down what it is and what control tells of it.
func (s *story) note(what string, do func()) {
	last := s.lastEvent()
	do()
	fmt.Fprintf(&s.text, "\n%7v  %s\n", s.now.Sub(s.began), what)
	events := s.w.view.Events
	for i, e := range slices.Backward(events) {
		if e == last {
			events = events[i+1:]
			break
		}
	}
	for _, e := range events {
		fmt.Fprintln(&s.text, strings.TrimRight(fmt.Sprintf("         %-20s %-6s %s", e.Kind, e.Endpoint, e.Reason), " "))
	}
}

func (s *story) lastEvent() fleet.Event {
	if n := len(s.w.view.Events); n > 0 {
		return s.w.view.Events[n-1]
	}
	return fleet.Event{}
}

// wait lets time pass, a second at a time as control's own clock does.
func (s *story) wait(d time.Duration) {
	s.note(fmt.Sprint(d, " later"), func() {
		for range d / time.Second {
			s.after(time.Second)
		}
		s.after(d % time.Second)
	})
}

// come starts an instance, which passes its check at once.
func (s *story) come(name, incarnation string) {
	s.note(fmt.Sprintf("%s comes, incarnation %s", name, incarnation), func() { s.start(name, incarnation) })
}

// start is come, without a word.
func (s *story) start(name, incarnation string) {
	s.run(name, incarnation, "v2")
	s.pass(incarnation)
}

// alter changes what is reported of an incarnation.
func (s *story) alter(what, incarnation string, f func(*fleet.Instance)) {
	s.note(what, func() {
		for i := range s.runs {
			if s.runs[i].Incarnation == incarnation {
				f(&s.runs[i])
			}
		}
		s.report()
	})
}

// command does what somebody at a terminal asks for.
func (s *story) command(line string) {
	var err error
	s.note("$ crossfade "+line, func() {
		words := strings.Fields(line)
		t := Target{Namespace: "default", By: "ann"}
		var f func(*world, *subject, time.Time) error
		var m warmup.Move
		if words[0] == "weight" {
			var factor float64
			if _, err := fmt.Sscan(words[2], &factor); err != nil {
				s.t.Fatal(err)
			}
			t.Name = words[1]
			f = func(w *world, x *subject, now time.Time) error { return w.weigh(x, factor, t, now) }
		} else {
			if err := m.UnmarshalText([]byte(words[1])); err != nil {
				s.t.Fatal(err)
			}
			t.Name = words[2]
			f = func(w *world, x *subject, now time.Time) error { return w.move(x, m, t, now) }
		}
		err = s.w.command(t, words[0], s.now, f)
		s.fold()
	})
	if err != nil {
		fmt.Fprintf(&s.text, "         %v\n", err)
	}
}

// again starts control anew from its last snapshot, d after it died.
func (s *story) again(d time.Duration) {
	s.note(fmt.Sprintf("control dies; %v later it is there again", d), func() {
		s.now = s.now.Add(d)
		s.w = newWorld(s.w.view, s.now)
		s.fold()
		s.w.join(fleet.Hello{ID: "local", Role: "local"}, s.now)
		s.report()
	})
}

// show writes down what everybody gets.
func (s *story) show() {
	service := &s.w.view.Services[0]
	p := &service.Pools[0]
	view := s.w.view
	d := warmup.Decide(view, service, p, nil, warmup.Near{}, s.now)
	var all float64
	for i, m := range p.Members {
		all += service.Endpoints[m.Endpoint].Full() * d.Outcomes[i].Share
	}
	s.text.WriteString("\n         endpoint  address     stage     age       progress  share   of all  reason\n")
	for i, m := range p.Members {
		e, o := &service.Endpoints[m.Endpoint], d.Outcomes[i]
		weight := ""
		if e.Factor != nil {
			weight = fmt.Sprintf("  (weight × %v)", *e.Factor)
		}
		part := 0.0
		if all > 0 {
			part = e.Full() * o.Share / all
		}
		line := fmt.Sprintf("         %-8s  %-10v  %-8v  %-8v  %5.1f %%  %5.1f %%  %5.1f %%  %s%s",
			e.Name, e.Address.Addr(), e.Stage, view.Age(e, s.now), 100*o.Progress, 100*o.Share, 100*part, o.Reason, weight)
		fmt.Fprintln(&s.text, strings.TrimRight(line, " "))
	}
	if p.Capacity > 0 {
		fmt.Fprintf(&s.text, "         capacity %.3g in force: %.3g needed, %.3g there", p.Capacity, d.Groups[0].Budget.Needed, d.Groups[0].Budget.Have)
		if d.Groups[0].Budget.Binds() {
			fmt.Fprintf(&s.text, ", so no share is below %.0f %%", 100*d.Groups[0].Budget.Floor)
		}
		s.text.WriteString("\n")
	}
}

// warm starts endpoints that are warm when the story begins.
func (s *story) warm(names ...string) {
	s.note(strings.Join(names, ", ")+": warm, for an hour already", func() {
		for _, name := range names {
			s.start(name, name)
		}
		s.after(time.Hour)
		s.began = s.began.Add(time.Hour)
		s.w.view.Events = nil
	})
}

func TestStoryOfARollout(t *testing.T) {
	tell(t, "rollout", linear, func(s *story) {
		s.warm("a")
		s.w.join(fleet.Hello{ID: "gateway-1", Role: "gateway"}, s.now)
		s.note("b is started", func() { s.run("b", "b1", "v2") })
		s.show()
		s.note("b passes its check", func() { s.after(3 * time.Second); s.pass("b1") })
		s.show()
		s.wait(time.Minute)
		s.show()
		s.wait(time.Minute)
		s.alter("a is asked to leave", "a", func(i *fleet.Instance) { i.Leaving = true })
		s.show()
		n := s.w.view.Number
		s.note("the gateway reports one request open at a, then none, twice", func() {
			s.gateway("gateway-1", n, map[string]int{"a": 1})
			s.gateway("gateway-1", n, nil)
			s.gateway("gateway-1", n, nil)
		})
		s.note("a's process is gone", func() { s.stop("a") })
		s.show()
	})
}

func TestStoryOfABlip(t *testing.T) {
	tell(t, "blip", linear, func(s *story) {
		s.warm("a")
		s.come("b", "b1")
		s.wait(30 * time.Second)
		s.alter("b says that it is not ready", "b1", func(i *fleet.Instance) { i.Ready = false })
		s.show()
		s.wait(10 * time.Second)
		s.alter("b is ready again; its check has to pass anew", "b1", func(i *fleet.Instance) { i.Ready = true })
		s.show()
		s.note("b passes its check", func() { s.pass("b1") })
		s.show()
		s.note("b is not reported for a moment", func() { s.stop("b1") })
		s.wait(20 * time.Second)
		s.come("b", "b1")
		s.show()
	})
}

func TestStoryOfARestartAtTheSameAddress(t *testing.T) {
	tell(t, "restart", linear, func(s *story) {
		s.warm("a", "b")
		s.note("b's process dies", func() { s.stop("b") })
		s.wait(2 * time.Second)
		s.come("b", "b2")
		s.show()
		s.wait(time.Minute)
		s.show()
	})
}

func TestStoryOfAMove(t *testing.T) {
	tell(t, "move", linear, func(s *story) {
		s.warm("a")
		s.come("b", "b1")
		s.wait(time.Minute)
		s.command("weight b 0.5")
		s.alter("b is reported at 127.1.0.99, the same incarnation", "b1", func(i *fleet.Instance) {
			i.Address = netip.MustParseAddr("127.1.0.99")
		})
		s.show()
		s.note("another process comes at b's old address", func() {
			s.run("c", "c1", "v2")
			s.runs[2].Address = netip.MustParseAddr("127.1.0.2")
			s.report()
			s.pass("c1")
		})
		s.show()
	})
}

func TestStoryOfAWarmUpByHand(t *testing.T) {
	tell(t, "by-hand", linear, func(s *story) {
		s.warm("a")
		s.command("warmup pause a")
		s.command("warmup pause nobody")
		s.come("b", "b1")
		s.wait(30 * time.Second)
		s.command("warmup pause b")
		s.wait(10 * time.Minute)
		s.show()
		s.command("warmup pause b")
		s.again(5 * time.Second)
		s.show()
		s.command("warmup resume b")
		s.wait(30 * time.Second)
		s.show()
		s.command("warmup skip b")
		s.show()
		s.command("warmup skip b")
		s.command("warmup restart b")
		s.show()
		s.wait(2 * time.Minute)
		s.show()
		s.alter("b is asked to leave", "b1", func(i *fleet.Instance) { i.Leaving = true })
		s.command("warmup restart b")
	})
}

func TestStoryOfAnOptOut(t *testing.T) {
	tell(t, "opt-out", linear, func(s *story) {
		s.warm("a")
		s.note("b comes, with the label "+fleet.WarmupLabel+": off", func() {
			s.run("b", "b1", "v2")
			s.runs[1].Labels = maps.Clone(s.runs[1].Labels)
			s.runs[1].Labels[fleet.WarmupLabel] = "off"
			s.report()
			s.pass("b1")
		})
		s.show()
		s.command("warmup restart b")
		s.alter("the label is taken away", "b1", func(i *fleet.Instance) {
			i.Labels = maps.Clone(i.Labels)
			delete(i.Labels, fleet.WarmupLabel)
		})
		s.show()
		s.wait(2 * time.Minute)
		s.show()
		s.note("c comes; its warm-up was skipped before it passed its check", func() { s.run("c", "c1", "v2") })
		s.command("warmup skip c")
		s.note("c passes its check", func() { s.pass("c1") })
		s.show()
	})
}

func TestStoryOfWeights(t *testing.T) {
	tell(t, "weights", linear, func(s *story) {
		s.warm("a", "b")
		s.command("weight b 0.5")
		s.show()
		s.command("weight b 0")
		s.show()
		s.alter("b loses its readiness, and finds it", "b", func(i *fleet.Instance) { i.Ready = false })
		s.alter("b is ready", "b", func(i *fleet.Instance) { i.Ready = true })
		s.note("b passes its check", func() { s.pass("b") })
		s.again(3 * time.Second)
		s.show()
		s.command("weight b 1")
		s.show()
		s.command("weight b 0.25")
		s.note("b's process dies, and another comes", func() { s.stop("b"); s.start("b", "b2") })
		s.show()
	})
}

func TestStoryOfARestartOfControl(t *testing.T) {
	tell(t, "control-restarts", linear, func(s *story) {
		s.warm("a", "b", "c", "d")
		s.note("all but a are replaced at once", func() { s.replace("b", "c", "d") })
		s.wait(30 * time.Second)
		s.show()
		s.again(5 * time.Second)
		s.show()
		s.note("a is replaced too", func() { s.replace("a") })
		s.show()
	})
}

// replace ends instances and starts new ones in their places.
func (s *story) replace(names ...string) {
	s.runs = slices.DeleteFunc(s.runs, func(i fleet.Instance) bool { return slices.Contains(names, i.Name) })
	s.report()
	for _, name := range names {
		s.start(name, name+"2")
	}
}

func TestStoryOfAConfigurationThatChanges(t *testing.T) {
	tell(t, "configuration", linear, func(s *story) {
		s.warm("a")
		s.come("b", "b1")
		s.wait(time.Minute)
		s.show()
		longer := fleet.Warmup{Window: 4 * time.Minute, Minimum: 0.1, Aggression: 1}
		s.note("the window becomes four minutes: the share stays", func() { s.configure(reviews(longer)) })
		s.show()
		s.wait(time.Minute)
		s.show()
		longer.Aggression = 0.5
		s.note("the curve becomes quadratic: the share stays", func() { s.configure(reviews(longer)) })
		s.show()
		s.command("warmup pause b")
		s.note("the window becomes two minutes again: the pause stays", func() { s.configure(reviews(linear)) })
		s.wait(time.Minute)
		s.show()
		s.note("warm-up is switched off", func() { s.configure(reviews(fleet.Warmup{})) })
		s.show()
		s.note("and on again: who is there is warm", func() { s.configure(reviews(linear)) })
		s.show()
	})
}

func TestStoryOfScalingToZeroAndBack(t *testing.T) {
	tell(t, "zero", linear, func(s *story) {
		s.warm("a")
		s.note("a leaves", func() { s.stop("a") })
		s.show()
		s.wait(4 * time.Second)
		s.come("a", "a2")
		s.show()
		s.wait(20 * time.Second)
		s.come("b", "b1")
		s.show()
		s.wait(100 * time.Second)
		s.show()
	})
}

func TestStoryOfARollingReplacement(t *testing.T) {
	tell(t, "rolling", linear, func(s *story) {
		names := []string{"a", "b", "c", "d", "e"}
		s.warm(names...)
		for _, name := range names {
			s.note(name+" is replaced", func() { s.replace(name) })
			s.show()
			s.wait(10 * time.Second)
		}
		s.wait(90 * time.Second)
		s.show()
		s.wait(time.Minute)
		s.show()
	})
}
