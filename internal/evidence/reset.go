package evidence

import "crossfade.dev/internal/meter"

// People may set what they are shown to zero. Sums that are compared with those of before must not fall: what a reset
// takes is kept.

// Reset sets the counters and the latencies to zero; what is in flight stays counted, and Codes still names
// every status. [Traffic.Ever] goes on.
func (t *Traffic) Reset() {
	t.resets.Lock()
	defer t.resets.Unlock()
	if t.past == nil {
		t.past = new(Counts)
	}
	taken := t.take()
	t.past.Merge(&taken)
}

// take returns what was counted, and leaves zero: no count is lost between the two.
func (t *Traffic) take() (c Counts) {
	for _, f := range []struct {
		from *meter.Counter
		to   *uint64
	}{
		{&t.Total, &c.Total},
		{&t.Retry, &c.Retry},
		{&t.RetryOverflow, &c.RetryOverflow},
		{&t.Timeout, &c.Timeout},
		{&t.Cut, &c.Cut},
		{&t.Overflow, &c.Overflow},
		{&t.NoEndpoint, &c.NoEndpoint},
		{&t.Connects, &c.Connects},
		{&t.ConnectFail, &c.ConnectFail},
		{&t.Reports.Unread, &c.Unread},
	} {
		*f.to = f.from.Reset()
	}
	c.Latency = t.Latency.Reset()
	if block := t.ends.Load(); block != nil {
		for kind := range block {
			c.Ends[kind] = block[kind].Reset()
		}
	}
	for class := range t.codes {
		if block := t.codes[class].Load(); block != nil {
			block.reset((class+1)*100, &c.Codes)
		}
	}
	if block := t.calls.Load(); block != nil {
		block.reset(0, &c.Calls)
	}
	return c
}

func (s *statuses) reset(base int, into *[]Code) {
	for i := range s.counts {
		if n := s.counts[i].Reset(); n > 0 {
			s.known[i].Store(true)
			*into = append(*into, Code{Status: base + i, N: n})
		}
	}
}

// Ever returns what was counted since t was made, whoever has reset it meanwhile. No count of it ever falls, but for those
// that are open.
func (t *Traffic) Ever() Counts {
	if t == nil {
		return Counts{}
	}
	t.resets.Lock()
	defer t.resets.Unlock()
	c := t.Counts()
	if t.past != nil {
		c.Merge(t.past)
	}
	return c
}

// EverSent returns how many requests were sent here since t was made, whoever has reset it meanwhile, and how many of them
// failed: 5xx, timeouts, cuts, and connections that could not be made.
func (t *Traffic) EverSent() (sent, failed uint64) {
	t.resets.Lock()
	defer t.resets.Unlock()
	failed = t.Timeout.Load() + t.Cut.Load() + t.ConnectFail.Load()
	if block := t.codes[4].Load(); block != nil {
		for i := range block.counts {
			failed += block.counts[i].Load()
		}
	}
	sent = t.Total.Load()
	if t.past != nil {
		sent += t.past.Total
		failed += t.past.Failed()
	}
	return sent, failed
}

// EverTook calls yield with every bucket of the latencies since t was made, whoever has reset it meanwhile: see
// [meter.Histogram.Each].
func (t *Traffic) EverTook(yield func(index int, n uint64)) {
	t.resets.Lock()
	defer t.resets.Unlock()
	if t.past == nil {
		t.Latency.Each(yield)
		return
	}
	all := t.Latency.Snapshot()
	all.Merge(&t.past.Latency)
	all.Each(yield)
}

// Reset sets the counters to zero; what is open stays counted. [Downstream.EverConnected] goes on.
func (d *Downstream) Reset() {
	d.resets.Lock()
	defer d.resets.Unlock()
	for _, c := range d.counters() { // each once: what is added between two resets would be lost
		n := c.Reset()
		switch c {
		case &d.Connects:
			d.connects += n
		case &d.Overflow:
			d.overflow += n
		}
	}
	d.Requests.Reset()
}

// EverConnected returns how many connections were accepted, and how many of them refused at the limit, since d was made,
// whoever has reset it meanwhile.
func (d *Downstream) EverConnected() (connects, refused uint64) {
	d.resets.Lock()
	defer d.resets.Unlock()
	return d.connects + d.Connects.Load(), d.overflow + d.Overflow.Load()
}
