package evidence

import (
	"sync/atomic"

	"crossfade.dev/internal/meter"
)

// MaxCallers is how many callers are told apart at one place.
const MaxCallers = 64

// Callers count requests by who asked, as numbers from 1 to MaxCallers, whose names are their holder's; MaxCallers+1 is
// anybody else. The zero value is ready.
type Callers struct {
	counts atomic.Pointer[[MaxCallers + 1]meter.Counter]
}

// Ended counts a request of a caller that has ended; one of a number that there is not counts as anybody else's.
func (c *Callers) Ended(caller int) {
	if caller < 1 || caller > MaxCallers {
		caller = MaxCallers + 1
	}
	made(&c.counts)[caller-1].Inc()
}

// Each calls yield with every caller that has asked, in order, and the count of its requests.
func (c *Callers) Each(yield func(caller int, n uint64)) {
	block := c.counts.Load()
	if block == nil {
		return
	}
	for i := range block {
		if n := block[i].Load(); n > 0 {
			yield(i+1, n)
		}
	}
}
