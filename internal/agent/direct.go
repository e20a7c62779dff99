package agent

import (
	"crypto/rand"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// A counting is what the runner knows of what control was told that came past the gateways.
type counting struct {
	run   string
	taken time.Time // when the last report that control took was made; before one, when the agent began
	made  time.Time // when the last report was made
}

func newCounting(now time.Time) counting { return counting{run: rand.Text(), taken: now} }

// Control hears every second while callers come past the gateways, and some time longer: who looks at a release takes an agent
// that is silent before that for one that is away.
const (
	directEvery = time.Second
	directLong  = 2 * time.Minute
)

// often is how often control hears of the agent though nothing has happened.
func (r *runner) often() time.Duration {
	if s := r.sight.Front; s != nil && !s.LastForeign.IsZero() && time.Since(s.LastForeign) < directLong {
		return directEvery
	}
	return beat
}

// lookAgain is when to look at the latest whether somebody has come past the gateways; zero is never.
func (r *runner) lookAgain() time.Time {
	if r.Front == nil {
		return time.Time{}
	}
	return time.Now().Add(directEvery)
}

// traffic is what has come past the gateways by now, all of it; nil where there is no front.
func (r *runner) traffic(now time.Time) *fleet.Traffic {
	if r.Front == nil {
		return nil
	}
	r.counting.made = now
	t := &fleet.Traffic{Run: r.counting.run, Span: max(0, now.Sub(r.counting.taken))}
	r.Front.Direct(func(port uint32, c *evidence.Counts) {
		l := fleet.ListenerTraffic{
			Name: fleet.PortName(port), Requests: c.Total, Active: c.Open(), Ended: c.Ends, Codes: fleet.CodesOf(c.Codes), Calls: fleet.CodesOf(c.Calls),
			Latency: fleet.BucketsOf(c.Latency.Each, 0),
		}
		t.Listeners = append(t.Listeners, l)
	})
	return t
}

// stillCalled says whether callers came past the gateways until the front was closed: a leave waits until there was none for a
// while, but not for ever.
func (r *runner) stillCalled() bool {
	last := r.Front.Seen().LastForeign
	return !last.IsZero() && !r.orders.closed.IsZero() && r.orders.closed.Sub(last) < r.life.times().Quiet
}
