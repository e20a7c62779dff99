package history

import (
	"fmt"
	"time"
)

// A savedFront is what an agent has said, of the moment of all sums.
type savedFront struct {
	runKey

	Heard time.Time            `json:"heard"`
	Last  time.Time            `json:"last"`
	Said  bool                 `json:"said,omitempty"`
	Over  bool                 `json:"over,omitempty"`
	Ports map[string]savedPort `json:"ports"`
}

// A savedPort is one of its ports.
type savedPort struct {
	savedListener

	Service string `json:"service,omitempty"` // whose requests they are
}

func (h *History) savedFronts() []savedFront {
	var list []savedFront
	for key, f := range h.fronts {
		s := savedFront{runKey: key, Heard: f.heard, Last: f.last, Said: f.said, Over: f.over, Ports: map[string]savedPort{}}
		for name, row := range f.ports {
			p := savedPort{savedListener: savedListener{
				Requests: row.requests, Ended: row.ended, Codes: cloned(row.codes), Latency: row.latency.AppendTo(nil),
			}}
			if row.at != nil {
				p.Service = row.at.service.name
			}
			s.Ports[name] = p
		}
		list = append(list, s)
	}
	return list
}

func (h *History) restoreFront(s *savedFront) error {
	f := &front{
		incarnation: s.From[min(len(agent)+1, len(s.From)):], heard: s.Heard, last: s.Last, said: s.Said, over: s.Over, restored: true, ports: map[string]*portRow{},
	}
	for name, p := range s.Ports {
		row := &portRow{since: s.Heard, listenerRow: listenerRow{requests: p.Requests, ended: p.Ended, codes: p.Codes}}
		if err := row.latency.TakeFrom(p.Latency); err != nil {
			return fmt.Errorf("port %q: %w", name, err)
		}
		if p.Service != "" {
			row.at = h.endpointOf(endpointKey{p.Service, f.incarnation})
		}
		f.ports[name] = row
	}
	h.fronts[s.runKey] = f
	return nil
}
