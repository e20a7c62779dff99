package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/health"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/warmup"
)

// A loop owns what the gateway knows: one goroutine, run, writes it and swaps the compiled state.
type loop struct {
	*Gateway
	proxy   *proxy.Proxy
	server  *serve.Server
	checker *health.Checker

	views    chan arrival
	saves    chan fleet.View // newest only
	verdicts chan health.Verdict
	notices  chan fleet.Event       // for control
	applied  chan struct{}          // rung after every new view; size one
	ready    chan struct{}          // closed when everything is served for the first time
	relieved chan struct{}          // closed when others answer health checks in our place
	began    atomic.Int64           // when the leave that people have heard of began, in Unix nanoseconds
	awaited  atomic.Pointer[string] // a service that has no endpoint yet

	admits    atomic.Bool // connections are accepted
	renewed   atomic.Bool // control has been found, or found again, since it was last told of everything that was counted
	unreached atomic.Bool // control could not be reached when it was asked first
	debut     debut       // until admits is set
	sums      *account    // for control: report's goroutine's

	// The following belong to run's goroutine.
	view    fleet.View
	overlay fleet.Overlay
	marks   marks        // of endpoints that say that they leave
	parting farewells    // endpoints that are about to be ended
	trouble string       // why not everything is served as it should be; "" when it is
	first   time.Time    // when everything was served for the first time
	wished  drain.Timers // of leaving, whether they are in force or cannot be
}

func newLoop(g *Gateway) *loop {
	g.Proxy.ID, g.Proxy.Log, g.Proxy.Front = g.ID, g.Log, g.Front
	l := &loop{
		Gateway:  g,
		debut:    newDebut(),
		sums:     newAccount(rand.Text(), time.Now()),
		proxy:    proxy.New(g.Proxy),
		views:    make(chan arrival),
		saves:    make(chan fleet.View, 1),
		verdicts: make(chan health.Verdict, 64),
		notices:  make(chan fleet.Event, 256),
		applied:  make(chan struct{}, 1),
		ready:    make(chan struct{}),
		relieved: make(chan struct{}),
		wished:   g.Timers,
		overlay:  fleet.Overlay{},
		marks:    marks{},
		parting:  farewells{},
	}
	l.admits.Store(g.Loan == nil)
	o := serve.Options{Timers: g.Timers, Moved: l.moved, Log: g.Log}
	if g.Loan != nil {
		o.Listen, o.Shared = g.Loan.Listen, g.Loan.Shared
	}
	l.server = serve.New(l.proxy, o)
	l.server.SetTimers(g.Timers) // whose zero value means what it says
	l.checker = &health.Checker{OnVerdict: func(v health.Verdict) { l.verdicts <- v }}
	return l
}

// run applies views and verdicts as they come, and compiles anew at every tick while somebody warms up.
func (l *loop) run(ctx context.Context) error {
	tick := time.NewTimer(l.tick())
	defer tick.Stop()
	if !l.admits.Load() {
		l.debut.begin(time.Now())
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-l.debut.late:
			err = l.overdue(ctx, time.Now())
		case l.debut.need = <-l.debut.told:
			err = l.admit(ctx, time.Now())
		case a := <-l.views:
			err = l.hear(ctx, a)
		case v := <-l.verdicts:
			each(v, l.verdicts, func(v health.Verdict) { l.mark(ctx, v, time.Now()) }) // what fails together is compiled once
			err = l.recompile(ctx, time.Now())
		case s := <-l.proxy.Signs():
			changed := false
			each(s, l.proxy.Signs(), func(s proxy.Sign) { changed = l.sign(ctx, s, time.Now()) || changed })
			if changed {
				err = l.recompile(ctx, time.Now())
			}
		case <-tick.C:
			err = l.recompile(ctx, time.Now())
		}
		for _, incarnation := range l.parting.due(time.Now()) {
			l.proxy.PartEndpoint(incarnation)
		}
		if err != nil {
			l.Log.ErrorContext(ctx, "a snapshot cannot be applied; the last one stays in force", "number", l.view.Number, "err", err)
		}
		tick.Reset(l.tick())
	}
}

// each does something with the first, and with all that wait behind it.
func each[T any](first T, rest <-chan T, do func(T)) {
	for {
		do(first)
		select {
		case first = <-rest:
		default:
			return
		}
	}
}

// An arrival is a view that comes from control; done is closed when it is in force, or refused.
type arrival struct {
	view fleet.View
	done chan struct{}
}

// take has a view applied and waits for it, so that whoever brings views knows what one costs.
func (l *loop) take(ctx context.Context, v fleet.View) {
	a := arrival{v, make(chan struct{})}
	select {
	case l.views <- a:
	case <-ctx.Done():
		return
	}
	select {
	case <-a.done:
	case <-ctx.Done():
	}
}

// apply puts a view in force: routes and balancers, listeners, and who is looked at. A view that does not compile
// changes nothing.
func (l *loop) apply(ctx context.Context, v fleet.View, now time.Time) error {
	own := v
	own.Snapshot = v.ServedAt(l.Address)
	state, err := l.compile(own, now)
	if err != nil {
		return err
	}
	first := l.view.Snapshot == nil
	l.view = own
	l.retime(ctx, own.Groups, first, now)
	l.bind(ctx, state, now)
	if l.Control == nil {
		return nil
	}
	select {
	case l.applied <- struct{}{}:
	default:
	}
	l.prune()
	l.parting.note(v, now)
	l.checker.Set(offered(v))
	if l.Gateway.State != "" {
		select {
		case <-l.saves: // overtaken
		default:
		}
		l.saves <- v
	}
	return nil
}

// bind serves the state's listeners. What cannot be served is told once, and tried again at every tick.
func (l *loop) bind(ctx context.Context, state *proxy.State, now time.Time) {
	if !l.admits.Load() {
		l.proxy.Swap(state)
		return
	}
	err := l.server.Apply(ctx, state)
	if errors.Is(err, serve.ErrStopped) { // draining: what is open still goes by what is true
		l.proxy.Swap(state)
		return
	}
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != l.trouble {
		l.notice(ctx, fleet.Event{Kind: "listener.failed", Reason: trouble}, now)
	}
	l.trouble = trouble
	l.open(now)
}

// recompile puts the shares of this moment and what was noted since in force.
func (l *loop) recompile(ctx context.Context, now time.Time) error {
	if l.view.Snapshot == nil {
		return nil
	}
	state, err := l.compile(l.view, now)
	switch {
	case err != nil:
	case l.trouble != "":
		l.bind(ctx, state, now)
	default:
		l.proxy.Swap(state)
		l.open(now)
	}
	return err
}

func (l *loop) compile(v fleet.View, now time.Time) (*proxy.State, error) {
	l.marks.prune(v, now)
	// The overlay is copied: what is published is never written again.
	return proxy.Compile(l.proxy.State(), v, l.marks.on(l.overlay, v), l.Gateway.Proxy, now)
}

// bindEvery is how often an address that could not be bound is tried again.
const bindEvery = time.Second

// tick is how soon run has something to do without being told: shares must be computed again after a hundredth of the
// shortest window that somebody is in, an address is tried again, or somebody's streams are to be ended.
func (l *loop) tick() time.Duration {
	wait := time.Hour
	if l.trouble != "" {
		wait = bindEvery
	}
	state := l.proxy.State()
	if state == nil {
		return wait
	}
	if !isClosed(l.ready) {
		wait = min(wait, firstLook)
	}
	for _, s := range state.Services() {
		for _, p := range s.Pools {
			if p.Balancer.Warming() {
				wait = min(wait, max(p.Balancer.Tick(), time.Millisecond))
			}
		}
	}
	return l.marks.next(time.Now(), l.parting.next(time.Now(), wait))
}

// mark notes in the overlay that an endpoint failed its checks, or passes them again.
func (l *loop) mark(ctx context.Context, v health.Verdict, now time.Time) {
	m := l.overlay[v.Key]
	if m.Ejected != v.Healthy { // ejected already, or healthy and never ejected
		return
	}
	e, progress := l.find(v.Key, now)
	if e == nil {
		return
	}
	event := fleet.Event{Endpoint: e.Name, Incarnation: v.Key, Reason: v.Reason}
	if v.Healthy {
		event.Kind = "endpoint.returned"
		l.overlay[v.Key] = fleet.Mark{Returned: now, Progress: m.Progress}
	} else {
		event.Kind = "endpoint.ejected"
		l.overlay[v.Key] = fleet.Mark{Ejected: true, Reason: v.Reason, Progress: progress}
	}
	l.notice(ctx, event, now)
}

// find returns an incarnation's endpoint, and what it has reached on the way to its full share, in the pool where
// that is least.
func (l *loop) find(incarnation string, now time.Time) (found *fleet.Endpoint, least float64) {
	if l.view.Snapshot == nil {
		return nil, 0
	}
	least = 1
	for i := range l.view.Services {
		s := &l.view.Services[i]
		for j := range s.Pools {
			for _, m := range s.Pools[j].Members {
				if e := &s.Endpoints[m.Endpoint]; e.Incarnation == incarnation {
					found = e
					least = min(least, warmup.Reached(s.Pools[j].Policy.WarmupOf(e), m, l.view.Age(e, now), l.overlay[incarnation], now))
				}
			}
		}
	}
	return found, least
}

// prune forgets what was noted about incarnations that are no more.
func (l *loop) prune() {
	exists := map[string]bool{}
	for i := range l.view.Services {
		for j := range l.view.Services[i].Endpoints {
			exists[l.view.Services[i].Endpoints[j].Incarnation] = true
		}
	}
	for incarnation := range l.overlay {
		if !exists[incarnation] {
			delete(l.overlay, incarnation)
		}
	}
}

// notice keeps an event for the next report; when too many wait, the log has them.
func (l *loop) notice(ctx context.Context, e fleet.Event, now time.Time) {
	e.Time, e.From = now.Round(0), l.ID
	l.Log.Log(ctx, gravity(e.Kind), "event", "kind", e.Kind, "endpoint", e.Endpoint, "reason", e.Reason)
	select {
	case l.notices <- e:
	default:
		l.Log.WarnContext(ctx, "an event is not reported: too many wait", "kind", e.Kind)
	}
}

// gravity is how loud the log tells of an event.
func gravity(kind string) slog.Level {
	switch kind {
	case "gateway.cut", "gateway.drain.refused":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// offered lists those who may get requests, each incarnation once.
func offered(v fleet.View) []health.Target {
	var targets []health.Target
	seen := map[string]bool{}
	for i := range v.Services {
		for j := range v.Services[i].Endpoints {
			e := &v.Services[i].Endpoints[j]
			if e.Stage.Offered() && !seen[e.Incarnation] {
				seen[e.Incarnation] = true
				t := health.NewTarget(e)
				t.Check.InitialDelay = 0 // it has passed
				targets = append(targets, t)
			}
		}
	}
	return targets
}
