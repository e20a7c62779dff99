package history

import (
	"fmt"
	"maps"
	"time"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/release"
)

// format is the version of what stands on disk. A state of another version is set aside.
const format = 1

// A saved is all that must be of one moment: sums, and what data planes had said when they were that.
type saved struct {
	Format    int                         `json:"format"`
	Since     time.Time                   `json:"since"`
	Listeners map[string]savedListener    `json:"listeners"`
	Services  map[string]savedService     `json:"services"`
	Runs      []savedRun                  `json:"runs"`
	Fronts    []savedFront                `json:"fronts,omitempty"`
	Minutes   map[int64]map[string][]byte `json:"minutes"` // that are not over
	Recorder  *release.State              `json:"recorder"`

	Lives     int64 `json:"lives"` // number of the log
	LivesSize int64 `json:"lives_size"`
	Hour      int64 `json:"hour"`
	HourSize  int64 `json:"hour_size"`
}

type savedListener struct {
	Mesh     bool           `json:"mesh,omitempty"`
	Requests uint64         `json:"requests"`
	Connects uint64         `json:"connects"`
	Rejected uint64         `json:"rejected,omitempty"`
	Ended    ending.Sums    `json:"ended"`
	Codes    map[int]uint64 `json:"codes,omitempty"`
	Calls    map[int]uint64 `json:"calls,omitempty"`
	Latency  []byte         `json:"latency,omitempty"` // of a run
}

type savedService struct {
	Ended     ending.Sums       `json:"ended"`
	Direct    ending.Sums       `json:"direct,omitzero"`
	Retries   uint64            `json:"retries,omitempty"`
	Codes     map[int]uint64    `json:"codes,omitempty"`
	Callers   map[string]uint64 `json:"callers,omitempty"`
	Latency   []byte            `json:"latency,omitempty"`   // of a run
	Endpoints []savedEndpoint   `json:"endpoints,omitempty"` // of all runs, or of one
}

type savedEndpoint struct {
	Incarnation string  `json:"i"`
	Requests    uint64  `json:"r,omitempty"`
	Failed      uint64  `json:"f,omitempty"`
	Due         float64 `json:"d,omitempty"` // of a run
	Version     string  `json:"v,omitempty"` // of all runs
}

type savedRun struct {
	runKey

	Began     time.Time                `json:"began"`
	Heard     time.Time                `json:"heard"`
	Over      bool                     `json:"over,omitempty"`
	Listeners map[string]savedListener `json:"listeners"`
	Services  map[string]savedService  `json:"services"`
}

// saved is the state as it is now. It shares nothing that changes.
func (h *History) saved() *saved {
	s := &saved{
		Format: format, Since: h.since, Listeners: map[string]savedListener{}, Services: map[string]savedService{},
		Minutes: h.openMinutes(),
	}
	for name, l := range h.gates {
		s.Listeners[name] = savedListener{
			Mesh: l.mesh, Requests: l.requests, Connects: l.connects, Rejected: l.rejected, Ended: l.ended,
			Codes: cloned(l.codes), Calls: cloned(l.calls),
		}
	}
	for name, in := range h.services {
		out := savedService{Ended: in.ended, Direct: in.direct, Retries: in.retries, Codes: cloned(in.codes), Callers: map[string]uint64{}}
		for who, c := range in.callers {
			out.Callers[who] = c.total
		}
		for id, e := range in.endpoints {
			if e.sent > 0 {
				out.Endpoints = append(out.Endpoints, savedEndpoint{Incarnation: id, Requests: e.sent, Failed: e.failed, Version: e.version})
			}
		}
		s.Services[name] = out
	}
	for key, r := range h.runs {
		s.Runs = append(s.Runs, r.saved(key))
	}
	s.Fronts = h.savedFronts()
	rest := h.recorder.Rest()
	s.Recorder = &rest
	return s
}

func (r *run) saved(key runKey) savedRun {
	s := savedRun{
		runKey: key, Began: r.began, Heard: r.heard, Over: r.over, Listeners: map[string]savedListener{}, Services: map[string]savedService{},
	}
	for name, l := range r.listeners {
		s.Listeners[name] = savedListener{
			Mesh: l.mesh, Requests: l.requests, Connects: l.connects, Rejected: l.rejected, Ended: l.ended,
			Codes: cloned(l.codes), Calls: cloned(l.calls), Latency: l.latency.AppendTo(nil),
		}
	}
	endpoints := map[string][]savedEndpoint{}
	for key, e := range r.endpoints {
		if e.requests > 0 || e.due > 0 {
			endpoints[key.service] = append(endpoints[key.service], savedEndpoint{Incarnation: key.incarnation, Requests: e.requests, Failed: e.failed, Due: e.due})
		}
	}
	for name, in := range r.services {
		s.Services[name] = savedService{
			Ended: in.ended, Retries: in.retries, Codes: cloned(in.codes), Callers: cloned(in.callers), Latency: in.latency.AppendTo(nil),
			Endpoints: endpoints[name],
		}
		delete(endpoints, name)
	}
	for name, list := range endpoints {
		s.Services[name] = savedService{Endpoints: list}
	}
	return s
}

func cloned[K comparable](m map[K]uint64) map[K]uint64 {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}

// restore goes on from a state.
func (h *History) restore(s *saved, now time.Time) error {
	for name, l := range s.Listeners {
		h.gates[name] = &listener{
			mesh: l.Mesh, requests: l.Requests, connects: l.Connects, rejected: l.Rejected, ended: l.Ended, codes: l.Codes, calls: l.Calls,
		}
	}
	for name, in := range s.Services {
		out := h.serviceOf(name)
		out.ended, out.direct, out.retries, out.codes, out.gone = in.Ended, in.Direct, in.Retries, in.Codes, now
		for who, n := range in.Callers {
			out.callers[who] = &caller{total: n}
		}
		for _, e := range in.Endpoints {
			of := h.endpointOf(endpointKey{name, e.Incarnation})
			of.sent, of.failed, of.version = e.Requests, e.Failed, e.Version
		}
	}
	for i := range s.Runs {
		if err := h.restoreRun(&s.Runs[i]); err != nil {
			return fmt.Errorf("run %s of %s: %w", s.Runs[i].Run, s.Runs[i].From, err)
		}
	}
	for i := range s.Fronts {
		if err := h.restoreFront(&s.Fronts[i]); err != nil {
			return fmt.Errorf("run %s of %s: %w", s.Fronts[i].Run, s.Fronts[i].From, err)
		}
	}
	for at, places := range s.Minutes {
		for key, packed := range places {
			p := h.dailyOf(key)
			if p == nil {
				return fmt.Errorf("minute %d: there is no place %q", at, key)
			}
			if err := p.minute(at).TakeFrom(packed); err != nil {
				return fmt.Errorf("minute %d, %q: %w", at, key, err)
			}
		}
	}
	h.since = s.Since
	return nil
}

func (h *History) restoreRun(s *savedRun) error {
	r := newRun()
	r.began, r.heard, r.over, r.restored = s.Began, s.Heard, s.Over, true
	for name, l := range s.Listeners {
		row := &listenerRow{
			mesh: l.Mesh, requests: l.Requests, connects: l.Connects, rejected: l.Rejected, ended: l.Ended, codes: l.Codes, calls: l.Calls,
		}
		if err := row.latency.TakeFrom(l.Latency); err != nil {
			return fmt.Errorf("listener %q: %w", name, err)
		}
		if h.gates[name] == nil {
			h.gates[name] = &listener{mesh: l.Mesh}
		}
		r.listeners[name] = row
	}
	for name, in := range s.Services {
		row := &serviceRow{retries: in.Retries, ended: in.Ended, codes: in.Codes, callers: in.Callers}
		if err := row.latency.TakeFrom(in.Latency); err != nil {
			return fmt.Errorf("service %q: %w", name, err)
		}
		h.serviceOf(name)
		r.services[name] = row
		for _, e := range in.Endpoints {
			key := endpointKey{name, e.Incarnation}
			r.endpoints[key] = &endpointRow{key: key, requests: e.Requests, failed: e.Failed, due: e.Due, unknown: true, endpoint: h.endpointOf(key)}
		}
	}
	h.runs[s.runKey] = r
	return nil
}

var _ release.Book = book{}
