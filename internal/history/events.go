package history

import (
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// mostEvents is how many events are kept.
const mostEvents = 4096

// An eventKey tells events apart: a view repeats those of the views before.
type eventKey struct {
	at                                                 int64
	kind, service, endpoint, incarnation, from, reason string
}

func keyOf(e *fleet.Event) eventKey {
	return eventKey{e.Time.UnixNano(), e.Kind, e.Service, e.Endpoint, e.Incarnation, e.From, e.Reason}
}

// An eventLog is the latest events.
type eventLog struct {
	all    []fleet.Event // oldest first
	known  map[eventKey]bool
	unkept int // of all, at its end: those that are not on disk
}

// take keeps those of a view's events that are new, and returns them, oldest first.
func (l *eventLog) take(events []fleet.Event) (news []fleet.Event) {
	for i := range events {
		if key := keyOf(&events[i]); !l.known[key] {
			l.known[key] = true
			news = append(news, events[i])
		}
	}
	l.all = append(l.all, news...)
	l.unkept += len(news)
	if len(l.all) > mostEvents+mostEvents/4 {
		drop := len(l.all) - mostEvents
		for i := range drop {
			delete(l.known, keyOf(&l.all[i]))
		}
		l.all = slices.Clone(l.all[drop:])
		l.unkept = min(l.unkept, len(l.all))
	}
	return news
}

// A telling is what has happened up to a snapshot, since the one before it.
type telling struct {
	snapshot uint64
	events   []fleet.Event
}

// mostTold is how many tellings are kept while no view is shown.
const mostTold = 4096

// Told takes what has happened from control, in order, before the view that shows it: a view carries only the latest of it. It
// does not block.
func (h *History) Told(snapshot uint64, events []fleet.Event) {
	h.telling.Lock()
	defer h.telling.Unlock()
	if len(h.told) == mostTold {
		h.told = slices.Delete(h.told, 0, mostTold/4)
	}
	h.told = append(h.told, telling{snapshot, events})
}

// inOrder returns all that has happened up to a view and may be new: what the view knows from before, and what was told.
func (h *History) inOrder(v fleet.View) []fleet.Event {
	h.telling.Lock()
	n := 0
	var told []fleet.Event
	for n < len(h.told) && h.told[n].snapshot <= v.Number {
		told = append(told, h.told[n].events...)
		n++
	}
	h.told = slices.Delete(h.told, 0, n)
	h.telling.Unlock()
	if n == 0 {
		return v.Events
	}
	later := make(map[eventKey]bool, len(told))
	for i := range told {
		later[keyOf(&told[i])] = true
	}
	before := slices.DeleteFunc(slices.Clone(v.Events), func(e fleet.Event) bool { return later[keyOf(&e)] })
	return append(before, told...)
}

// Events returns what has happened after a moment, the newest first; at most limit of it, 0 is all that is kept.
func (h *History) Events(since time.Time, limit int) []fleet.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events.latest(limit, func(e *fleet.Event) bool { return e.Time.After(since) })
}

// latest returns those of which something is so, the newest first.
func (l *eventLog) latest(limit int, wanted func(e *fleet.Event) bool) []fleet.Event {
	list := []fleet.Event{}
	for i := len(l.all) - 1; i >= 0 && (limit <= 0 || len(list) < limit); i-- {
		if wanted(&l.all[i]) {
			list = append(list, l.all[i])
		}
	}
	return list
}

// rejected returns why the newest configuration is not in force; "" when it is.
func (l *eventLog) rejected() string {
	for _, e := range slices.Backward(l.all) {
		switch e.Kind {
		case "config.rejected":
			return e.Reason
		case "config.applied":
			return ""
		}
	}
	return ""
}
