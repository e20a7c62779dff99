package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/pace"
	"crossfade.dev/internal/store"
)

const (
	recallTime  = 5 * time.Second  // how long a start waits for the store
	recallAgain = time.Second      // from one try to the next, of everything that the store fails
	storeTime   = 10 * time.Second // of one request to the store
	renoted     = 10 * time.Minute // how often an age is noted again, for those who trust no wall clock that far
	grownUp     = 24 * time.Hour   // no warm-up lasts longer: an age above that need not be noted again
)

// A Keeper keeps in a store what control must not forget when its own snapshot is lost, and takes from there the
// Lifecycles that people have put in it.
type Keeper struct {
	Control *Control
	Store   store.Store
	Parse   func(name, text string) ([]fleet.Lifecycle, error)
	Boot    func() (id string, up time.Duration) // the boot of this machine, "" where that is not known
	Log     *slog.Logger

	mu       sync.Mutex // guards the following
	recalled bool
	noted    map[string]note // by incarnation
	unkept   bool            // the store may not have what is noted
	last     fleet.Event     // the newest that is kept
}

// A note is an age as it is kept, and when its incarnation was last there.
type note struct {
	store.Age

	seen time.Time
}

// Recall gives control what the store has kept. It tries for some seconds; Run goes on trying. Before it has been done
// nothing is kept, since that would forget the rest.
func (k *Keeper) Recall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	for {
		err := k.recall(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(recallAgain / 4):
		}
	}
}

func (k *Keeper) recall(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.recalled {
		return nil
	}
	ages, err := k.Store.Ages(ctx)
	if err != nil {
		return fmt.Errorf("recall ages: %w", err)
	}
	events, err := k.Store.Events(ctx)
	if err != nil {
		return fmt.Errorf("recall events: %w", err)
	}
	now := time.Now()
	boot, up := k.boot()
	k.noted = make(map[string]note, len(ages))
	old := make(map[string]time.Duration, len(ages))
	for incarnation, a := range ages {
		k.noted[incarnation] = note{a, now}
		old[incarnation] = ageNow(a, now, boot, up)
	}
	if n := len(events); n > 0 {
		k.last = events[n-1]
	}
	if err := k.Control.do(ctx, func(w *world, now time.Time) { w.remind(old, events, now) }); err != nil {
		return err
	}
	k.recalled = true
	return nil
}

func (k *Keeper) boot() (string, time.Duration) {
	if k.Boot == nil {
		return "", 0
	}
	return k.Boot()
}

// ageNow is an age that was noted a while ago. Within one boot nobody can set the clock that counts; otherwise the wall
// clock does, and one that went back adds nothing.
func ageNow(a store.Age, now time.Time, boot string, up time.Duration) time.Duration {
	passed := max(0, now.Sub(a.Noted))
	if boot != "" && boot == a.Boot {
		passed = max(0, up-a.Up)
	}
	return later(max(0, a.Age), passed)
}

// Run keeps until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { k.follow(ctx) })
	paced := pace.Pace{Factor: fortieth, Most: 10 * time.Second, Free: 20 * time.Millisecond}
	away := false
	for {
		now, changed := k.Control.watched()
		began := time.Now()
		err := k.keep(ctx, now.view)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrStopped):
			return err
		case err != nil && !away:
			k.Log.WarnContext(ctx, "ages and events are not kept", "err", err)
		case err == nil && away:
			k.Log.InfoContext(ctx, "ages and events are kept again")
		}
		if away = err != nil; away {
			changed = nil
		}
		paced.Spent(began, time.Now())
		if !rest(ctx, changed, recallAgain) || !rest(ctx, nil, paced.Wait(time.Now())) {
			return nil
		}
	}
}

// rest waits for so long, or until what is followed changes; false says that ctx has ended.
func rest(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-changed:
	case <-time.After(d):
	}
	return true
}

// keep keeps what is new in a view.
func (k *Keeper) keep(ctx context.Context, v fleet.View) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := k.recall(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.note(v, time.Now()) || k.unkept {
		k.unkept = true
		if err := k.Store.KeepAges(ctx, k.ages()); err != nil {
			return err
		}
		k.unkept = false
	}
	events := newEvents(v.Events, k.last)
	if len(events) == 0 {
		return nil
	}
	keep := slices.DeleteFunc(slices.Clone(events), func(e fleet.Event) bool { return e.Kind == progressed })
	if len(keep) > 0 {
		if err := k.Store.AddEvents(ctx, keep); err != nil {
			return err
		}
	}
	k.last = events[len(events)-1]
	return nil
}

// note notes the ages of a view, and says whether that is anything new. Of those who are not in it, as they may come
// back, it keeps what was noted for a while.
func (k *Keeper) note(v fleet.View, now time.Time) (fresh bool) {
	boot, up := k.boot()
	next := make(map[string]note, len(k.noted))
	for i := range v.Services {
		for j := range v.Services[i].Endpoints {
			e := &v.Services[i].Endpoints[j]
			if e.Stage == fleet.Starting && e.Age == 0 {
				continue
			}
			was, known := k.noted[e.Incarnation]
			is := note{store.Age{Age: v.Age(e, now), Noted: now.Round(0), Boot: boot, Up: up}, now}
			drift := ageNow(was.Age, now, boot, up) - is.Age.Age
			aged := now.Sub(was.Noted) > renoted && was.Age.Age < grownUp
			if known && drift.Abs() < time.Second && !aged {
				is.Age = was.Age
			} else {
				fresh = true
			}
			next[e.Incarnation] = is
		}
	}
	for incarnation, was := range k.noted {
		if _, there := next[incarnation]; there {
			continue
		}
		if now.Sub(was.seen) < memory && len(next) < store.MaxAges {
			next[incarnation] = was
		} else {
			fresh = true
		}
	}
	k.noted = next
	return fresh
}

func (k *Keeper) ages() map[string]store.Age {
	all := make(map[string]store.Age, len(k.noted))
	for incarnation, n := range k.noted {
		all[incarnation] = n.Age
	}
	return all
}

// newEvents are those after the last that is kept; all, where that is too long ago to be among them.
func newEvents(events []fleet.Event, last fleet.Event) []fleet.Event {
	for i, e := range slices.Backward(events) {
		if sameEvent(e, last) {
			return events[i+1:]
		}
	}
	return events
}

func sameEvent(a, b fleet.Event) bool {
	same := a.Time.Equal(b.Time)
	a.Time, b.Time = time.Time{}, time.Time{}
	return same && a == b
}

// follow takes the Lifecycles of the store until ctx ends.
func (k *Keeper) follow(ctx context.Context) {
	good := map[string][]fleet.Lifecycle{} // by name of the document: the last that could be read
	wrong := map[string]string{}           // why the one that is there cannot
	last := ""
	for ctx.Err() == nil {
		err := k.Store.Lifecycles(ctx, func(documents map[string]string) {
			last = "" // it is back: what fails from here on is news
			k.read(ctx, documents, good, wrong)
		})
		if err != nil && ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			k.Log.WarnContext(ctx, "lifecycles of the store", "err", err)
		}
		rest(ctx, nil, recallAgain)
	}
}

// read hands control the Lifecycles of these documents. Of one that is broken the last good one stays in force.
func (k *Keeper) read(ctx context.Context, documents map[string]string, good map[string][]fleet.Lifecycle, wrong map[string]string) {
	maps.DeleteFunc(good, func(name string, _ []fleet.Lifecycle) bool { _, there := documents[name]; return !there })
	maps.DeleteFunc(wrong, func(name, _ string) bool { _, there := documents[name]; return !there })
	var all []fleet.Lifecycle
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		list, err := k.Parse(name, documents[name])
		switch {
		case err == nil:
			good[name] = list
			delete(wrong, name)
		case wrong[name] != err.Error():
			wrong[name] = err.Error()
			if err := k.Control.Warn(ctx, "what is in the store is not in force: "+err.Error()); err != nil {
				return // control has stopped
			}
		}
		all = append(all, good[name]...)
	}
	if err := k.Control.Lifecycles(ctx, all); err != nil && ctx.Err() == nil {
		k.Log.ErrorContext(ctx, "lifecycles of the store", "err", err)
	}
}

// remind takes what a store remembers: how old incarnations are, and what happened. What control knows itself stays.
func (w *world) remind(ages map[string]time.Duration, events []fleet.Event, now time.Time) {
	for incarnation, age := range ages {
		l := w.lives[incarnation]
		switch {
		case l == nil:
			w.former[incarnation] = former{
				offered: now.Add(-age), learnt: now,
				why: fmt.Sprintf("control offered it %v ago, as its store remembers", age.Round(time.Millisecond)),
			}
		case l.hearsay && l.Stage != fleet.Serving: // a warm one stays warm
			l.Offered, l.hearsay = now.Add(-age), false
		}
	}
	if w.blank {
		w.blank, w.before = false, events[max(0, len(events)-history):]
	}
}
