package local

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// reporter is the name under which control knows this room.
const reporter = "local"

// Run runs what control asks for until ctx ends. Then all replicas leave, at the same time, and Run returns
// when nothing of them is left.
func (rt *Runtime) Run(ctx context.Context) error {
	// Those who leave still need control and their own goroutines when ctx has ended.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()

	r := &runner{
		Runtime: *rt,
		others:  &others,
		records: map[string]*record{},
		born:    map[string]int{},
		began:   time.Now(),
		views:   make(chan fleet.View),
		news:    make(chan news),
		heard:   make(chan hearing, 1),
	}
	r.machine = cmp.Or(r.machine, thisMachine())
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	if r.Env == nil {
		r.Env = os.Environ()
	}
	others.Go(func() { r.follow(work) })
	r.loop(work, ctx.Done())
	return nil
}

// A runner is one call of Run. Its goroutine alone touches its fields.
type runner struct {
	Runtime
	others *sync.WaitGroup

	picture  picture // its Snapshot is nil before the first
	records  map[string]*record
	homes    homes
	born     map[string]int // replicas that a workload has had
	began    time.Time
	echoed   map[string]time.Time // what agents had told by the last snapshot, by who told it
	stopping bool                 // Run was told to end
	stopAt   time.Time            // when
	retry    time.Time            // when to look for addresses again

	// Of the report.
	dead      []death       // oldest first; bounded
	events    []fleet.Event // that control has not heard
	dropped   int           // events that were in events before
	changed   bool          // since the last report
	reporting bool
	reported  time.Time

	views chan fleet.View
	news  chan news
	heard chan hearing
}

// follow hands control's views to the runner until ctx ends, whatever happens to the link.
func (r *runner) follow(ctx context.Context) {
	for short := 0; ; {
		begun, linked := time.Now(), false
		err := r.Feed.Follow(ctx, feed.Hello{ID: reporter, Role: reporter}, func(v fleet.View) {
			linked = true
			select {
			case r.views <- v:
			case <-ctx.Done():
			}
		})
		if linked && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "control is away; everything goes on running", "error", err)
		}
		var wait time.Duration
		short, wait = process.Redial().After(short, time.Since(begun))
		if !process.Pause(ctx, process.Jitter(wait)) {
			return
		}
	}
}

// loop takes in what happens and acts on it until all is over.
func (r *runner) loop(ctx context.Context, stop <-chan struct{}) {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for !r.over() {
		select {
		case <-stop:
			stop, r.stopping, r.stopAt = nil, true, time.Now()
		case v := <-r.views:
			r.see(ctx, v)
		case n := <-r.news:
			r.hear(ctx, n)
		case h := <-r.heard:
			r.confirm(h)
		case <-ticker.C:
		}
		now := time.Now()
		r.forget(now)
		r.assess(now)
		r.decide(ctx, now)
		r.urge(now)
		r.report(ctx, now)
	}
}

// over says whether Run was told to end, nothing is left, and control has been told so or cannot be.
func (r *runner) over() bool {
	return r.stopping && len(r.records) == 0 && !r.changed && !r.reporting
}

func (r *runner) see(ctx context.Context, v fleet.View) {
	if v.Snapshot == nil || v.Config == "" {
		return // control has read no configuration yet: it asks for nothing, rather than that all should end
	}
	r.picture = pictureOf(v.Snapshot)
	for _, rec := range r.records {
		rec.look(r.picture)
	}
	r.disown(time.Now())
	r.echo(ctx)
	r.changed = true // it is applied
}

func (r *runner) hear(ctx context.Context, n news) {
	rec := r.records[n.of.key]
	if was := rec.incarnation; was != n.state.incarnation && was != "" {
		r.bury(was, time.Now())
	}
	rec.state = n.state
	rec.begun = rec.begun || n.state.died
	r.changed = true
	if n.event.Kind != "" {
		r.tell(ctx, n.event)
	}
	if n.state.ended {
		delete(r.records, n.of.key)
		r.homes.leave(n.of.home)
	}
}

func (r *runner) tell(ctx context.Context, e fleet.Event) {
	r.log(ctx, e)
	r.events = append(r.events, e)
	r.drop(len(r.events) - maxEvents)
	r.changed = true
}

// echo logs what agents have told control since the last snapshot, as what this room tells is logged.
func (r *runner) echo(ctx context.Context) {
	echoed := map[string]time.Time{}
	for _, e := range r.picture.Events {
		if !strings.HasPrefix(e.From, "agent/") {
			continue
		}
		if last, known := r.echoed[e.From]; e.Time.After(last) && (known || e.Time.After(r.began)) {
			r.log(ctx, e)
		}
		echoed[e.From] = e.Time // an agent tells things in their order
	}
	r.echoed = echoed
}

func (r *runner) log(ctx context.Context, e fleet.Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case "instance.died", "instance.killed", "probe.failed", "prestop.failed", "drain.overdue", "registration.failed", "registration.refused", "registry.away":
		level = slog.LevelWarn
	}
	r.Log.Log(ctx, level, "replica", "event", e.Kind, "name", e.Endpoint, "incarnation", e.Incarnation, "reason", e.Reason)
}

// assess notes since when each instance has been serving.
func (r *runner) assess(now time.Time) {
	if r.picture.Snapshot == nil {
		return
	}
	for _, rec := range r.records {
		switch serves := rec.serves(r.picture); {
		case !serves:
			rec.serving = time.Time{}
		case rec.serving.IsZero():
			rec.serving = now
		}
	}
}

// decide makes the plan of each workload and carries it out, as far as replicas may begin at a time: it is called
// again when the next one has begun, and plans anew.
func (r *runner) decide(ctx context.Context, now time.Time) {
	if r.stopping {
		for _, rec := range r.sorted() {
			r.dismiss(ctx, rec, "crossfade stops")
		}
		return
	}
	if r.picture.Snapshot == nil {
		return
	}
	crews := map[string][]replica{}
	beginning := 0
	wanted := map[string]bool{}
	for _, rec := range r.sorted() {
		key := keyOf(rec.workload)
		crews[key] = append(crews[key], replica{rec.key, rec.workload.Revision, rec.started, rec.serving, rec.leaving})
		if !rec.begun && now.Sub(rec.started) < beginPatience {
			beginning++
		}
	}
	for i := range r.picture.Workloads {
		w := &r.picture.Workloads[i]
		wanted[keyOf(w)] = true
		d := plan(w, crews[keyOf(w)], now)
		for _, k := range d.leave {
			r.dismiss(ctx, r.records[k], reason(r.records[k].workload, w))
		}
		for range min(d.start, maxBeginning-beginning) {
			if !r.hire(ctx, w, now) {
				break // there is no place for more; later
			}
			beginning++
		}
	}
	for _, rec := range r.sorted() {
		if !wanted[keyOf(rec.workload)] {
			r.dismiss(ctx, rec, "its Deployment is gone")
		}
	}
}

// sorted returns the records by key, so that what is done for several at once is done in one order.
func (r *runner) sorted() []*record {
	all := make([]*record, 0, len(r.records))
	for _, rec := range r.records {
		all = append(all, rec)
	}
	slices.SortFunc(all, func(a, b *record) int { return strings.Compare(a.key, b.key) })
	return all
}

func keyOf(w *fleet.Workload) string { return w.Namespace + "/" + w.Name }

func reason(had, want *fleet.Workload) string {
	if had.Revision != want.Revision {
		return "makes room for a newer one"
	}
	return fmt.Sprintf("scaled to %d", want.Replicas)
}

// hire starts a replica of a workload.
func (r *runner) hire(ctx context.Context, w *fleet.Workload, now time.Time) bool {
	if now.Before(r.retry) {
		return false
	}
	place, err := r.homes.take(func(h home) error { return r.usable(h, w) })
	if err != nil {
		r.Log.ErrorContext(ctx, "start a replica", "workload", keyOf(w), "error", err)
		r.retry = now.Add(beat)
		return false
	}
	key := keyOf(w)
	r.born[key]++
	services := r.picture.services(w)
	in := &instance{
		key:  fmt.Sprintf("%s-%d", key, r.born[key]),
		name: fmt.Sprintf("%s-%d", w.Name, r.born[key]),
		uid:  strings.ToLower(rand.Text()[:10]),

		workload:  w,
		service:   append(services, w.Name)[0],
		home:      place,
		agents:    r.Agents,
		machine:   r.machine,
		pathDirs:  r.PathDirs,
		inherited: r.Env,
		mesh:      r.Mesh,
		output:    r.Output,
		patience:  patience(r.picture.Lifecycles, services, w),
		quit:      r.Quit,
		news:      r.news,
		hurry:     make(chan struct{}),
	}
	life, leave := context.WithCancel(ctx)
	r.records[in.key] = &record{instance: in, started: now, leave: leave}
	wanted := fmt.Sprintf("for %d replicas of %s", w.Replicas, key)
	if w.Replicas == 1 {
		wanted = "for 1 replica of " + key
	}
	r.tell(ctx, fleet.Event{
		Time: time.Now(), Kind: "instance.starting", Endpoint: in.name, From: reporter, Reason: wanted,
	})
	r.others.Go(func() { in.run(life) })
	return true
}

// usable says whether nobody listens where a replica of the workload and its agent will.
func (r *runner) usable(h home, w *fleet.Workload) error {
	var errs []error
	for _, port := range inbound(w) {
		errs = append(errs, r.machine.free(netip.AddrPortFrom(h.public, port)), r.machine.free(netip.AddrPortFrom(h.private, port)))
	}
	for _, port := range []uint16{adminPort, healthPort, readinessPort, offlinePort} {
		errs = append(errs, r.machine.free(netip.AddrPortFrom(h.public, port)))
	}
	return errors.Join(errs...)
}

// dismiss tells an instance to leave.
func (r *runner) dismiss(ctx context.Context, rec *record, why string) {
	if rec.leaving {
		return
	}
	rec.leaving = true
	rec.leave()
	r.tell(ctx, fleet.Event{
		Time: time.Now(), Kind: "instance.leaving", Endpoint: rec.name, Incarnation: rec.incarnation, From: reporter, Reason: why,
	})
}

// urge hurries those who have not left when Run was told to end some time ago.
func (r *runner) urge(now time.Time) {
	if !r.stopping || r.Quit <= 0 || now.Sub(r.stopAt) < r.Quit {
		return
	}
	for _, rec := range r.records {
		if !rec.hurried {
			rec.hurried = true
			close(rec.hurry)
		}
	}
}

// patience is how long an instance of these services may take to leave, by what its agent is bound by, before it is
// taken for one that hangs.
func patience(all []fleet.Lifecycle, services []string, w *fleet.Workload) time.Duration {
	l, _ := fleet.LifecycleFor(all, w.Namespace, services, w.Labels) // of a label that cannot be read configuration has told
	usual := fleet.DefaultLeave()
	callers, drain := cmp.Or(l.Leave.Callers, usual.Callers), cmp.Or(l.Leave.Timeout, usual.Timeout)
	return callers + max(drain, w.Grace) + w.Grace + hangs
}
