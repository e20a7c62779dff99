package fleet

import "fmt"

// A Stage is where an endpoint is in its life. Only lifecycle.Step changes it.
type Stage uint8

// The stages, in the order in which an endpoint passes them.
const (
	Starting Stage = iota // exists, has not passed its checks: gets nothing
	Warming               // offered to requests, share below 1
	Serving               // share 1
	Draining              // finishes what is open, gets nothing new
	Gone                  // left
)

var stageNames = [...]string{"Starting", "Warming", "Serving", "Draining", "Gone"}

func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}

// MarshalText writes the stage's name.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a stage's name.
func (s *Stage) UnmarshalText(b []byte) error {
	for i, name := range stageNames {
		if name == string(b) {
			*s = Stage(i)
			return nil
		}
	}
	return fmt.Errorf("unknown stage %q", b)
}

// Offered says whether requests may be sent to an endpoint in this stage.
func (s Stage) Offered() bool { return s == Warming || s == Serving }
