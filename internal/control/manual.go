package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lifecycle"
	"crossfade.dev/internal/warmup"
)

// What commands about endpoints fail with.
var (
	// ErrNoEndpoint says that there is no endpoint of that name.
	ErrNoEndpoint = errors.New("no such endpoint")
	// ErrRefused says that a command makes no sense for an endpoint as it is now.
	ErrRefused = errors.New("refused")
)

// MaxFactor bounds what people may multiply an endpoint's weight by.
const MaxFactor = 10

// A Target is what a command is about: a workload, a gateway, or an endpoint: then all that have the name, in every service of the
// namespace.
type Target struct {
	Namespace string
	Name      string // of an endpoint, as in fleet.Endpoint
	By        string // who asks; "" is somebody
}

// Move moves an endpoint on its warm-up curves: in every pool of every service that it is in. The error wraps
// ErrNoEndpoint or ErrRefused.
func (c *Control) Move(ctx context.Context, t Target, m warmup.Move) error {
	return c.commandEndpoint(ctx, t, m.String()+" the warm-up of", func(w *world, s *subject, now time.Time) error {
		return w.move(s, m, t, now)
	})
}

// Weigh multiplies an endpoint's weight by a factor, 0 to MaxFactor, for as long as its incarnation lives: 0 drains
// it without stopping it, 1 takes every other factor back. The error wraps ErrNoEndpoint or ErrRefused.
func (c *Control) Weigh(ctx context.Context, t Target, factor float64) error {
	if !(factor >= 0 && factor <= MaxFactor) {
		return fmt.Errorf("weight of %s/%s: the factor is %v, it must be 0 to %d", t.Namespace, t.Name, factor, MaxFactor)
	}
	return c.commandEndpoint(ctx, t, "weigh", func(w *world, s *subject, now time.Time) error {
		return w.weigh(s, factor, t, now)
	})
}

// by names who asks, in words that fit into a sentence.
func (t Target) by() string {
	if who := t.who(); who != "" {
		return "by " + who
	}
	return "by hand"
}

// who names who asks, in a word that fits into a line; "" is somebody.
func (t Target) who() string { return printable(t.By) }

func printable(by string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, by)
	if r := []rune(name); len(r) > 64 {
		name = string(r[:64])
	}
	return name
}

// A subject is one incarnation that a command is about.
type subject struct {
	*life

	incarnation string
	age         time.Duration
	optedOut    bool
	recovers    bool    // a gateway took it back so short a time ago that it may be on its way there
	curves      []curve // of its pools that have a warm-up
}

// A curve is one on which a subject is.
type curve struct {
	*pool
	spot
}

func (c *curve) whole(age time.Duration) bool { return warmup.Progress(c.curve, c.Member, age) >= 1 }

// progress is how far the subject is where it is least far.
func (s *subject) progress() float64 {
	least := 1.0
	for _, c := range s.curves {
		least = min(least, warmup.Progress(c.curve, c.Member, s.age))
	}
	return least
}

func (s *subject) paused() bool {
	return slices.ContainsFunc(s.curves, func(c curve) bool { return c.Paused })
}

// grows says whether time lifts its share in any pool.
func (s *subject) grows() bool {
	return slices.ContainsFunc(s.curves, func(c curve) bool { return !c.Paused && !c.whole(s.age) })
}

func (c *Control) commandEndpoint(ctx context.Context, t Target, what string, f func(*world, *subject, time.Time) error) error {
	var err error
	ran := c.command(ctx, func(w *world, now time.Time) { err = w.command(t, what, now, f) })
	return errors.Join(ran, err)
}

// command calls f with everyone whom t names and who is not leaving. It fails when there is nobody, or when f
// refuses all.
func (w *world) command(t Target, what string, now time.Time, f func(*world, *subject, time.Time) error) error {
	subjects, err := w.subjects(t, now)
	if err != nil {
		return err
	}
	var refusals []error
	for _, s := range subjects {
		if err := f(w, s, now); err != nil {
			refusals = append(refusals, err)
		}
	}
	if len(refusals) == len(subjects) {
		return fmt.Errorf("%s %s/%s: %w", what, t.Namespace, t.Name, refusals[0])
	}
	return nil
}

// subjects finds whom t names in the newest snapshot, as they are at now.
func (w *world) subjects(t Target, now time.Time) ([]*subject, error) {
	var found []*subject
	var names []string
	leaving := false
	for i := range w.view.Services {
		s := &w.view.Services[i]
		if s.Namespace != t.Namespace {
			continue
		}
		for j := range s.Endpoints {
			e := &s.Endpoints[j]
			names = append(names, e.Name)
			l := w.lives[e.Incarnation]
			switch known := slices.ContainsFunc(found, func(s *subject) bool { return s.incarnation == e.Incarnation }); {
			case e.Name != t.Name || l == nil || known:
			case l.Stage == fleet.Draining || l.Stage == fleet.Gone:
				leaving = true
			default:
				found = append(found, w.subject(l, e, now))
			}
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case leaving:
		return nil, fmt.Errorf("%s/%s: %w: it is draining, and gets nothing new", t.Namespace, t.Name, ErrRefused)
	}
	if own := w.endpointsOf(t); len(own) > 0 {
		return nil, fmt.Errorf("%s/%s: %w: %s is a deployment; its endpoints: %s", t.Namespace, t.Name, ErrNoEndpoint, t.Name, strings.Join(own, ", "))
	}
	return nil, fmt.Errorf("%s/%s: %w; %s", t.Namespace, t.Name, ErrNoEndpoint, thereAre(names))
}

// endpointsOf lists the endpoints of the deployment that has the name of t.
func (w *world) endpointsOf(t Target) []string {
	var names []string
	for i := range w.view.Instances {
		if in := &w.view.Instances[i]; in.Namespace == t.Namespace && in.Workload == t.Name && !in.Leaving {
			names = append(names, in.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// subject is the incarnation of e with all curves on which it is, of whatever service.
func (w *world) subject(l *life, e *fleet.Endpoint, now time.Time) *subject {
	s := &subject{life: l, incarnation: e.Incarnation, age: l.Age(now), optedOut: optedOut(e)}
	for i := range w.view.Services {
		of := &w.view.Services[i]
		for j := range of.Pools {
			p := &of.Pools[j]
			for _, m := range p.Members {
				inForce := p.Policy.WarmupOf(&of.Endpoints[m.Endpoint])
				if of.Endpoints[m.Endpoint].Incarnation == e.Incarnation && inForce.Window > 0 {
					known := w.pool(of.Name, p.Subset)
					at, moved := l.at[known]
					if !moved {
						at = spot{m, inForce}
					}
					s.curves = append(s.curves, curve{known, at})
					s.recovers = s.recovers || !l.returned.IsZero() && now.Sub(l.returned) < inForce.Window
				}
			}
		}
	}
	return s
}

// thereAre lists names, if they are not too many to read.
func thereAre(names []string) string {
	const most = 20
	slices.Sort(names)
	names = slices.Compact(names)
	switch n := len(names); {
	case n == 0:
		return "there are none in this namespace"
	case n > most:
		return fmt.Sprintf("there are: %s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return "there are: " + strings.Join(names, ", ")
}

// move moves a subject on all its curves, and tells so.
func (w *world) move(s *subject, m warmup.Move, t Target, now time.Time) error {
	by := t.by()
	if reason := s.refuses(m); reason != "" {
		return fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	way := math.Floor(1000*s.progress()) / 10 // never 100 before it is over
	reason := fmt.Sprintf("%s, at %v %% of the way", by, way)
	if m == warmup.Restart {
		reason = fmt.Sprintf("%s; it was at %v %%", by, way)
	}
	for _, c := range s.curves {
		switch {
		case m == warmup.Restart:
			c.capacity.Forget(s.incarnation)
		case m == warmup.Skip && s.recovers: // what gateways noted no longer counts, also where control has it whole
		case c.whole(s.age), m == warmup.Resume && !c.Paused, m == warmup.Pause && c.Paused:
			continue
		}
		s.at[c.pool] = spot{m.Apply(c.Member, c.curve, s.age), c.curve}
	}
	switch m {
	case warmup.Restart:
		s.skipped = ""
		before := len(w.told)
		w.advance(s.life, s.incarnation, lifecycle.Rewarm, reason, now)
		for i := range w.told[before:] {
			w.told[before+i].By = t.who()
		}
		return nil
	case warmup.Skip:
		s.skipped = "its warm-up was skipped " + by
		if s.progress() >= 1 {
			reason = by + ", on its way back from failed checks"
		}
		s.returned = time.Time{}
	case warmup.Pause, warmup.Resume:
	}
	kinds := map[warmup.Move]string{warmup.Skip: "warmup.skipped", warmup.Pause: "warmup.paused", warmup.Resume: "warmup.resumed"}
	w.tell(fleet.Event{Kind: kinds[m], Endpoint: s.name, Incarnation: s.incarnation, Reason: reason, By: t.who()}, now)
	return nil
}

// refuses says why a move makes no sense now; "" when it does.
func (s *subject) refuses(m warmup.Move) string {
	switch {
	case len(s.curves) == 0:
		return "none of its pools has a warm-up; set one in a DestinationRule (trafficPolicy.loadBalancer.warmup) or in a Lifecycle"
	case s.Stage == fleet.Starting && m != warmup.Skip:
		return "it is not offered to requests now: its checks have not passed"
	case s.resting:
		return "its weight is 0: it warms up when it has one, from half of what it had reached"
	case m == warmup.Restart && s.optedOut:
		return "its label " + fleet.WarmupLabel + " is off"
	case m == warmup.Restart:
		return ""
	case m == warmup.Skip && s.recovers:
		return ""
	case s.progress() >= 1:
		return "its warm-up is over"
	case m == warmup.Pause && !s.grows():
		return "its warm-up is paused already"
	case m == warmup.Resume && !s.paused():
		return "its warm-up is not paused"
	}
	return ""
}

// weigh changes what a subject's weight is multiplied by, and tells so.
func (w *world) weigh(s *subject, factor float64, t Target, now time.Time) error {
	was := 1.0
	if s.factor != nil {
		was = *s.factor
	}
	if was == factor {
		return nil
	}
	s.factor = &factor
	if factor == 1 {
		s.factor = nil
	}
	reason := fmt.Sprintf("%s: its weight × %v, until now × %v", t.by(), factor, was)
	w.tell(fleet.Event{Kind: "weight.changed", Endpoint: s.name, Incarnation: s.incarnation, Reason: reason, By: t.who()}, now)
	return nil
}
