package evidence

import "crossfade.dev/internal/meter"

// InFlight counts the requests in flight at one place. The zero value is ready.
//
// Who compares many endpoints by it, again and again, wants the counts close together: those of a [Book] are, in a
// few pages of memory, apart from all else that is counted.
type InFlight struct {
	own meter.Gauge
	far *meter.Gauge // instead of own
}

// Add adds n, which may be negative, and returns the new value.
func (f *InFlight) Add(n int64) int64 { return f.Gauge().Add(n) }

// Load returns the value.
func (f *InFlight) Load() int64 { return f.Gauge().Load() }

// Gauge returns what the count is kept in.
func (f *InFlight) Gauge() *meter.Gauge {
	if f.far != nil {
		return f.far
	}
	return &f.own
}

// A ledger is memory for the gauges of a book.
type ledger struct {
	free  []meter.Gauge
	apart int // from one gauge to the next
	block int // gauges in the next piece of memory
	most  int
}

// Few is up to how many endpoints each has a cache line of its own: with few, processors that count at the same time
// would often meet in one. With many they seldom do, and what counts is how many lines there are.
const few = 1024

func newLedger(keys int) *ledger {
	const line = 64 / 8
	if keys <= few {
		return &ledger{apart: line, block: 1, most: keys}
	}
	return &ledger{apart: line / 4, block: 1, most: keys}
}

// Next returns a gauge that nobody has.
func (l *ledger) next() *meter.Gauge {
	if len(l.free) == 0 {
		l.free = make([]meter.Gauge, l.block*l.apart)
		l.block = min(2*l.block, l.most) // the newcomer of an ordinary day is alone
	}
	g := &l.free[0]
	l.free = l.free[l.apart:]
	return g
}
