package drain

import (
	"fmt"
	"time"
)

// A Protocol is what a request is counted as.
type Protocol uint8

// The protocols.
const (
	HTTP1     Protocol = iota // a request over HTTP/1.1, or 1.0
	HTTP2                     // a request over HTTP/2 that is no other of these
	GRPC                      // a call of gRPC, unary or streaming: nobody but its ends can tell
	Events                    // an answer of server-sent events, over any HTTP
	WebSocket                 // a WebSocket, over any HTTP
	Tunnel                    // another protocol that was switched to
	Protocols = int(Tunnel) + 1
)

func (p Protocol) String() string {
	return [...]string{"http/1.1", "http/2", "grpc", "events", "websocket", "tunnel"}[p]
}

// Lasts says whether what speaks p lasts by its nature: Timers.Long bounds it, not Timers.Requests.
func (p Protocol) Lasts() bool { return p >= GRPC }

// MarshalText makes a protocol readable in JSON, also as a key.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Protocol) UnmarshalText(text []byte) error {
	for known := range Protocol(Protocols) {
		if known.String() == string(text) {
			*p = known
			return nil
		}
	}
	return fmt.Errorf("%q is no protocol that is counted", text)
}

// A Count is what became of the requests of one protocol. Opened = Open + Completed + Failed + Cut.
type Count struct {
	Open      int    `json:"open"`      // now
	Opened    uint64 `json:"opened"`    // ever; one that turns out to be of another protocol moves there
	Completed uint64 `json:"completed"` // got their whole answer; of what lasts: ended as one of its ends wished
	Failed    uint64 `json:"failed"`    // cut by their endpoint, or left by their client
	Told      uint64 `json:"told"`      // heard, each for itself, that this data plane leaves
	Cut       uint64 `json:"cut"`       // ended by us before they were over
}

// A Tally is the counts of all protocols at one moment, since the process began.
type Tally [Protocols]Count

// Since returns what was counted after before was taken; Open is that of t. A request that was open then, and turned out to
// be one of another protocol, is not among those that were opened since, whichever it is counted as.
func (t *Tally) Since(before *Tally) Tally {
	after := *t
	for p := range after {
		c, b := &after[p], &before[p]
		c.Opened -= min(b.Opened, c.Opened)
		c.Completed -= b.Completed
		c.Failed -= b.Failed
		c.Told -= b.Told
		c.Cut -= b.Cut
	}
	return after
}

// Lost is how many requests were cut.
func (t *Tally) Lost() (n uint64) {
	for p := range t {
		n += t[p].Cut
	}
	return n
}

// Lost says that n requests were cut.
func Lost(n uint64) string {
	switch n {
	case 0:
		return "nothing was cut"
	case 1:
		return "1 request was cut"
	}
	return fmt.Sprintf("%d requests were cut", n)
}

// A Report is what a leave came to: written to the log, to a file, and to control.
type Report struct {
	ID      string    `json:"id"`     // of the data plane
	Reason  string    `json:"reason"` // why it left: "SIGTERM", "POST /drain_listeners", …
	Version string    `json:"version,omitempty"`
	Began   time.Time `json:"began"`
	Stage   Stage     `json:"stage"` // Closed when the leave is over

	Accepted    uint64 `json:"accepted"`    // connections, since the process began
	AcceptedIn  uint64 `json:"accepted_in"` // of them, since the leave began
	Connections int    `json:"connections"` // open when the leave began
	Told        uint64 `json:"told"`        // connections that heard, with an answer or by GOAWAY, that they will end
	Cut         uint64 `json:"cut"`         // requests, of all protocols

	Seconds   map[Stage]float64     `json:"seconds"`   // spent in each stage that was passed
	Protocols map[Protocol]Requests `json:"protocols"` // those of which there were any
	Timers    Timers                `json:"timers"`    // in nanoseconds, as the names of their fields say
}

// Requests is what a Report says of one protocol.
type Requests struct {
	Before int   `json:"before"` // open when the leave began
	Leave  Count `json:"leave"`  // since then; Open is what is left
	Ever   Count `json:"ever"`   // since the process began
}

// Fill enters what was counted: before when the leave began, after now.
func (r *Report) Fill(before, after *Tally) {
	r.Protocols = map[Protocol]Requests{}
	since := after.Since(before)
	for p := range Protocols {
		if after[p].Opened > 0 {
			r.Protocols[Protocol(p)] = Requests{Before: before[p].Open, Leave: since[p], Ever: after[p]}
		}
	}
	r.Cut = since.Lost()
}
