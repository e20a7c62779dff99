package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// deadline is how long a release may come no nearer to its end before it has stalled, where nobody says how long: as
// progressDeadlineSeconds of Kubernetes.
const deadline = 10 * time.Minute

// stall says how a release goes that is not over, and whether it has stalled. It stays open all the same, and is counted: whoever mends it
// has it run again.
func (r *Recorder) stall(o *Open, rel *Release, now time.Time) {
	if near := r.near(rel, now); near > o.Near || o.Moved.IsZero() || !o.Over.IsZero() || r.leaving(rel) {
		o.Near, o.Moved = max(near, o.Near), now
	}
	verdict, why := Running, rel.soFar()
	if most := cmp.Or(r.asked[o.Object].Deadline, deadline); now.Sub(o.Moved) >= most {
		verdict = Stalled
		why = fmt.Sprintf("it has come no nearer for %gs: %s; %s", most.Seconds(), r.stuck(o, rel), rel.soFar())
	}
	if verdict != rel.Verdict || verdict == Stalled && why != rel.Why {
		r.news[rel.ID] = true
	}
	rel.Verdict, rel.Why = verdict, why
}

// near says how near a release is to its end: one for each that came and can serve, up to one more as it gets warm, and one for each that
// was there before and is gone. Whoever comes and dies for ever brings it no nearer.
func (r *Recorder) near(rel *Release, now time.Time) (n float64) {
	if rel.Kind == Gateway {
		return r.nearGateway(rel)
	}
	for _, id := range rel.Came {
		switch l := r.lives[id]; {
		case l == nil || !l.stays():
		case l.settled():
			n += 2
		case !l.Offered.IsZero():
			n += 1 + l.warmth(now)
		}
	}
	for _, id := range rel.Went {
		if l := r.lives[id]; l == nil || !l.Running && l.Began.Before(rel.Began) {
			n++
		}
	}
	return n
}

func (r *Recorder) nearGateway(rel *Release) (n float64) {
	for _, p := range r.replicas {
		if p.Ready && slices.Contains(rel.Came, p.ID) {
			n++
		}
	}
	for _, id := range rel.Went {
		if r.planes[id] == nil && !slices.Contains(rel.Came, id) {
			n++
		}
	}
	return n
}

// warmth is what part of its window is over, by the time alone: one whose warm-up somebody holds back stalls when that is over.
func (l *life) warmth(now time.Time) float64 {
	if l.Warmup == nil || l.Warmup.Window <= 0 {
		return 0
	}
	return min(1, max(0, now.Sub(l.Offered).Seconds()/l.Warmup.Window.Seconds()))
}

// leaving says whether somebody who was there before is leaving: those who run it have a bound for that.
func (r *Recorder) leaving(rel *Release) bool {
	return slices.ContainsFunc(rel.Went, func(id string) bool {
		if rel.Kind == Gateway {
			p := r.planes[id]
			return p != nil && p.Leaves && !p.Left
		}
		l := r.lives[id]
		return l != nil && l.Running && !l.Left.IsZero() && l.Began.Before(rel.Began)
	})
}

// troubleTable are the events that say why an instance does not become ready.
var troubleTable = []string{"instance.died", "instance.killed", "probe.failed", "check.failed", "registration.failed", "registration.refused", "hold.refused"}

// stuck says how many can serve of those that are wanted, and what the latest trouble of the others was.
func (r *Recorder) stuck(o *Open, rel *Release) string {
	wanted := r.asked[o.Object].Replicas
	if o.own() {
		wanted = len(rel.Came)
	}
	text := fmt.Sprintf("%d of %s ready", r.able(o, rel), counted(wanted))
	if trouble := r.trouble(rel); trouble != "" {
		return text + "; " + trouble
	}
	if n := len(rel.Events); n > 0 && rel.Events[n-1].Reason != "" {
		return text + "; " + rel.Events[n-1].Kind + ": " + rel.Events[n-1].Reason
	}
	return text
}

// able counts those that can serve and are of what was asked for.
func (r *Recorder) able(o *Open, rel *Release) (n int) {
	if rel.Kind == Gateway {
		for _, p := range r.replicas {
			if p.Ready && gateways+p.Namespace+"/"+p.Group == o.Object && p.Revision == o.Revision {
				n++
			}
		}
		return n
	}
	for _, l := range r.members[o.Object] {
		if l.can() && (o.own() && slices.Contains(rel.Came, l.ID) || !o.own() && l.Revision == o.Revision) {
			n++
		}
	}
	return n
}

// can says whether l is there and could serve.
func (l *life) can() bool { return l.stays() && (!l.Offered.IsZero() || l.settled()) }

// trouble is the latest that kept one of those that came from being ready; "" where nothing is known.
func (r *Recorder) trouble(rel *Release) string {
	last, of := Mark{}, ""
	for _, id := range rel.Came {
		l := r.lives[id]
		if l == nil || l.can() {
			continue
		}
		for _, m := range l.Marks {
			if slices.Contains(troubleTable, m.Kind) && !m.At.Before(last.At) {
				last, of = m, l.Name
			}
		}
	}
	if of == "" {
		return ""
	}
	return of + ": " + strings.TrimSuffix(last.Kind+": "+last.Text, ": ")
}

// unmet says why a release that is over never came to be what was asked for; "" where it did. What is asked for next may go on with it:
// another number of replicas does, where those that came by then could serve.
func (r *Recorder) unmet(o *Open, rel *Release) string {
	if rel.Overtaken == "" {
		return ""
	}
	failed := func(id string) bool {
		l := r.lives[id]
		return l != nil && l.Offered.IsZero() && l.marked("readiness.passed").IsZero()
	}
	if o.Revision == r.asked[o.Object].Revision && !slices.ContainsFunc(rel.Came, failed) && (rel.Kind != Rollout || len(rel.Came) > 0) {
		return ""
	}
	return "it never came to be as it was asked for: " + rel.Overtaken + " was asked for first"
}
