package zookeeper

import (
	"bufio"
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"crossfade.dev/internal/wire/jute"
)

// A link is one connection of the application, and the one to a server that belongs to it.
type link struct {
	s        *session
	up, down net.Conn
	readOnly bool // the server has lost its leader: it makes nothing

	// These are guarded by the session's lock.
	calls []*call // what was sent to the server and is not answered, in order
	own   int32
	zxid  int64  // the last that the server has said
	notes []note // for people, once the session is not locked any more

	events []byte // frames that go to the application before the next answer; of who reads from the server
}

type note struct{ kind, reason string }

// A call is a request that the server has not answered. Both functions are called with the session locked; one of them once.
type call struct {
	xid  int32
	then func(r jute.Reply, rest, frame []byte) []byte // returns what the application is answered; nil is nothing. Nil: as it came
	lost func()                                        // may be nil for what is passed on as it came
}

var (
	errOrder = errors.New("the server answered what was not asked next")
	errStale = errors.New("the connection has ended")
	errXid   = errors.New("the application asked something under a number that is not for questions")
)

// run passes on what both sides say until one of them ends.
func (l *link) run(ctx context.Context) {
	var both sync.WaitGroup
	hangUp := func() {
		end(l.up)
		end(l.down)
	}
	defer context.AfterFunc(ctx, hangUp)()
	both.Go(func() {
		defer hangUp()
		l.answers()
	})
	l.requests()
	hangUp() // what the server still has to say does not matter to who has gone
	both.Wait()
}

// requests passes on what the application asks.
func (l *link) requests() {
	r := bufio.NewReader(l.down)
	for {
		frame, err := jute.ReadFrame(r)
		if err != nil {
			return
		}
		if err := l.request(frame); err != nil {
			return
		}
	}
}

func (l *link) request(frame []byte) error {
	q, record, err := jute.ReadRequest(jute.Body(frame))
	if err != nil {
		return err
	}
	s := l.s
	s.mu.Lock()
	if s.link != l {
		s.mu.Unlock()
		return errStale
	}
	switch {
	case q.Xid == jute.XidPing && q.Op == jute.OpPing, q.Xid == jute.XidAuth && q.Op == jute.OpAuth:
		err = l.write(frame)
	case q.Xid == jute.XidPing, q.Xid == jute.XidAuth, q.Xid == jute.XidEvent:
		err = errXid
	default:
		out, c := l.plan(q, record, frame)
		c.xid = q.Xid
		err = l.send(out, c)
	}
	notes := l.notes
	l.notes = nil
	s.mu.Unlock()
	for _, n := range notes {
		s.p.gate.Note(n.kind, n.reason)
	}
	return err
}

// send sends a request to the server. The session is locked.
func (l *link) send(frame []byte, c *call) error {
	if l.s.link != l {
		if c.lost != nil {
			c.lost()
		}
		return errStale
	}
	l.calls = append(l.calls, c)
	if err := l.write(frame); err != nil {
		l.s.lose(l)
		return err
	}
	return nil
}

func (l *link) write(frame []byte) error {
	_ = l.up.SetWriteDeadline(time.Now().Add(l.s.timeout))
	_, err := l.up.Write(frame)
	return err
}

// private returns an xid for a question of our own. No client counts down from the greatest. The session is locked.
func (l *link) private() int32 {
	l.own = (l.own + 1) % privates
	return math.MinInt32 + l.own
}

const privates = 1 << 20

// answers passes on what the server says.
func (l *link) answers() {
	r := bufio.NewReader(l.up)
	for {
		frame, err := jute.ReadFrame(r)
		if err != nil {
			return
		}
		out, err := l.answer(frame)
		if err != nil {
			return
		}
		if len(l.events) > 0 {
			out = append(l.events, out...)
			l.events = nil
		}
		if len(out) == 0 {
			continue
		}
		_ = l.down.SetWriteDeadline(time.Now().Add(l.s.timeout))
		if _, err := l.down.Write(out); err != nil {
			return
		}
	}
}

// answer returns what the application hears of what the server said.
func (l *link) answer(frame []byte) ([]byte, error) {
	r, rest, err := jute.ReadReply(jute.Body(frame))
	if err != nil {
		return nil, err
	}
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Xid {
	case jute.XidEvent:
		return l.event(rest, frame), nil
	case jute.XidPing, jute.XidAuth:
		return frame, nil
	}
	if len(l.calls) == 0 || l.calls[0].xid != r.Xid {
		return nil, errOrder
	}
	l.zxid = max(l.zxid, r.Zxid)
	c := l.calls[0]
	l.calls[0] = nil
	l.calls = l.calls[1:]
	if c.then == nil {
		return frame, nil
	}
	return c.then(r, rest, frame), nil
}

// tell has the application hear an event, before the answer that is being made.
func (l *link) tell(e jute.EventType, at string) {
	l.events = append(l.events, jute.Event{Type: e, State: jute.Synced, Path: at}.Frame()...)
}

// event returns what the application hears of an event. That one of its nodes was withdrawn it does not.
func (l *link) event(rest, frame []byte) []byte {
	e, err := jute.ReadEvent(rest)
	if err != nil {
		return frame
	}
	if n := l.s.nodes[e.Path]; n != nil && n.withdrawn && e.Type == jute.NodeDeleted {
		n.watched = true
		return nil
	}
	return frame
}
