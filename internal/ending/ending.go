// Package ending names the ways in which a request ends: served, lost by kind and side, or given up by its client. The data
// planes count by them, and the verdict of a release is their sum.
package ending

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// A Kind is how one request has ended. Every request has one, and no more than one.
type Kind uint8

// The kinds.
const (
	Served      Kind = iota // a whole answer: an endpoint's below 500, or one of our own that the request asked for, such as a redirect, a 404 or a 400
	Aborted                 // the client left, or broke off its request, before its answer was whole
	NoEndpoint              // there was nobody to send it to
	Overflow                // refused by a limit: too many were waiting or open, or it would have been sent again but for one
	Parted                  // ended by us in a leave, whether its client was told or not
	Fault                   // ended by an error of ours
	Refused                 // no connection to an endpoint could be made, or it took no stream
	Reset                   // the endpoint ended the connection, or the stream, before it answered, or answered what is no HTTP
	Cut                     // the endpoint broke off an answer that had begun
	Timeout                 // no connection, no answer, or not the rest of one in time
	ServerError             // the endpoint answered 500 to 599
	CallError               // the endpoint answered a call with a status of gRPC that says that it failed: see [FailedCall]

	Kinds = iota // how many there are
)

// A Side is who a loss is to be looked for at.
type Side string

// The sides.
const (
	Nobody   Side = ""         // Served
	Client   Side = "client"   // Aborted: no loss of ours
	Gateway  Side = "gateway"  // NoEndpoint to Fault
	Endpoint Side = "endpoint" // Refused to CallError
)

var kindNames = [Kinds]string{
	"served", "aborted", "no-endpoint", "overflow", "parted", "fault", "refused", "reset", "cut", "timeout", "5xx", "grpc",
}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Side returns where a request that ended so was lost.
func (k Kind) Side() Side {
	switch {
	case k == Served:
		return Nobody
	case k == Aborted:
		return Client
	case k < Refused:
		return Gateway
	}
	return Endpoint
}

// Lost says whether a request that ended so is a loss.
func (k Kind) Lost() bool { return k > Aborted && k < Kinds }

// FailedCall says whether a status of gRPC is a loss: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
// DATA_LOSS, those that gRPC's mapping to HTTP gives a 5xx
// (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
func FailedCall(status int) bool {
	switch status {
	case 2, 4, 12, 13, 14, 15:
		return true
	}
	return false
}

// Sums are how many requests ended in each way.
type Sums [Kinds]uint64 //nolint:recvcheck // values are written, too

// Ended returns how many ended at all.
func (s *Sums) Ended() (n uint64) {
	for _, of := range s {
		n += of
	}
	return n
}

// Lost returns how many were lost.
func (s *Sums) Lost() (n uint64) {
	for k, of := range s {
		if Kind(k).Lost() { //nolint:gosec // there are twelve
			n += of
		}
	}
	return n
}

// LostAt returns how many were lost on one side.
func (s *Sums) LostAt(side Side) (n uint64) {
	for k, of := range s {
		if kind := Kind(k); kind.Lost() && kind.Side() == side { //nolint:gosec // there are twelve
			n += of
		}
	}
	return n
}

// Add adds what others counted.
func (s *Sums) Add(other *Sums) {
	for k, n := range other {
		s[k] += n
	}
}

// Since returns what came since before. A sum that is smaller than it was began anew.
func (s *Sums) Since(before *Sums) Sums {
	d := *s
	for k, n := range before {
		if n <= s[k] {
			d[k] -= n
		}
	}
	return d
}

// MarshalJSON writes an object of the kinds that are not 0: {"served": 12, "cut": 1}.
func (s Sums) MarshalJSON() ([]byte, error) {
	text := make([]byte, 0, 48) // there are one or two of them, mostly
	text = append(text, '{')
	for k, n := range s {
		if n == 0 {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(text, '"')
		text = append(text, kindNames[k]...)
		text = append(text, `":`...)
		text = strconv.AppendUint(text, n, 10)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote. A kind that there is not is an error.
func (s *Sums) UnmarshalJSON(text []byte) error {
	var object map[string]uint64
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	*s = Sums{}
read:
	for name, n := range object {
		for k, known := range kindNames {
			if name == known {
				s[k] = n
				continue read
			}
		}
		return fmt.Errorf("%q is no way in which a request ends; there are %q", name, kindNames)
	}
	return nil
}
