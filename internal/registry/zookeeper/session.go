package zookeeper

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// A session is one of ZooKeeper's, or several, of which each follows when the one before has expired.
type session struct {
	conn *zk.Conn
	line *line
	auth []byte // of digest; nil is nobody

	identifying chan struct{} // holds one while somebody uses the following
	identified  bool
}

// open begins a session. hear, if it is not nil, hears of everything that happens to it; it may not wait for anything.
func (c *Client) open(ctx context.Context, l *line, hear func(zk.Event)) (*session, error) {
	s := &session{line: l, identifying: make(chan struct{}, 1)}
	if c.place.user != "" {
		s.auth = []byte(c.place.user + ":" + c.place.password)
	}
	var err error
	s.conn, _, err = zk.Connect(slices.Clone(c.place.servers), c.place.ttl, zk.WithDialer(c.connection(ctx, s.line)), zk.WithHostProvider(&servers{}),
		zk.WithLogger(silent{}), zk.WithLogInfo(false), zk.WithMaxBufferSize(maxAnswer), zk.WithEventCallback(func(e zk.Event) {
			if hear != nil {
				hear(e)
			}
		}))
	return s, err
}

// identify says who we are, once: the library does so again with every connection.
func (s *session) identify(ctx context.Context) error {
	if s.auth == nil {
		return nil
	}
	select {
	case s.identifying <- struct{}{}:
		defer func() { <-s.identifying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.identified {
		return nil
	}
	err := do(ctx, func() error { return s.conn.AddAuth("digest", s.auth) })
	s.identified = err == nil
	return err
}

// cut ends the connection without a word: the server keeps the session for the time to live.
func (s *session) cut() { s.line.cut() }

// ask has a question to a server answered, or not, while ctx lives. What is left of it ends with the connection.
func ask[T any](ctx context.Context, question func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		value, err := question()
		answered <- answer{value, err}
	}()
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// do is ask, of what has no answer but an error.
func do(ctx context.Context, what func() error) error {
	_, err := ask(ctx, func() (struct{}, error) { return struct{}{}, what() })
	return err
}

// A found is a node as it was read.
type found struct {
	data []byte
	stat *zk.Stat
}

// get reads a node. Of one that is not there the error is zk.ErrNoNode.
func (s *session) get(ctx context.Context, path string) (found, error) {
	return ask(ctx, func() (found, error) {
		data, stat, err := s.conn.Get(path)
		return found{data, stat}, err
	})
}

// getW is get, and has the session hear of the next change.
func (s *session) getW(ctx context.Context, path string) (found, error) {
	return ask(ctx, func() (found, error) {
		data, stat, _, err := s.conn.GetW(path)
		return found{data, stat}, err
	})
}

// childrenW returns the names of a node's children, and has the session hear of the next change. Of a node that is not
// there it hears when it is.
func (s *session) childrenW(ctx context.Context, path string) ([]string, error) {
	for {
		children, err := ask(ctx, func() ([]string, error) {
			children, _, _, err := s.conn.ChildrenW(path)
			return children, err
		})
		if err != zk.ErrNoNode { //nolint:errorlint // the library's own, unwrapped
			return children, err
		}
		there, err := ask(ctx, func() (bool, error) {
			there, _, _, err := s.conn.ExistsW(path)
			return there, err
		})
		if err != nil || !there {
			return nil, err
		}
	}
}

// sync has the server that answers know everything that anybody was told before.
func (s *session) sync(ctx context.Context) error {
	return do(ctx, func() error {
		_, err := s.conn.Sync("/")
		return err
	})
}

// A line is the connection of a session, whichever it is now.
type line struct {
	mu   sync.Mutex
	conn net.Conn
	done bool
}

func (l *line) take(conn net.Conn, ttl time.Duration) (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		_ = conn.Close() // nobody has used it
		return nil, net.ErrClosed
	}
	l.conn = &bounded{Conn: conn, first: max(ttl/3, attempt)}
	return l.conn, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	if l.conn != nil {
		_ = l.conn.Close() // it is not used again
	}
}

// bounded is a connection on which nobody waits without an end. The library would wait for the first answer for several
// times as long as a session lasts, and for the rest of one for ever; a server that has just begun, and takes connections, may
// never answer. It is for one reader at a time.
type bounded struct {
	net.Conn
	first    time.Duration // that the first answer may take: so that others can be asked while the session lasts
	answered bool
}

// SetReadDeadline sets one that is not too late, see [net.Conn]. That for the first answer comes before any for others.
func (b *bounded) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		b.answered = true
		return nil // that of before holds
	}
	if latest := time.Now().Add(b.first); !b.answered && t.After(latest) {
		t = latest
	}
	return b.Conn.SetReadDeadline(t)
}

// servers is the list of servers, each looked up again with every connection. It is for one goroutine.
type servers struct {
	list  []string
	next  int
	tried int // since one was connected to
}

// Init takes the list, see [zk.HostProvider].
func (s *servers) Init(list []string) error {
	s.list = slices.Clone(list)
	rand.Shuffle(len(s.list), func(i, j int) { s.list[i], s.list[j] = s.list[j], s.list[i] })
	return nil
}

// Len returns how many there are.
func (s *servers) Len() int { return len(s.list) }

// Next returns the next, and says whether all have been tried in vain.
func (s *servers) Next() (string, bool) {
	again := s.tried >= len(s.list)
	if again {
		s.tried = 0
	}
	s.tried++
	server := s.list[s.next%len(s.list)]
	s.next++
	return server, again
}

// Connected says that the last one answered.
func (s *servers) Connected() { s.tried = 0 }

// silent is a log of what its reader finds in errors.
type silent struct{}

// Printf writes nothing.
func (silent) Printf(string, ...any) {}
