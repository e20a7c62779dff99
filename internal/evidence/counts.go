package evidence

import (
	"cmp"
	"encoding/json"
	"slices"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/meter"
)

// Counts is a [Traffic] at one moment, as a plain value. Its fields mean what Traffic's do.
type Counts struct {
	Total          uint64         `json:"total,omitempty"`
	Retry          uint64         `json:"retry,omitempty"`
	RetryOverflow  uint64         `json:"retry_overflow,omitempty"`
	Timeout        uint64         `json:"timeout,omitempty"`
	Cut            uint64         `json:"cut,omitempty"`
	Overflow       uint64         `json:"overflow,omitempty"`
	NoEndpoint     uint64         `json:"no_endpoint,omitempty"`
	Connects       uint64         `json:"connects,omitempty"`
	ConnectFail    uint64         `json:"connect_fail,omitempty"`
	ActiveConnects int64          `json:"active_connects,omitempty"`
	Active         int64          `json:"active,omitempty"`
	Codes          []Code         `json:"codes,omitempty"` // every status ever counted, in order
	Calls          []Code         `json:"calls,omitempty"` // likewise those of gRPC; those answers are among Codes too
	Latency        meter.Snapshot `json:"latency,omitzero"`
	Reported       *Reported      `json:"reported,omitempty"` // what an endpoint last said of its load; nil if nothing
	Unread         uint64         `json:"unread,omitempty"`   // reports of that kind that could not be read
	Ends           ending.Sums    `json:"ends,omitzero"`      // of whole requests, how they ended; nothing at endpoints
}

// A Code is how many answers had one status.
type Code struct {
	Status int    `json:"status"`
	N      uint64 `json:"n"`
}

// Counts returns the counts of this moment. Each of them is exact; while requests pass, they are not all of
// one instant, but Total has all that Ends has, unless somebody resets. A nil Traffic has counted nothing.
func (t *Traffic) Counts() Counts {
	if t == nil {
		return Counts{}
	}
	var ends ending.Sums
	if block := t.ends.Load(); block != nil { // before Total: who has ended is in it
		for kind := range block {
			ends[kind] = block[kind].Load()
		}
	}
	c := Counts{
		Ends: ends, Total: t.Total.Load(), Retry: t.Retry.Load(), Timeout: t.Timeout.Load(), Cut: t.Cut.Load(),
		Overflow: t.Overflow.Load(), NoEndpoint: t.NoEndpoint.Load(), RetryOverflow: t.RetryOverflow.Load(),
		Connects: t.Connects.Load(), ConnectFail: t.ConnectFail.Load(),
		ActiveConnects: t.ActiveConnects.Load(), Active: t.Active.Load(),
		Latency: t.Latency.Snapshot(), Reported: t.Reports.Last(), Unread: t.Reports.Unread.Load(),
	}
	t.Codes(func(status int, n uint64) { c.Codes = append(c.Codes, Code{Status: status, N: n}) })
	t.Calls(func(status int, n uint64) { c.Calls = append(c.Calls, Code{Status: status, N: n}) })
	return c
}

// Add counts what others counted, with what is open to them.
func (t *Traffic) Add(c *Counts) {
	t.Total.Add(c.Total)
	t.Retry.Add(c.Retry)
	t.RetryOverflow.Add(c.RetryOverflow)
	t.Timeout.Add(c.Timeout)
	t.Cut.Add(c.Cut)
	t.Overflow.Add(c.Overflow)
	t.NoEndpoint.Add(c.NoEndpoint)
	t.Connects.Add(c.Connects)
	t.ConnectFail.Add(c.ConnectFail)
	t.ActiveConnects.Add(c.ActiveConnects)
	t.Active.Add(c.Active)
	t.Latency.Add(&c.Latency)
	t.Reports.Unread.Add(c.Unread)
	if c.Ends != (ending.Sums{}) {
		block := made(&t.ends)
		for kind, n := range c.Ends {
			block[kind].Add(n)
		}
	}
	if last := t.Reports.Last(); later(c.Reported, last) != last {
		t.Reports.last.Store(c.Reported)
	}
	for _, code := range c.Codes {
		if status := code.Status; status >= 100 && status <= 599 {
			made(&t.codes[status/100-1]).add(status%100, code.N)
		}
	}
	for _, code := range c.Calls {
		if code.Status >= 0 && code.Status <= MaxCall {
			made(&t.calls).add(code.Status, code.N)
		}
	}
}

// MarshalJSON writes t's Counts.
func (t *Traffic) MarshalJSON() ([]byte, error) {
	c := t.Counts()
	return json.Marshal(&c)
}

// UnmarshalJSON adds what MarshalJSON wrote.
func (t *Traffic) UnmarshalJSON(text []byte) error {
	var c Counts
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	t.Add(&c)
	return nil
}

// Merge adds what other counted.
func (c *Counts) Merge(other *Counts) {
	c.Total += other.Total
	c.Retry += other.Retry
	c.RetryOverflow += other.RetryOverflow
	c.Timeout += other.Timeout
	c.Cut += other.Cut
	c.Overflow += other.Overflow
	c.NoEndpoint += other.NoEndpoint
	c.Connects += other.Connects
	c.ConnectFail += other.ConnectFail
	c.ActiveConnects += other.ActiveConnects
	c.Active += other.Active
	c.Latency.Merge(&other.Latency)
	c.Reported, c.Unread = later(other.Reported, c.Reported), c.Unread+other.Unread
	c.Ends.Add(&other.Ends)
	c.Codes, c.Calls = merged(c.Codes, other.Codes), merged(c.Calls, other.Calls)
}

// later returns the one of two that was heard of later, b if neither was.
func later(a, b *Reported) *Reported {
	if a != nil && (b == nil || a.At.After(b.At)) {
		return a
	}
	return b
}

func merged(into, from []Code) []Code {
	codes := slices.Clone(into)
	for _, o := range from {
		i, known := slices.BinarySearchFunc(codes, o.Status, func(c Code, status int) int { return cmp.Compare(c.Status, status) })
		if known {
			codes[i].N += o.N
		} else {
			codes = slices.Insert(codes, i, o)
		}
	}
	return codes
}

// Open returns how many requests have not ended, at a place that counts whole requests: of its [Traffic.Ever], for a reset
// forgets those that it finds open.
func (c *Counts) Open() int64 { return int64(c.Total - c.Ends.Ended()) } //nolint:gosec // Total has all that Ends has

// Failed returns how many requests that were sent here failed: see [Traffic.EverSent].
func (c *Counts) Failed() uint64 { return c.Timeout + c.Cut + c.ConnectFail + c.Class(5) }

// Class returns how many answers had a status of the class: Class(2) counts 200 to 299.
func (c *Counts) Class(class int) uint64 {
	var n uint64
	for _, code := range c.Codes {
		if code.Status/100 == class {
			n += code.N
		}
	}
	return n
}

// Answered returns how many whole answers there were.
func (c *Counts) Answered() uint64 {
	var n uint64
	for _, code := range c.Codes {
		n += code.N
	}
	return n
}
