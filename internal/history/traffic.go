package history

import (
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/series"
)

// A listener is what came in at the listeners of one name, in all data planes.
type listener struct {
	mesh         bool
	requests     uint64
	connects     uint64
	rejected     uint64
	active       int64
	ended        ending.Sums
	codes, calls map[int]uint64
}

// A service is what was routed to one service.
type service struct {
	name      string
	place     *place
	ended     ending.Sums
	direct    ending.Sums // of ended, those of callers past the gateways
	retries   uint64
	codes     map[int]uint64
	callers   map[string]*caller
	versions  map[string]*place
	endpoints map[string]*endpoint  // by incarnation
	all       []*endpoint           // the same, in any order
	list      []*endpoint           // those of the view, in its order
	stages    Stages                // of them
	rows      map[string]VersionRow // of them, by version
	index     int                   // in the view's services; -1 when it is not there
	gone      time.Time             // since when it is not; zero while it is
}

// A caller is who asked a service.
type caller struct {
	total uint64
	rate  series.Lane
}

// An endpoint is what was sent to one incarnation in one service.
type endpoint struct {
	place

	service     *service
	incarnation string
	port        uint16 // that it serves at; 0 until control has shown it
	name        string
	version     string
	ofVersion   *place
	sent        uint64
	failed      uint64
	shares      int     // data planes that say its share
	shareSum    float64 // of what they say
	last        float32 // its share when the last second that is whole was over
	ejected     int     // data planes that have ejected it
	reason      string  // the latest that was said
	reasons     []reason
	offered     bool
	known       bool      // control has shown it: version is its own
	label       string    // its label "version"
	seen        time.Time // the view that had it last
	gone        time.Time // since when it is not in the view; zero while it is
}

// A reason is why a share is what it is, from a second on.
type reason struct {
	at   int64
	text string
}

// mean returns the mean of the shares that data planes say.
func (e *endpoint) mean() float64 { return min(max(e.shareSum/float64(e.shares), 0), 1) }

// mark notes the share from a second on that is not whole.
func (e *endpoint) mark(second int64) {
	open := &e.open[second%ahead]
	open.shared = true
	switch {
	case !e.offered:
		open.share = 0
	case e.shares > 0:
		open.share = float32(e.mean())
	default: // nobody has said yet
		open.share = e.last
	}
}

func (h *History) listener(r *run, row *fleet.ListenerTraffic, counts bool) {
	was := r.listeners[row.Name]
	if was == nil {
		was = &listenerRow{mesh: row.Mesh}
		r.listeners[row.Name] = was
	}
	all := h.gates[row.Name]
	if all == nil {
		all = &listener{}
		h.gates[row.Name] = all
	}
	all.mesh = row.Mesh
	if !r.quiet {
		by := row.Active - was.active
		all.active += by
		if !was.mesh {
			h.outside.opens(h.at, by)
			r.place.opens(h.at, by)
		}
	}
	was.active = row.Active
	requests, connects, rejected := grow(&was.requests, row.Requests), grow(&was.connects, row.Connects), grow(&was.rejected, row.Rejected)
	ended := growSums(&was.ended, &row.Ended)
	codes, calls := &all.codes, &all.calls
	if !counts {
		codes, calls = nil, nil
	}
	growCodes(&was.codes, row.Codes, codes)
	growCodes(&was.calls, row.Calls, calls)
	growBuckets(&was.latency, row.Latency, &h.delta)
	if !counts {
		return
	}
	all.requests += requests
	all.connects += connects
	all.rejected += rejected
	all.ended.Add(&ended)
	if was.mesh {
		return
	}
	for _, p := range [...]*place{h.outside, r.place} {
		p.count(&h.spread, h.settled, ended.Ended(), ended.Lost(), 0)
		p.answer(&h.spread, h.settled, h.delta)
	}
}

// serviceOf returns what is known of a service.
func (h *History) serviceOf(name string) *service {
	s := h.services[name]
	if s == nil {
		s = &service{
			name: name, place: newPlace(true, true), callers: map[string]*caller{}, versions: map[string]*place{},
			endpoints: map[string]*endpoint{}, index: -1,
		}
		h.services[name] = s
	}
	return s
}

// service counts the requests of a whole service: what its subsets count, it counts too.
func (h *History) service(r *run, row *fleet.ServiceTraffic, counts bool) {
	if row.Subset != "" {
		return
	}
	was := r.services[row.Service]
	if was == nil {
		was = &serviceRow{}
		r.services[row.Service] = was
	}
	s := h.serviceOf(row.Service)
	if !r.quiet {
		s.place.opens(h.at, row.Active-was.active)
	}
	was.active = row.Active
	retries := grow(&was.retries, row.Retries)
	ended := growSums(&was.ended, &row.Ended)
	codes := &s.codes
	if !counts {
		codes = nil
	}
	growCodes(&was.codes, row.Codes, codes)
	growBuckets(&was.latency, row.Latency, &h.delta)
	for name, n := range row.Callers {
		if was.callers == nil {
			was.callers = map[string]uint64{}
		}
		sum := was.callers[name]
		by := grow(&sum, n)
		was.callers[name] = sum
		if counts && by > 0 {
			h.call(s, name, by)
		}
	}
	if !counts {
		return
	}
	s.retries += retries
	s.ended.Add(&ended)
	s.place.count(&h.spread, h.settled, ended.Ended(), ended.Lost(), 0)
	s.place.answer(&h.spread, h.settled, h.delta)
}

// call counts who asked a service.
func (h *History) call(s *service, name string, n uint64) {
	c := s.callers[name]
	if c == nil {
		c = &caller{}
		s.callers[name] = c
	}
	c.total += n
	var upto uint64
	for _, part := range h.spread.seconds {
		c.rate.Add(part.at, float32(part.by(n)-upto))
		upto = part.by(n)
	}
}

// endpointOf returns what is known of an incarnation in a service.
func (h *History) endpointOf(key endpointKey) *endpoint {
	s := h.serviceOf(key.service)
	e := s.endpoints[key.incarnation]
	if e == nil {
		e = &endpoint{service: s, incarnation: key.incarnation, name: key.incarnation, gone: h.view.Taken}
		e.from = h.at
		s.endpoints[key.incarnation] = e
		s.all = append(s.all, e)
		h.lives[key.incarnation] = append(h.lives[key.incarnation], e)
	}
	return e
}

// version returns what a service's endpoints of one version get together.
func (s *service) version(name string) *place {
	p := s.versions[name]
	if p == nil {
		p = newPlace(true, false)
		s.versions[name] = p
	}
	return p
}

func (h *History) endpoint(r *run, was *endpointRow, row *fleet.EndpointTraffic, counts bool) {
	e := was.endpoint
	if was.stale { // it was counted, and forgotten: it has not been there for long
		was.stale, counts = false, false
	}
	if !r.quiet {
		h.says(e, was, row)
	}
	was.active, was.share, was.shared, was.ejected = row.Active, row.Share, true, row.Ejected
	requests, failed := grow(&was.requests, row.Requests), grow(&was.failed, row.Failed)
	grow(&was.got, row.Got)
	due := max(0, row.Due-was.due)
	was.due = max(was.due, row.Due)
	growBuckets(&was.latency, row.Latency, &h.delta)
	if was.unknown {
		h.delta = h.delta[:0]
		was.unknown = false
	}
	if !counts {
		return
	}
	s := e.service
	e.sent += requests
	e.failed += failed
	if e.ofVersion == nil {
		e.ofVersion = s.version(e.version)
	}
	for _, p := range [...]*place{&e.place, e.ofVersion} {
		p.count(&h.spread, h.settled, requests, failed, due)
		p.answer(&h.spread, h.settled, h.delta)
	}
}

// says takes what is so now of an endpoint in one data plane.
func (h *History) says(e *endpoint, was *endpointRow, row *fleet.EndpointTraffic) {
	e.opens(h.at, row.Active-was.active)
	if was.shared {
		e.shareSum += row.Share - was.share
	} else {
		e.shareSum += row.Share
		e.shares++
	}
	e.mark(h.at)
	switch {
	case row.Ejected && !was.ejected:
		e.ejected++
	case was.ejected && !row.Ejected:
		e.ejected--
	}
	if row.Reason == e.reason {
		return
	}
	e.reason = row.Reason
	at := h.spread.seconds[len(h.spread.seconds)-1].at
	if n := len(e.reasons); n >= mostReasons {
		e.reasons = append(e.reasons[:0], e.reasons[n/2:]...)
	}
	e.reasons = append(e.reasons, reason{at, row.Reason})
}

const mostReasons = 64
