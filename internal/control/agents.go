package control

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// ErrForeign says that an agent spoke of something else than its own incarnation.
var ErrForeign = errors.New("an agent speaks of its own incarnation only")

// agent is the role of those who stand beside one instance each.
const agent = "agent"

// Bounds of what one report of an agent may say; the newest counts.
const (
	agentEvents = 64
	eventText   = 1 << 10  // bytes of each text of an event
	ownText     = 64 << 10 // bytes of all that it is called
)

// registrationCompleted is the kind of event that control tells itself where it can: see world.complete.
const registrationCompleted = "registration.completed"

// progressed is the kind of event of which only the newest of each incarnation is remembered.
const progressed = "warmup.requests.progress"

// agentKindTable are the kinds of events that are counted by name; all others are otherKind.
var agentKindTable = map[string]bool{
	"instance.starting": true, "instance.started": true, "instance.died": true, "instance.stopped": true, "instance.killed": true,
	"probe.passed": true, "probe.failed": true,
	"warmup.requests.started": true, progressed: true, "warmup.requests.ended": true,
	"registration.delayed": true, registrationCompleted: true, "registration.failed": true, "registration.refused": true,
	"hold.registered": true, "hold.released": true, "hold.withdrawn": true, "hold.swallowed": true, "hold.refused": true, "hold.unread": true,
	"readiness.passed": true, "warmup.started": true, "warmup.ended": true,
	"offline.requested": true, "deregistered": true, "drained": true, "drain.overdue": true,
	"prestop.done": true, "prestop.failed": true, "stopped": true, "died": true,
}

const otherKind = "other"

func agentID(incarnation string) string { return agent + "/" + incarnation }

// properly fails for a follower that may not follow as who.
func properly(who fleet.Hello) error {
	switch {
	case who.ID == "":
		return errors.New("the follower has no id")
	case who.Role == agent && (who.Incarnation == "" || who.ID != agentID(who.Incarnation)):
		return fmt.Errorf("%w: %s is not the agent of incarnation %q", ErrForeign, who.ID, who.Incarnation)
	}
	return nil
}

// owned is an agent's report as far as an agent may say it. It fails where the agent speaks of others.
func owned(r fleet.Report) (fleet.Report, error) {
	incarnation, ok := strings.CutPrefix(r.From, agent+"/")
	if !ok || incarnation == "" {
		return r, fmt.Errorf("%w: a report from %q", ErrForeign, r.From)
	}
	foreign := func(what, other string) error {
		return fmt.Errorf("%w: %s reports %s of %q", ErrForeign, r.From, what, other)
	}
	if len(r.Instances) > 1 {
		return r, fmt.Errorf("%w: %s reports %d instances", ErrForeign, r.From, len(r.Instances))
	}
	if n := len(r.From) + called(r.Instances); n > ownText {
		return r, fmt.Errorf("%w: %.40s… reports names and labels of %d bytes, %d at most", ErrForeign, r.From, n, ownText)
	}
	if err := r.Traffic.CheckDirect(); err != nil {
		return r, fmt.Errorf("%w: what %s has counted: %w", ErrForeign, r.From, err)
	}
	own := fleet.Report{From: r.From, Role: agent, Leaving: r.Leaving, Drain: r.Drain, Recorded: r.Recorded, Dead: r.Dead}
	own.Instances = slices.Clone(r.Instances)
	name := ""
	for i := range own.Instances {
		if in := &own.Instances[i]; in.Incarnation != incarnation {
			return r, foreign("an instance", in.Incarnation)
		}
		own.Instances[i].Origin = fleet.Origin{}
		name = own.Instances[i].Name
	}
	for _, other := range r.Dead {
		if other != incarnation {
			return r, foreign("the death", other)
		}
	}
	own.Events = slices.Clone(r.Events[max(0, len(r.Events)-agentEvents):])
	for i := range own.Events {
		e := &own.Events[i]
		if e.Incarnation != "" && e.Incarnation != incarnation {
			return r, foreign("an event", e.Incarnation)
		}
		e.Incarnation, e.By = incarnation, "" // what people ask for they ask of control
		if e.Endpoint == "" {
			e.Endpoint = name
		}
		for _, text := range []*string{&e.Kind, &e.Service, &e.Endpoint, &e.Reason} {
			*text = clip(*text, eventText)
		}
	}
	return own, nil
}

// called is how many bytes of names and labels instances have: everybody is told them.
func called(all []fleet.Instance) (n int) {
	for i := range all {
		in := &all[i]
		n += len(in.Name) + len(in.Namespace) + len(in.Workload) + len(in.Revision) + len(in.Incarnation)
		for name := range in.Ports {
			n += len(name)
		}
		for name, value := range in.Labels {
			n += len(name) + len(value)
		}
	}
	return n
}

// clip is a text of so many bytes at most.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// vouched is the instance that is offered on the word of its agent alone; nil where there is none.
func (f *follower) vouched() *fleet.Instance {
	if f == nil || f.role() != agent || len(f.report.Instances) == 0 {
		return nil
	}
	if in := &f.report.Instances[0]; in.Ready && !in.Leaving {
		return in
	}
	return nil
}

// agent takes what a report of an agent means beyond the follower that it comes from.
func (w *world) agent(r *fleet.Report, now time.Time) {
	incarnation := strings.TrimPrefix(r.From, agent+"/")
	l := w.lives[incarnation]
	w.count(r.Events)
	if r.Drain != nil {
		left := *r.Drain
		if left.ID = r.From; l != nil {
			left.ID = agentID(l.name)
		} else if was := w.placed[incarnation].name; was != "" { // its life is over already
			left.ID = agentID(was)
		}
		w.leave(r.From, &left)
	}
	w.record(incarnation, r.Recorded)
	for i := range r.Instances {
		in := &r.Instances[i]
		if l == nil {
			w.warn(in, now)
		}
		if l := w.lost[incarnation]; l != nil && in.Leaving { // from here on its agent says what becomes of it
			delete(w.lost, incarnation)
		} else if l != nil && in.Ready {
			w.regain(l, "its agent says so", now)
		}
		if in.Ready {
			w.complete(in, "control", l != nil && !l.Offered.IsZero(), now)
		}
		if in.Ready || in.Leaving {
			delete(w.restored, incarnation)
		}
	}
	if r.Leaving {
		w.die(incarnation, "its agent has ended", now)
	}
}

func (w *world) count(events []fleet.Event) {
	for _, e := range events {
		if !agentKindTable[e.Kind] {
			e.Kind = otherKind
		}
		w.counts[e.Kind]++
	}
}

// AgentEvents counts what agents have told since control began, by kind; those of a kind that is not known are "other".
func (c *Control) AgentEvents() map[string]uint64 { return maps.Clone(c.latest().counts) }

// warn tells what is wrong with the labels by which an instance says how it comes up.
func (w *world) warn(in *fleet.Instance, now time.Time) {
	if _, err := fleet.PlainLifecycle().For(in.Labels); err != nil {
		w.tell(fleet.Event{Kind: "config.warning", Endpoint: in.Name, Incarnation: in.Incarnation, Reason: err.Error()}, now)
	}
}

// die takes that an incarnation has ended, whatever others say of it.
func (w *world) die(incarnation, reason string, now time.Time) {
	if _, known := w.dead[incarnation]; !known && w.lives[incarnation] != nil {
		w.ends[incarnation] = reason
	}
	w.dead[incarnation] = now
	delete(w.lost, incarnation)
	delete(w.restored, incarnation)
	delete(w.former, incarnation)
}

// latestProgress leaves of the events about progress only the newest of each incarnation.
func latestProgress(events []fleet.Event) []fleet.Event {
	newest := map[string]int{}
	for i, e := range events {
		if e.Kind == progressed {
			newest[e.Incarnation] = i
		}
	}
	if len(newest) == 0 {
		return events
	}
	out := make([]fleet.Event, 0, len(events))
	for i, e := range events {
		if e.Kind != progressed || newest[e.Incarnation] == i {
			out = append(out, e)
		}
	}
	return out
}
