package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// ErrNoGateway says that there is no gateway of that name.
var ErrNoGateway = errors.New("no such gateway")

// A GatewayStatus is how far a gateway is, as the API shows it.
type GatewayStatus struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Replicas  int             `json:"replicas"` // wanted
	Declared  int             `json:"declared"` // as configuration says
	Revision  string          `json:"revision"`
	Binary    string          `json:"binary,omitempty"`   // path of the program to run; "" is the supervisor's own
	Drain     time.Duration   `json:"drain_ns,omitempty"` // what open requests have when a replica leaves; 0 is as its program was started
	Ready     int             `json:"ready"`              // of those that are to stay
	Updated   int             `json:"updated"`            // likewise, of the wanted revision
	Total     int             `json:"total"`              // running, those that leave included
	Processes []fleet.Replica `json:"processes"`
}

// firstRevision is that of replicas that carry the usual labels, and of which nobody asked anything.
const firstRevision = "1"

// An order is what commands asked of a gateway. It holds until configuration says something new.
type order struct {
	replicas  *int   // nil is as configuration says
	restarted string // when a restart was last asked for; "" for never
	binary    string // "" is the supervisor's own program
}

// revision is that of a gateway of which configuration says base.
func (o *order) revision(base string) string {
	if o.restarted == "" {
		return base
	}
	return base + "+" + o.restarted
}

// groups is what people want of gateways: configuration, with what commands changed since.
func (w *world) groups() []fleet.GatewayGroup {
	list := slices.Clone(fleet.OrDefault(w.desired.Groups))
	for i := range list {
		g := &list[i]
		g.Declared, g.Revision = g.Replicas, cmp.Or(g.Revision, firstRevision)
		o := w.ordered[key(g.Namespace, g.Name)]
		if o == nil {
			continue
		}
		if o.replicas != nil {
			g.Replicas = *o.replicas
		}
		g.Restarted, g.Binary, g.Revision = o.restarted, o.binary, o.revision(g.Revision)
	}
	slices.SortFunc(list, func(a, b fleet.GatewayGroup) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return list
}

// recallGroups takes from the last snapshot what commands asked of gateways, and returns what configuration said.
func (w *world) recallGroups(last []fleet.GatewayGroup) []fleet.GatewayGroup {
	list := slices.Clone(last)
	for i := range list {
		g := &list[i]
		o := &order{restarted: g.Restarted, binary: g.Binary}
		if g.Replicas != g.Declared {
			o.replicas = new(g.Replicas)
		}
		if *o != (order{}) {
			w.ordered[key(g.Namespace, g.Name)] = o
		}
		g.Revision = strings.TrimSuffix(g.Revision, o.revision(""))
		g.Replicas, g.Restarted, g.Binary = g.Declared, "", ""
	}
	return list
}

// supersedeGroups drops what commands said about gateways of which configuration now says something new: another
// number of replicas, or that there is none.
func (w *world) supersedeGroups(d *fleet.Desired) {
	next := map[string]int{}
	for _, g := range fleet.OrDefault(d.Groups) {
		next[key(g.Namespace, g.Name)] = g.Replicas
	}
	for _, old := range fleet.OrDefault(w.desired.Groups) {
		k := key(old.Namespace, old.Name)
		replicas, stays := next[k]
		if o := w.ordered[k]; o != nil && replicas != old.Replicas {
			o.replicas = nil
		}
		if !stays {
			delete(w.ordered, k)
		}
	}
}

// replicas is every process of a gateway that supervisors report, each id once. Nobody vouches for those whose supervisor
// is away: they leave when it is gone.
func (w *world) replicas() []fleet.Replica {
	var all []fleet.Replica
	for _, id := range slices.Sorted(maps.Keys(w.followers)) {
		f := w.followers[id]
		for _, r := range f.report.Replicas {
			r.Ready = r.Ready && !f.away
			all = append(all, r)
		}
	}
	all = append(all, w.restoredReplicas...)
	slices.SortStableFunc(all, func(a, b fleet.Replica) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b fleet.Replica) bool { return a.ID == b.ID })
}

// leaves is how many leaves of data planes a snapshot carries.
const leaves = 64

// quietly is how many seconds of a leave may pass untold where nothing else of it changes: while it goes on, its data
// plane reports many times a second, and each new snapshot goes to everybody.
const quietly = 2

// leave takes how far a data plane's leave is; nil where it does not leave.
func (w *world) leave(id string, r *drain.Report) {
	if r == nil { // a lame duck may be called back; nobody who stopped accepting is
		calledBack := func(old drain.Report) bool { return old.ID == id && old.Stage == drain.LameDuck }
		if slices.ContainsFunc(w.left, calledBack) {
			w.left = slices.DeleteFunc(slices.Clone(w.left), calledBack)
		}
		return
	}
	known := *r
	known.ID = cmp.Or(known.ID, id)
	i := slices.IndexFunc(w.left, func(old drain.Report) bool { return old.ID == known.ID && old.Began.Equal(known.Began) })
	switch {
	case i < 0:
		w.left = bounded(append(slices.Clone(w.left), known))
	case newer(&w.left[i], &known):
		w.left = slices.Clone(w.left) // snapshots hold the old one
		w.left[i] = known
	}
}

// bounded drops the oldest leave where there are too many, and of gateways only where there are no others: a rollout has
// many instances leave.
func bounded(all []drain.Report) []drain.Report {
	if len(all) <= leaves {
		return all
	}
	oldest := max(0, slices.IndexFunc(all, func(r drain.Report) bool { return strings.HasPrefix(r.ID, agent+"/") }))
	return slices.Delete(all, oldest, oldest+1)
}

// newer says whether a report of a leave says more than the one before it that is worth a snapshot.
func newer(before, after *drain.Report) bool {
	if before.Stage == drain.Closed || after.Stage < before.Stage {
		return false
	}
	return after.Stage != before.Stage || after.Cut != before.Cut || passed(after)-passed(before) >= quietly
}

func passed(r *drain.Report) (seconds float64) {
	for _, s := range r.Seconds {
		seconds += s
	}
	return seconds
}

// ScaleGateway asks for a number of replicas of a gateway. It holds until configuration says something new.
func (c *Control) ScaleGateway(ctx context.Context, t Target, replicas int) error {
	switch {
	case replicas < 1:
		return fmt.Errorf("scale gateway %s/%s: replicas is %d, it must be 1 or more: without a replica nobody would serve; stop its supervisor instead",
			t.Namespace, t.Name, replicas)
	case replicas > fleet.MaxGatewayReplicas:
		return fmt.Errorf("scale gateway %s/%s: replicas is %d, it must be %d or less", t.Namespace, t.Name, replicas, fleet.MaxGatewayReplicas)
	}
	return c.commandGateway(ctx, t, func(w *world, o *order, now time.Time) {
		o.replicas = &replicas
		w.tell(fleet.Event{Kind: "gateway.scaled", Endpoint: t.Name, Reason: replicasText(replicas), By: t.who()}, now)
	})
}

// RestartGateway asks for every replica of a gateway to be replaced.
func (c *Control) RestartGateway(ctx context.Context, t Target) error {
	return c.commandGateway(ctx, t, func(w *world, o *order, now time.Time) {
		o.restarted = stamp(now)
		w.tell(fleet.Event{Kind: "gateway.restarted", Endpoint: t.Name, By: t.who()}, now)
	})
}

// UpgradeGateway asks for every replica of a gateway to be replaced by one that runs another program, or, where binary
// is "", what its program is now: it may have been replaced on disk.
func (c *Control) UpgradeGateway(ctx context.Context, t Target, binary string) error {
	if binary != "" {
		path, err := program(binary)
		if err != nil {
			return fmt.Errorf("upgrade gateway %s/%s: %w", t.Namespace, t.Name, err)
		}
		binary = path
	}
	return c.commandGateway(ctx, t, func(w *world, o *order, now time.Time) {
		o.restarted = stamp(now)
		o.binary = cmp.Or(binary, o.binary)
		w.tell(fleet.Event{Kind: "gateway.upgraded", Endpoint: t.Name, Reason: cmp.Or(o.binary, "the supervisor's own program"), By: t.who()}, now)
	})
}

func stamp(now time.Time) string { return now.UTC().Format("20060102T150405.000Z") }

func (c *Control) commandGateway(ctx context.Context, t Target, f func(w *world, o *order, now time.Time)) error {
	var err error
	ran := c.command(ctx, func(w *world, now time.Time) {
		var names []string
		k := key(t.Namespace, t.Name)
		for _, g := range fleet.OrDefault(w.desired.Groups) {
			names = append(names, key(g.Namespace, g.Name))
		}
		if !slices.Contains(names, k) {
			err = fmt.Errorf("%s: %w; there are: %s", k, ErrNoGateway, strings.Join(names, ", "))
			return
		}
		if w.ordered[k] == nil {
			w.ordered[k] = &order{}
		}
		f(w, w.ordered[k], now)
	})
	return errors.Join(ran, err)
}

// Gateways says how far every gateway is.
func (c *Control) Gateways() []GatewayStatus {
	s := c.View().Snapshot
	list := []GatewayStatus{}
	for i := range s.Groups {
		g := &s.Groups[i]
		status := GatewayStatus{
			Namespace: g.Namespace, Name: g.Name, Replicas: g.Replicas, Declared: g.Declared,
			Revision: g.Revision, Binary: g.Binary, Drain: g.Drain, Processes: []fleet.Replica{},
		}
		for _, r := range s.Replicas {
			if r.Namespace == g.Namespace && r.Group == g.Name {
				status.add(r)
			}
		}
		list = append(list, status)
	}
	return list
}

func (s *GatewayStatus) add(r fleet.Replica) {
	s.Processes = append(s.Processes, r)
	s.Total++
	if r.Leaving {
		return
	}
	if r.Revision == s.Revision {
		s.Updated++
	}
	if r.Ready {
		s.Ready++
	}
}

// Drains returns the latest leaves of data planes, oldest first.
func (c *Control) Drains() []drain.Report {
	return append([]drain.Report{}, c.View().Drains...)
}
