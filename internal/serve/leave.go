package serve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/drain"
)

// leaving is what a server knows of its own leave. Server.mu guards it.
type leaving struct {
	timers  drain.Timers
	stage   drain.Stage // the furthest that either of the two has come to
	since   time.Time   // of the stage
	spent   [drain.Stages]time.Duration
	final   bool // nothing can undo it any more
	brisk   bool // without lame duck
	hurry   bool
	outside *departure // of the sockets for outside; nil while the server stays
	mesh    *departure // of those for the mesh, once the others accept no more

	before   drain.Tally // when it began, as what follows
	accepted uint64
	told     uint64
	conns    int
}

// Leave has the server leave, for a reason that people will read; Run returns when it has. In lame duck it tells
// clients, and accepts and serves them, until no new one has come for a while; then it accepts no more, and serves
// what is open; see the package comment and [drain.Timers]. A server that leaves already goes on with that; one that
// fails its checks leaves in earnest, and the time that it has failed counts.
func (s *Server) Leave(reason string) { s.depart(reason, wish{}) }

// LeaveNow is Leave without lame duck, or the end of it.
func (s *Server) LeaveNow(reason string) { s.depart(reason, wish{brisk: true}) }

// Fail begins a lame duck without an end: load balancers and clients are told to go elsewhere, and served as long as
// they do not. [Server.Leave] ends it, and so does [Server.Stay].
func (s *Server) Fail(reason string) { s.depart(reason, wish{held: true}) }

// end leaves because Run must return.
func (s *Server) end(reason string) { s.depart(reason, wish{final: true}) }

// A wish is how somebody wants the server to leave.
type wish struct{ brisk, held, final bool }

func (s *Server) depart(reason string, w wish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.leaving
	l.brisk, l.final = l.brisk || w.brisk, l.final || w.final
	switch {
	case l.outside == nil:
		l.before, l.accepted, l.told, l.conns = s.p.Tally(), s.accepted.Load(), s.p.Told(), int(s.open.Load())
		l.outside = s.newDeparture(l.timers, reason)
		l.since, l.spent = l.outside.began, [drain.Stages]time.Duration{}
		if l.outside.held = w.held; w.held {
			l.outside.leave.Hold()
		}
		for _, k := range l.outside.socketsNow() {
			k.door.Leave() // answers say so from here on; who has to be told besides hears in a moment
		}
		s.ringBell()
	case l.outside.held && !w.held:
		l.outside.held = false
		l.outside.leave.Release(reason)
	}
}

// Stay undoes [Server.Fail], and a leave that is still in lame duck: connections and answers are not told any more. A
// server that has stopped accepting, or is to end, does not come back: the error, which wraps [ErrStopped], says why.
func (s *Server) Stay() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.leaving
	switch {
	case l.outside == nil:
		return nil
	case s.stopped:
		return fmt.Errorf("%w, because of %s: only a new process serves again", ErrStopped, l.outside.leave.Reason())
	case l.final:
		return fmt.Errorf("%w as soon as its clients have gone elsewhere, because of %s: only a new process serves again", ErrStopped, l.outside.leave.Reason())
	}
	l.outside.undone = true
	l.outside, l.stage, l.brisk = nil, drain.Serving, false
	for _, k := range s.sockets {
		k.door.Stay()
	}
	return nil
}

// Hurry ends what is open without waiting for it, spread as when its time is over.
func (s *Server) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving.hurry = true
}

// SetTimers changes the timers of leaving, also while it goes on, for what is to come. Unlike in [Options], all of them
// may be 0.
func (s *Server) SetTimers(t drain.Timers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving.timers = t
}

// Stage returns how far the server is on its way out. It never goes back, but for [Server.Stay].
func (s *Server) Stage() drain.Stage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stageNow()
}

func (s *Server) stageNow() drain.Stage {
	if s.leaving.outside != nil {
		return max(drain.LameDuck, s.leaving.stage)
	}
	return drain.Serving
}

// Conns returns how many connections are open, over all sockets.
func (s *Server) Conns() int { return int(s.open.Load()) }

// Report returns what the leave has come to, or, while the server stays, what it has served. ID and Version are for who
// knows them.
func (s *Server) Report() drain.Report {
	now, after := time.Now(), s.p.Tally()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.leaving
	if l.outside == nil {
		r := drain.Report{Accepted: s.accepted.Load(), Seconds: map[drain.Stage]float64{}, Timers: l.timers}
		r.Fill(&after, &after)
		return r
	}
	r := l.outside.leave.Report(now)
	r.Stage, r.Timers, r.Seconds = s.stageNow(), l.timers, l.seconds(now)
	r.Accepted, r.AcceptedIn, r.Connections = s.accepted.Load(), s.accepted.Load()-l.accepted, l.conns
	r.Told = s.p.Told() - l.told
	r.Fill(&l.before, &after)
	return r
}

// seconds returns how long the stages took that were passed.
func (l *leaving) seconds(now time.Time) map[drain.Stage]float64 {
	all := map[drain.Stage]float64{}
	for stage := drain.LameDuck; stage < drain.Closed; stage++ {
		spent := l.spent[stage]
		if stage == l.stage {
			spent += now.Sub(l.since)
		}
		if spent > 0 {
			all[stage] = spent.Seconds()
		}
	}
	return all
}

// leave carries out the leave of the whole server: d of the sockets for outside, and that of those for the mesh.
func (s *Server) leave(work context.Context, d *departure, t *tasks) {
	var mesh sync.WaitGroup
	d.stopped = func() {
		m := s.departMesh(d.shared)
		mesh.Go(func() { m.run(work) })
	}
	if !d.run(work) {
		return // it stays
	}
	s.advance(work, t) // what configuration has retired meanwhile goes too
	t.outside.Wait()
	s.releaseMesh()
	mesh.Wait()
	close(s.left)
}

// departMesh begins to leave the sockets for the mesh. Where others go on accepting from them, that is all. Otherwise
// they are lame ducks for as long as somebody outside is served: who answers a request may still call others.
func (s *Server) departMesh(shared bool) *departure {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.leaving
	d := s.newDeparture(drain.Timers{}, l.outside.leave.Reason())
	if d.held = !shared; d.held {
		d.leave.Hold()
	}
	began, stopped := l.outside.began, d.began
	d.bounds = func(t drain.Timers) drain.Timers {
		if d.held {
			stopped = time.Now() // it does not leave yet
		}
		return restOf(t, stopped.Sub(began))
	}
	d.own = s.take(true)
	l.mesh = d
	return d
}

// releaseMesh ends the lame duck of the sockets for the mesh.
func (s *Server) releaseMesh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.leaving.mesh; m.held {
		m.held = false
		m.leave.Release(m.leave.Reason())
	}
}

// restOf returns what is left of timers, without lame duck, for a second leave that begins spent after the first: both
// together take no longer than the first alone may.
func restOf(t drain.Timers, spent time.Duration) drain.Timers {
	rest := max(0, t.Longest()-drain.Last-spent)
	t = withoutNotice(t)
	t.Spread = min(t.Spread, rest)
	t.Requests, t.Long = min(t.Requests, rest-t.Spread), min(t.Long, rest-t.Spread)
	return t
}

func withoutNotice(t drain.Timers) drain.Timers {
	t.Min, t.Notice = 0, 0
	return t
}

// take takes all sockets of one kind out of service. The caller holds mu.
func (s *Server) take(mesh bool) (taken []*socket) {
	for _, address := range slices.Sorted(maps.Keys(s.sockets)) {
		if k := s.sockets[address]; k.mesh == mesh {
			taken = append(taken, k)
			delete(s.sockets, address)
		}
	}
	return taken
}

// moved notes that a departure has come to a stage, and tells of it if the whole server has: that is where the one is that
// has come further, and closed when both are.
func (s *Server) moved(ctx context.Context, d *departure, stage drain.Stage, now time.Time) {
	s.mu.Lock()
	l := &s.leaving
	if d != l.outside && d != l.mesh {
		s.mu.Unlock()
		return // of one socket
	}
	d.stage = stage
	on := stage > l.stage && (stage < drain.Closed || l.mesh != nil && l.outside.stage == l.mesh.stage)
	if on {
		l.spent[l.stage] += now.Sub(l.since)
		l.stage, l.since = stage, now
	}
	s.mu.Unlock()
	if on {
		s.o.Moved(ctx, stage, d.shared)
	}
}

// reasonOf says why ctx has ended.
func reasonOf(ctx context.Context) string {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "told to stop"
}
