package release_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// A theatre is a small fleet, one second a step: deployments whose instances take a few seconds to start, warm and leave, and
// gateways that count what passes.
type theatre struct {
	t         testing.TB
	now       time.Time
	rec       *release.Recorder
	twins     []*release.Recorder // that are told the same
	workloads []fleet.Workload
	instances []*actor // all that are there, by incarnation
	replicas  []fleet.Replica
	group     fleet.GatewayGroup
	loose     []string
	drains    []drain.Report
	news      []fleet.Event
	born      int
	numbers   int
	ended     map[string]*ending.Sums // by service
	sent      map[string]*[2]uint64
	silent    []string
	points    map[string][]release.Point
	idle      bool // nobody sends anything
	losing    ending.Kind
	slow      bool // nobody becomes ready
	stuck     bool // no replica of the gateway does
}

// An actor is an instance.
type actor struct {
	fleet.Instance

	stage   fleet.Stage
	since   time.Time // the stage
	offered time.Time
	service string
	gone    bool
}

// How long each part of a life takes here, in seconds.
const (
	starting = 2
	warming  = 20
	draining = 3
)

func newTheatre(t testing.TB) *theatre {
	t.Helper()
	h := &theatre{
		t: t, now: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), rec: release.New(release.State{}),
		ended: map[string]*ending.Sums{}, sent: map[string]*[2]uint64{}, points: map[string][]release.Point{},
		group: fleet.GatewayGroup{Name: "ingressgateway", Namespace: "istio-system", Replicas: 1, Revision: "1"},
	}
	h.replicas = []fleet.Replica{h.replica(true)}
	return h
}

func (h *theatre) replica(ready bool) fleet.Replica {
	h.numbers++
	return fleet.Replica{
		ID: fmt.Sprintf("ingressgateway-%d", h.numbers), Group: h.group.Name, Namespace: h.group.Namespace, Revision: h.group.Revision, Ready: ready, PID: 1000 + h.numbers,
	}
}

func (h *theatre) deploy(name, service, version string, replicas int) {
	h.workloads = append(h.workloads, fleet.Workload{
		Name: name, Namespace: "default", Replicas: replicas, Revision: "r1", Labels: map[string]string{"app": service, "version": version},
	})
}

func (h *theatre) workload(name string) *fleet.Workload {
	for i := range h.workloads {
		if h.workloads[i].Name == name {
			return &h.workloads[i]
		}
	}
	h.t.Fatalf("there is no workload %q", name)
	return nil
}

func (h *theatre) tell(kind string, a *actor) {
	h.news = append(h.news, fleet.Event{Time: h.now, Kind: kind, Endpoint: a.Name, Incarnation: a.Incarnation, From: "control"})
}

// join brings an instance on stage.
func (h *theatre) join(name, workload, revision, service, version string) *actor {
	h.born++
	a := &actor{Instance: fleet.Instance{
		Name: name, Namespace: "default", Workload: workload, Revision: revision, Incarnation: fmt.Sprintf("i%04d", h.born),
		Address: netip.AddrFrom4([4]byte{127, 1, byte(h.born >> 8), byte(h.born)}), Labels: map[string]string{"app": service, "version": version},
	}, since: h.now, service: service + ":9080"}
	h.instances = append(h.instances, a)
	h.tell("instance.started", a)
	return a
}

func (h *theatre) leave(a *actor) {
	if !a.Leaving {
		a.Leaving, a.stage, a.since = true, fleet.Draining, h.now
		h.tell("offline.requested", a)
		h.tell("drain.started", a)
	}
}

// kill ends an instance at once.
func (h *theatre) kill(a *actor) {
	a.gone = true
	h.tell("instance.died", a)
}

// plan does what a deployment's runner does: one new one first, then one old one goes, one after another.
func (h *theatre) plan() {
	for i := range h.workloads {
		w := &h.workloads[i]
		var fresh, old []*actor
		ready := 0
		for _, a := range h.instances {
			if a.Workload != w.Name || a.Leaving || a.gone {
				continue
			}
			if a.Revision == w.Revision {
				fresh = append(fresh, a)
			} else {
				old = append(old, a)
			}
			if a.stage.Offered() {
				ready++
			}
		}
		switch {
		case len(fresh) < w.Replicas && len(fresh)+len(old) <= w.Replicas:
			h.join(fmt.Sprintf("%s-%d", w.Name, h.born+1), w.Name, w.Revision, w.Labels["app"], w.Labels["version"])
		case len(old) > 0 && ready >= w.Replicas:
			h.leave(old[0])
		case len(fresh) > w.Replicas:
			h.leave(fresh[len(fresh)-1])
		}
	}
	h.planGateway()
}

// planGateway does what a supervisor does.
func (h *theatre) planGateway() {
	var keep []fleet.Replica
	fresh := 0
	for _, r := range h.replicas {
		if r.Leaving {
			h.drains = append(h.drains, drain.Report{ID: r.ID, Began: h.now.Add(-time.Second), Stage: drain.Closed})
			continue // its leave takes a second
		}
		if r.Drained { // nobody waits for it: it leaves, and another takes its place
			r.Leaving = true
			h.drains = append(h.drains, drain.Report{ID: r.ID, Began: h.now, Stage: drain.Draining})
			keep = append(keep, r)
			continue
		}
		if r.Revision == h.group.Revision {
			fresh++
			r.Ready = r.Ready || !h.stuck
		}
		keep = append(keep, r)
	}
	if fresh < h.group.Replicas {
		keep = append(keep, h.replica(false))
	} else if i := slices.IndexFunc(keep, func(r fleet.Replica) bool { return r.Revision != h.group.Revision || fresh > h.group.Replicas }); i >= 0 {
		keep[i].Leaving = true
		h.drains = append(h.drains, drain.Report{ID: keep[i].ID, Began: h.now, Stage: drain.Draining})
	}
	h.replicas = keep
}

// live has everybody on stage go on.
func (h *theatre) live() {
	h.instances = slices.DeleteFunc(h.instances, func(a *actor) bool {
		spent := int(h.now.Sub(a.since).Seconds())
		switch {
		case a.gone:
			return true
		case a.stage == fleet.Starting && spent >= starting && !h.slow:
			a.stage, a.since, a.offered, a.Ready = fleet.Warming, h.now, h.now, true
			for _, kind := range []string{"probe.passed", "registration.completed", "warmup.started", "readiness.passed"} {
				h.tell(kind, a)
			}
		case a.stage == fleet.Warming && spent >= warming:
			a.stage, a.since = fleet.Serving, h.now
			h.tell("warmup.ended", a)
		case a.stage == fleet.Draining && spent >= draining:
			for _, kind := range []string{"drained", "deregistered", "instance.stopped"} {
				h.tell(kind, a)
			}
			h.drains = append(h.drains, drain.Report{ID: "agent/" + a.Name, Began: a.since, Stage: drain.Closed})
			h.drains = h.drains[max(0, len(h.drains)-64):]
			return true
		}
		return false
	})
}

// serve sends ten requests to each service that has somebody; one of them is lost where something loses.
func (h *theatre) serve() {
	got := map[string]int{}
	for _, a := range h.instances {
		if a.stage.Offered() && !a.gone {
			got[a.service]++
		}
	}
	for service, n := range got {
		for range 10 {
			if h.idle {
				break
			}
			h.count(service, ending.Served)
		}
		if h.losing != ending.Served {
			h.count(service, h.losing)
		}
		for _, a := range h.instances {
			if a.service != service || !a.stage.Offered() || h.idle {
				continue
			}
			sent := h.sent[a.Incarnation]
			if sent == nil {
				sent = &[2]uint64{}
				h.sent[a.Incarnation] = sent
			}
			sent[0] += uint64(10 / n)
			if h.losing.Side() == ending.Endpoint {
				sent[1]++
			}
			h.points[a.Incarnation] = append(h.points[a.Incarnation], release.Point{At: h.now.Unix(), Requests: 10 / float32(n), Due: 10 / float32(n)})
		}
	}
}

func (h *theatre) count(service string, kind ending.Kind) {
	for _, name := range []string{service, ""} {
		if h.ended[name] == nil {
			h.ended[name] = &ending.Sums{}
		}
		h.ended[name][kind]++
	}
}

// step is a second.
func (h *theatre) step() {
	h.live()
	h.plan()
	h.serve()
	h.show()
	h.now = h.now.Add(time.Second)
}

func (h *theatre) steps(n int) {
	for range n {
		h.step()
	}
}

// show tells the recorder what there is.
func (h *theatre) show() {
	for _, r := range append(h.twins, h.rec) {
		r.View(h.view(), h.news, h, h.now)
		r.Second(h.now.Unix()-2, h, h.now)
	}
	h.news = nil
}

func (h *theatre) view() fleet.View {
	s := &fleet.Snapshot{Config: "c", Workloads: slices.Clone(h.workloads), Groups: []fleet.GatewayGroup{h.group}, Drains: slices.Clone(h.drains)}
	s.Replicas = slices.Clone(h.replicas)
	for _, r := range h.replicas {
		s.Gateways = append(s.Gateways, r.ID)
	}
	s.Gateways = append(s.Gateways, h.loose...)
	services := map[string]*fleet.Service{}
	for _, w := range h.workloads {
		h.service(services, w.Labels["app"])
	}
	for _, a := range h.instances {
		if a.gone {
			continue
		}
		s.Instances = append(s.Instances, a.Instance)
		of := h.service(services, a.Labels["app"])
		e := fleet.Endpoint{
			Name: a.Name, Incarnation: a.Incarnation, Address: netip.AddrPortFrom(a.Address, 9080), Labels: a.Labels, Stage: a.stage, Weight: 1,
		}
		if !a.offered.IsZero() {
			e.Age = h.now.Sub(a.offered)
		}
		of.Pools[0].Members = append(of.Pools[0].Members, fleet.Member{Endpoint: len(of.Endpoints)})
		of.Endpoints = append(of.Endpoints, e)
	}
	for _, of := range services {
		s.Services = append(s.Services, *of)
	}
	sort.Slice(s.Services, func(i, j int) bool { return s.Services[i].Name < s.Services[j].Name })
	return fleet.View{Snapshot: s, Taken: h.now}
}

func (h *theatre) service(all map[string]*fleet.Service, name string) *fleet.Service {
	if all[name] == nil {
		all[name] = &fleet.Service{
			Name: name + ":9080", Host: name, Namespace: "default", Port: 9080, Selector: map[string]string{"app": name},
			Pools: []fleet.Pool{{Policy: fleet.Policy{Warmup: fleet.Warmup{Window: warming * time.Second, Aggression: 0.5}}}},
		}
	}
	return all[name]
}

// restart is a recorder that was killed and started anew with what was on disk.
func (h *theatre) restart() { h.rec = restarted(h.t, h.rec) }

func restarted(t testing.TB, r *release.Recorder) *release.Recorder {
	t.Helper()
	text, err := json.Marshal(r.State())
	if err != nil {
		t.Fatal(err)
	}
	var kept release.State
	if err := json.Unmarshal(text, &kept); err != nil {
		t.Fatal(err)
	}
	return release.New(kept)
}

// The theatre is a release.Book.

func (h *theatre) Ended(service string) (s ending.Sums) {
	if of := h.ended[service]; of != nil {
		s = *of
	}
	return s
}

func (h *theatre) Sent(incarnation string) (attempts, failed uint64) {
	if of := h.sent[incarnation]; of != nil {
		return of[0], of[1]
	}
	return 0, 0
}

func (h *theatre) Answers(services []string, from, to int64) release.Quantiles {
	if h.idle || len(services) == 0 || from >= to {
		return release.Quantiles{}
	}
	return release.Quantiles{Answers: uint64(to - from), P50: 5, P99: float64(from % 1000)} //nolint:gosec // to is after from
}

func (h *theatre) Points(incarnation string, from, to int64) (points []release.Point) {
	for _, p := range h.points[incarnation] {
		if p.At >= from && p.At < to {
			points = append(points, p)
		}
	}
	return points
}

func (h *theatre) Doubts([]string, time.Time) []string {
	var list []string
	for _, id := range h.silent {
		list = append(list, id+" has reported nothing for a while: what passed it is not counted")
	}
	return list
}

// latest is the newest release; there is one.
func (h *theatre) latest() *release.Release {
	h.t.Helper()
	r := h.rec.Release("latest")
	if r == nil {
		h.t.Fatal("no release was recognised")
	}
	return r
}
