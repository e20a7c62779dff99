package meter

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// MarshalJSON writes the count.
func (c *Counter) MarshalJSON() ([]byte, error) { return strconv.AppendUint(nil, c.Load(), 10), nil }

// UnmarshalJSON sets the count.
func (c *Counter) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	c.Reset()
	c.Add(n)
	return nil
}

// MarshalJSON writes the value.
func (g *Gauge) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, g.Load(), 10), nil }

// UnmarshalJSON sets the value.
func (g *Gauge) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	g.Add(n - g.Load())
	return nil
}

// sparse is a snapshot as JSON: most slots of most histograms are empty.
type sparse struct {
	Sum   time.Duration `json:"sum_ns,omitempty"`
	Slots [][2]uint64   `json:"slots,omitempty"` // which, and what it holds
}

// MarshalJSON writes what UnmarshalJSON reads.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	text := sparse{Sum: s.Sum}
	for i, n := range s.slots {
		if n > 0 {
			text.Slots = append(text.Slots, [2]uint64{uint64(i), n})
		}
	}
	return json.Marshal(text)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Snapshot) UnmarshalJSON(text []byte) error {
	var read sparse
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	*s = Snapshot{Sum: read.Sum}
	for _, slot := range read.Slots {
		if slot[0] >= slots {
			return fmt.Errorf("histogram: there is no slot %d", slot[0])
		}
		s.slots[slot[0]] += slot[1]
		s.Count += slot[1]
	}
	return nil
}
