package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/wire/jute"
)

var (
	errEnded = errors.New("the application's session has ended")
	errLost  = fmt.Errorf("%w: the connection of the application's session was lost", registry.ErrAway)
	errNone  = fmt.Errorf("%w: the application's session has no connection", registry.ErrAway)
)

// A session is one of the application's: it goes on from connection to connection.
type session struct {
	p        *Proxy
	id       int64
	password []byte
	timeout  time.Duration

	mu      sync.Mutex
	link    *link            // nil while it has no connection
	changed chan struct{}    // closed when link changes, or the session ends
	nodes   map[string]*node // what the application believes it has registered, by path
	closing bool             // the application has said so
	ended   bool
	absent  *time.Timer
}

// session serves a connection in its session, until it ends.
func (p *Proxy) session(ctx context.Context, asked jute.Connect, answer jute.Connected, down, up net.Conn) {
	s := p.find(asked, answer)
	if s == nil { // it begins nowhere, or has expired
		if answer.TimeoutMS > 0 {
			closeSession(up)
		}
		answer.TimeoutMS, answer.Session, answer.Password = 0, 0, make([]byte, len(answer.Password))
		_, _ = down.Write(answer.Frame())
		return
	}
	l := &link{s: s, up: up, down: down, readOnly: answer.ReadOnly}
	if !s.attach(l) {
		return
	}
	defer s.detach(l)
	if _, err := down.Write(answer.Frame()); err != nil {
		return
	}
	l.run(ctx)
}

// find returns the session that a connection goes on with; nil is none.
func (p *Proxy) find(asked jute.Connect, answer jute.Connected) *session {
	p.mu.Lock()
	s := p.sessions[asked.Session]
	known := s != nil && bytes.Equal(s.password, asked.Password)
	if answer.TimeoutMS > 0 && (asked.Session == 0 || answer.Session != asked.Session) {
		s = &session{
			p: p, id: answer.Session, password: answer.Password, timeout: time.Duration(answer.TimeoutMS) * time.Millisecond,
			changed: make(chan struct{}), nodes: map[string]*node{},
		}
		p.sessions[s.id] = s
		p.mu.Unlock()
		return s
	}
	p.mu.Unlock()
	switch {
	case !known:
		return nil
	case answer.TimeoutMS <= 0:
		s.end()
		return nil
	}
	return s
}

// closeSession ends a session of which it is not known what was held in it: its application hears that it has expired, and
// registers again.
func closeSession(up net.Conn) {
	if err := up.SetDeadline(time.Now().Add(wordWithin)); err != nil {
		return
	}
	if _, err := up.Write(jute.Request{Xid: 1, Op: jute.OpClose}.Write().Frame()); err == nil {
		_, _ = jute.ReadFrame(up)
	}
}

// attach has a session go on over a connection. What it had before is of no use any more.
func (s *session) attach(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	if old := s.link; old != nil {
		s.lose(old)
	}
	s.begin(l)
	return true
}

// begin has a session that has no connection go on over one. It is locked.
func (s *session) begin(l *link) {
	if s.absent != nil {
		s.absent.Stop()
	}
	s.link = l
	s.news()
}

// detach takes a connection that has ended from its session.
func (s *session) detach(l *link) {
	s.mu.Lock()
	s.lose(l)
	closing := s.closing
	s.mu.Unlock()
	if closing {
		s.end()
	}
}

// lose ends a connection, and everything that waits for an answer over it. The session is locked.
func (s *session) lose(l *link) {
	end(l.up)
	end(l.down)
	calls := l.calls
	l.calls = nil
	for _, c := range calls {
		if c.lost != nil {
			c.lost()
		}
	}
	if s.link != l {
		return
	}
	s.link = nil
	for _, n := range s.nodes {
		n.watched = false // the application says again what it watches
	}
	s.news()
	if !s.ended {
		s.absent = time.AfterFunc(2*s.timeout, s.overdue)
	}
}

// overdue ends a session that has not come back for longer than its servers wait; they do not count while they are away.
func (s *session) overdue() {
	away := s.p.isAway() != nil
	s.mu.Lock()
	switch {
	case s.link != nil, s.ended:
	case away:
		s.absent.Reset(2 * s.timeout)
	default:
		s.finish()
	}
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.p.drop(s)
	}
}

// end ends a session.
func (s *session) end() {
	s.mu.Lock()
	s.finish()
	s.mu.Unlock()
	s.p.drop(s)
}

// finish ends a session, and forgets what was registered in it: its ephemeral nodes end with it. The session is locked.
func (s *session) finish() {
	if s.ended {
		return
	}
	s.ended = true
	if s.absent != nil {
		s.absent.Stop()
	}
	if l := s.link; l != nil {
		s.lose(l)
	}
	for _, n := range s.nodes {
		s.p.gate.Forget(n.key, n)
	}
	s.nodes = nil
	s.news()
}

// drop takes a session that has ended from the list.
func (p *Proxy) drop(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sessions[s.id] == s {
		delete(p.sessions, s.id)
	}
}

func (p *Proxy) endAll() {
	p.mu.Lock()
	all := make([]*session, 0, len(p.sessions))
	for _, s := range p.sessions {
		all = append(all, s)
	}
	p.mu.Unlock()
	for _, s := range all {
		s.end()
	}
}

// news wakes up whoever waits for a connection. The session is locked.
func (s *session) news() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// key is how a gate knows a node.
func (s *session) key(at string) hold.Key { return hold.Key{Registry: s.p.name, Name: at} }

// An answered is what a question of our own was answered with.
type answered struct {
	code jute.Code
	rest []byte
	err  error
}

// ask asks the server something in the application's session, and waits for the answer, and before that for a connection.
// ask returns what to ask, or an error that ends it; taken takes in the answer. Both are called while the session is locked;
// taken, with a connection that was lost, after ctx has ended too.
func (s *session) ask(ctx context.Context, ask func(xid int32) ([]byte, error), taken func(answered)) error {
	l, err := s.await(ctx)
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	xid := l.private()
	frame, err := ask(xid)
	if err != nil || frame == nil {
		return err
	}
	done := make(chan error, 1)
	err = l.send(frame, &call{
		xid: xid,
		then: func(r jute.Reply, rest []byte, _ []byte) []byte {
			taken(answered{code: r.Err, rest: rest})
			done <- nil
			return nil
		},
		lost: func() {
			taken(answered{code: jute.ConnectionLoss, err: errLost})
			done <- errLost
		},
	})
	if err != nil {
		return errLost
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: it has not answered: %w", registry.ErrAway, ctx.Err())
	}
}

// borrow has a session that has no connection go on over one of our own, until back is called or the application is there
// again: what an application has left behind that died can be taken out before its session has run out.
func (s *session) borrow(ctx context.Context) (back func(), err error) {
	if busy, err := s.lend(nil); busy || err != nil {
		return func() {}, err
	}
	asked := jute.Connect{TimeoutMS: int32(s.timeout.Milliseconds()), Session: s.id, Password: s.password, HasReadOnly: true} //nolint:gosec // it came as one
	up, answer, err := s.p.connect(ctx, asked.Frame(), asked)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrAway, err)
	}
	if answer.TimeoutMS <= 0 {
		end(up)
		s.end()
		return nil, errEnded
	}
	nobody, far := net.Pipe()
	end(far)
	l := &link{s: s, up: up, down: nobody}
	if busy, err := s.lend(l); busy || err != nil { // the application has come back meanwhile
		end(up)
		return func() {}, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.answers()
		s.detach(l)
	}()
	return func() {
		end(up)
		<-done
	}, nil
}

// lend has a session that has no connection go on over one of our own, unless that is nil, and says whether it has one of
// the application's.
func (s *session) lend(l *link) (busy bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return false, errEnded
	case s.link != nil:
		return true, nil
	case l != nil:
		s.begin(l)
	}
	return false, nil
}

// await returns a session's connection, with the session locked, when it has one.
func (s *session) await(ctx context.Context) (*link, error) {
	for {
		s.mu.Lock()
		l, changed := s.link, s.changed
		switch {
		case s.ended:
			s.mu.Unlock()
			return nil, errEnded
		case l != nil:
			return l, nil
		}
		s.mu.Unlock()
		if away := s.p.isAway(); away != nil {
			return nil, away
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errNone
		}
	}
}
