package control

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// A word is what one source says: a way to tell it to a world.
type word struct {
	what string
	say  func(*world, time.Time)
}

// drawWords is what registries, a runner and agents say of a few incarnations, each source once.
func drawWords(t *rapid.T) []word {
	incarnations := []string{"a", "b", "c", "entry/e"}
	instance := func(from string, incarnation string) fleet.Instance {
		in := registrant(incarnation)
		in.Revision = from // who said it
		in.Leaving = rapid.Bool().Draw(t, from+incarnation+" leaves")
		in.Ready = rapid.Bool().Draw(t, from+incarnation+" ready")
		in.Bound = time.Duration(rapid.IntRange(0, 2).Draw(t, "bound")) * time.Second
		return in
	}
	some := func(from string) (list []fleet.Instance) {
		for _, incarnation := range incarnations {
			if rapid.Bool().Draw(t, from+" knows "+incarnation) {
				list = append(list, instance(from, incarnation))
			}
		}
		return list
	}
	var words []word
	for _, name := range []string{"etcd", "file"} {
		list := some(name)
		words = append(words, word{name, func(w *world, now time.Time) { w.registered(name, registry.List{Instances: list}, now) }})
	}
	for _, name := range []string{"local", "other"} {
		list := some(name)
		words = append(words, word{name, func(w *world, now time.Time) {
			w.report(fleet.Report{From: name, Role: "runner", Instances: list}, now)
		}})
	}
	for _, incarnation := range incarnations {
		if !rapid.Bool().Draw(t, "agent of "+incarnation) {
			continue
		}
		in := instance("agent", incarnation)
		words = append(words, word{"agent of " + incarnation, func(w *world, now time.Time) {
			r, err := owned(fleet.Report{From: agentID(incarnation), Role: agent, Instances: []fleet.Instance{in}})
			if err != nil {
				panic(err)
			}
			w.report(r, now)
		}})
	}
	if dead := rapid.SampledFrom(append(incarnations, "")).Draw(t, "dead"); dead != "" {
		words = append(words, word{dead + " is dead", func(w *world, now time.Time) {
			w.report(fleet.Report{From: "coroner", Role: "local", Dead: []string{dead}}, now)
		}})
	}
	return words
}

func listening(t testing.TB) *world {
	t.Helper()
	s := newStage(t)
	d := reviews(linear)
	d.Instances = []fleet.Instance{{Name: "e", Namespace: "default", Incarnation: "entry/e", Weight: 1, Origin: fleet.Origin{File: "e.yaml"}}}
	s.configure(d)
	return s.w
}

// Whatever is said, in whatever order and however often, the same instances come of it; and it is so of each one what
// anybody says for it, what the first in rank says for all else.
func TestMergingDependsOnNoOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := drawWords(rt)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		tell := func(order []word) []fleet.Instance {
			w := listening(t)
			for _, x := range order {
				x.say(w, now)
			}
			return w.instances(now)
		}
		want := tell(words)
		shuffled := slices.Concat(words, words) // everybody twice
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if diff := cmp.Diff(want, tell(shuffled), cmp.Comparer(func(a, b fleet.Instance) bool { return sameInstance(a, b) })); diff != "" {
			rt.Fatalf("the order matters (-want +got):\n%s", diff)
		}
		for i := range want {
			if i > 0 && want[i-1].Incarnation >= want[i].Incarnation {
				rt.Fatalf("%q stands before %q", want[i-1].Incarnation, want[i].Incarnation)
			}
			if configured(want[i]) && (want[i].Leaving || want[i].Ready || want[i].Revision != "") {
				rt.Fatalf("reports changed %+v, which is configuration", want[i])
			}
		}
	})
}

// An agent can change nothing of another incarnation, whatever it reports.
func TestAnAgentChangesNobodyElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		names := []string{"a", "b", "c", "entry/e", ""}
		name := func(what string) string { return rapid.SampledFrom(names).Draw(rt, what) }
		w, untouched := listening(t), listening(t)
		for _, w := range []*world{w, untouched} {
			w.registered("etcd", registry.List{Instances: ready(registrant("a"), registrant("b"))}, now)
			w.report(fleet.Report{From: agentID("b"), Role: agent, Instances: []fleet.Instance{registrant("b")}}, now)
			w.fold(now)
			w.verdict("a", true, "", now)
			w.verdict("b", true, "", now)
			w.fold(now)
		}
		for range rapid.IntRange(1, 5).Draw(rt, "reports") {
			r := fleet.Report{From: agentID("a"), Role: agent, Leaving: rapid.Bool().Draw(rt, "leaving"), Open: map[string]int{"b": 1}, Applied: 99}
			for i := range rapid.IntRange(0, 2).Draw(rt, "instances") {
				in := registrant(name(fmt.Sprint("instance ", i)))
				in.Leaving, in.Weight = true, 1000
				in.Origin.File = "mine.yaml"
				r.Instances = append(r.Instances, in)
			}
			if dead := name("dead"); dead != "" {
				r.Dead = []string{dead}
			}
			r.Events = []fleet.Event{{Kind: "endpoint.returned", Incarnation: name("event")}}
			r.Replicas = []fleet.Replica{{ID: "gateway-1"}}
			if own, err := owned(r); err == nil {
				w.report(own, now)
			}
			w.fold(now)
		}
		others := func(w *world) (out []fleet.Instance) {
			return slices.DeleteFunc(slices.Clone(w.view.Instances), func(in fleet.Instance) bool { return in.Incarnation == "a" })
		}
		if diff := cmp.Diff(others(untouched), others(w), cmp.Comparer(func(a, b fleet.Instance) bool { return sameInstance(a, b) })); diff != "" {
			rt.Fatalf("others changed (-want +got):\n%s", diff)
		}
		if got, want := w.lives["b"].State, untouched.lives["b"].State; got != want {
			rt.Fatalf("b is %+v, want %+v", got, want)
		}
		if !w.lives["b"].returned.IsZero() || len(w.view.Replicas) > 0 {
			rt.Fatal("an agent spoke for a gateway")
		}
	})
}

func TestAnAgentSpeaksOfItsOwn(t *testing.T) {
	own := registrant("x")
	labelled, called := own, own
	labelled.Labels = map[string]string{"app": strings.Repeat("a", ownText)}
	called.Name = strings.Repeat("a", ownText)
	for name, r := range map[string]fleet.Report{
		"too many labels":     {From: agentID("x"), Role: agent, Instances: []fleet.Instance{labelled}},
		"too long a name":     {From: agentID("x"), Role: agent, Instances: []fleet.Instance{called}},
		"from nobody":         {From: agent + "/", Role: agent},
		"from a gateway":      {From: "gateway-1", Role: agent},
		"another instance":    {From: agentID("x"), Role: agent, Instances: []fleet.Instance{registrant("y")}},
		"two instances":       {From: agentID("x"), Role: agent, Instances: []fleet.Instance{own, own}},
		"another one's death": {From: agentID("x"), Role: agent, Dead: []string{"x", "y"}},
		"another one's event": {From: agentID("x"), Role: agent, Events: []fleet.Event{{Incarnation: "y"}}},
		"another one's sums":  {From: agentID("x"), Role: agent, Traffic: &fleet.Traffic{Run: "r", Endpoints: []fleet.EndpointTraffic{{Service: "web:80", Incarnation: "y"}}}},
		"strange sums":        {From: agentID("x"), Role: agent, Traffic: &fleet.Traffic{Run: "r", Listeners: []fleet.ListenerTraffic{{Name: "80", Requests: 1}}}},
	} {
		if _, err := owned(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r, err := owned(fleet.Report{
		From: agentID("x"), Role: agent, Instances: []fleet.Instance{own}, Dead: []string{"x"}, Leaving: true,
		Events: append(make([]fleet.Event, agentEvents), fleet.Event{Kind: "probe.passed", By: "anna", Reason: string(make([]byte, 2*eventText))}),
	})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Events[len(r.Events)-1]
	if len(r.Events) != agentEvents || last.Kind != "probe.passed" || last.Incarnation != "x" || last.Endpoint != own.Name || len(last.Reason) > eventText+3 {
		t.Errorf("%d events, the last is %.200v", len(r.Events), last)
	}
	if last.By != "" {
		t.Errorf("it says that %q asked for it", last.By)
	}
	for _, who := range []fleet.Hello{{Role: agent, ID: agent + "/"}, {Role: agent, ID: "agent/x", Incarnation: "y"}, {Role: agent, ID: "agent/x"}, {Role: "gateway"}} {
		if err := properly(who); err == nil {
			t.Errorf("%+v may follow", who)
		}
	}
}
