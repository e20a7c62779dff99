package http2

import "time"

// A Flood is a kind of thing that costs us more than the peer, when there is too much of it.
type Flood uint8

// The floods.
const (
	RapidReset        Flood = iota // streams that end unanswered, by the peer or by what it made us do
	SettingsFlood                  // SETTINGS
	PingFlood                      // PING
	PriorityFlood                  // PRIORITY, and frames of types that we do not know
	WindowFlood                    // WINDOW_UPDATE
	EmptyFlood                     // DATA without data
	ContinuationFlood              // a header block without end
	AnswerFlood                    // what we owe an answer to, from a peer that does not read them
	InterimFlood                   // interim answers
	floods
)

// String returns the name under which the flood is shown.
func (f Flood) String() string { return floodNames[f] }

var floodNames = [floods]string{
	"rapid_reset", "settings", "ping", "priority", "window_update", "empty_data", "continuation", "answers", "interim",
}

// A budget is how much of something a peer may do: burst at once, and perSecond for ever. Each piece of useful work
// earns it earns more: a peer that pings once for every DATA frame is lively, one that only pings is not.
type budget struct {
	burst, perSecond, earns float64
}

// Useful work is a stream answered whole for resets, and a head or DATA with data, in either direction, for the rest.
// gRPC implementations ping once a round trip while data comes, and most clients update two windows per DATA frame.
var budgetTable = [floods]budget{
	RapidReset:    {500, 100, 1},
	SettingsFlood: {100, 10, 0},
	PingFlood:     {500, 50, 2},
	PriorityFlood: {1000, 100, 4},
	WindowFlood:   {1000, 100, 4},
	EmptyFlood:    {500, 50, 0.5},
}

const (
	maxContinuations = 32   // of one header block: full frames would hold 512 KiB
	maxOwed          = 1000 // answers to PING and SETTINGS, and resets, that wait to be written
	maxInterim       = 64   // interim answers of one stream
)

// A bucket holds what was spent of a budget. It leaks.
type bucket struct {
	level float64
	at    time.Time
	work  uint64
}

// spend says whether one more is too much.
func (b *bucket) spend(of *budget, now time.Time, work uint64) (tooMuch bool) {
	if !b.at.IsZero() {
		b.level -= now.Sub(b.at).Seconds()*of.perSecond + float64(work-b.work)*of.earns
	}
	b.level = max(0, b.level) + 1
	b.at, b.work = now, work
	return b.level > of.burst
}

// spend counts one thing of that kind. The error is that of a flood.
func (c *Conn) spend(f Flood) error {
	work := c.useful
	if f == RapidReset {
		if c.client {
			return nil // an endpoint may reset whatever it was asked
		}
		work = c.answered
	}
	if c.spent[f].spend(&budgetTable[f], time.Now(), work) {
		return c.flood(f)
	}
	return nil
}

// flood is the error of a connection that ends for too much of something.
func (c *Conn) flood(f Flood) error {
	c.o.Stats.Floods[f].Inc()
	return &ConnError{Code: EnhanceYourCalm, Reason: "flood: " + f.String()}
}
