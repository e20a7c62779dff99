package release

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
)

// Asked is what people want of an object: a deployment, or a gateway.
type Asked struct {
	Replicas  int      `json:"replicas"`
	Revision  string   `json:"revision"`
	Restarted string   `json:"restarted,omitempty"`
	Binary    string   `json:"binary,omitempty"`  // of a gateway
	Drained   []string `json:"drained,omitempty"` // of its replicas, by somebody other than its supervisor

	Deadline time.Duration `json:"deadline_ns,omitempty"` // see [fleet.Workload]
}

// Open is what is known of a release that is not finished, beyond what people see of it.
type Open struct {
	Release    string                 `json:"release"` // its id
	Object     string                 `json:"object"`
	Superseded bool                   `json:"superseded,omitempty"` // something else is asked of the object now: only those that came and went count
	Before     map[string]ending.Sums `json:"before"`               // by service: how requests had ended when it became part of the release; of one that is over, when that was counted
	Sent       map[string][2]uint64   `json:"sent"`                 // by incarnation: attempts and failed ones, likewise
	Leaves     map[string]Leave       `json:"leaves"`               // by episode
	Changed    time.Time              `json:"changed"`              // when somebody last came or went
	Over       time.Time              `json:"over,omitzero"`        // when it came to be as wanted
	Had        int                    `json:"had"`                  // instances before
	Was        []string               `json:"was"`                  // their versions, or revisions; sorted
	Revision   string                 `json:"revision,omitempty"`   // that was asked for
	Near       float64                `json:"near,omitempty"`       // how far it has come; see [Recorder.near]
	Moved      time.Time              `json:"moved,omitzero"`       // when it last came nearer
}

// A Leave is what a data plane, or an agent, said of a leave.
type Leave struct {
	Over      bool   `json:"over"`
	Cut       uint64 `json:"cut,omitempty"`
	Completed uint64 `json:"completed,omitempty"`
}

// What an object is, by what its key begins with.
const (
	deployments = "deployment/" // one that is run as configuration and commands ask
	gateways    = "gateway/"    // likewise
	flocks      = "service/"    // instances that nobody was asked for: those that come on their own
	loose       = "planes"      // gateways that no supervisor runs
)

func (o *Open) deployment() bool { return strings.HasPrefix(o.Object, deployments) }

// ask looks at what people ask for. What was asked for before anybody looked is no release.
func (r *Recorder) ask(v fleet.View, b Book, first bool, now time.Time) {
	seen := map[string]bool{}
	for i := range v.Workloads {
		w := &v.Workloads[i]
		object := deployments + w.Namespace + "/" + w.Name
		seen[object] = true
		next := Asked{Replicas: w.Replicas, Revision: w.Revision, Restarted: w.Restarted, Deadline: w.Deadline}
		old, known := r.asked[object]
		r.asked[object] = next
		if !first && old.differs(next) && (old.Replicas > 0 || next.Replicas > 0) {
			kind, what := old.told(next, known, true)
			o := r.begin(&Release{Kind: kind, Namespace: w.Namespace, Name: w.Name, What: what}, object, now)
			for _, service := range selecting(v, w) {
				r.serve(o, service, b)
			}
		}
	}
	for i := range v.Groups {
		seen[r.askGateway(v, &v.Groups[i], b, first, now)] = true
	}
	for _, object := range slices.Sorted(maps.Keys(r.asked)) {
		if old := r.asked[object]; !seen[object] {
			r.removed(object, old, b, now)
		}
	}
	r.employ(seen)
}

// employ gives the instances of deployments to them.
func (r *Recorder) employ(seen map[string]bool) {
	for _, l := range r.order {
		if l.object == "" && l.Workload != "" {
			if object := deployments + l.Namespace + "/" + l.Workload; seen[object] {
				r.join(l, object)
			}
		}
	}
}

// selecting returns the services that instances of a workload belong to.
func selecting(v fleet.View, w *fleet.Workload) (names []string) {
	for i := range v.Services {
		if s := &v.Services[i]; !s.Inbound && s.Selects(w.Namespace, w.Labels) {
			names = append(names, s.Name)
		}
	}
	return names
}

// removed begins the release of what nobody wants any more.
func (r *Recorder) removed(object string, old Asked, b Book, now time.Time) {
	delete(r.asked, object)
	if old.Replicas == 0 || !strings.HasPrefix(object, deployments) {
		return
	}
	namespace, name, _ := strings.Cut(strings.TrimPrefix(object, deployments), "/")
	o := r.begin(&Release{Kind: Scale, Namespace: namespace, Name: name, What: "removed: " + scaled(old.Replicas, 0)}, object, now)
	for _, l := range r.members[object] {
		if l.Running {
			for _, service := range l.Services {
				r.serve(o, service, b)
			}
		}
	}
}

// askGateway is ask for a gateway; it returns its object. One that no supervisor runs has no replicas, and no releases here.
func (r *Recorder) askGateway(v fleet.View, g *fleet.GatewayGroup, b Book, first bool, now time.Time) string {
	object := gateways + g.Namespace + "/" + g.Name
	next := Asked{Replicas: g.Replicas, Revision: g.Revision, Restarted: g.Restarted, Binary: g.Binary}
	runs := false
	for _, p := range v.Replicas {
		if p.Group == g.Name && p.Namespace == g.Namespace {
			runs = true
			if p.Drained { // its supervisor may have it leave in the same moment
				next.Drained = append(next.Drained, p.ID)
			}
		}
	}
	slices.Sort(next.Drained)
	old, known := r.asked[object]
	r.asked[object] = next
	if first || !known || !runs {
		return object
	}
	var what string
	switch gone := func(id string) bool { // it left altogether: whatever that is, nobody has taken it back
		return !slices.ContainsFunc(v.Replicas, func(p fleet.Replica) bool { return p.ID == id && !p.Leaving })
	}; {
	case old.differs(next):
		_, what = old.told(next, known, false)
	case len(without(next.Drained, old.Drained)) > 0:
		what = strings.Join(without(next.Drained, old.Drained), ", ") + " drained"
	case len(slices.DeleteFunc(without(old.Drained, next.Drained), gone)) > 0:
		what = strings.Join(slices.DeleteFunc(without(old.Drained, next.Drained), gone), ", ") + " taken back"
	default:
		return object
	}
	o := r.begin(&Release{Kind: Gateway, Namespace: g.Namespace, Name: g.Name, What: what}, object, now)
	r.serve(o, "", b)
	r.serve(o, Mesh, b)
	rel := r.of(o)
	rel.Went = append(rel.Went, without(next.Drained, old.Drained)...) // their leave may have begun before that was seen
	return object
}

// without returns those of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

func (a Asked) differs(next Asked) bool {
	return a.Replicas != next.Replicas || a.Revision != next.Revision
}

// told says what sort of change it is from a to next, and says it in words.
func (a Asked) told(next Asked, known, revisions bool) (kind Kind, what string) {
	switch {
	case !known:
		return Scale, "new: " + counted(next.Replicas)
	case a.Revision == next.Revision:
		return Scale, scaled(a.Replicas, next.Replicas)
	case a.Replicas == 0 || next.Replicas == 0:
		kind = Scale
	default:
		kind = Rollout
	}
	switch {
	case a.Binary != next.Binary:
		what = "upgrade"
	case a.Restarted != next.Restarted:
		what = "restart"
	case revisions:
		what = "revision " + short(a.Revision) + " → " + short(next.Revision)
	default:
		what = "new revision"
	}
	if a.Replicas != next.Replicas {
		return kind, what + ", " + scaled(a.Replicas, next.Replicas)
	}
	return kind, what + ", " + counted(next.Replicas)
}

func scaled(from, to int) string { return fmt.Sprintf("%s → %d", counted(from), to) }

func counted(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// short is enough of a digest to tell it from another.
func short(revision string) string {
	base, _, _ := strings.Cut(revision, "+")
	return base[:min(8, len(base))]
}

// begin opens a release of an object. Who was in the middle of another goes on with what has come and gone by then.
func (r *Recorder) begin(rel *Release, object string, now time.Time) *Open {
	rel.ID = r.name(rel.Name, now)
	for _, o := range r.open {
		if other := r.of(o); o.Object == object && other.Ended.IsZero() {
			if !o.Superseded && o.Over.IsZero() {
				other.Overtaken = rel.ID
			}
			o.Superseded = true
		}
	}
	rel.Began, rel.Verdict, rel.Why = now, Running, "it is not over"
	rel.Services, rel.Came, rel.Went, rel.Doubts = []string{}, []string{}, []string{}, []string{}
	rel.Losses, rel.Failing, rel.Warm, rel.Events = []Loss{}, []Failing{}, []WarmTime{}, []fleet.Event{}
	rel.ByService = map[string]ending.Sums{}
	o := &Open{
		Release: rel.ID, Object: object, Revision: r.asked[object].Revision, Changed: now, Was: []string{},
		Before: map[string]ending.Sums{}, Sent: map[string][2]uint64{}, Leaves: map[string]Leave{},
	}
	r.releases = append(r.releases, rel)
	r.named[rel.ID] = rel
	r.open = append(r.open, o)
	r.news[rel.ID] = true
	return o
}

// name returns an id that nobody has, safe in paths.
func (r *Recorder) name(object string, now time.Time) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, object)
	id := strings.Trim(safe[:min(len(safe), 100)], "-") + now.UTC().Format("-20060102-150405")
	for n, base := 2, id; r.named[id] != nil; n++ {
		id = fmt.Sprintf("%s-%d", base, n)
	}
	return id
}

// serve makes a service part of a release; "" and Mesh are what came in at the gateways. What had ended by now is not its own.
func (r *Recorder) serve(o *Open, service string, b Book) {
	if _, known := o.Before[service]; known {
		return
	}
	o.Before[service] = b.Ended(service)
	rel := r.of(o)
	rel.ByService[service] = ending.Sums{}
	if service != "" && service != Mesh {
		rel.Services = append(rel.Services, service)
		slices.Sort(rel.Services)
	}
	for _, l := range r.in[service] {
		if _, known := o.Sent[l.ID]; l.Running && !known && len(o.Sent) < maxSent {
			attempts, failed := b.Sent(l.ID)
			o.Sent[l.ID] = [2]uint64{attempts, failed}
		}
	}
	r.news[rel.ID] = true
}

// of returns the release that is open. It is kept while it is.
func (r *Recorder) of(o *Open) *Release { return r.named[o.Release] }

func (o *Open) clone() Open {
	c := *o
	c.Before, c.Sent, c.Leaves, c.Was = maps.Clone(o.Before), maps.Clone(o.Sent), maps.Clone(o.Leaves), slices.Clone(o.Was)
	return c
}
