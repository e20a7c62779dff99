package fleet

import (
	"fmt"
	"time"
)

// An Algorithm chooses among the endpoints of a pool.
type Algorithm uint8

// The algorithms, under Istio's names. The zero value is Istio's default.
const (
	LeastRequest Algorithm = iota
	RoundRobin
)

var algorithmNames = [...]string{"LEAST_REQUEST", "ROUND_ROBIN"}

func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return fmt.Sprintf("Algorithm(%d)", uint8(a))
}

// MarshalText writes the algorithm's name.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads an algorithm's name.
func (a *Algorithm) UnmarshalText(b []byte) error {
	for i, name := range algorithmNames {
		if name == string(b) {
			*a = Algorithm(i)
			return nil
		}
	}
	return fmt.Errorf("unknown algorithm %q", b)
}

// A Policy says how a pool's endpoints share its requests.
type Policy struct {
	Algorithm   Algorithm `json:"algorithm"`
	Warmup      Warmup    `json:"warmup,omitzero"`
	ShiftBudget float64   `json:"shift_budget,omitempty"` // λ: warm endpoints carry at most λ times what they did; 0 means DefaultShiftBudget
}

// DefaultShiftBudget is λ where neither configuration nor reported utilisation says otherwise.
const DefaultShiftBudget = 2.0

// A Warmup is the curve on which a new endpoint's share grows. The zero value is off.
type Warmup struct {
	Window     time.Duration `json:"window_ns"`            // 0 is off
	Minimum    float64       `json:"minimum,omitempty"`    // share at age 0, as a fraction 0..1
	Aggression float64       `json:"aggression,omitempty"` // share = progress^(1/aggression); 0 means 1
}
