package upstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/http2"
)

// A link is one connection of HTTP/2. It has one of the pool's places until it takes no more streams: one that only
// finishes what it began keeps no other from being made.
type link struct {
	client *http2.Client
	conn   *Conn
	grow   func() // Pool.grow

	// The mutex of the pool's streams guards what follows.
	limit  atomic.Int64 // streams at a time that the endpoint takes, or one of the below; read without the mutex too
	taken  int          // places for streams
	served int          // streams that had one
	since  time.Time    // when the last one was given back, or the connection was made
	asked  time.Time    // when it was last asked; zero: it has answered a request since
	doubt  doubt        // why it is being asked whether it lives; it takes none meanwhile
}

// A doubt is why a connection may be dead.
type doubt uint8

const (
	trusted  doubt = iota
	idleness       // it carried nothing for long: it is likely to live
	silence        // somebody waited on it without hearing a word: it is not
)

const (
	gone   = -1 // it takes no more
	unmade = -2 // it has not said yet what it takes
)

const (
	// A connection that carried nothing for this long is asked whether it lives before it gets a request: one that was
	// sent to nobody could not be sent again. So is one on which something came that nobody has read yet, after a pause:
	// it may be the endpoint's leave.
	doubtAfter = 5 * time.Second
	doubtTime  = time.Second
	pause      = 10 * time.Millisecond
	// So is one on which nothing was heard for this long before somebody gave up waiting for an answer. Those who still
	// wait for theirs give it more time.
	silenceAfter = time.Second
	silenceTime  = 5 * time.Second
	// Servers of gRPC end a connection, with all that is on it, on which they are asked a third time and have answered
	// nothing in between. So one that has not answered a request since it was asked is asked again only after this time.
	askEvery = 5 * time.Minute
	// Streams on which nobody says anything may be open to nobody. Servers of gRPC forbid to ask more often than every
	// five minutes.
	pingAfter = 6 * time.Minute
)

// streaming returns o.HTTP2 with what is usual for endpoints. The window of a connection is twice that of all its
// streams, for up to a half of it may have been read before the endpoint is told: the bodies that slow clients leave
// unread take no room from those of others. What waits is bounded by the windows of the streams.
func streaming(o Options) http2.Options {
	const widest = 1<<31 - 1
	h := o.HTTP2
	if h.Memory == nil {
		h.Memory = new(http2.Memory)
	}
	h.StreamWindow = orDefault(h.StreamWindow, 256<<10)
	h.ConnWindow = orDefault(h.ConnWindow, h.StreamWindow*min(2*o.MaxStreams, widest/h.StreamWindow))
	h.HandshakeTimeout = orDefault(h.HandshakeTimeout, o.ConnectTimeout)
	h.PingAfter = orDefault(h.PingAfter, pingAfter)
	return h
}

// connection makes a connection and keeps it until it ends. It is made when the endpoint's SETTINGS have come: then
// it is known what the endpoint takes and serves, and one that does not speak HTTP/2 has been sent no request.
func (p *Pool) connection(ctx context.Context) {
	c, err := p.dial(ctx)
	if err != nil {
		p.unmade(ctx, err)
		return
	}
	l := &link{conn: c, grow: func() { p.grow(ctx) }}
	l.limit.Store(unmade)
	o := p.o.HTTP2
	o.Changed = func() { p.changed(l) }
	l.client = http2.NewClient(c.Conn, &o)
	err = l.client.Run()
	p.changed(l)
	if l.limit.Load() == unmade {
		p.traffic.ConnectFail.Inc()
		if err == nil {
			err = http2.ErrLeaving
		}
		p.unmade(ctx, fmt.Errorf("%w: %w", ErrConnect, err))
	}
	l.quit()
	p.traffic.ActiveConnects.Add(-1)
}

// dial takes a place for a connection and makes it there.
func (p *Pool) dial(ctx context.Context) (*Conn, error) {
	now := time.Now()
	p.mu.Lock()
	w, expired, err := p.claim(true, p.expire(now))
	p.mu.Unlock()
	closeAll(expired)
	if err != nil {
		return nil, err
	}
	return p.place(ctx, w, now.Add(p.o.ConnectTimeout), true, protoHTTP2)
}

// unmade settles that a connection could not be made: as many as it would have carried hear why. Where it found no
// place in time, those who can wait longer do.
func (p *Pool) unmade(ctx context.Context, err error) {
	s := &p.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	s.making--
	if !errors.Is(err, ErrWait) {
		for range min(p.fit(), len(s.queue)) {
			if errors.Is(err, ErrOverflow) {
				p.traffic.Overflow.Inc()
			}
			t := s.next()
			t.err = err
			t.ready <- nil
		}
	}
	p.grow(ctx)
}

// changed looks what l takes now. It is called whenever that may have become another number.
func (p *Pool) changed(l *link) {
	if l.now() == l.limit.Load() {
		return
	}
	s := &p.streams
	s.mu.Lock()
	was, is := l.limit.Load(), l.now()
	switch {
	case was == gone, was == unmade && is == gone: // the latter is said when it has ended
		s.mu.Unlock()
		return
	case was == unmade:
		s.making--
		s.seen = int(is)
		s.links = append(s.links, l)
		l.since = time.Now()
	case is == gone:
		s.stop(l)
	case is > 0:
		l.doubt = trusted
	}
	l.limit.Store(is)
	p.serve()
	unused := l.taken == 0
	if unused && s.closed {
		s.stop(l)
	}
	stopped := l.limit.Load() == gone
	l.grow()
	s.mu.Unlock()
	switch {
	case stopped:
		l.retire()
	case unused:
		p.offer()
	}
}

// now is how many streams at a time the endpoint takes.
func (l *link) now() int64 {
	n, ok := l.client.Limit()
	if !ok {
		return gone
	}
	return int64(n)
}

// retire gives back the place of a link that was stopped, and has the connection end with its last stream. It is called
// when it is stopped, and when streams have ended after that.
func (l *link) retire() {
	p := l.conn.pool
	l.quit()
	p.streams.mu.Lock()
	unused := l.taken == 0
	l.grow()
	p.streams.mu.Unlock()
	if unused {
		l.client.Leave()
	}
}

// quit gives l's place back, if it still has it.
func (l *link) quit() {
	if !l.conn.ended.Swap(true) {
		l.conn.pool.leave()
	}
}

// resting says whether a connection is idle, and since when the longest.
func (s *streams) resting() (since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.idle(); l != nil {
		return l.since, true
	}
	return time.Time{}, false
}

// yield stops the connection that has been idle longest, and returns it to be retired; nil if none is.
func (s *streams) yield() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.idle()
	if l != nil {
		s.stop(l)
	}
	return l
}

// makeRoom retires an idle connection where requests of HTTP/1.1 wait for its place.
func (p *Pool) makeRoom() {
	p.mu.Lock()
	awaited := len(p.waiters) > 0
	p.mu.Unlock()
	if !awaited {
		return
	}
	if l := p.streams.yield(); l != nil {
		l.retire()
	}
}

// The functions below are called with the mutex held.

// idle returns the link that has been idle longest, nil if none is.
func (s *streams) idle() (longest *link) {
	for _, l := range s.links {
		if l.taken == 0 && (longest == nil || l.since.Before(longest.since)) {
			longest = l
		}
	}
	return longest
}

// stop has l get no other place. Those who have one may still open their stream.
func (s *streams) stop(l *link) {
	l.limit.Store(gone)
	if i := slices.Index(s.links, l); i >= 0 {
		s.links = slices.Delete(s.links, i, i+1)
	}
}

// room says whether l takes another stream.
func (p *Pool) room(l *link) bool {
	return l.taken < min(int(l.limit.Load()), p.o.MaxStreams) && !p.worn(l)
}

// worn says whether l has carried as many streams as it may.
func (p *Pool) worn(l *link) bool { return p.o.MaxRequests > 0 && l.served >= p.o.MaxRequests }

// expired says whether l should carry no other stream.
func (p *Pool) expired(l *link, now time.Time) bool {
	unused := l.taken == 0 && (p.streams.closed || now.Sub(l.since) >= p.o.IdleTimeout)
	return unused || p.tooOld(l.conn, now) || p.worn(l)
}

// doubtful says whether l must be asked first whether it lives.
func (l *link) doubtful(now time.Time) bool {
	if l.taken > 0 || l.limit.Load() <= 0 {
		return false
	}
	idle := now.Sub(l.since)
	return idle >= doubtAfter || idle >= pause && !l.conn.calm()
}

// ask has l take no streams until it has shown that it lives, and says whether that is to be asked now.
func (l *link) ask(why doubt, now time.Time) bool {
	if l.doubt != trusted || l.limit.Load() == gone || !l.asked.IsZero() && now.Sub(l.asked) < askEvery {
		return false
	}
	l.doubt, l.asked = why, now
	l.limit.Store(0)
	return true
}

// pauses says whether l takes no streams for now, and is likely to soon.
func (l *link) pauses() bool { return l.limit.Load() == 0 && l.doubt != silence }

// unanswered says whether a stream was given up on after a silence on the whole connection.
func (c *Conn) unanswered(now time.Time) bool {
	return now.Sub(c.born) >= silenceAfter && now.Sub(c.link.client.Heard()) >= silenceAfter && !c.Stream.Answered()
}
