package history

import (
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// agent is the role of those who stand beside one instance each.
const agent = "agent"

// A front is what the agent beside one instance has said of callers who came past the gateways: the sums that were counted
// already, in one run of it. There is none for an agent that nobody came to so.
type front struct {
	incarnation string
	heard       time.Time
	last        time.Time // when something had come, or ended
	restored    bool      // it has not been heard since a restart
	said        bool      // its last
	over        bool      // likewise, or it is given up: it may be heard of again, as one who was cut off
	absent      time.Time // since when its instance is gone and it says nothing; zero: that is not so
	ports       map[string]*portRow
}

// A portRow is one port that an agent stands before.
type portRow struct {
	listenerRow

	at    *endpoint // whose requests they are; nil is not known yet
	since time.Time // when it was first heard of
}

const (
	directSince = 90 * time.Second // after which who came past the gateways is taken to have gone: what a leave waits for callers
	portLooked  = 10 * time.Second // for the service of a port: control shows it a moment after its agent speaks of it
	frontBeat   = 10 * time.Second // it says something as often at least
	frontHushed = 30 * time.Second // how long an agent may say nothing before what it has open is not believed any more
	mostFronts  = 16384
)

// direct counts what an agent's sums have grown by: under the services that its ports serve, and its endpoints there. What it
// counts no gateway has counted.
func (h *History) direct(r *fleet.Report, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle(now)
	t := r.Traffic
	key := runKey{r.From, t.Run}
	f := h.fronts[key]
	if f == nil && len(t.Listeners) == 0 {
		return
	}
	span, counts := t.Span, true
	if f == nil {
		counts = h.countsFirst(span, now)
		f = &front{incarnation: r.From[min(len(agent)+1, len(r.From)):], ports: map[string]*portRow{}, last: now}
		h.fronts[key] = f
	} else if since := now.Sub(f.heard); since < span || f.restored {
		span, f.restored = since, false
	}
	h.hear(now, min(span, frontBeat)) // it knows of one instance: what else passed in a longer time it does not say
	h.spread.over(now, span)
	f.said = f.said || r.Leaving
	f.heard, f.absent, f.over = now, time.Time{}, f.said
	for i := range t.Listeners {
		h.port(f, &t.Listeners[i], counts)
	}
	if f.over {
		f.hush(h.at)
	}
	if services := f.services(); t.StillCalled && len(services) > 0 {
		h.recorder.Doubt(h.agentName(r.From, f.incarnation)+" was called past the gateways until it ended: what was asked of it then, nobody has counted", now, services...)
	}
}

// port counts what came to one port. What nobody knows the service of yet is counted with a later report,
// if that comes soon.
func (h *History) port(f *front, row *fleet.ListenerTraffic, counts bool) {
	was := f.ports[row.Name]
	if was == nil {
		was = &portRow{since: f.heard}
		f.ports[row.Name] = was
	}
	number, _ := row.Port()
	at := h.behind(f.incarnation, number, was.at)
	if at == nil {
		if counts && f.heard.Sub(was.since) < portLooked {
			return
		}
		counts = false // it is of no service; what comes once it is of one counts
	}
	if at != was.at {
		was.opens(h.at, 0)
		was.at = at
	}
	was.opens(h.at, row.Active)
	requests, ended := grow(&was.requests, row.Requests), growSums(&was.ended, &row.Ended)
	if requests > 0 || ended.Ended() > 0 {
		f.last = h.spread.now
	}
	codes := (*map[int]uint64)(nil)
	if counts {
		codes = &at.service.codes
	}
	growCodes(&was.codes, row.Codes, codes)
	growBuckets(&was.latency, row.Latency, &h.delta)
	if !counts {
		return
	}
	s, n, lost := at.service, ended.Ended(), ended.Lost()
	s.ended.Add(&ended)
	s.direct.Add(&ended)
	if n > 0 {
		h.call(s, fleet.Direct, n)
	}
	at.sent += requests
	at.failed += lost
	if at.ofVersion == nil {
		at.ofVersion = s.version(at.version)
	}
	s.place.count(&h.spread, h.settled, n, lost, 0)
	for _, p := range [...]*place{&at.place, at.ofVersion} {
		p.count(&h.spread, h.settled, requests, lost, 0)
	}
	for _, p := range [...]*place{s.place, &at.place, at.ofVersion} {
		p.answer(&h.spread, h.settled, h.delta)
	}
}

// behind returns the endpoint that a port of an instance is: that of the first service by name, where it is one of several, and
// where none has it now, the one that it was.
func (h *History) behind(incarnation string, port uint16, was *endpoint) *endpoint {
	better := func(e, than *endpoint) bool {
		switch {
		case than == nil:
			return true
		case e.gone.IsZero() != than.gone.IsZero():
			return e.gone.IsZero()
		case e == was || than == was:
			return e == was
		}
		return e.service.name < than.service.name
	}
	found := was
	if was != nil && (was.port != port || !was.gone.IsZero()) {
		found = nil
	}
	for _, e := range h.lives[incarnation] {
		if e.port == port && better(e, found) {
			found = e
		}
	}
	if found == nil {
		return was
	}
	return found
}

// opens takes that so many are open there.
func (r *portRow) opens(second, active int64) {
	if r.at != nil {
		r.at.opens(second, active-r.active)
		r.at.service.place.opens(second, active-r.active)
	}
	r.active = active
}

// hush takes what an agent says to be open out of all sums.
func (f *front) hush(second int64) {
	for _, row := range f.ports {
		row.opens(second, 0)
	}
}

// services are those that somebody came to past the gateways.
func (f *front) services() (names []string) {
	for _, row := range f.ports {
		if row.at != nil && !slices.Contains(names, row.at.service.name) {
			names = append(names, row.at.service.name)
		}
	}
	slices.Sort(names)
	return names
}

// called says whether somebody came past the gateways not long before a moment, or has something open.
func (f *front) called(before time.Time) bool {
	for _, row := range f.ports {
		if row.active > 0 {
			return true
		}
	}
	return before.Sub(f.last) <= directSince
}

// missFronts gives up agents that are gone without a last word, and tells the recorder of those that had callers.
func (h *History) missFronts(now time.Time) {
	for key, f := range h.fronts {
		silent := now.Sub(f.heard)
		switch {
		case f.over, silent <= lateness:
			continue
		case h.there(f.incarnation):
			if f.absent = (time.Time{}); silent > frontHushed {
				f.hush(h.at)
			}
			continue
		case f.absent.IsZero():
			f.absent = now
		}
		if now.Sub(f.absent) < lateness {
			continue
		}
		if services := f.services(); f.called(f.absent) && len(services) > 0 { // what is of no service is in no release
			h.recorder.Broke(h.agentName(key.From, f.incarnation), f.absent, services...)
		}
		f.over = true
		f.hush(h.at)
	}
}

// there says whether control shows an incarnation.
func (h *History) there(incarnation string) bool {
	return h.instance(incarnation) != nil || slices.ContainsFunc(h.lives[incarnation], func(e *endpoint) bool { return e.gone.IsZero() })
}

// agentName is what people call the agent beside an incarnation.
func (h *History) agentName(from, incarnation string) string {
	for _, e := range h.lives[incarnation] {
		if e.name != "" {
			return agent + "/" + e.name
		}
	}
	return from
}

// frontDoubts says of which agents that had callers past the gateways not all is counted: those that are silent, and those
// whose instances have left and that still have callers.
func (h *History) frontDoubts(services []string, now time.Time) (doubts []string) {
	for key, f := range h.fronts {
		silent := now.Sub(f.heard) > lateness
		if f.over || !f.called(now) || !silent && h.there(f.incarnation) {
			continue
		}
		if !slices.ContainsFunc(f.services(), func(s string) bool { return slices.Contains(services, s) }) {
			continue
		}
		name := h.agentName(key.From, f.incarnation)
		if silent {
			doubts = append(doubts, name+" has reported nothing for a while: what came to it past the gateways is not counted")
		} else {
			doubts = append(doubts, name+" has left, and still has callers: what becomes of them is not counted")
		}
	}
	return doubts
}

// forgetFronts forgets agents of which nothing can come any more.
func (h *History) forgetFronts(now time.Time) {
	for key, f := range h.fronts {
		if silent := now.Sub(f.heard); silent > forgetSilent || f.said && silent > forgetEnded {
			f.hush(h.at)
			delete(h.fronts, key)
		}
	}
	for len(h.fronts) > mostFronts {
		var oldest runKey
		for key, f := range h.fronts {
			if at := h.fronts[oldest]; at == nil || f.heard.Before(at.heard) {
				oldest = key
			}
		}
		h.fronts[oldest].hush(h.at)
		delete(h.fronts, oldest)
	}
}
