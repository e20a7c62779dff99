package agent

import (
	"context"
	"maps"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// A wanted is what a registry should have of the instance.
type wanted struct {
	listing Listing
	serves  bool
	in      fleet.Instance
}

// A publishing is what the runner knows of the registry.
type publishing struct {
	now   wanted // what it should have
	wants latest[wanted]
	since time.Time // when it first had the instance; zero before
	wall  time.Time // likewise, by the wall clock, when it was first to have it
	away  string    // why it does not have what it should; "" when it does
}

// enlist wants of the registry what the life wants.
func (r *runner) enlist(now time.Time) {
	next := wanted{listing: r.now.Listing, serves: r.now.Serves && r.now.Listing == Listed}
	if next.listing == r.publish.now.listing && next.serves == r.publish.now.serves {
		return
	}
	next.in = r.instance(now)
	r.publish.now = next
	r.link.changed = true
	switch {
	case r.Registrar != nil:
		if r.sight.Listing == Absent && next.listing == Listed {
			r.sight.Listing = Asked // what is asked may be done although nobody hears that it was
		}
		r.publish.wants.put(next)
	case r.Control == nil:
		r.listed(next, nil)
	} // else the next report says it, and a view that it was heard
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

// publishing keeps the registry as it should be until ctx ends.
func (r *runner) publishing(ctx context.Context) {
	if r.Registrar == nil {
		return
	}
	r.tasks.Go(func() {
		told := func(err error) { r.do(func() { r.registry(err) }) }
		for {
			if err := r.Registrar.Run(ctx, told); err != nil && ctx.Err() == nil {
				told(err) // the application goes on without it
			}
			if !process.Pause(ctx, process.Redial().Max) {
				return
			}
		}
	})
	r.tasks.Go(func() { r.publishAll(ctx) })
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
				r.do(func() { r.cycles, r.read = cycles, true })
				return
			}
			r.do(func() { r.registry(err) })
			var wait time.Duration
			short, wait = process.Redial().After(short, time.Since(begun))
			if !process.Pause(ctx, wait) {
				return
			}
		}
	})
}

// registry takes in that the registry went away, or has everything again.
func (r *runner) registry(err error) {
	switch {
	case err != nil && r.publish.away == "":
		r.publish.away = err.Error()
		r.tell("registry.away", err.Error())
	case err == nil && r.publish.away != "":
		r.publish.away = ""
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
		if want.listing == Absent {
			done <- r.Registrar.Remove(ctx, r.Instance.Incarnation)
			return
		}
		done <- r.Registrar.Put(ctx, want.in)
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
	if err != nil {
		if r.publish.away == "" {
			r.publish.away = err.Error()
			r.tell("registration.failed", err.Error()+"; it is tried again")
		}
		return
	}
	r.publish.away = ""
	r.sight.Listing = w.listing
	if w.listing == Listed && r.publish.since.IsZero() {
		r.publish.since = time.Now()
	}
	if w.listing == Absent {
		r.link.changed = true
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
	if r.Registrar == nil && r.Control != nil {
		if l, heard := r.link.listing(r.publish.now); heard && l != r.sight.Listing {
			r.listed(wanted{listing: l}, nil)
		}
	}
	r.sight.Drained = r.link.drained(now)
	r.sight.Share = r.share(now)
	r.choose()
}

// labels are those that the instance carries.
func (r *runner) labels() map[string]string { return maps.Clone(r.Instance.Labels) }
