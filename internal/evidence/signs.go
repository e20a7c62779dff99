package evidence

import (
	"sync/atomic"
	"time"
)

// Signs keep what was seen of an endpoint that goes, or is gone, so that each is told once and not with every request.
// The zero value is ready.
type Signs struct {
	refusals atomic.Int32 // connections that it refused, in a row
	gone     atomic.Int64 // when that was last told, in Unix nanoseconds
	doubted  atomic.Int64 // likewise, that it may be
	left     atomic.Int64 // likewise, that it leaves
}

// signEvery is how often the same thing is told of an endpoint while it goes on.
const signEvery = time.Second

// Refused counts a connection that the endpoint refused and says how many that is in a row.
func (s *Signs) Refused() int { return int(s.refusals.Add(1)) }

// Connected says that it took one.
func (s *Signs) Connected() {
	if s.refusals.Load() != 0 {
		s.refusals.Store(0)
	}
}

// Gone says whether it is to be told now that the endpoint is.
func (s *Signs) Gone(now time.Time) bool { return due(&s.gone, now) }

// Doubt says whether it is to be told now that the endpoint may be gone.
func (s *Signs) Doubt(now time.Time) bool { return due(&s.doubted, now) }

// Leaves says whether it is to be told now that the endpoint says that it leaves.
func (s *Signs) Leaves(now time.Time) bool { return due(&s.left, now) }

func due(last *atomic.Int64, now time.Time) bool {
	at, told := now.UnixNano(), last.Load()
	return (told == 0 || at-told >= int64(signEvery)) && last.CompareAndSwap(told, at)
}
