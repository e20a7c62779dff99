package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// readyWithin is how long a replica that starts may take until it is ready. It has to come up, and to hear from control.
const readyWithin = 30 * time.Second

// silentLooks is how often in a row a replica must have been looked at in vain, in readyWithin or longer, to be taken as
// one that hangs: when it is we who had no time, there are fewer.
const silentLooks = 10

// Slots is how many replicas there may be at a time, those included that leave: each has a port.
const Slots = 10 * fleet.MaxGatewayReplicas

// cutCode is what a replica exits with that had to cut something when it left.
const cutCode = 3

// rest is how a group rests after a failure.
func rest() process.Backoff {
	return process.Backoff{Min: 100 * time.Millisecond, Max: 30 * time.Second, Reset: 10 * time.Second}
}

// A group is a gateway in replicas.
type group struct {
	fleet.GatewayGroup

	gone   bool      // it is wanted no more
	short  int       // how many failed in a row
	failed time.Time // when the latest did
	again  time.Time // not before that another is started
}

func (g *group) key() string { return g.Namespace + "/" + g.Name }

// wanted is how many replicas there are to be.
func (g *group) wanted() int {
	if g.gone {
		return 0
	}
	return g.Replicas
}

// bound is how long a replica may take to leave before it is killed.
func (g *group) bound(t drain.Timers) time.Duration {
	if g.Drain > 0 {
		t.Requests = g.Drain
	}
	return t.Longest() + drain.Last
}

// fail notes that a replica failed that was born at some time. Those who were there already when the one before it
// failed belong to the same mishap.
func (g *group) fail(born, now time.Time, lived time.Duration) (wait time.Duration) {
	if born.After(g.failed) {
		g.short, wait = rest().After(g.short, lived)
		g.failed, g.again = now, now.Add(process.Jitter(wait))
	}
	return max(0, g.again.Sub(now))
}

// A replica is one process of a group. All but its last four fields are written by the loop alone, those above born
// once.
type replica struct {
	id    string
	index int // in its id; unique among those of one name
	slot  int // of its admin API
	admin string
	group *group
	child Child
	born  time.Time

	revision string
	rolls    int
	phase    phase
	served   bool   // it was ready once
	ready    bool   // it says so now
	reason   string // why it is not
	left     time.Time
	alone    bool      // it leaves because of somebody else, and was not told to
	done     time.Time // it had left then, as such a one
	drained  bool      // it stopped accepting because of somebody else
	killed   bool
	unheard  int       // how often in a row it did not answer when it was looked at
	silent   time.Time // since when

	sum    atomic.Pointer[admin.Sum] // what it had counted when it was last asked; nil before
	asked  chan struct{}             // holds a token while somebody asks it for its sum
	looked atomic.Int64              // when it was last asked, in Unix nanoseconds
	mute   atomic.Bool               // it did not answer then
}

// status is what control is told about the replica.
func (r *replica) status() fleet.Replica {
	return fleet.Replica{
		ID: r.id, Group: r.group.Name, Namespace: r.group.Namespace, Revision: r.revision,
		Ready: r.ready && r.phase == serving, Leaving: r.phase == leaving, Drained: r.drained, PID: r.child.Pid(), Admin: r.admin,
	}
}

// current says whether a replica is of the revision that is wanted.
func (l *loop) current(r *replica) bool { return r.revision == r.group.Revision && r.rolls == l.rolls }

// tend brings a group closer to what is wanted of it.
func (l *loop) tend(ctx context.Context, g *group, now time.Time) {
	var members []member
	all := map[int]*replica{}
	for _, r := range l.of(g) {
		all[r.index] = r
		members = append(members, member{
			index: r.index, phase: r.phase, current: l.current(r), late: now.Sub(r.born) >= readyWithin,
		})
	}
	start, leave := plan(g.wanted(), members)
	for _, i := range leave {
		r := all[i]
		switch {
		case r.phase == starting && l.current(r) && now.Sub(r.born) >= readyWithin:
			why := fmt.Sprintf("it was not ready within %v (%s)", readyWithin, r.reason)
			l.mourn(ctx, r, why, 0, now)
			l.leave(ctx, r, why, now)
		case l.current(r):
			l.leave(ctx, r, fmt.Sprintf("%d of them are wanted", g.wanted()), now)
		default:
			l.leave(ctx, r, "another replaces it", now)
		}
	}
	for range start {
		if now.Before(g.again) {
			return
		}
		l.start(ctx, g, now)
	}
}

// start starts one more replica of a group.
func (l *loop) start(ctx context.Context, g *group, now time.Time) {
	r := &replica{group: g, revision: g.Revision, rolls: l.rolls, born: now, reason: "it does not answer yet", asked: make(chan struct{}, 1)}
	r.index = free(func(i int) bool {
		return !slices.ContainsFunc(l.replicas, func(o *replica) bool { return o.group.Name == g.Name && o.index == i })
	})
	r.slot = free(func(i int) bool {
		return !slices.ContainsFunc(l.replicas, func(o *replica) bool { return o.slot == i }) && unbound(ctx, l.adminAt(i))
	})
	r.id, r.admin = fmt.Sprintf("%s-%d", g.Name, r.index), l.adminAt(r.slot)
	child, err := l.Start(Order{ID: r.id, Group: g.key(), Labels: g.Labels, Binary: g.Binary, Admin: r.admin})
	if err != nil {
		l.mourn(ctx, r, err.Error(), 0, now)
		return
	}
	r.child = child
	l.replicas = append(l.replicas, r)
	l.Log.InfoContext(ctx, "a replica starts", "id", r.id, "pid", child.Pid(), "admin", r.admin, "revision", r.revision)
	go l.attend(ctx, r)
}

// adminAt is the address of the admin API in a slot.
func (l *loop) adminAt(slot int) string {
	return netip.AddrPortFrom(l.Replicas.Addr(), l.Replicas.Port()+uint16(slot)).String()
}

// free returns the lowest number from 1 that is free; after many that are not, the last that was asked for.
func free(is func(int) bool) int {
	i := 1
	for !is(i) && i < Slots {
		i++
	}
	return i
}

// unbound says whether nobody else listens at an address.
func unbound(ctx context.Context, address string) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// leave tells a replica to leave. Its siblings share its sockets, so it stops accepting at once.
func (l *loop) leave(ctx context.Context, r *replica, why string, now time.Time) {
	r.phase, r.left, r.alone = leaving, now, false
	l.notice(ctx, fleet.Event{Kind: "gateway.leaving", Reason: r.id + " is told to leave: " + why}, now)
	_ = r.child.Signal(syscall.SIGTERM) // it fails when it has ended, and that is noticed by itself
}

// kill ends a replica that did not do what it had to in its time.
func (l *loop) kill(ctx context.Context, r *replica, why string, now time.Time) {
	r.killed = true
	l.notice(ctx, fleet.Event{Kind: "gateway.killed", Reason: r.id + " " + why + ", and was killed"}, now)
	_ = r.child.Signal(syscall.SIGKILL) // as above
}

// hear notes whether a replica answered, and kills one that hangs: whoever is connected to it waits for nothing, and may
// try again elsewhere then. Of a group one after another, each when there is somebody in the place of the last: where all
// hang at once it may be the machine that has no time for them.
func (l *loop) hear(ctx context.Context, r *replica, answered bool, now time.Time) {
	switch {
	case answered:
		r.unheard = 0
		return
	case r.unheard == 0:
		r.silent = now
	}
	r.unheard++
	stay, awaited := 0, false
	for _, o := range l.of(r.group) {
		if o.phase != leaving {
			stay++
		}
		awaited = awaited || o != r && (o.killed || o.phase == starting && now.Sub(o.born) < readyWithin)
	}
	awaited = awaited || stay < r.group.wanted() // whose start is about to be tried
	hangs := r.unheard >= silentLooks && now.Sub(r.silent) >= readyWithin
	if r.phase == leaving || r.killed || !hangs || awaited {
		return
	}
	l.kill(ctx, r, fmt.Sprintf("had not answered for %v", now.Sub(r.silent).Round(time.Second)), now)
}

// mourn says that a replica that was not told to leave ended, or never came to anything, and makes its group rest.
func (l *loop) mourn(ctx context.Context, r *replica, why string, lived time.Duration, now time.Time) {
	wait := r.group.fail(r.born, now, lived)
	others := 0
	for _, o := range l.of(r.group) {
		if o != r && o.phase == serving {
			others++
		}
	}
	kind := "gateway.died"
	reason := fmt.Sprintf("%s: %s; another is started in %v", r.id, why, wait.Round(time.Millisecond))
	if l.leaving {
		reason = r.id + ": " + why
	}
	if replaces := slices.ContainsFunc(l.of(r.group), func(o *replica) bool { return o.phase == serving && !l.current(o) }); replaces && !r.served {
		kind = "gateway.upgrade_failed"
		reason = fmt.Sprintf("%s was to replace one of the %d that serve on: %s; tried again in %v", r.id, others, why, wait.Round(time.Millisecond))
	}
	l.notice(ctx, fleet.Event{Kind: kind, Reason: reason}, now)
	if !r.served {
		l.settle(fmt.Errorf("%s: %s", r.id, why))
	}
}

// ended takes note that a replica's process is no more.
func (l *loop) ended(ctx context.Context, r *replica, now time.Time) {
	exit := r.child.Exit()
	l.bury(r, exit)
	l.replicas = slices.DeleteFunc(l.replicas, func(o *replica) bool { return o == r })
	l.Log.InfoContext(ctx, "a replica has ended", "id", r.id, "pid", r.child.Pid(), "how", exit.String(), "lived", now.Sub(r.born))
	if r.phase != leaving {
		lived := now.Sub(r.born)
		if !r.served {
			lived = 0
		}
		why := exit.String() // that of a signal says all there is: it did not end by itself
		switch {
		case r.killed:
			why = "it hung"
		case exit.Signal == 0:
			why = "it ended by itself: " + why
		}
		l.mourn(ctx, r, why, lived, now)
	}
	if !l.leaving || exit.OK() || !r.served && exit.Code != cutCode { // who never served lost nobody
		return
	}
	how := r.id + ": " + exit.String()
	if exit.Code != cutCode && exit.Signal == 0 {
		l.failures = append(l.failures, errors.New(how))
		return
	}
	l.lost.Replicas = append(l.lost.Replicas, how)
	l.lost.Requests += r.cut()
}

// cut is how many requests the replica had cut in its leave when it was last asked.
func (r *replica) cut() uint64 {
	if sum := r.sum.Load(); sum != nil && sum.Drain != nil {
		return sum.Drain.Cut
	}
	return 0
}

// outcome is how a replica ended that had served.
func (r *replica) outcome(exit process.Exit) admin.Outcome {
	switch {
	case r.phase != leaving || r.killed || exit.Signal != 0:
		return admin.Killed
	case exit.Code == cutCode || r.cut() > 0:
		return admin.LeftCut
	}
	return admin.LeftClean
}

// bury adds what a replica that is no more had counted, and how it ended.
func (l *loop) bury(r *replica, exit process.Exit) {
	past := new(admin.Sum)
	past.Add(l.past)
	if r.served {
		past.Ended(r.outcome(exit))
	}
	if sum := r.sum.Load(); sum != nil {
		past.Add(sum.Left())
	}
	if l.view.Snapshot != nil {
		past.Keep(l.view.Snapshot)
	}
	l.past = past
}

// notice keeps an event for the next report.
func (l *loop) notice(ctx context.Context, e fleet.Event, now time.Time) {
	e.Time, e.From = now.Round(0), l.ID
	l.Log.InfoContext(ctx, "event", "kind", e.Kind, "reason", e.Reason)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notices) < maxNotices {
		l.notices = append(l.notices, e)
	}
	l.ring()
}

// maxNotices is how many events wait for control at most; the log has them all.
const maxNotices = 256
