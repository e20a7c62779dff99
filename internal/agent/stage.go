package agent

import "fmt"

// A Stage is how far an instance is in its life, as its agent sees it.
type Stage uint8

// The stages, in the order in which they are passed. Any may be skipped; from every one before Withdrawing it may leave,
// and in every one its application may die.
const (
	Starting      Stage = iota // its application is being started
	Probing                    // that runs, and has not shown yet that it can serve
	Warming                    // it is sent warm-up requests, and nobody else's
	Delayed                    // it waits, because its Lifecycle says so
	Registering                // the registry is told, and has not been read to have it
	Registered                 // others may send to it; it warms up by share, in whoever does
	Warm                       // it gets its whole weight
	Refused                    // it failed its warm-up requests, and is not to register then
	Withdrawing                // it leaves: who follows the registry or control stops sending
	Deregistering              // it is taken out of the registry
	Lingering                  // callers that hear of neither have their time
	Finishing                  // what may be retried elsewhere is refused, what is open ends
	Offline                    // nothing is open, and nothing comes: it is safe to stop
	Stopping                   // its application is being stopped
	Died                       // its application ended by itself: the registry is told
	Ended                      // nothing is left of it
	stages        = int(Ended) + 1
)

func (s Stage) String() string {
	return [stages]string{
		"starting", "probing", "warming-requests", "delayed", "registering", "registered", "warm", "refused",
		"withdrawing", "deregistering", "lingering", "finishing", "offline", "stopping", "died", "ended",
	}[s]
}

// MarshalText makes a stage readable in JSON.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Stage) UnmarshalText(text []byte) error {
	for known := range Stage(stages) {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is no stage of an instance's life", text)
}

// leaving says whether an instance in this stage has been told to leave, and its application runs.
func (s Stage) leaving() bool { return s >= Withdrawing && s <= Stopping }

// A Listing is what a registry has of an instance, or should have.
type Listing uint8

// The listings.
const (
	Absent  Listing = iota // nothing
	Listed                 // the instance
	Leaving                // the instance, and that it leaves
	Asked                  // nobody knows: it has been asked to have the instance, and has not been read to
)

// A Following says whether control tells an agent what it knows of its instance.
type Following uint8

// The followings.
const (
	Nobody Following = iota // the agent follows no control
	Lost                    // it does, and control is away
	Linked                  // it does
)

// A Wish is what an instance is asked to do.
type Wish uint8

// The wishes; a greater one goes before a smaller one.
const (
	Stay  Wish = iota // serve
	Leave             // go offline, and let the application run
	Stop              // go offline, and end
)

// An Outcome is what became of the warm-up requests.
type Outcome uint8

// The outcomes.
const (
	Open   Outcome = iota // they have not ended
	Passed                // they have
	Failed                // more of them failed than may
)
