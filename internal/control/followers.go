package control

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// A follower is a program that follows control.
type follower struct {
	who       fleet.Hello
	connected int  // streams open; a follower that reconnects may have two for a moment
	away      bool // the last of them ended, and nothing has been heard since
	seen      time.Time
	report    fleet.Report
}

func (f *follower) role() string { return cmp.Or(f.who.Role, f.report.Role) }

func (w *world) join(who fleet.Hello, now time.Time) {
	f := w.followers[who.ID]
	if f == nil {
		f = &follower{}
		w.followers[who.ID] = f
	}
	if f.who.ID == "" { // it may have reported already
		f.who = who
		if who.Role != observer && who.Role != agent { // an agent tells of its instance itself
			w.tell(fleet.Event{Kind: "follower.joined", From: who.ID, Reason: who.Role}, now)
		}
	}
	if in := f.vouched(); in != nil && f.away {
		w.tell(fleet.Event{Kind: "agent.back", Endpoint: in.Name, Incarnation: in.Incarnation, From: who.ID}, now)
	}
	f.connected++
	f.away = false
	f.seen = now
}

func (w *world) part(who fleet.Hello, now time.Time) {
	if f := w.followers[who.ID]; f != nil {
		f.connected--
		f.away = f.connected <= 0
		f.seen = now
		if in := f.vouched(); in != nil && f.away {
			w.tell(fleet.Event{Kind: "agent.away", Endpoint: in.Name, Incarnation: in.Incarnation, From: who.ID}, now)
		}
	}
}

// forget drops followers that have been away for too long.
func (w *world) forget(now time.Time) {
	for id, f := range w.followers {
		if f.connected <= 0 && now.Sub(f.seen) > absence {
			delete(w.followers, id)
			if f.who.Role == observer {
				continue
			}
			if in := f.vouched(); in != nil && !w.lists(in.Incarnation) && w.offers(in) {
				w.lose(in, id, "it did not say that it leaves", now)
			}
			w.tell(fleet.Event{Kind: "follower.left", From: id, Reason: "away for " + absence.String()}, now)
		}
	}
	if now.Sub(w.restoredT) > absence {
		w.restoredReplicas = nil
		if !w.registriesAway() {
			clear(w.restored)
		}
	}
	w.forgetRegistrations(now)
	w.forgetTold(now)
	for incarnation, m := range w.past {
		if now.Sub(m.gone) > memory {
			delete(w.past, incarnation)
		}
	}
}

// report takes the whole of what a follower knows, and says whether anything may follow from it. From most reports of gateways
// and agents nothing does: they say what the last one said, but for what they have counted.
func (w *world) report(r fleet.Report, now time.Time) (news bool) {
	told := w.hear(&r, now)
	r.Events, r.Drain, r.Dead, r.Recorded, r.Traffic = nil, nil, nil, nil, nil
	f := w.followers[r.From]
	if r.Leaving { // it need not be waited for
		if f != nil {
			if r.Role != agent {
				w.tell(fleet.Event{Kind: "follower.left", From: r.From, Reason: "its leave is over"}, now)
			}
		}
		delete(w.followers, r.From)
		return true
	}
	if f == nil {
		f = &follower{}
		w.followers[r.From] = f
	}
	news = told || f.away || !repeats(&r, &f.report)
	if r.Role == "supervisor" {
		w.bury(slices.Concat(f.report.Replicas, w.restoredReplicas), r.Replicas, now)
		w.restoredReplicas = nil // it reports the whole of what it runs
	}
	f.seen, f.away = now, false
	f.report = r
	switch {
	case r.Role == "local" && len(r.Instances) > 0:
		clear(w.restored) // likewise
	case r.Role == "gateway" && r.Applied <= w.view.Number: // a number from before a restart says nothing
		news = w.heard(r) || news
	}
	return news
}

// repeats says whether a report says what the last one said. What it has applied, and what is open, is heard apart.
func repeats(r, last *fleet.Report) bool {
	was := *last
	was.Applied, was.Open = r.Applied, r.Open
	return reflect.DeepEqual(r, &was)
}

// hear takes what of a report is new each time, and says whether there was anything.
func (w *world) hear(r *fleet.Report, now time.Time) (told bool) {
	before := w.sizes()
	w.absorb(r, now)
	return r.Role != "gateway" && r.Role != agent || len(r.Events)+len(r.Dead)+len(r.Recorded) > 0 || r.Drain != nil || w.sizes() != before
}

func (w *world) absorb(r *fleet.Report, now time.Time) {
	for _, e := range r.Events {
		e.From = r.From
		if e.Kind == registrationCompleted && r.Role == agent {
			_, told := w.completed[e.Incarnation]
			w.completed[e.Incarnation] = now
			if told {
				continue
			}
		}
		w.told = append(w.told, e)
		if l := w.lives[e.Incarnation]; l != nil && e.Kind == "endpoint.returned" && r.Role != agent {
			l.returned = now
		}
	}
	for _, incarnation := range r.Dead {
		w.die(incarnation, "it has ended, says "+r.From, now)
	}
	switch {
	case r.Role == agent:
		w.agent(r, now)
	case r.Role == "gateway" && (r.Drain != nil || !r.Leaving):
		w.leave(r.From, r.Drain)
	}
}

// sizes are those of all that a report without events, deaths or a leave may add to, or take from, beside its follower.
func (w *world) sizes() [6]int {
	return [...]int{len(w.told), len(w.left), len(w.lost), len(w.restored), len(w.dead), len(w.completed)}
}

// bury forgets gateways whose supervisor says that their processes have ended: they are not on the other side of a broken
// network, where they might be sending, and no drain need wait for them.
func (w *world) bury(before, now []fleet.Replica, at time.Time) {
	for _, r := range before {
		f := w.followers[r.ID]
		if f == nil || f.role() != "gateway" || slices.ContainsFunc(now, func(n fleet.Replica) bool { return n.ID == r.ID }) {
			continue
		}
		delete(w.followers, r.ID)
		w.tell(fleet.Event{Kind: "follower.left", From: r.ID, Reason: "its supervisor says that its process has ended"}, at)
	}
}

// heard counts, for everyone who drains, the reports in a row that show nothing open. It says whether anybody does.
func (w *world) heard(r fleet.Report) (drains bool) {
	for incarnation, l := range w.lives {
		if l.Stage != fleet.Draining || l.drained == 0 {
			continue
		}
		drains = true
		if l.clear == nil {
			l.clear = map[string]int{}
		}
		if r.Applied >= l.drained && r.Open[incarnation] == 0 {
			l.clear[r.From]++
		} else {
			l.clear[r.From] = 0
		}
	}
	return drains
}

// clearOf says whether no gateway can have a request open at a draining incarnation: each has applied a
// snapshot that shows it draining and has twice reported nothing open, so that a request which chose it just
// before the swap has been counted.
func (w *world) clearOf(l *life) bool {
	if l.drained == 0 {
		return false
	}
	for id, f := range w.followers {
		if f.role() == "gateway" && l.clear[id] < 2 {
			return false
		}
	}
	return true
}
