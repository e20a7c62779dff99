package dns

import "time"

// A Reason says why a lookup brought no addresses; "" means that it did.
type Reason string

// The reasons for which a lookup fails.
const (
	NoName       Reason = "no such name"            // NXDOMAIN
	NoAddress    Reason = "the name has no address" // it exists, with records of other types
	ServerFailed Reason = "the servers fail"        // SERVFAIL, REFUSED, unreachable, unintelligible
	TimedOut     Reason = "the servers are silent"
	BadName      Reason = "not a name that can be asked for"
)

// Negative says that servers answered, and that there is no address. Every other failure leaves it open.
func (r Reason) Negative() bool { return r == NoName || r == NoAddress }

// A LookupError says why a lookup brought no addresses.
type LookupError struct {
	Name   string
	Reason Reason
	TTL    time.Duration // of a negative answer: for how long it holds (RFC 2308), within MinTTL and MaxTTL
	Err    error         // what a server did; nil where Reason says it all
}

// Error names the name and the reason.
func (e *LookupError) Error() string {
	text := "look up " + e.Name + ": " + string(e.Reason)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what a server did.
func (e *LookupError) Unwrap() error { return e.Err }
