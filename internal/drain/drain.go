// Package drain is the leaving of a data plane as a pure step: what is seen of its connections, and the time, go in;
// what to do comes out.
//
//	leave := drain.NewLeave(drain.Defaults(), "SIGTERM", now)
//	for leave.Stage() != drain.Closed {
//		do := leave.Step(drain.Sight{…}, now) // as often as one likes, and whenever something changes
//		…
//	}
//
// Nothing here closes on a guess: a stage ends when it is seen to be safe, and at a bound when it never is.
package drain

import (
	"fmt"
	"math"
	"time"
)

// A Stage is how far a data plane is on its way out.
type Stage uint8

// The stages, in the order in which they are passed. Any may be skipped.
const (
	Serving  Stage = iota // it has not been told to leave
	LameDuck              // it accepts and serves, says so to load balancers, and tells its clients
	Draining              // it accepts nothing new, and serves what is open
	Forced                // it ends what is still open, spread over time
	Closed                // nothing is open any more
	Stages   = int(Closed) + 1
)

func (s Stage) String() string {
	return [...]string{"serving", "lame duck", "draining", "forced", "closed"}[s]
}

// MarshalText makes a stage readable in JSON, also as a key.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Stage) UnmarshalText(text []byte) error {
	for known := range Stage(Stages) {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is no stage of a drain", text)
}

// Timers bound the stages. All are at least 0.
type Timers struct {
	Min      time.Duration `json:"min_ns"`      // lame duck lasts at least so long: until load balancers have looked
	Notice   time.Duration `json:"notice_ns"`   // and at most so long; 0 is no lame duck
	Quiet    time.Duration `json:"quiet_ns"`    // without a new connection: lame duck ends; without a request: what is idle is closed
	Requests time.Duration `json:"requests_ns"` // from then on, requests have to end
	Long     time.Duration `json:"long_ns"`     // likewise, what lasts by its nature: WebSocket, gRPC, server-sent events
	Spread   time.Duration `json:"spread_ns"`   // over which what is still open then is ended
}

// Defaults returns the timers of a gateway behind a load balancer that looks every few seconds.
func Defaults() Timers {
	return Timers{
		Min: 10 * time.Second, Notice: 15 * time.Second, Quiet: 5 * time.Second,
		Requests: 30 * time.Second, Long: 120 * time.Second, Spread: 10 * time.Second,
	}
}

// Last is what closing takes at most, once everything has been ended: the other ends' goodbyes, and the logs.
const Last = 5 * time.Second

// Longest is how long a leave may take in the worst case; what is longer than a Duration can say is the longest that it
// can.
func (t Timers) Longest() (sum time.Duration) {
	for _, d := range []time.Duration{max(t.Min, t.Notice), max(t.Requests, t.Long), t.Spread, Last} {
		sum += min(d, math.MaxInt64-sum)
	}
	return sum
}

// Fit returns an error with the sum when a leave may take longer than grace, after which the process is killed.
func (t Timers) Fit(grace time.Duration) error {
	if sum := t.Longest(); sum > grace {
		return fmt.Errorf("the drain may take %v (lame duck %v + the longer of requests %v and long-lived %v + forced %v + closing %v), "+
			"but the process is killed after a grace period of %v: allow at least %v, or shorten a timer",
			sum, max(t.Min, t.Notice), t.Requests, t.Long, t.Spread, Last, grace, sum)
	}
	return nil
}

// A Sight is what is seen of a data plane's connections at one moment. What ends by its nature and what lasts is told
// apart by [Protocol.Lasts].
type Sight struct {
	Shared   bool      // others go on accepting from every listening socket
	Queued   bool      // the sockets are not left yet: connections may wait to be accepted
	Accepted time.Time // when the latest connection was accepted; zero for never
	Asked    time.Time // when a request was last open; zero for never
	Conns    int       // connections that are open
	Requests int       // of them, with a request open that ends by its nature
	Long     int       // of them, with nothing open but what lasts
	Parted   int       // of them, that are being ended already; they are not among Requests and Long
}

// brief is how many connections are to end when requests have to.
func (s *Sight) brief() int { return max(0, s.Conns-s.Long-s.Parted) }

// Do is what is to be done now.
type Do struct {
	Tell  bool // load balancers and clients that we leave: once, at the beginning
	Stop  bool // accepting, without losing who is in the queues: once
	Brief int  // of the connections that are neither Long nor Parted, so many are to be ended now: what lasts on them may go on
	Long  int  // of the connections that are Long, so many are to be ended now
	Close bool // at once what is still open, and be done: once
}
