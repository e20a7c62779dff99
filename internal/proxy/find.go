package proxy

import (
	"net/http"
	"time"

	"crossfade.dev/internal/ending"
)

// find finds the rule that the request falls under in s, and the pool that it leads to. Without a pool, the outcome
// is our own answer.
func (x *exchange) find(s *State) (*Pool, outcome) {
	if x.c.misdirected(x.host) {
		return nil, outcome{verdict: refused, status: http.StatusMisdirectedRequest, reason: "this connection is not one for that host"}
	}
	l := x.c.listener
	switch {
	case l.Mesh:
		if x.from = s.callers[string(x.caller)]; x.from != nil {
			x.query.Labels = x.from.labels
		} else {
			x.query.Labels = nil
		}
	default:
		x.query.Port, x.query.Labels = l.Port, x.c.p.o.Labels
	}
	hit := l.table.Match(&x.query)
	x.course, x.lane = nil, nil
	switch {
	case hit.HTTPS:
		return nil, x.redirect(&redirect{code: http.StatusMovedPermanently, scheme: secure})
	case hit.Rule == nil:
		x.c.traffic.NoRoute.Inc()
		return nil, outcome{verdict: refused, status: 404, reason: "no route matches this request"}
	}
	c := l.courses[hit.Rule.Number]
	x.course, x.match, x.prefix, x.deadline = c, hit.Match, hit.Prefix, time.Time{}
	if t := hit.Rule.Route.Timeout; t > 0 {
		x.deadline = x.start.Add(t)
	}
	if t := x.timeout; t > 0 {
		x.deadline = x.sooner(x.start.Add(t))
	}
	switch {
	case c.redirect != nil:
		return nil, x.redirect(c.redirect)
	case c.respond != nil:
		return nil, outcome{verdict: refused, status: c.respond.Status, reason: ""}
	}
	i := hit.Rule.Destination(x.draw)
	x.lane = &c.lanes[i]
	pool := l.pools[hit.Rule.Number][i]
	if pool == nil {
		return nil, outcome{verdict: refused, kind: ending.NoEndpoint, status: 503, reason: "the route leads to a service that does not exist"}
	}
	return pool, outcome{}
}

// redirect is the outcome of a request that is sent to another place.
func (x *exchange) redirect(r *redirect) outcome {
	if r.authority == "" && len(x.host) == 0 {
		return outcome{verdict: refused, status: 400, reason: "the request names no host to be sent back to"}
	}
	e := &x.edits.place
	e.Value = r.append(e.Value[:0], x.c.scheme(), x.host, x.path, x.c.listener.Port)
	return outcome{verdict: refused, status: r.code, reason: ""}
}

// index returns the place of an incarnation, -1 for none.
func (p *Pool) index(incarnation string) int {
	if incarnation != "" {
		for i, e := range p.Endpoints {
			if e.Incarnation == incarnation {
				return i
			}
		}
	}
	return -1
}
