package gateway

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// pools is a view of services, each by the instances of its pool; "a-" is one that starts, "a." one of weight 0.
func pools(panics float64, services ...string) fleet.View {
	v := fleet.View{Snapshot: &fleet.Snapshot{}}
	for i, names := range services {
		s := fleet.Service{Name: fmt.Sprintf("s%d:80", i), Pools: []fleet.Pool{{Policy: fleet.Policy{Panic: panics}}}}
		for j, name := range strings.Fields(names) {
			e := fleet.Endpoint{Incarnation: strings.Trim(name, "-."), Stage: fleet.Serving, Weight: 1}
			if strings.HasSuffix(name, "-") {
				e.Stage = fleet.Starting
			}
			if strings.HasSuffix(name, ".") {
				e.Weight = 0
			}
			s.Endpoints = append(s.Endpoints, e)
			s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: j})
		}
		v.Services = append(v.Services, s)
	}
	return v
}

// marked are those whom marks leave out, of those who have said that they leave in this order.
func marked(v fleet.View, o fleet.Overlay, order ...string) []string {
	m, now := marks{}, time.Unix(1_000_000, 0)
	for i, incarnation := range order {
		m.note(incarnation, now.Add(time.Duration(i)*time.Millisecond))
	}
	var out []string
	for incarnation, mark := range m.on(o, v) {
		if mark.Reason == markReason {
			out = append(out, incarnation)
		}
	}
	slices.Sort(out)
	return out
}

func TestMarksLeaveSomebody(t *testing.T) {
	dead := func(names ...string) fleet.Overlay {
		o := fleet.Overlay{}
		for _, name := range names {
			o[name] = fleet.Mark{Ejected: true, Reason: "HTTP 503"}
		}
		return o
	}
	for _, tc := range []struct {
		name  string
		view  fleet.View
		noted fleet.Overlay
		order string
		want  string
	}{
		{"one of two", pools(0, "a b"), nil, "a", "a"},
		{"never the last one", pools(0, "a b"), nil, "a b", "a"},
		{"the only one", pools(0, "a"), nil, "a", ""},
		{"the first half of those who say so", pools(0, "a b c d"), nil, "d c b a", "c d"},
		{"one of three", pools(0, "a b c"), nil, "a b", "a"},
		{"not beside a dead one that is the half", pools(0, "a b"), dead("b"), "a", ""},
		{"not beyond the dead", pools(0, "a b c d"), dead("d"), "a b", "a"},
		{"not who is dead anyway", pools(0, "a b c d"), dead("a"), "a b", "b"},
		{"nor whom control does not offer", pools(0, "a b- c."), nil, "a", ""},
		{"not below the panic threshold", pools(0.6, "a b"), nil, "a", ""},
		{"down to the panic threshold", pools(0.5, "a b"), nil, "a", "a"},
		{"every pool must spare it", pools(0, "a b", "a"), nil, "a", ""},
		{"pools that it is not in do not matter", pools(0, "a b", "c"), nil, "a", "a"},
	} {
		got := strings.Join(marked(tc.view, tc.noted, strings.Fields(tc.order)...), " ")
		if got != tc.want {
			t.Errorf("%s: got %q left out, want %q", tc.name, got, tc.want)
		}
	}
}

// Whatever is said and found, marks leave out only who said so and is offered, and nobody's pool is emptied by them.
func TestMarksAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f-", "g."})
		draw := func(what string) []string {
			return rapid.SliceOfNDistinct(name, 1, 7, rapid.ID[string]).Draw(t, what)
		}
		v := pools(rapid.Float64Range(0, 1).Draw(t, "panic"), strings.Join(draw("one"), " "), strings.Join(draw("other"), " "))
		noted := fleet.Overlay{}
		for _, n := range draw("dead") {
			noted[n] = fleet.Mark{Ejected: true, Reason: "dead", Progress: 0.5}
		}
		before := maps.Clone(noted)
		said := draw("said")
		out := marked(v, noted, said...)
		if diff := cmp.Diff(before, noted); diff != "" {
			t.Fatalf("what was noted has changed:\n%s", diff)
		}
		for i := range v.Services {
			all, gone, byMark := 0, 0, 0
			for j := range v.Services[i].Endpoints {
				e := &v.Services[i].Endpoints[j]
				if !e.Stage.Offered() || e.Weight == 0 {
					continue
				}
				all++
				switch {
				case slices.Contains(out, e.Incarnation):
					byMark++
					gone++
				case noted[e.Incarnation].Ejected:
					gone++
				}
			}
			if byMark > 0 && (gone == all || gone > max(1, all/2)) {
				t.Fatalf("%d of %d are out, %d of them by marks", gone, all, byMark)
			}
		}
		for _, n := range out {
			if !slices.Contains(said, n) || noted[n].Ejected {
				t.Fatalf("%s is left out", n)
			}
		}
	})
}

// A mark is over 30 s after it was last said, and when control says so itself.
func TestMarksEnd(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	v := pools(0, "a b")
	m := marks{}
	if !m.note("a", now) || m.note("a", now.Add(10*time.Second)) {
		t.Error("what is said again is no news")
	}
	if got := m.next(now, time.Hour); got != 40*time.Second {
		t.Errorf("it ends in %v, want 40 s", got)
	}
	m.prune(v, now.Add(40*time.Second-1))
	if len(m) != 1 {
		t.Error("it ended too soon")
	}
	m.prune(v, now.Add(40*time.Second))
	if len(m) != 0 {
		t.Error("it has not ended")
	}
	m.note("a", now)
	v.Services[0].Endpoints[0].Stage = fleet.Draining
	m.prune(v, now)
	if len(m) != 0 {
		t.Error("control says that it drains, and it is still marked")
	}
	if got := m.next(now, time.Hour); got != time.Hour {
		t.Errorf("the next ends in %v, with none there", got)
	}
}

// leaving is an app whose front says that it leaves, while it does.
func leaving(t *testing.T, name string) (a *app, says *atomic.Bool) {
	t.Helper()
	a, says = newApp(t, name), new(atomic.Bool)
	a.instance.Front = true
	within := a.server.Config.Handler
	a.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if says.Load() {
			rw.Header().Set(proxy.FieldDrain, a.instance.Incarnation)
		}
		within.ServeHTTP(rw, r)
	})
	return a, says
}

// Who says that it leaves gets no more once it has been heard, before control says anything; the last one serves on.
func TestALeavingInstanceIsLeftAlone(t *testing.T) {
	w := newTown(t, 0)
	a, aLeaves := leaving(t, "a")
	b, bLeaves := leaving(t, "b")
	w.run(a, b)
	g := w.gateway("", true)
	g.wait("both answer", func() bool { s, _ := g.share(b); return s == 1 && g.get() == "a" })
	aLeaves.Store(true)
	g.wait("a is left out", func() bool { g.get(); _, why := g.share(a); return why == "ejected" })
	for range 20 {
		if got := g.get(); got != "b" {
			t.Fatalf("%q answered while a leaves, want b", got)
		}
	}
	world := g.loop.world()
	if mark := world.Overlay["a#1"]; mark.Reason != markReason {
		t.Errorf("admin shows %+v", mark)
	}
	bLeaves.Store(true)
	g.wait("b has said so too", func() bool { g.get(); return w.told("endpoint.leaves", "b") })
	for range 20 {
		if got := g.get(); got != "b" {
			t.Fatalf("%q answered, want the last one that had not been left out", got)
		}
	}
	a.instance.Leaving = true
	w.run(a, b)
	g.wait("the mark of a is over", func() bool { _, marked := g.loop.world().Overlay["a#1"]; return !marked })
}

// told says whether control has heard of an event.
func (w *town) told(kind, endpoint string) bool {
	return slices.ContainsFunc(w.control.View().Events, func(e fleet.Event) bool { return e.Kind == kind && e.Endpoint == endpoint })
}

// Who refuses connections is out after two requests that noticed, long before its check would say so, and nobody loses
// anything; it is back when it takes connections.
func TestADeadEndpointIsOutAtOnce(t *testing.T) {
	w := newTown(t, 0)
	a, b := newApp(t, "a"), newApp(t, "b")
	for _, x := range []*app{a, b} {
		x.instance.Check = &fleet.Check{Interval: time.Hour, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
	}
	w.run(a, b)
	g := w.gateway("", true)
	g.wait("both are known and have been looked at", func() bool { s, _ := g.share(b); return s == 1 && g.get() == "a" && g.get() != "" })
	b.server.Close()
	if _, why := g.share(b); why != "" {
		t.Fatalf("b is %s before anybody noticed", why)
	}
	for range 100 {
		if got := g.get(); got != "a" {
			t.Fatalf("got %q, want a", got)
		}
	}
	g.wait("b is ejected", func() bool { _, why := g.share(b); return why == "ejected" })
	if mark := g.loop.world().Overlay["b#1"]; mark.Reason != "it refuses connections" && mark.Reason != "dial: connect: connection refused" {
		t.Errorf("noted %+v", mark)
	}
	var fails uint64
	for _, e := range g.loop.proxy.State().Services()[0].Endpoints {
		fails += e.Traffic.ConnectFail.Load()
	}
	if fails < 2 || fails > 10 {
		t.Errorf("%d connections were refused, want 2 and those that were under way", fails)
	}
	g.wait("control was told", func() bool { return w.told("endpoint.ejected", "b") })
	again, err := net.Listen("tcp", b.server.Listener.Addr().String())
	if err != nil {
		t.Skip("the port is somebody else's by now: ", err)
	}
	server := &http.Server{Handler: b.server.Config.Handler, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(again) }()
	t.Cleanup(func() { _ = server.Close() })
	g.wait("b is back", func() bool { s, why := g.share(b); return s == 1 && why != "ejected" })
	g.wait("b answers", func() bool { return g.get() == "b" })
}
