package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/store/file"
)

// A loop owns what the supervisor knows: one goroutine, run, writes it; others send it what they have seen.
type loop struct {
	*Supervisor
	client *http.Client
	seen   chan func(context.Context, time.Time) // what happened, as what it means to the loop
	over   chan struct{}                         // closed when run has returned
	bell   chan struct{}                         // rung when there is something to report; size one
	shown  atomic.Pointer[picture]

	// The following belong to run's goroutine.
	view     fleet.View   // the zero value until control or the disk has told
	earlier  []fleet.View // those before it, oldest first: replicas may not have come to it yet
	groups   []*group
	replicas []*replica
	rolls    int        // how often all replicas were asked to be replaced
	failed   bool       // somebody wants health checks to fail
	leaving  bool       // nobody is started or told any more: all leave, or have stopped accepting
	quitting bool       // likewise, and the supervisor itself leaves: for good
	awaited  bool       // Settled is still to be called
	kept     []string   // addresses that sockets are kept for
	lost     CutError   // by those who left with the supervisor
	failures []error    // of those: who ended badly otherwise
	past     *admin.Sum // what was counted by replicas that are no more; never changed, only replaced

	mu      sync.Mutex // guards the following
	notices []fleet.Event
}

// A picture is what the loop shows to other goroutines. Nobody writes to it.
type picture struct {
	view     fleet.View
	earlier  []fleet.View // oldest first
	replicas []fleet.Replica
	members  []*replica // in the same order
	reasons  []string   // likewise, why they are not ready
	starting []bool     // likewise, who has not been ready yet
	past     *admin.Sum // of those who are no more
	leaving  bool       // nobody is started any more
}

func newLoop(s *Supervisor) *loop {
	l := &loop{
		Supervisor: s,
		client:     &http.Client{Transport: s.Transport},
		seen:       make(chan func(context.Context, time.Time)),
		over:       make(chan struct{}),
		bell:       make(chan struct{}, 1),
		awaited:    true,
		past:       &admin.Sum{Leaves: new(admin.Leaves)},
	}
	if s.Transport == nil { // whatever HTTP_PROXY says
		l.client.Transport = &http.Transport{MaxIdleConnsPerHost: 2, IdleConnTimeout: 10 * time.Second}
	}
	l.shown.Store(&picture{past: l.past})
	return l
}

// run does what is to be done, whenever something happened and when it is due, until nobody is left after ctx ended.
func (l *loop) run(ctx context.Context) error {
	defer close(l.over)
	defer l.client.CloseIdleConnections()
	stopped := ctx.Done()
	ctx = context.WithoutCancel(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for hurry := l.Hurry; ; {
		now := time.Now()
		l.step(ctx, now)
		if l.quitting && len(l.replicas) == 0 {
			return l.verdict()
		}
		timer.Reset(l.next(now))
		select {
		case <-stopped:
			stopped = nil
			l.quit(ctx, time.Now())
		case what := <-l.seen:
			what(ctx, time.Now())
		case <-hurry:
			hurry = nil
			l.hurry(ctx)
		case <-l.Roll:
			l.resume(ctx, time.Now())
			l.roll()
		case <-timer.C:
		}
	}
}

// tell has the loop do something. It waits until that is done, or nobody does anything any more.
func (l *loop) tell(what func(context.Context, time.Time)) {
	done := make(chan struct{})
	doing := func(ctx context.Context, now time.Time) {
		defer close(done)
		what(ctx, now)
	}
	select {
	case l.seen <- doing:
		<-done
	case <-l.over:
	}
}

// step brings what there is closer to what is wanted.
func (l *loop) step(ctx context.Context, now time.Time) {
	if !l.leaving {
		for _, g := range l.groups {
			if !g.gone || l.relieved() {
				l.tend(ctx, g, now)
			}
		}
		l.groups = slices.DeleteFunc(l.groups, func(g *group) bool { return g.gone && len(l.of(g)) == 0 })
		l.keep()
		l.settle(nil)
	}
	if !slices.ContainsFunc(l.replicas, func(r *replica) bool { sum := r.sum.Load(); return sum == nil || sum.Snapshot < l.number() }) {
		l.earlier = nil // all have come to the newest
	}
	for _, r := range l.replicas {
		if r.phase == leaving && !r.killed && now.Sub(r.left) >= r.group.bound(l.Timers) {
			l.kill(ctx, r, fmt.Sprintf("had not left after %v", now.Sub(r.left).Round(time.Millisecond)), now)
		}
	}
	l.show()
}

// relieved says whether somebody serves for every gateway that is wanted. Until then those of a gateway that is wanted no
// more stay: they all serve the same listeners, and it may only have been renamed.
func (l *loop) relieved() bool {
	return !slices.ContainsFunc(l.groups, func(g *group) bool {
		return g.wanted() > 0 && !slices.ContainsFunc(l.of(g), func(r *replica) bool { return r.phase == serving })
	})
}

// number is that of the snapshot that is in force, 0 before there is one.
func (l *loop) number() uint64 {
	if l.view.Snapshot == nil {
		return 0
	}
	return l.view.Number
}

// next says how soon something is due although nothing happens.
func (l *loop) next(now time.Time) time.Duration {
	wait := time.Hour
	until := func(t time.Time) { wait = min(wait, max(0, t.Sub(now))) }
	for _, g := range l.groups {
		if g.again.After(now) {
			until(g.again)
		}
	}
	for _, r := range l.replicas {
		switch late := r.born.Add(readyWithin); {
		case r.phase == leaving && !r.killed:
			until(r.left.Add(r.group.bound(l.Timers)))
		case r.phase == starting && late.After(now):
			until(late)
		}
	}
	return wait
}

// show publishes what the loop knows.
func (l *loop) show() {
	next := &picture{view: l.view, earlier: l.earlier, members: slices.Clone(l.replicas), past: l.past, leaving: l.leaving}
	slices.SortFunc(next.members, func(x, y *replica) int {
		return cmp.Or(cmp.Compare(x.group.Namespace, y.group.Namespace), cmp.Compare(x.group.Name, y.group.Name), cmp.Compare(x.index, y.index))
	})
	for _, r := range next.members {
		next.replicas = append(next.replicas, r.status())
		next.reasons = append(next.reasons, r.reason)
		next.starting = append(next.starting, r.phase == starting)
	}
	last := l.shown.Swap(next)
	if last.view.Snapshot != next.view.Snapshot || !slices.Equal(last.replicas, next.replicas) {
		l.ring()
	}
}

func (l *loop) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// boot begins with what was last known; without that the supervisor waits for control.
func (l *loop) boot(ctx context.Context, now time.Time) {
	if l.State == "" {
		return
	}
	last, _, err := file.Load(l.path(), now)
	switch {
	case errors.Is(err, file.ErrNone):
	case err != nil:
		l.Log.WarnContext(ctx, "what was last known cannot be used; waiting for control", "err", err)
	default:
		l.take(ctx, last)
	}
}

func (l *loop) path() string { return filepath.Join(l.State, l.ID+".json") }

// maxEarlier is how many views are kept for replicas that are slower than we are.
const maxEarlier = 16

// take goes by a new view.
func (l *loop) take(ctx context.Context, v fleet.View) {
	if l.view.Snapshot != nil {
		kept := l.earlier[max(0, len(l.earlier)-maxEarlier+1):]
		l.earlier = append(slices.Clone(kept), l.view)
	}
	l.view = v
	l.view.Snapshot = v.ServedAt(l.Address)
	for _, g := range l.groups {
		g.gone = true
	}
	for _, w := range fleet.OrDefault(v.Groups) {
		if l.Group != "" && l.Group != w.Namespace+"/"+w.Name {
			continue
		}
		g := l.group(w.Namespace, w.Name)
		if g == nil {
			g = &group{}
			l.groups = append(l.groups, g)
		}
		if g.Revision != w.Revision { // whatever was wrong with the last one, this one has not failed yet
			g.short, g.again = 0, time.Time{}
		}
		if g.Replicas != w.Replicas || g.Revision != w.Revision || g.Drain != w.Drain {
			l.Log.InfoContext(ctx, "gateway wanted", "group", w.Name, "replicas", w.Replicas, "revision", w.Revision, "drain", w.Drain)
		}
		if g.Name != "" && recalled(&g.GatewayGroup, &w) {
			l.resume(ctx, time.Now())
		}
		g.GatewayGroup, g.gone = w, false
	}
	if len(l.groups) == 0 {
		l.Log.WarnContext(ctx, "configuration has no such gateway: nothing is run", "group", l.Group)
	}
}

func (l *loop) group(namespace, name string) *group {
	for _, g := range l.groups {
		if g.Namespace == namespace && g.Name == name {
			return g
		}
	}
	return nil
}

// of returns the replicas of a group.
func (l *loop) of(g *group) []*replica {
	return slices.DeleteFunc(slices.Clone(l.replicas), func(r *replica) bool { return r.group != g })
}

// keep gives up the sockets of addresses that configuration has no more, or all where nobody is wanted.
func (l *loop) keep() {
	if l.view.Snapshot == nil {
		return
	}
	var wanted []string
	if len(l.replicas) > 0 || slices.ContainsFunc(l.groups, func(g *group) bool { return g.wanted() > 0 }) {
		for i := range l.view.Listeners {
			wanted = append(wanted, l.view.Listeners[i].Address)
		}
		if l.Health != "" {
			wanted = append(wanted, l.Health)
		}
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	if l.kept != nil && slices.Equal(wanted, l.kept) {
		return
	}
	l.kept = append([]string{}, wanted...)
	l.Sockets.Keep(wanted)
}

// settle says, once whenever it is awaited, that all replicas are there that are wanted, or why not.
func (l *loop) settle(err error) {
	if !l.awaited || len(l.groups) == 0 || err == nil && slices.ContainsFunc(l.groups, func(g *group) bool { return !l.settled(g) }) {
		return
	}
	l.awaited = err != nil
	if l.Settled != nil {
		l.Settled(err)
	}
}

// settled says whether a group is as it is wanted, apart from who leaves.
func (l *loop) settled(g *group) bool {
	n := 0
	for _, r := range l.of(g) {
		switch {
		case r.phase == leaving:
		case r.phase == starting || !l.current(r):
			return false
		default:
			n++
		}
	}
	return n == g.wanted()
}

// roll replaces all replicas.
func (l *loop) roll() {
	l.rolls++
	l.awaited = true
	for _, g := range l.groups {
		g.short, g.again = 0, time.Time{}
	}
}

// quit has everybody leave.
func (l *loop) quit(ctx context.Context, now time.Time) {
	l.retire()
	l.quitting = true
	for _, r := range l.replicas {
		if r.phase != leaving || r.alone {
			l.leave(ctx, r, "the supervisor leaves", now)
		}
	}
}

// retire leaves everything as it is from now on: nobody will accept after those who are there now.
func (l *loop) retire() {
	if !l.leaving {
		l.leaving = true
		l.Sockets.Retire()
	}
}

// resume takes retire back: what is wanted is tended again. Those who have stopped accepting are replaced.
func (l *loop) resume(ctx context.Context, now time.Time) {
	if !l.leaving || l.quitting {
		return
	}
	l.leaving, l.failed = false, false
	l.Sockets.Resume()
	for _, r := range l.replicas {
		if sum := r.sum.Load(); sum != nil && sum.Drain != nil {
			l.drains(ctx, r, sum.Drain.Stage, now)
		}
	}
}

// recalled says whether people ask, with a command, for other replicas of a group than before.
func recalled(before, after *fleet.GatewayGroup) bool {
	return after.Restarted != "" && before.Restarted != after.Restarted || before.Replicas != after.Replicas && before.Declared == after.Declared
}

// hurry passes on that leaving takes too long.
func (l *loop) hurry(ctx context.Context) {
	for _, r := range l.replicas {
		if r.phase == leaving {
			l.Log.WarnContext(ctx, "a replica is told to hurry", "id", r.id)
			_ = r.child.Signal(syscall.SIGTERM) // it fails when it has ended, which is the aim
		}
	}
}

// verdict says what became of those who left with the supervisor.
func (l *loop) verdict() error {
	err := errors.Join(l.failures...)
	if len(l.lost.Replicas) > 0 {
		err = errors.Join(err, &l.lost)
	}
	return err
}
