package zookeeper

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/jute"
)

// A step is what becomes of one change that the application asks for. The books say at once what it makes of them: what is
// asked next stands on it.
type step struct {
	forward *jute.Change // what the server is asked; nil: it is done here
	fresh   bool         // it is done here, and fails where the server has something
	code    jute.Code    // why it fails here
	result  jute.Result
	done    func(jute.Code, *jute.Result) jute.Code // takes in what came of it; what did not is undone. It returns what the application hears; nil: just that
}

func (st *step) end(code jute.Code, res *jute.Result) jute.Code {
	if st.done == nil {
		return code
	}
	return st.done(code, res)
}

// change is a request that changes one node.
func (l *link) change(q jute.Request, record, frame []byte) ([]byte, *call) {
	c, err := jute.ReadChange(q.Op, record)
	if err != nil {
		if !q.Op.Creates() {
			return frame, &call{}
		}
		return l.refuse(q, "create "+c.Path, err)
	}
	st := l.step(&c)
	if st == nil {
		return frame, &call{}
	}
	made := &call{lost: func() { st.end(jute.ConnectionLoss, &st.result) }}
	if st.forward != nil {
		made.then = func(r jute.Reply, rest, frame []byte) []byte {
			var res jute.Result
			if r.Err == jute.OK {
				if res, err = jute.ReadResult(q.Op, rest); err != nil { // a server that answers as none that is known
					st.end(r.Err, &res)
					return frame
				}
			}
			return reply(r, st.end(r.Err, &res), &res, q.Op)
		}
		return st.forward.Frame(q.Xid), made
	}
	made.then = func(r jute.Reply, _, _ []byte) []byte {
		code := st.code
		switch {
		case fatal(r.Err):
			code = r.Err
		case code == jute.OK && st.fresh && r.Err == jute.OK:
			code = jute.NodeExists
		}
		return reply(r, st.end(code, &st.result), &st.result, q.Op)
	}
	return jute.Look{Op: jute.OpExists, Path: c.Path}.Frame(q.Xid), made
}

func reply(r jute.Reply, code jute.Code, res *jute.Result, op jute.Op) []byte {
	r.Err = code
	w := r.Write()
	if code == jute.OK {
		res.Op = op
		w.Result(res)
	}
	return w.Frame()
}

// step says what becomes of a change, and takes it into the books; nil is that it goes to the server as it came.
func (l *link) step(c *jute.Change) *step {
	if c.Op.Creates() && c.Flags == jute.FlagEphemeralSequential {
		return l.numbered(c)
	}
	n := l.s.nodes[c.Path]
	switch {
	case n == nil && l.registers(c):
		return l.register(c)
	case n == nil:
		return nil
	case c.Op.Creates():
		return l.again(n, c)
	case c.Op == jute.OpDelete:
		return l.remove(n, c)
	case c.Op == jute.OpSetData && n.at != "" && !n.withdrawn:
		return l.setThere(n, c)
	case c.Op == jute.OpSetData:
		return l.setHere(n, c)
	}
	return l.check(n, c)
}

// registers says whether a change makes a registration.
func (l *link) registers(c *jute.Change) bool {
	return (c.Op == jute.OpCreate || c.Op == jute.OpCreate2) && c.Flags == jute.FlagEphemeral && !l.readOnly && l.s.p.paths.has(c.Path)
}

// leastNumber is that of numbered nodes. Servers count from 0 for every parent.
const leastNumber = 2_000_000_000

// numbered is a node with a number at its end. Where only registrations are made it is one: its name is ours to give.
func (l *link) numbered(c *jute.Change) *step {
	named := *c
	named.Path += strconv.Itoa(leastNumber + rand.IntN(1<<31-leastNumber)) //nolint:gosec // not a secret
	named.Flags = jute.FlagEphemeral
	if !l.s.p.paths.named || !l.registers(&named) || l.s.nodes[named.Path] != nil {
		return nil
	}
	*c = named
	return l.register(c)
}

// register is a registration that is new.
func (l *link) register(c *jute.Change) *step {
	s, now := l.s, time.Now()
	n := &node{s: s, key: s.key(c.Path), path: c.Path, acl: c.ACL, data: c.Data, madeAt: now, setAt: now}
	verdict, mark := s.p.gate.Register(n.key, n)
	s.nodes[n.path] = n
	if verdict == hold.Pass {
		return l.pass(n, c, mark)
	}
	return &step{fresh: true, done: func(code jute.Code, res *jute.Result) jute.Code {
		if code != jute.OK {
			l.drop(n)
			s.p.gate.Deregister(n.key)
			return code
		}
		n.made, n.changed = l.zxid, l.zxid
		*res = jute.Result{Path: n.path, Stat: n.stat()}
		return code
	}}
}

// drop takes a node from the books, unless there is a newer one.
func (l *link) drop(n *node) {
	n.gone = true
	if l.s.nodes[n.path] == n {
		delete(l.s.nodes, n.path)
	}
}

// pass is a registration that goes to the server, with a mark.
func (l *link) pass(n *node, c *jute.Change, mark hold.Mark) *step {
	s, again := l.s, n.unknown
	at, data, room := marked(c.Path, c.Data, mark)
	if !room {
		l.notes = append(l.notes, n.noRoom())
	}
	if n.at != "" && n.at != at {
		n.next = n.at
	}
	n.at, n.written, n.data, n.mark, n.unknown, n.withdrawn, n.placed, n.doubted = at, data, c.Data, mark, false, false, false, false
	n.passing = true
	f := *c
	f.Path, f.Data = at, data
	return &step{forward: &f, done: func(code jute.Code, res *jute.Result) jute.Code {
		n.passing = false
		switch {
		case code == jute.OK:
			n.placed, n.shift, n.version = true, 0, 0
			n.made, n.changed = l.zxid, l.zxid
			res.Path = n.path
			s.p.gate.Settle(n.key, n, nil)
		case code == jute.NodeExists && again: // it had been made, and the answer was lost
			n.placed, n.doubted, n.written = true, true, nil
			s.p.gate.Settle(n.key, n, nil)
		case code == jute.ConnectionLoss:
			n.unknown = true
			s.p.gate.Settle(n.key, n, errLost)
		default:
			n.at = ""
			l.drop(n)
			s.p.gate.Settle(n.key, n, notCreated(n.path, code))
		}
		return code
	}}
}

// again is a registration that the application has made before.
func (l *link) again(n *node, c *jute.Change) *step {
	switch {
	case n.unknown && l.registers(c):
		verdict, mark := l.s.p.gate.Register(n.key, n)
		if verdict == hold.Pass {
			return l.pass(n, c, mark)
		}
		return &step{code: jute.NodeExists}
	case n.decided():
		if l.s.p.gate.State(n.key) == hold.Drained { // an attempt to come back
			l.s.p.gate.Register(n.key, n)
		}
		return &step{code: jute.NodeExists}
	}
	f := *c
	f.Path = n.at
	_, f.Data, _ = marked(c.Path, c.Data, n.mark)
	return &step{forward: &f, done: func(code jute.Code, res *jute.Result) jute.Code {
		if code == jute.OK { // somebody had deleted it
			n.data, n.written, n.version, n.shift = c.Data, f.Data, 0, 0
			res.Path = n.path
		}
		return code
	}}
}

// remove is a registration that the application takes back.
func (l *link) remove(n *node, c *jute.Change) *step {
	s := l.s
	if n.at == "" && c.Version >= 0 && c.Version != n.version {
		return &step{code: jute.BadVersion}
	}
	l.drop(n)
	verdict := s.p.gate.Deregister(n.key)
	back := func() {
		n.gone = false
		if s.nodes[n.path] == nil {
			s.nodes[n.path] = n
		}
	}
	if n.at == "" {
		return &step{done: func(code jute.Code, _ *jute.Result) jute.Code {
			switch {
			case code != jute.OK:
				back()
				s.reregister(n)
			case n.watched:
				l.tell(jute.NodeDeleted, n.path)
			}
			return code
		}}
	}
	certain := n.placed && !n.withdrawn
	return &step{forward: &jute.Change{Op: jute.OpDelete, Path: n.at, Version: n.there(c.Version)}, done: func(code jute.Code, _ *jute.Result) jute.Code {
		switch code {
		case jute.OK, jute.NoNode:
			n.vanish()
			if verdict == hold.Pass && n.next == "" {
				s.p.gate.Gone(n.key)
			}
			if n.watched {
				l.tell(jute.NodeDeleted, n.path)
			}
			if !certain {
				code = jute.OK
			}
		case jute.ConnectionLoss:
			n.unknown = true
			back()
		default:
			back()
			s.reregister(n)
		}
		return code
	}}
}

// reregister takes back that a node was taken back: that did not succeed. The session is locked.
func (s *session) reregister(n *node) {
	if s.ended || s.nodes[n.path] != n {
		return
	}
	if verdict, mark := s.p.gate.Register(n.key, n); verdict == hold.Pass {
		if n.placed {
			s.p.gate.Settle(n.key, n, nil)
			return
		}
		n.mark = mark
		s.p.gate.Settle(n.key, n, errLost) // it is for the gate to release
	}
}

// there is a version as the server has it. Below 0 is any; one that it never had is the greatest.
func (n *node) there(version int32) int32 {
	if version < 0 {
		return version
	}
	switch {
	case !n.placed: // it will be made anew
		version -= n.version
	case n.writing:
		version += n.shift + 1
	default:
		version += n.shift
	}
	if version < 0 {
		return math.MaxInt32
	}
	return version
}

// check is a look at a version, in a multi.
func (l *link) check(n *node, c *jute.Change) *step {
	if !n.decided() {
		return &step{forward: &jute.Change{Op: c.Op, Path: n.at, Version: n.there(c.Version)}}
	}
	if c.Version >= 0 && c.Version != n.version {
		return &step{code: jute.BadVersion}
	}
	return &step{}
}

// setHere is other data for a node that the server does not have.
func (l *link) setHere(n *node, c *jute.Change) *step {
	if c.Version >= 0 && c.Version != n.version {
		return &step{code: jute.BadVersion}
	}
	before := n.data
	n.data = c.Data
	n.version++
	version := n.version
	return &step{done: func(code jute.Code, res *jute.Result) jute.Code {
		if code != jute.OK {
			n.data = before
			n.version--
			return code
		}
		n.setAt, n.changed = time.Now(), l.zxid
		res.Stat = n.stat()
		res.Stat.Version, res.Stat.DataLength = version, int32(len(c.Data)) //nolint:gosec // a frame has less
		l.tellWatcher(n)
		return code
	}}
}

// tellWatcher has the application hear of other data, if it wants to and the server does not know.
func (l *link) tellWatcher(n *node) {
	if n.watched {
		n.watched = false
		l.tell(jute.NodeDataChanged, n.path)
	}
}

// setThere is other data for a node that the server has, or is about to have.
func (l *link) setThere(n *node, c *jute.Change) *step {
	before := n.data
	n.data = c.Data
	f := jute.Change{Op: jute.OpSetData, Path: n.at, Version: n.there(c.Version)}
	_, f.Data, _ = marked(n.path, c.Data, n.mark)
	return &step{forward: &f, done: func(code jute.Code, res *jute.Result) jute.Code {
		switch {
		case code == jute.OK:
			n.written = f.Data
			n.version = res.Stat.Version - n.shift
		case code == jute.NoNode && !n.placed: // it could not be made yet: it will be made with this
			n.version++
			code = jute.OK
		default:
			n.data = before
			if code == jute.ConnectionLoss && n.placed {
				n.written, n.doubted = nil, true
			}
			return code
		}
		n.setAt, n.changed = time.Now(), l.zxid
		if res.Stat.Version -= n.shift; n.local() {
			res.Stat = n.stat()
		}
		l.tellWatcher(n)
		return code
	}}
}
