package warmup

import (
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// Where a move puts an endpoint that is half way up, now and a quarter of the window later.
func TestMovesPutAnEndpointOnItsCurve(t *testing.T) {
	w := fleet.Warmup{Window: 100 * time.Second}
	for move, want := range map[Move][2]float64{Skip: {1, 1}, Pause: {0.5, 0.5}, Resume: {0.5, 0.75}, Restart: {0, 0.25}} {
		m := move.Apply(fleet.Member{Endpoint: 3}, w, 50*time.Second)
		if now, later := Progress(w, m, 50*time.Second), Progress(w, m, 75*time.Second); now != want[0] || later != want[1] || m.Endpoint != 3 {
			t.Errorf("%v: endpoint %d is at %v and then at %v, want endpoint 3 at %v and %v", move, m.Endpoint, now, later, want[0], want[1])
		}
	}
}
