package pace_test

import (
	"testing"
	"time"

	"crossfade.dev/internal/pace"
)

func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		costs []time.Duration
		want  time.Duration // from the end of the last
	}{
		{"what was never done", nil, 0},
		{"what costs next to nothing", []time.Duration{ms / 2, ms / 2, ms / 2, ms / 2, ms / 2}, 0},
		{"what is not known well", []time.Duration{50 * ms, 50 * ms, 50 * ms}, 0},
		{"twenty times the cost", []time.Duration{10 * ms, 10 * ms, 10 * ms, 10 * ms}, 190 * ms},
		{"one that was interrupted", []time.Duration{ms / 2, ms / 2, 500 * ms, ms / 2}, 0},
		{"what became dearer", []time.Duration{ms, 20 * ms, 20 * ms, 20 * ms, 20 * ms}, 380 * ms},
		{"at most", []time.Duration{300 * ms, 300 * ms, 300 * ms, 300 * ms}, 700 * ms},
	} {
		p := pace.Pace{Factor: 20, Most: time.Second, Free: ms}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, cost := range test.costs {
			p.Spent(now, now.Add(cost))
			now = now.Add(cost)
		}
		if got := p.Wait(now); got != test.want {
			t.Errorf("%s: wait %v, want %v", test.name, got, test.want)
		}
		if got := p.Wait(now.Add(test.want)); got != 0 {
			t.Errorf("%s: wait %v when the time has come, want 0", test.name, got)
		}
	}
}
