package serve

import (
	"context"
	"math"
	"sync"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/proxy"
)

// A departure is sockets on their way out: it sees what package drain goes by, and does what that says.
type departure struct {
	s       *Server
	began   time.Time
	bounds  func(drain.Timers) drain.Timers // what of the server's timers goes for it; nil for all
	alone   bool                            // of one socket that configuration has taken away: from everybody
	stopped func()                          // called once nothing is accepted any more; nil where nobody cares

	// The server's mu guards what follows.
	leave   *drain.Leave
	own     []*socket // those that it leaves; nil while these are all that the server has for outside
	stage   drain.Stage
	held    bool // in lame duck, until it is released
	undone  bool // the server stays
	started bool

	// The goroutine of run has what follows to itself.
	shared bool      // others go on accepting
	asked  time.Time // when that was last asked
	conns  []*open   // room for look
	brief  []*open   // what look has found: those that end by their nature, and
	long   []*open   // those that last
}

// A part is how far a connection is being ended.
type part uint8

const (
	whole     part = iota
	partBrief      // what ends by its nature
	partAll
)

// An open is a connection that is open.
type open struct {
	*proxy.Conn
	k    *socket
	part part // the departure's goroutine has it to itself
}

// newDeparture begins to leave.
func (s *Server) newDeparture(t drain.Timers, reason string) *departure {
	now := time.Now()
	return &departure{s: s, began: now, leave: drain.NewLeave(t, reason, now)}
}

// departureOf leaves one socket, which configuration has taken away.
func (s *Server) departureOf(k *socket) *departure {
	d := s.newDeparture(drain.Timers{}, "listener "+k.door.Name()+" is no more")
	d.own, d.bounds, d.alone = []*socket{k}, withoutNotice, true
	return d
}

// Looking at 20,000 connections takes milliseconds. So many times as long is rested after a look.
const (
	lookEvery  = 20 * time.Millisecond
	lookRest   = 20
	lookLatest = time.Second // on a machine that is short of everything
)

// run leaves, and returns true when nothing is open any more, or false when the server stays after all.
func (d *departure) run(work context.Context) (left bool) {
	var telling sync.WaitGroup
	defer telling.Wait()
	work, cancel := context.WithCancel(work)
	defer cancel()
	for now := d.began; ; now = time.Now() {
		sight := d.look(now)
		do, stage, undone := d.step(sight, now)
		if undone {
			return false
		}
		if do.Tell {
			conns, over := d.tell()
			telling.Go(func() { evenly(work, len(conns), over, func(i int) { conns[i].Leave() }) })
		}
		d.perform(do, stage)
		if do.Stop && d.stopped != nil {
			d.stopped()
		}
		d.s.moved(work, d, stage, now)
		if stage == drain.Closed {
			break
		}
		time.Sleep(min(max(lookEvery, lookRest*time.Since(now)), lookLatest))
	}
	for _, k := range d.own {
		k.gone.Wait()
	}
	return true
}

// step asks what is to be done. What Stop says is begun together with that, so that nobody sees one without the other.
func (d *departure) step(sight drain.Sight, now time.Time) (do drain.Do, stage drain.Stage, undone bool) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.undone {
		return do, drain.Serving, true
	}
	l := &d.s.leaving
	t := l.timers
	switch {
	case d.bounds != nil:
		t = d.bounds(t)
	case l.brisk:
		t = withoutNotice(t)
	}
	d.leave.SetTimers(t)
	if l.hurry {
		d.leave.Hurry()
	}
	do = d.leave.Step(sight, now)
	if do.Stop && d.own == nil {
		d.own, d.s.stopped = d.s.take(false), true
	}
	return do, d.leave.Stage(), false
}

// socketsNow returns those that are to be left. The caller holds the server's mu.
func (d *departure) socketsNow() []*socket {
	if d.own != nil {
		return d.own
	}
	var all []*socket
	for _, k := range d.s.sockets {
		if !k.mesh {
			all = append(all, k)
		}
	}
	return all
}

func (d *departure) sockets() []*socket {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.socketsNow()
}

// look sees the connections of the sockets.
func (d *departure) look(now time.Time) drain.Sight {
	sockets := d.sockets()
	s := drain.Sight{Shared: d.isShared(sockets, now)}
	d.conns, d.brief, d.long = d.conns[:0], d.brief[:0], d.long[:0]
	for _, k := range sockets {
		accepted, asked := k.times()
		s.Accepted, s.Asked = latest(s.Accepted, accepted), latest(s.Asked, asked)
		s.Queued = s.Queued || !k.isLeft()
		if d.leave.Stage() > drain.LameDuck { // until then nobody asks for more
			d.conns = k.list(d.conns)
		}
	}
	s.Conns = len(d.conns)
	for _, c := range d.conns {
		requests, long := c.Open()
		if requests+long > 0 {
			s.Asked = now
		} else if since, _ := c.Busy(); since.After(s.Asked) {
			s.Asked = since
		}
		switch {
		case c.part == partAll, c.part == partBrief && long == 0:
			s.Parted++
			continue
		case long > 0 && (requests == 0 || c.part == partBrief):
			s.Long++
			d.long = append(d.long, c)
			continue
		case requests > 0:
			s.Requests++
		}
		d.brief = append(d.brief, c)
	}
	return s
}

// isShared says whether others go on accepting from all of the sockets. Where there are none, nobody is waited for.
func (d *departure) isShared(sockets []*socket, now time.Time) bool {
	const every = time.Second
	switch {
	case len(sockets) == 0:
		return true
	case d.alone, d.leave.Stage() > drain.LameDuck:
		return d.shared
	case d.asked.IsZero() || now.Sub(d.asked) >= every:
		d.asked, d.shared = now, d.s.o.Shared()
	}
	return d.shared
}

// perform does what is to be done to sockets and connections. In Draining only those are ended who ask for nothing: if one
// has asked since it was looked at, it is seen again.
func (d *departure) perform(do drain.Do, stage drain.Stage) {
	if do.Stop {
		for _, k := range d.own {
			k.stop(d.shared)
		}
	}
	for _, c := range d.brief[:min(do.Brief, len(d.brief))] {
		if _, busy := c.Busy(); busy && stage == drain.Draining {
			continue
		}
		c.part = partBrief
		c.Part(false)
	}
	for _, c := range d.long[:min(do.Long, len(d.long))] {
		c.part = partAll
		c.Part(true)
	}
	if !do.Close {
		return
	}
	for _, k := range d.own {
		for _, c := range k.list(nil) {
			k.gone.Go(c.Cut) // side by side: taking leave of TLS clients may take a while
		}
		k.force()
	}
}

// tell has answers say that we leave, and returns the connections that have to be told besides, and how long that may
// take: those who hear at once would all be back at once, elsewhere. All have heard well before anything can end.
func (d *departure) tell() (conns []*open, over time.Duration) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.undone {
		return nil, 0
	}
	for _, k := range d.socketsNow() {
		k.door.Leave()
		conns = k.list(conns)
	}
	t := d.s.leaving.timers
	if over = min(t.Notice, max(t.Min, t.Quiet)); d.leave.Stage() > drain.LameDuck { // who is told in lame duck need not hurry
		over = min(t.Quiet, t.Requests)
	}
	return conns, over / 4
}

// evenly calls tell for 0 to n-1, spread over a time, until ctx ends.
func evenly(ctx context.Context, n int, over time.Duration, tell func(i int)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for began, told := time.Now(), 0; ; {
		due := n
		if spent := time.Since(began); spent < over {
			due = int(math.Ceil(float64(n) * spent.Seconds() / over.Seconds()))
		}
		for ; told < due; told++ {
			tell(told)
		}
		if told == n {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
