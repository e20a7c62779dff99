// Package meter holds counters, gauges and histograms as plain values: to add to one is an atomic operation,
// never a lock or an allocation. How they are shown to the world is another room's business.
package meter

import "sync/atomic"

// A Counter only grows, until it is reset.
type Counter struct{ n atomic.Uint64 }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Load returns the count.
func (c *Counter) Load() uint64 { return c.n.Load() }

// Reset sets the count to zero and returns what it was: nothing that was added is lost between the two.
func (c *Counter) Reset() uint64 { return c.n.Swap(0) }

// A Gauge goes up and down.
type Gauge struct{ n atomic.Int64 }

// Add adds n, which may be negative, and returns the new value.
func (g *Gauge) Add(n int64) int64 { return g.n.Add(n) }

// Load returns the value.
func (g *Gauge) Load() int64 { return g.n.Load() }
