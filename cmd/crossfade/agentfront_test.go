package main

import (
	"testing"
	"time"

	"crossfade.dev/internal/drain"
)

// What stands before an instance closes a connection on which nobody asks only when nobody has asked on any for a moment,
// and well before what is open has had its time.
func TestFrontsHearWhoKeepsAConnection(t *testing.T) {
	const tick = 100 * time.Millisecond
	began := time.Unix(1_000_000, 0)
	leave := drain.NewLeave(frontTimers(), "its instance leaves", began)
	sight := drain.Sight{Conns: 2, Asked: began} // one of them asks every half second, three times, the other never
	asked := 3
	for now := began; ; now = now.Add(tick) {
		if at := now.Sub(began); at > 0 && at%(5*tick) == 0 && asked > 0 {
			asked--
			sight.Asked = now
		}
		if do := leave.Step(sight, now); do.Brief > 0 {
			quiet := now.Sub(sight.Asked)
			if asked > 0 || quiet < 5*tick || do.Brief != sight.Conns {
				t.Errorf("ends %d of %d, %v after somebody asked, who will ask %d times more", do.Brief, sight.Conns, quiet, asked)
			}
			break
		}
		if now.Sub(began) > time.Minute {
			t.Fatal("it ends nothing")
		}
	}
}
