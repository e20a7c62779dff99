package agent

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/registry"
)

// quietly is how long an application may have registered nothing before people are told: it may do so late in its start.
const quietly = 10 * time.Second

// A wanted is what a registry should have of the instance.
type wanted struct {
	listing Listing // of control, where that is told
	gone    bool    // registries have nothing, although control has
	serves  bool
	ramp    float64
	in      fleet.Instance
}

// kept is what registries should have of it.
func (w *wanted) kept() Listing {
	if w.gone {
		return Absent
	}
	return w.listing
}

// A publishing is what the runner knows of those who are to have the instance: of its gate and its registry together,
// and of control, where no registry is.
type publishing struct {
	now   wanted // what they should have
	wants latest[wanted]
	kept  Listing         // what registries have been read to have
	heard Listing         // likewise control, of what it was told
	since time.Time       // when they first had the instance; zero before
	wall  time.Time       // likewise, by the wall clock, when they were first to have it
	away  string          // why they do not have what they should; "" when they do
	told  bool            // people have been told so
	lost  map[string]bool // those that went away
	idle  time.Time       // when the application was first found to have registered nothing; zero: it has
}

// overFeed says whether control is to have the instance by being told.
func (r *runner) overFeed() bool { return r.Registrar == nil && r.Control != nil }

// have says what has been read of the instance everywhere; where it differs, nobody knows.
func (r *runner) have() Listing {
	switch {
	case !r.overFeed(), r.Gate != nil && r.publish.kept == r.publish.heard:
		return r.publish.kept
	case r.Gate == nil:
		return r.publish.heard
	}
	return Asked
}

// enlist wants of everybody what the life wants.
func (r *runner) enlist(now time.Time) {
	next := wanted{listing: r.now.Listing, gone: r.now.Gone, serves: r.now.Serves && r.now.Listing == Listed, ramp: r.publish.now.ramp}
	if next.listing == Listed {
		next.ramp = r.now.Ramp
	}
	was := &r.publish.now
	if next.listing == was.listing && next.gone == was.gone && next.serves == was.serves && next.ramp == was.ramp {
		return
	}
	next.in = r.instance(now)
	r.publish.now = next
	r.link.changed = true
	switch {
	case len(r.registrars) > 0:
		if r.publish.kept == Absent && next.listing == Listed {
			r.publish.kept = Asked // what is asked may be done although nobody hears that it was
		}
		r.publish.wants.put(next)
	case r.Control == nil:
		r.listed(next, nil)
	} // else the next report says it, and a view that it was heard
	r.sight.Listing = r.have()
}

// instance is what is published now.
func (r *runner) instance(now time.Time) fleet.Instance {
	in := r.published()
	in.Ready = r.now.Listing == Listed && r.now.Serves
	if r.life.Stage().leaving() {
		in.Leaving, in.Bound = true, r.life.Bound(now)
	}
	if w := r.life.cycle.Warmup; w.Window > 0 {
		in.Warmup = &w
	}
	if r.now.Listing == Absent {
		return in
	}
	in.Ramp = r.now.Ramp
	if r.publish.wall.IsZero() {
		r.publish.wall = now.Round(0)
	}
	in.Published = &fleet.Published{Started: r.born.Round(0), Registered: r.publish.wall}
	if !r.publish.since.IsZero() {
		in.Published.Registered = now.Round(0)
		in.Published.Age = now.Sub(r.publish.since)
	}
	return in
}

// holding runs what stands between the application and its own registries until ctx ends.
func (r *runner) holding(ctx context.Context) {
	if r.Gate == nil {
		return
	}
	r.Gate.Tell = func(kind, reason string) { r.do(func() { r.tell(kind, reason) }) }
	r.keep(ctx, "registration proxies", func(ctx context.Context) error {
		return r.Gate.Run(ctx, func(err error) { r.do(func() { r.registry("gate", err) }) })
	})
}

// publishing keeps registries as they should be until ctx ends.
func (r *runner) publishing(ctx context.Context) {
	if r.Registrar != nil {
		r.tasks.Go(func() {
			told := func(err error) { r.do(func() { r.registry("registry", err) }) }
			for {
				if err := r.Registrar.Run(ctx, told); err != nil && ctx.Err() == nil {
					told(err) // the application goes on without it
				}
				if !process.Pause(ctx, process.Redial().Max) {
					return
				}
			}
		})
	}
	if len(r.registrars) > 0 {
		r.tasks.Go(func() { r.publishAll(ctx) })
	}
}

// reading finds out which Lifecycles people have put into the registry, where nobody else says which one holds. An
// instance does not register before that is known: which of them would hold for it may say when it may.
func (r *runner) reading(ctx context.Context) {
	if r.Lifecycles == nil || r.Control != nil || r.Lifecycle != nil {
		return
	}
	r.tasks.Go(func() {
		for short := 0; ; {
			begun := time.Now()
			cycles, err := r.Lifecycles(ctx)
			if err == nil {
				r.do(func() {
					r.cycles, r.read = cycles, true
					r.registry("Lifecycles", nil)
				})
				return
			}
			r.do(func() { r.registry("Lifecycles", err) })
			var wait time.Duration
			short, wait = process.Redial().After(short, time.Since(begun))
			if !process.Pause(ctx, wait) {
				return
			}
		}
	})
}

// registry takes in that one of them went away, or has everything again.
func (r *runner) registry(which string, err error) {
	p := &r.publish
	was := p.lost[which]
	if err != nil {
		p.lost[which] = true
		if !was && !p.told {
			p.away, p.told = err.Error(), true
			r.tell("registry.away", p.away)
		}
		return
	}
	delete(p.lost, which)
	if was && len(p.lost) == 0 {
		p.away, p.told = "", false
		r.tell("registry.back", "")
	}
}

// publishAll has the registry brought to what is wanted last, and again until it has been read to have it.
func (r *runner) publishAll(ctx context.Context) {
	var want wanted
	for {
		select {
		case want = <-r.publish.wants:
		case <-ctx.Done():
			return
		}
		for short := 0; ; {
			begun := time.Now()
			newer, err := r.attempt(ctx, want)
			if ctx.Err() != nil {
				return
			}
			if newer != nil {
				want = *newer
				continue
			}
			asked := want
			r.do(func() { r.listed(asked, err) })
			if err == nil {
				break
			}
			var wait time.Duration
			short, wait = process.Redial().After(short, time.Since(begun))
			select {
			case want = <-r.publish.wants:
			case <-time.After(process.Jitter(wait)):
			case <-ctx.Done():
				return
			}
		}
	}
}

// attempt asks the registry once for what is wanted. When something newer is wanted before it has answered, it returns
// that.
func (r *runner) attempt(ctx context.Context, want wanted) (newer *wanted, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		if want.kept() == Absent {
			done <- r.registrars.each(func(one registry.Registrar) error { return one.Remove(ctx, r.Instance.Incarnation) })
			return
		}
		done <- r.registrars.each(func(one registry.Registrar) error { return one.Put(ctx, want.in) })
	}()
	select {
	case err := <-done:
		return nil, err
	case next := <-r.publish.wants:
		cancel()
		<-done //nolint:errcheck // it is not wanted any more
		return &next, nil
	case <-ctx.Done():
		return nil, <-done
	}
}

// listed takes in what became of a wish.
func (r *runner) listed(w wanted, err error) {
	p := &r.publish
	if err != nil {
		r.unlisted(err)
		return
	}
	p.away, p.told, p.idle = "", false, time.Time{}
	p.kept = w.kept()
	r.first(p.kept)
	if p.kept == Absent {
		r.link.changed = true
	}
	r.sight.Listing = r.have()
}

// unlisted takes in why somebody does not have what he should.
func (r *runner) unlisted(err error) {
	p := &r.publish
	nothing := errors.Is(err, hold.ErrNothing)
	if nothing && p.idle.IsZero() {
		p.idle = time.Now()
	}
	if p.told {
		return
	}
	p.away = strings.ReplaceAll(err.Error(), "\n", "; ")
	if !nothing || time.Since(p.idle) >= quietly {
		p.told = true
		r.tell("registration.failed", p.away+"; it is tried again")
	}
}

// first takes in since when others may send to the instance.
func (r *runner) first(l Listing) {
	if l == Listed && r.publish.since.IsZero() {
		r.publish.since = time.Now()
	}
}

// sense brings the sight up to date with what changes by itself.
func (r *runner) sense(now time.Time) {
	if r.Front != nil {
		seen := r.Front.Seen()
		r.sight.Front = &seen
	}
	r.sight.Control = r.link.following()
	if r.Control == nil {
		r.sight.Control = Nobody
	}
	if l, heard := r.link.listing(r.publish.now); heard && r.overFeed() && l != r.publish.heard {
		r.publish.heard = l
		r.link.changed = r.link.changed || l == Absent
		if r.Gate == nil {
			r.first(l)
		}
	}
	r.sight.Listing, r.sight.Since = r.have(), r.publish.since
	r.sight.Drained = r.link.drained(now)
	r.sight.Share = r.share(now)
	r.choose()
}

// labels are those that the instance carries.
func (r *runner) labels() map[string]string { return maps.Clone(r.Instance.Labels) }
