package warmup

import (
	"time"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
)

// Progress returns how far an endpoint of this age has come on the curve w that holds for it in its pool (see
// [fleet.Policy.WarmupOf]), 0 to 1, as control sees it.
// Without a window everybody has arrived; who is paused, or drained, stays where it was then.
func Progress(w fleet.Warmup, m fleet.Member, age time.Duration) float64 {
	if m.Paused || m.Drained {
		age = m.At
	}
	return curve.Progress(m.Base, age, m.At, w.Window)
}

// Share returns the part of its full weight, 0 to 1, that the curve gives an endpoint at progress.
func Share(w fleet.Warmup, progress float64) float64 {
	if w.Window <= 0 {
		return 1
	}
	return curve.Share(progress, w.Minimum, w.Aggression)
}

// Reentry returns the progress of an endpoint that this data plane had left out and took back: half of what it
// had reached, growing from there at the ordinary pace, and never ahead of what control published.
func Reentry(w fleet.Warmup, published float64, mark fleet.Mark, now time.Time) float64 {
	if mark.Returned.IsZero() {
		return published
	}
	half := curve.Unit(mark.Progress) / 2
	return min(published, curve.Progress(half, now.Sub(mark.Returned), 0, w.Window))
}

// Reached returns how far member m of this age has come in a data plane that has noted mark: as Reentry says, unless
// somebody has skipped or restarted the warm-up since it was taken back.
func Reached(w fleet.Warmup, m fleet.Member, age time.Duration, mark fleet.Mark, now time.Time) float64 {
	published := Progress(w, m, age)
	if m.Moved > 0 && now.Sub(mark.Returned) >= age-m.Moved {
		return published
	}
	return Reentry(w, published, mark, now)
}

// Rest returns the place of an endpoint of this age whose weight has become 0. It stays where it is: whoever gets no
// requests warms nothing.
func Rest(m fleet.Member, w fleet.Warmup, age time.Duration) fleet.Member {
	m.Base, m.At, m.Drained = Progress(w, m, age), age, true
	return m
}

// Return returns the place of an endpoint of this age that has rested and has weight again: as in Reentry, half of
// what it had reached. Who had reached nothing begins its ramp now.
func Return(m fleet.Member, age time.Duration) fleet.Member {
	m.Base, m.At, m.Drained = curve.Unit(m.Base)/2, age, false
	m.Recovered = m.Base > 0
	m.Manual = m.Manual && m.Paused
	return m
}

// Rebase returns the place of an endpoint of this age on the curve of next, so that its share is the same as it
// was on the curve of last:
//
//   - a new window keeps progress; a new curve keeps the share, at the progress share^aggression;
//   - who had arrived stays so, also when warm-up is switched on for a living fleet;
//   - without a window everybody has arrived, and has still when it is switched on again.
//
// Only a greater minimum lifts a share at once, to that minimum. Who is paused stays so, at the same share.
func Rebase(m fleet.Member, last, next fleet.Warmup, age time.Duration) fleet.Member {
	if last == next {
		return m
	}
	p := Progress(last, m, age)
	if next.Window <= 0 {
		p = 1
	}
	if share := Share(last, p); p < 1 && Share(next, p) != share {
		p = curve.Inverse(share, next.Aggression)
	}
	m.Base, m.At = p, age
	return m
}

// Pace returns the warm-up by which pool p of service s goes at now: its policy's, or, where endpoints go by their own,
// that of the shortest window that somebody is in. It is off when nobody is in any.
func Pace(v fleet.View, s *fleet.Service, p *fleet.Pool, o fleet.Overlay, now time.Time) fleet.Warmup {
	pace := p.Policy.Warmup
	if pace.Window > 0 {
		return pace
	}
	for _, m := range p.Members {
		e := &s.Endpoints[m.Endpoint]
		w := p.Policy.WarmupOf(e)
		if w.Window <= 0 || pace.Window > 0 && w.Window >= pace.Window || !e.Stage.Offered() {
			continue
		}
		if Reached(w, m, v.Age(e, now), o[e.Incarnation], now) < 1 {
			pace = w
		}
	}
	return pace
}

// Tick returns how often a pool in which somebody warms up is to be compiled again: every hundredth of the
// window that it goes by, and every second at least. It is 0 without a window.
func Tick(w fleet.Warmup) time.Duration {
	return min(time.Second, max(0, w.Window)/100)
}
