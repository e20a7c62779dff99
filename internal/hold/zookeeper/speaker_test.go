package zookeeper

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/wire/jute"
)

// A speaker is a client that says what it is told to, and tells what it hears. Its own mistakes fail the test.
type speaker struct {
	*testing.T
	address  string
	conn     net.Conn
	in       *bufio.Reader
	xid      int32
	zxid     int64
	session  int64
	password []byte
	events   []string
	timeout  time.Duration
}

func speak(t *testing.T, address string) *speaker {
	t.Helper()
	return speakFor(t, address, 40*time.Second) // it sends no pings
}

// speakFor has a session that runs out so much after the last that was said in it.
func speakFor(t *testing.T, address string, timeout time.Duration) *speaker {
	t.Helper()
	s := &speaker{T: t, address: address, timeout: timeout, password: make([]byte, 16)}
	if got := s.connect(); got.TimeoutMS <= 0 {
		t.Fatalf("a new session: %+v", got)
	}
	t.Cleanup(s.leave)
	return s
}

// connect connects, in the session that there is, and returns what it is answered.
func (s *speaker) connect() jute.Connected {
	s.Helper()
	s.hangUp()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	s.conn, s.in = conn, bufio.NewReader(conn)
	asked := jute.Connect{LastZxid: s.zxid, TimeoutMS: int32(s.timeout.Milliseconds()), Session: s.session, Password: s.password, HasReadOnly: true}
	_, _ = conn.Write(asked.Frame())
	frame, err := jute.ReadFrame(s.in)
	if err != nil {
		return jute.Connected{}
	}
	answer, err := jute.ReadConnected(jute.Body(frame))
	if err != nil {
		s.Fatal(err)
	}
	if answer.TimeoutMS > 0 {
		s.session, s.password = answer.Session, answer.Password
	}
	return answer
}

// leave ends its session, if it can.
func (s *speaker) leave() {
	_, _ = s.conn.Write(jute.Request{Xid: s.xid + 1, Op: jute.OpClose}.Write().Frame())
	_, _ = io.Copy(io.Discard, s.in)
	s.hangUp()
}

func (s *speaker) hangUp() {
	if s.conn != nil {
		s.conn.Close()
	}
}

// say sends a request; its xid is returned.
func (s *speaker) say(frame func(xid int32) []byte) int32 {
	s.Helper()
	s.xid++
	if _, err := s.conn.Write(frame(s.xid)); err != nil {
		s.Fatal(err)
	}
	return s.xid
}

// hear returns the next answer, which must be that to xid. Events before it are kept.
func (s *speaker) hear(xid int32) (jute.Reply, []byte) {
	s.Helper()
	for {
		frame, err := jute.ReadFrame(s.in)
		if err != nil {
			s.Fatalf("waiting for the answer to %d: %v", xid, err)
		}
		r, rest, err := jute.ReadReply(jute.Body(frame))
		if err != nil {
			s.Fatal(err)
		}
		if r.Zxid > 0 {
			s.zxid = r.Zxid
		}
		if r.Xid == jute.XidEvent {
			e, err := jute.ReadEvent(rest)
			if err != nil {
				s.Fatal(err)
			}
			s.events = append(s.events, fmt.Sprintf("%d %s", e.Type, e.Path))
			continue
		}
		if r.Xid != xid {
			s.Fatalf("answered is %d, asked was %d", r.Xid, xid)
		}
		return r, rest
	}
}

func (s *speaker) ask(frame func(xid int32) []byte) (jute.Reply, []byte) {
	s.Helper()
	return s.hear(s.say(frame))
}

// do makes one change.
func (s *speaker) do(c jute.Change) (jute.Code, jute.Result) {
	s.Helper()
	r, rest := s.ask(c.Frame)
	if r.Err != jute.OK {
		return r.Err, jute.Result{}
	}
	res, err := jute.ReadResult(c.Op, rest)
	if err != nil {
		s.Fatalf("the answer to %+v: %v", c, err)
	}
	return r.Err, res
}

func (s *speaker) multi(parts ...jute.Change) []jute.Result {
	s.Helper()
	r, rest := s.ask(func(xid int32) []byte { return jute.Multi(xid, parts) })
	results, err := jute.ReadResults(rest)
	if r.Err != jute.OK || err != nil {
		s.Fatalf("multi: %v, %v", r.Err, err)
	}
	return results
}

// look reads a node.
func (s *speaker) look(op jute.Op, path string, watch bool) (jute.Code, jute.Seen) {
	s.Helper()
	r, rest := s.ask(jute.Look{Op: op, Path: path, Watch: watch}.Frame)
	var seen jute.Seen
	if r.Err != jute.OK {
		return r.Err, seen
	}
	in := jute.NewReader(rest)
	switch op {
	case jute.OpGetData:
		seen.Data = in.Bytes()
	case jute.OpGetChildren, jute.OpGetChildren2:
		seen.Children = in.Texts()
		slices.Sort(seen.Children)
	default:
	}
	if op != jute.OpGetChildren {
		seen.Stat = in.Stat()
	}
	if err := in.End(); err != nil {
		s.Fatalf("the answer to %d of %s: %v", op, path, err)
	}
	return r.Err, seen
}

func (s *speaker) exists(path string) bool {
	s.Helper()
	code, _ := s.look(jute.OpExists, path, false)
	return code == jute.OK
}

// heard returns the events since it was called last.
func (s *speaker) heard() string {
	all := strings.Join(s.events, ", ")
	s.events = nil
	return all
}

func anybody() []jute.ACL { return []jute.ACL{{Perms: 31, Scheme: "world", ID: "anyone"}} }

func create(path, data string) jute.Change {
	return jute.Change{Op: jute.OpCreate2, Path: path, Data: []byte(data), ACL: anybody(), Flags: jute.FlagEphemeral}
}

// mkdir makes a path that stays.
func (s *speaker) mkdir(path string) {
	s.Helper()
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if code, _ := s.do(jute.Change{Op: jute.OpCreate, Path: path[:i], ACL: anybody()}); code != jute.OK && code != jute.NodeExists {
			s.Fatalf("create %s: %v", path[:i], code)
		}
	}
}
