package release

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// hear takes what has happened to instances.
func (r *Recorder) hear(news []fleet.Event) {
	for _, e := range news {
		if e.Incarnation == "" {
			continue
		}
		if l := r.lives[e.Incarnation]; l != nil {
			r.mark(l, e)
			continue
		}
		if len(r.early) >= maxEarly { // of those who have not shown themselves by now nobody has heard
			clear(r.early)
		}
		if known := r.early[e.Incarnation]; len(known) < maxMarks {
			r.early[e.Incarnation] = append(known, e)
		}
	}
}

// mark takes one event of an instance's life.
func (r *Recorder) mark(l *life, e fleet.Event) {
	e.Time = e.Time.Round(0)
	switch e.Kind {
	case "instance.leaving", "warmup.requests.progress": // offline.requested and warmup.requests.ended say it
		return
	case "check.passed", "check.failed": // control's; an agent's probe says it
		if !l.foreign {
			return
		}
	}
	r.learn(l, e)
	m := Mark{At: e.Time, Kind: e.Kind, Text: e.Reason}
	if slices.Contains(l.Marks, m) {
		return
	}
	at, _ := slices.BinarySearchFunc(l.Marks, m.At, func(have Mark, t time.Time) int {
		return cmp.Or(have.At.Compare(t), -1) // after all of the same moment
	})
	l.Marks = slices.Insert(l.Marks, at, m)
	l.straighten()
	if len(l.Marks) > maxMarks { // how it began, and how it ended, is more than what was between
		l.Marks = slices.Delete(l.Marks, maxMarks/2, maxMarks/2+1)
	}
	r.newsOf[l.ID] = true
}

// straighten puts the registration before the readiness that waited for it: an agent says when it was ready, and control may
// say when it saw the registration, a moment later.
func (l *life) straighten() {
	of := func(kind string) int { return slices.IndexFunc(l.Marks, func(m Mark) bool { return m.Kind == kind }) }
	ready, registered := of("readiness.passed"), of("registration.completed")
	if ready < 0 || registered < ready {
		return
	}
	m := l.Marks[registered]
	m.At = l.Marks[ready].At
	l.Marks = slices.Insert(slices.Delete(l.Marks, registered, registered+1), ready, m)
}

// learn takes from an event what a view says later, or less exactly.
func (r *Recorder) learn(l *life, e fleet.Event) {
	switch e.Kind {
	case "instance.started":
		l.start(e.Time, e.Time)
		l.Partial = l.Partial && !l.Offered.IsZero()
	case "warmup.ended":
		if !l.Warm.IsZero() && !l.Offered.IsZero() && e.Time.After(l.Offered) && l.Warm.Sub(e.Time).Abs() < time.Minute {
			l.Warm = e.Time
		}
	case "drain.started", "offline.requested":
		r.leave(l, e.Time)
	case "instance.killed", "instance.died":
		l.Killed = true
	case "instance.stopped":
		if !l.Running && e.Time.Before(l.Ended) && e.Time.After(l.Left) {
			l.Ended = e.Time
		}
	case "drained": // control's: nobody sends any more. Then its agent's: nothing is open
		l.Marks = slices.DeleteFunc(l.Marks, func(m Mark) bool { return m.Kind == e.Kind })
	}
}

// marked returns when the first of these kinds that l has was last told; the zero time where it has none.
func (l *life) marked(kinds ...string) time.Time {
	for _, kind := range kinds {
		for _, m := range slices.Backward(l.Marks) {
			if m.Kind == kind {
				return m.At
			}
		}
	}
	return time.Time{}
}

// Tidings are new events, in order.
type tidings struct {
	all []fleet.Event
	of  map[string][]int // which of them are about an incarnation; "" is none
}

func tidingsOf(news []fleet.Event) *tidings {
	t := &tidings{all: news, of: make(map[string][]int, len(news))}
	for i := range news {
		id := news[i].Incarnation
		t.of[id] = append(t.of[id], i)
	}
	return t
}

// likely are those that may be about a release, in order: of thousands that happen at once most are about others.
func (t *tidings) likely(rel *Release) []fleet.Event {
	if rel.Kind == Gateway || len(t.all) == 0 {
		return t.all
	}
	at := slices.Clone(t.of[""])
	for _, ids := range [...][]string{rel.Came, rel.Went} {
		for _, id := range ids {
			at = append(at, t.of[id]...)
		}
	}
	slices.Sort(at)
	list := make([]fleet.Event, 0, len(at))
	for _, i := range slices.Compact(at) { // somebody may have come and gone
		list = append(list, t.all[i])
	}
	return list
}

// log adds to a release those events that are about it.
func (r *Recorder) log(rel *Release, o *Open, news *tidings) {
	for _, e := range news.likely(rel) {
		if !about(rel, o, &e) || len(rel.Events) >= maxEvents || e.Time.Before(rel.Began.Add(-time.Second)) {
			continue
		}
		e.Time = e.Time.Round(0)
		rel.Events = append(rel.Events, e)
		r.news[rel.ID] = true
	}
}

// recall adds to a release what has happened to one that becomes a part of it now, while it ran: that it died is told before it is
// missed. What is news in this view log adds.
func (r *Recorder) recall(rel *Release, l *life, news *tidings) {
	if slices.Contains(rel.Came, l.ID) || slices.Contains(rel.Went, l.ID) {
		return
	}
	isNews := func(m Mark) bool {
		return slices.ContainsFunc(news.of[l.ID], func(i int) bool { return news.all[i].Kind == m.Kind && news.all[i].Reason == m.Text })
	}
	for _, m := range l.Marks {
		if m.At.Before(rel.Began.Add(-time.Second)) || isNews(m) || len(rel.Events) >= maxEvents {
			continue
		}
		e := fleet.Event{Time: m.At, Kind: m.Kind, Endpoint: l.Name, Incarnation: l.ID, Reason: m.Text}
		at, _ := slices.BinarySearchFunc(rel.Events, e.Time, func(have fleet.Event, t time.Time) int { return cmp.Or(have.Time.Compare(t), -1) })
		rel.Events = slices.Insert(rel.Events, at, e)
		r.news[rel.ID] = true
	}
}

// about says whether an event is about a release: its object's, one of its instances', or the gateway's.
func about(rel *Release, o *Open, e *fleet.Event) bool {
	if rel.Kind == Gateway {
		of := func(id string) bool {
			return id == rel.Name || slices.Contains(rel.Came, id) || slices.Contains(rel.Went, id)
		}
		who, _, _ := strings.Cut(e.Reason, " ") // as supervisors say it
		return strings.HasPrefix(e.Kind, "gateway.") && (of(e.Endpoint) || of(e.From) || of(who)) || strings.HasPrefix(e.Kind, "follower.") && of(e.From)
	}
	if e.Incarnation != "" {
		return slices.Contains(rel.Came, e.Incarnation) || slices.Contains(rel.Went, e.Incarnation)
	}
	instance, _ := strings.CutPrefix(e.Endpoint, rel.Name+"-") // before its incarnation is known
	number := instance != e.Endpoint && strings.Trim(instance, "0123456789") == ""
	return o.deployment() && (e.Endpoint == rel.Name || e.Endpoint == rel.Namespace+"/"+rel.Name || number)
}
