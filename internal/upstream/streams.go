package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/http2"
)

// Streams are a Pool's connections of HTTP/2, and who waits for one.
//
// Of those with room, that which was made first takes the next stream, not that which carries fewest: what several
// streams say at a time leaves in one write; and when there is less to do, the connections that were made last fall
// idle and expire, where all would live on a little each.
type streams struct {
	mu     sync.Mutex // taken alone, or before that of a Client
	links  []*link    // those that take streams, the oldest first
	making int        // how many more are being made
	seen   int        // how many streams the endpoint took on the last one that was made; 0: none was
	queue  []*turn    // the first one has waited longest; empty while a link has room
	free   []*Conn    // to be used again
	closed bool
}

// A turn is a request that waits for a stream. It is answered once: with a place for it, or nil for err.
type turn struct {
	waiter
	err error
}

// keepConns is how many Conns of streams that ended are kept for others.
const keepConns = 256

// Open opens a stream: on a connection of HTTP/2 that has room for it, made if need be, or waited for where there may
// be no more of them; who has waited longest comes first. end says that the request has no body. The stream is given
// back with Put, once, whatever became of it, and not touched after that; Close resets it.
//
// Waiting ends at deadline (if not zero) or with ctx. An error is ErrConnect, ErrOverflow, of which ErrLimited is one,
// ErrWait, ErrNoTunnel where h.Protocol asks for what the endpoint does not serve, or http2.ErrField. In every case
// nothing has been sent.
func (p *Pool) Open(ctx context.Context, now, deadline time.Time, h *http2.Head, end bool) (*Conn, error) {
	const tries = 3 // who leaves as soon as it has greeted is not asked for ever
	var last error
	for range tries {
		c, t, err := p.enter(ctx, now)
		if t != nil {
			c, err = p.turn(ctx, t, deadline)
		}
		if err != nil {
			return nil, err
		}
		moved, err := p.openIn(c, now, h, end)
		switch {
		case err == nil:
			return c, nil
		case !moved:
			return nil, err
		}
		last = err
	}
	return nil, fmt.Errorf("%w: %w", ErrConnect, last)
}

// OpenNow is Open for those who do not wait: ErrLater says that there is no room at this moment.
func (p *Pool) OpenNow(now time.Time, h *http2.Head, end bool) (*Conn, error) {
	s := &p.streams
	s.mu.Lock()
	l, old, doubtful := p.roomy(now)
	for _, l := range old {
		s.stop(l)
	}
	var c *Conn
	if l != nil {
		c = p.occupy(l)
	}
	s.mu.Unlock()
	part(old, doubtful)
	if c == nil {
		return nil, ErrLater
	}
	switch moved, err := p.openIn(c, now, h, end); {
	case err == nil:
		return c, nil
	case moved:
		return nil, ErrLater
	default:
		return nil, err
	}
}

// openIn opens a stream in the place that c has, or gives that back; moved says that another place may do.
func (p *Pool) openIn(c *Conn, now time.Time, h *http2.Head, end bool) (moved bool, err error) {
	if err = c.open(now, h, end); err == nil {
		return false, nil
	}
	moved = errors.Is(err, http2.ErrLeaving) || errors.Is(err, http2.ErrClosed) || errors.Is(err, http2.ErrNoRoom)
	if moved {
		p.changed(c.link) // as somebody is about to say; nobody does where it has run out of numbers for streams
	}
	p.Put(c, now)
	return moved, err
}

// part has those leave that are old, and asks the others whether they live.
func part(old, doubtful []*link) {
	for _, l := range old {
		l.retire()
	}
	for _, l := range doubtful {
		l.client.Check(doubtTime)
	}
}

// open opens a stream in the place that c has.
func (c *Conn) open(now time.Time, h *http2.Head, end bool) error {
	client, p := c.link.client, c.pool
	if h.Protocol != nil && !client.Extended() {
		return ErrNoTunnel
	}
	if !p.o.Limits.begin(c) {
		p.traffic.Overflow.Inc()
		return ErrRequests
	}
	s, err := client.Open(h, end)
	if err != nil {
		return err
	}
	c.Stream, c.Conn, c.Buffer, c.born = s, http2.Pipe{Stream: s}, p.o.Buffers.Get(), now
	return nil
}

// putStream is Put for a stream.
func (p *Pool) putStream(c *Conn, now time.Time) {
	l, s := c.link, &p.streams
	silent := c.Stream != nil && c.unanswered(now)
	answered := c.Stream != nil && c.Stream.Answered()
	if c.Stream != nil {
		c.Stream.Close()
	}
	p.o.Buffers.Put(c.Buffer)
	p.o.Limits.done(c)
	c.Stream, c.Conn, c.Buffer, c.link, c.Reading, c.Writing = nil, nil, nil, nil, Alarm{}, Alarm{}
	s.mu.Lock()
	if len(s.free) < keepConns {
		s.free = append(s.free, c)
	}
	l.taken--
	l.since = now
	p.serve()
	if p.expired(l, now) {
		s.stop(l)
	}
	idle, stopped := l.taken == 0, l.limit.Load() == gone
	if answered {
		l.asked = time.Time{}
	}
	ask := silent && l.ask(silence, now)
	s.mu.Unlock()
	switch {
	case stopped:
		l.retire()
	case ask:
		l.client.Check(silenceTime)
	case idle:
		p.offer()
	}
}

// offer lets go of an idle connection where somebody waits for its place.
func (p *Pool) offer() {
	p.makeRoom()
	p.o.Limits.offer(p)
}

// enter finds a place for a stream, or a turn in the queue.
func (p *Pool) enter(ctx context.Context, now time.Time) (c *Conn, t *turn, err error) {
	s := &p.streams
	s.mu.Lock()
	l, old, doubtful := p.roomy(now)
	for _, l := range old {
		s.stop(l)
	}
	switch {
	case l != nil:
		c = p.occupy(l)
	case !p.o.Limits.pend():
		err = ErrLimited
	default:
		t = &turn{waiter: waiter{ready: make(chan *Conn, 1)}}
		s.queue = append(s.queue, t)
		p.grow(ctx)
		if len(s.queue)-p.coming() > max(0, p.o.MaxPending) {
			s.queue = s.queue[:len(s.queue)-1]
			p.o.Limits.unpend()
			t, err = nil, ErrOverflow
		}
	}
	s.mu.Unlock()
	part(old, doubtful)
	if err != nil {
		p.traffic.Overflow.Inc()
	}
	return c, t, err
}

// turn waits until somebody answers t.
func (p *Pool) turn(ctx context.Context, t *turn, deadline time.Time) (*Conn, error) {
	defer p.o.Limits.unpend()
	if c, answered := t.wait(ctx, deadline); answered {
		return c, t.err
	}
	s := &p.streams
	s.mu.Lock()
	i := slices.Index(s.queue, t)
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		return nil, ErrWait
	}
	return <-t.ready, t.err // answered meanwhile
}

// sweepLinks has those leave that have expired.
func (p *Pool) sweepLinks(now time.Time) {
	s := &p.streams
	s.mu.Lock()
	var old []*link
	for _, l := range s.links {
		if p.expired(l, now) {
			old = append(old, l)
		}
	}
	for _, l := range old {
		s.stop(l)
	}
	s.mu.Unlock()
	for _, l := range old {
		l.retire()
	}
}

// closeLinks has those leave that carry nothing, and the others with their last stream.
func (p *Pool) closeLinks() {
	p.streams.mu.Lock()
	p.streams.closed = true
	p.streams.mu.Unlock()
	p.sweepLinks(time.Time{})
}

// The functions below are called with the mutex held.

// roomy returns the first link that has room, nil if none has, and on the way those that must leave and those that must
// be asked whether they live.
func (p *Pool) roomy(now time.Time) (found *link, old, doubtful []*link) {
	for _, l := range p.streams.links {
		switch {
		case p.expired(l, now):
			old = append(old, l)
		case l.doubtful(now) && l.ask(idleness, now):
			doubtful = append(doubtful, l)
		case p.room(l):
			return l, old, doubtful
		}
	}
	return nil, old, doubtful
}

// occupy takes a place for a stream on l.
func (p *Pool) occupy(l *link) *Conn {
	s := &p.streams
	var c *Conn
	if n := len(s.free); n > 0 {
		c, s.free = s.free[n-1], s.free[:n-1]
	} else {
		c = &Conn{pool: p}
	}
	c.link, c.served = l, l.served
	l.taken++
	l.served++
	return c
}

// serve answers those who wait, as far as there is room.
func (p *Pool) serve() {
	s := &p.streams
	if len(s.queue) == 0 {
		return
	}
	for _, l := range s.links {
		for len(s.queue) > 0 && p.room(l) {
			s.next().ready <- p.occupy(l)
		}
	}
}

// next takes the first one out of the queue.
func (s *streams) next() *turn {
	t := s.queue[0]
	s.queue[0] = nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
	return t
}

// fit is how many streams the next connection will take: as many as the last one, or until one has shown, as we let it.
func (p *Pool) fit() int {
	n := p.o.MaxStreams
	if p.o.MaxRequests > 0 {
		n = min(n, p.o.MaxRequests)
	}
	if p.streams.seen > 0 {
		n = min(n, p.streams.seen)
	}
	return n
}

// coming is how many of those who wait will find room without a stream coming to its end: on connections that are being
// made, and on those that are likely to live.
func (p *Pool) coming() int {
	n := p.streams.making
	for _, l := range p.streams.links {
		if l.doubt == idleness {
			n++
		}
	}
	return n * p.fit()
}

// grow makes as many connections as those who wait will need. It makes none while a connection is likely to take some,
// and while an endpoint allows no stream: it would not on another connection either.
func (p *Pool) grow(ctx context.Context) {
	s := &p.streams
	for len(s.queue) > s.making*p.fit() && len(s.links)+s.making < p.o.MaxConns {
		if slices.ContainsFunc(s.links, (*link).pauses) {
			return
		}
		s.making++
		go p.connection(context.WithoutCancel(ctx))
	}
}
