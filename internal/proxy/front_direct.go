package proxy

import (
	"slices"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
)

// Direct calls yield with each port that callers came to past the gateways, and what came of their requests, each once, since
// the front began. What a gateway of ours sends is not among them: the gateway counts it. Nor are checks, and requests that
// could not be read as far as who sent them.
func (f *Front) Direct(yield func(port uint32, c *evidence.Counts)) {
	f.mu.Lock()
	proxies := slices.Clone(f.proxies)
	f.mu.Unlock()
	for _, p := range proxies {
		state := p.state.Load()
		if state == nil {
			continue
		}
		for _, s := range state.services {
			if c := s.direct.Counts(); c.Total > 0 {
				yield(s.Port, &c)
			}
		}
	}
}

// direct counts a request that has come past the gateways. A connection is taken to be of whoever sent the last one on it.
func (x *exchange) direct() {
	var t *evidence.Traffic
	if x.stay.by == foreign {
		t = x.pool.Service.direct
	}
	if t != nil {
		t.Total.Inc()
	}
	if x.stay.direct = t; x.c.stream == nil {
		x.c.direct = t
	}
}

// missedDirect counts a request of a caller past the gateways that came when no answer could be given any more.
func (c *Conn) missedDirect() {
	if c.direct != nil {
		c.direct.Total.Inc()
		c.direct.Ended(ending.Parted)
	}
}
