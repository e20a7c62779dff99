package control

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// Most reports of gateways and agents are not worth a fold.
func TestWhatRepeatsIsNoNews(t *testing.T) {
	s := newStage(t)
	s.configure(reviews(linear))
	s.run("a", "a1", "v1")
	s.pass("a1")
	plain := fleet.Report{From: "gateway-1", Role: "gateway", Applied: s.w.view.Number, Traffic: &fleet.Traffic{Run: "r"}}
	report := func(what string, change func(*fleet.Report), want bool) {
		t.Helper()
		r := plain
		if change != nil {
			change(&r)
		}
		if got := s.w.report(r, s.now); got != want {
			t.Errorf("%s: news %t, want %t", what, got, want)
		}
		s.fold()
	}
	report("its first", nil, true)
	report("the same once more", nil, false)
	report("it has counted on, and applied what there is", func(r *fleet.Report) {
		r.Traffic, r.Applied = &fleet.Traffic{Run: "r", Span: time.Second}, s.w.view.Number
	}, false)
	report("something has happened", func(r *fleet.Report) { r.Events = []fleet.Event{{Kind: "endpoint.ejected", Incarnation: "a1"}} }, true)
	for _, stage := range []drain.Stage{drain.LameDuck, drain.Draining, drain.Closed} {
		report("it leaves", func(r *fleet.Report) { r.Drain = &drain.Report{Stage: stage, Began: s.now} }, true)
	}
	report("it does not leave", nil, false)
	report("it is a lame duck", func(r *fleet.Report) { r.Drain = &drain.Report{Stage: drain.LameDuck, Began: s.now.Add(1)} }, true)
	report("it is called back", nil, true)
	report("and the same once more", nil, false)
	if s.w.report(fleet.Report{From: "local", Role: "local", Instances: slices.Clone(s.runs)}, s.now); s.w.report(plain, s.now) {
		t.Error("what another one says makes it news")
	}
	s.change(func(*fleet.Instance) {})
	s.runs[0].Leaving = true
	s.report()
	report("somebody drains", nil, true)
	report("and has not yet drained", nil, true)
	report("it leaves", func(r *fleet.Report) { r.Leaving = true }, true)
}

// Whatever is said and happens: a report that is called no news changes nothing, and tells of nothing, when it is folded all the same.
func TestNoNewsChangesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStage(t)
		s.configure(reviews(linear))
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			s.now = s.now.Add(time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second)
			s.happen(rt)
			for n := uint64(0); n != s.w.view.Number; { // as a control does that sleeps no longer than wake says
				n = s.w.view.Number
				s.w.fold(s.now)
			}
			r := anyReport(rt, s)
			before := s.w.view.Number
			if s.w.report(r, s.now) {
				continue
			}
			if told := s.w.fold(s.now); len(told) > 0 || s.w.view.Number != before {
				rt.Fatalf("%+v is no news; folded, it tells %v, and makes snapshot %d of %d", r, told, s.w.view.Number, before)
			}
		}
	})
}

// happen has something happen to instances, or to who follows.
func (s *stage) happen(rt *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "who")
	at := slices.IndexFunc(s.runs, func(i fleet.Instance) bool { return i.Incarnation == name })
	switch what := rapid.IntRange(0, 5).Draw(rt, "what"); {
	case at < 0:
		s.run(name, name, "v2")
	case what == 0:
		s.stop(name)
	case what == 1:
		s.runs[at].Leaving = true
		s.report()
	case what == 2:
		s.w.verdict(name, rapid.Bool().Draw(rt, "healthy"), "", s.now)
	case what == 3 && rapid.Bool().Draw(rt, "lists"):
		s.w.registered("etcd", registry.List{Instances: []fleet.Instance{registrant(name)}}, s.now)
	case what == 3 && rapid.Bool().Draw(rt, "agent"):
		s.w.join(fleet.Hello{ID: agentID(name), Role: agent, Incarnation: name}, s.now)
	case what == 3:
		s.w.join(fleet.Hello{ID: "gateway-1", Role: "gateway"}, s.now)
	case what == 4 && s.w.followers[agentID(name)] != nil:
		s.w.part(fleet.Hello{ID: agentID(name), Role: agent, Incarnation: name}, s.now)
	case what == 4:
		s.w.part(fleet.Hello{ID: "gateway-1", Role: "gateway"}, s.now)
	}
}

// anyReport is what one of two gateways may say, or the agent of one that may be there.
func anyReport(rt *rapid.T, s *stage) fleet.Report {
	if rapid.Bool().Draw(rt, "agent") {
		who := registrant(rapid.SampledFrom([]string{"a", "d"}).Draw(rt, "of"))
		who.Ready, who.Leaving = rapid.Bool().Draw(rt, "ready"), rapid.IntRange(0, 9).Draw(rt, "leaving") == 0
		return fleet.Report{From: agentID(who.Incarnation), Role: agent, Instances: []fleet.Instance{who}, Leaving: who.Leaving && rapid.Bool().Draw(rt, "last")}
	}
	r := fleet.Report{
		From: rapid.SampledFrom([]string{"gateway-1", "gateway-2"}).Draw(rt, "from"), Role: "gateway",
		Applied: s.w.view.Number + uint64(rapid.IntRange(0, 2).Draw(rt, "applied")) - 1,
	}
	if rapid.Bool().Draw(rt, "open") {
		r.Open = map[string]int{"a": 1}
	}
	switch rapid.IntRange(0, 9).Draw(rt, "more") {
	case 0:
		r.Events = []fleet.Event{{Kind: "endpoint.returned", Incarnation: "b"}}
	case 1:
		r.Drain = &drain.Report{Stage: rapid.SampledFrom([]drain.Stage{drain.LameDuck, drain.Closed}).Draw(rt, "stage"), Began: s.now}
	case 2:
		r.Leaving = true
	}
	return r
}

// What a report costs that says nothing new, to a world of 10,000 endpoints.
func BenchmarkReportOfNothingNew(b *testing.B) {
	s := many(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		s.w.report(fleet.Report{From: "gateway-1", Role: "gateway", Applied: s.w.view.Number}, s.now)
	}
}
