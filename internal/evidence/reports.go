package evidence

import (
	"sync/atomic"
	"time"

	"crossfade.dev/internal/meter"
)

// Reports keep what an endpoint last said of its load. The zero value is ready.
type Reports struct {
	Unread meter.Counter // those that could not be read

	last atomic.Pointer[Reported]
	next atomic.Int64 // when the next one is worth reading, in Unix nanoseconds
}

// Reported is a load, and when it was heard of.
type Reported struct {
	Load
	At time.Time `json:"at"`
}

// reportEvery is how often a report is read at most. They come with every answer, and change less often than that matters.
const reportEvery = 100 * time.Millisecond

// Due says whether a report that comes now is to be read. It says so once for each time that one is due.
func (r *Reports) Due(now time.Time) bool {
	at, next := now.UnixNano(), r.next.Load()
	return at >= next && r.next.CompareAndSwap(next, at+int64(reportEvery))
}

// Note keeps a report that was read.
func (r *Reports) Note(l *Load, now time.Time) { r.last.Store(&Reported{Load: *l, At: now}) }

// Last returns the report that was read last, nil before the first one. The caller must not change it.
func (r *Reports) Last() *Reported {
	if r == nil {
		return nil
	}
	return r.last.Load()
}
