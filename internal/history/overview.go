package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// What an overview shows at most.
const (
	sparkSeconds    = 60
	mostOfService   = 50  // endpoints of a service in an overview
	mostInOverview  = 500 // endpoints in all, beyond which an overview has none
	releasesInShort = 5
	serviceEvents   = 50
	secondsOfRates  = 10
)

// Overview returns everything at a glance.
func (h *History) Overview() Overview {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	o := Overview{
		Time: now.Round(0), Snapshot: h.view.Number, Config: h.view.Config, Rejected: h.events.rejected(), Since: h.since,
		Outside: h.totals(), Gateways: h.gatewayRows(), Services: []ServiceRow{}, Edges: h.edges(),
		Releases: h.releaseRows(releasesInShort), Workloads: slices.Clone(h.workloads),
	}
	endpoints := 0
	for i := range h.view.Services {
		endpoints += len(h.view.Services[i].Endpoints)
	}
	for i := range h.view.Services {
		in := &h.view.Services[i]
		row, of := h.serviceRow(in)
		if len(in.Endpoints) <= mostOfService && endpoints <= mostInOverview {
			row.Endpoints = h.endpointRows(in, of, now)
		}
		o.Services = append(o.Services, row)
	}
	return o
}

// totals are what came in from outside.
func (h *History) totals() Totals {
	t := Totals{Rate: h.outside.last10(h.settled), Codes: []fleet.Code{}, Active: max(0, h.outside.now), Listeners: []ListenerRow{}}
	codes, calls := map[int]uint64{}, map[int]uint64{}
	for _, name := range slices.Sorted(maps.Keys(h.gates)) {
		l := h.gates[name]
		t.Listeners = append(t.Listeners, ListenerRow{
			Name: name, Mesh: l.mesh, Requests: l.requests, Active: max(0, l.active), Ended: l.ended,
			Codes: codesOf(l.codes), Calls: codesOf(l.calls),
		})
		if l.mesh {
			continue
		}
		t.Requests += l.requests
		t.Connects += l.connects
		t.Rejected += l.rejected
		t.Ended.Add(&l.ended)
		addCodes(codes, l.codes)
		addCodes(calls, l.calls)
	}
	t.Lost, t.Codes, t.Calls = t.Ended.Lost(), codesOf(codes), codesOf(calls)
	return t
}

func addCodes(sums, other map[int]uint64) {
	for status, n := range other {
		sums[status] += n
	}
}

// codesOf are sums of answers by status, sorted by status.
func codesOf(sums map[int]uint64) []fleet.Code {
	list := make([]fleet.Code, 0, len(sums))
	for _, status := range slices.Sorted(maps.Keys(sums)) {
		list = append(list, fleet.Code{Status: status, N: sums[status]})
	}
	return list
}

// edges are who calls whom, where it is known.
func (h *History) edges() []Edge {
	list := []Edge{}
	for i := range h.view.Services {
		s := h.services[h.view.Services[i].Name]
		for name, c := range s.callers {
			list = append(list, Edge{
				From: name, To: s.name, Total: c.total,
				Requests: c.rate.Sum(h.settled-secondsOfRates+1, h.settled+1) / secondsOfRates,
			})
		}
	}
	slices.SortFunc(list, func(a, b Edge) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return list
}

// alignWorkloads notes what can be scaled and rolled, deployments first.
func (h *History) alignWorkloads() []WorkloadRow {
	rows := make([]WorkloadRow, 0, len(h.view.Workloads)+len(h.view.Groups))
	index := map[[2]string]int{}
	revisions := map[int]string{}
	for _, w := range h.view.Workloads {
		index[[2]string{w.Namespace, w.Name}] = len(rows)
		revisions[len(rows)] = w.Revision
		rows = append(rows, WorkloadRow{Namespace: w.Namespace, Name: w.Name, Kind: "deployment", Replicas: w.Replicas})
	}
	for i := range h.view.Instances {
		in := &h.view.Instances[i]
		at, ok := index[[2]string{in.Namespace, in.Workload}]
		if !ok {
			continue
		}
		rows[at].count(in.Leaving, h.could(in), in.Revision == revisions[at])
	}
	for i := range h.view.Groups {
		g := &h.view.Groups[i]
		row := WorkloadRow{Namespace: g.Namespace, Name: g.Name, Kind: "gateway", Replicas: g.Replicas}
		for _, r := range h.view.Replicas {
			if r.Namespace == g.Namespace && r.Group == g.Name {
				row.count(r.Leaving, r.Ready, r.Revision == g.Revision)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// could says whether requests may be sent to an instance in all services that it is in, or whether it is ready where it is in none.
func (h *History) could(in *fleet.Instance) bool {
	selected, could := false, true
	for _, e := range h.lives[in.Incarnation] {
		if e.gone.IsZero() {
			selected, could = true, could && e.offered
		}
	}
	if !selected {
		return in.Ready
	}
	return could
}

func (w *WorkloadRow) count(leaving, ready, updated bool) {
	w.Total++
	if leaving {
		return
	}
	if ready {
		w.Ready++
	}
	if updated {
		w.Updated++
	}
}

// gatewayRows are all data planes that are there, and replicas that are to be.
func (h *History) gatewayRows() []GatewayRow {
	rows := []GatewayRow{}
	leaves := map[string]*drain.Report{}
	for i := range h.view.Drains {
		leaves[h.view.Drains[i].ID] = &h.view.Drains[i]
	}
	replica := map[string]*fleet.Replica{}
	ids := slices.Clone(h.view.Gateways)
	for i := range h.view.Replicas {
		r := &h.view.Replicas[i]
		replica[r.ID] = r
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	latest := h.latestRuns()
	for _, id := range slices.Compact(ids) {
		row := GatewayRow{ID: id, Stage: gatewayStage(replica[id], slices.Contains(h.view.Gateways, id))}
		if r := replica[id]; r != nil {
			row.Group, row.Namespace = r.Group, r.Namespace
		}
		if run := latest[id]; run != nil {
			row.Rate, row.Active = run.place.last10(h.settled), max(0, run.place.now)
			if run.over {
				row.Active = 0
			}
		}
		if l := leaves[id]; l != nil && row.Stage != "serving" {
			row.Leave = leaveSentence(l)
		}
		rows = append(rows, row)
	}
	return rows
}

// latestRuns are the runs that were heard last, by data plane.
func (h *History) latestRuns() map[string]*run {
	latest := map[string]*run{}
	for key, r := range h.runs {
		if l := latest[key.From]; l == nil || r.heard.After(l.heard) {
			latest[key.From] = r
		}
	}
	return latest
}

// gatewayStage is where a data plane is in its life; follows says that control knows it to serve.
func gatewayStage(r *fleet.Replica, follows bool) string {
	switch {
	case r == nil && follows:
		return "serving"
	case r == nil:
		return "gone"
	case r.Drained:
		return "drained"
	case r.Leaving:
		return "draining"
	case !r.Ready:
		return "starting"
	}
	return "serving"
}

// leaveSentence says what a leave has come to.
func leaveSentence(l *drain.Report) string {
	var open int
	var completed uint64
	for _, p := range l.Protocols {
		open += p.Leave.Open
		completed += p.Leave.Completed
	}
	text := fmt.Sprintf("%s: %d served since it began, %d open", l.Stage, completed, open)
	if l.Cut > 0 {
		text += fmt.Sprintf(", %d cut", l.Cut)
	}
	return text
}
