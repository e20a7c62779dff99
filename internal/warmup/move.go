package warmup

import (
	"fmt"
	"time"

	"crossfade.dev/internal/fleet"
)

// A Move is what people do to an endpoint's warm-up.
type Move uint8

// The moves.
const (
	Skip    Move = iota // the ramp is over
	Pause               // the ramp stays where it is, however old the endpoint becomes
	Resume              // a paused ramp goes on from there
	Restart             // the ramp begins anew
)

var moveNames = [...]string{"skip", "pause", "resume", "restart"}

func (m Move) String() string {
	if int(m) < len(moveNames) {
		return moveNames[m]
	}
	return fmt.Sprintf("Move(%d)", uint8(m))
}

// MarshalText writes the move's name.
func (m Move) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a move's name.
func (m *Move) UnmarshalText(b []byte) error {
	for i, name := range moveNames {
		if name == string(b) {
			*m = Move(i)
			return nil
		}
	}
	return fmt.Errorf("%q is nothing to do to a warm-up; there are skip, pause, resume and restart", b)
}

// Apply returns the place of an endpoint of this age after the move. Its share jumps only where it is meant to:
// when its ramp is skipped or begins anew.
func (m Move) Apply(at fleet.Member, w fleet.Warmup, age time.Duration) fleet.Member {
	next := fleet.Member{Endpoint: at.Endpoint, Base: Progress(w, at, age), At: age, Manual: true, Moved: at.Moved}
	switch m {
	case Skip:
		next.Base = 1
		next.Moved = age
	case Restart:
		next.Base = 0
		next.Moved = age
	case Pause:
		next.Paused = true
	case Resume:
	}
	return next
}
