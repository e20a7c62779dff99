package zookeeper

import (
	"slices"

	"crossfade.dev/internal/wire/jute"
)

// config is where the ensemble says who its servers are.
const config = "/zookeeper/config"

// plan returns what the server is asked in place of a request, and what becomes of its answer. The session is locked.
func (l *link) plan(q jute.Request, record, frame []byte) ([]byte, *call) {
	switch {
	case q.Op.Changes():
		return l.change(q, record, frame)
	case q.Op == jute.OpMulti:
		return l.multi(q, record, frame)
	case q.Op.Looks():
		return l.look(q, record, frame)
	case q.Op == jute.OpMultiRead:
		return l.looks(record, frame)
	case q.Op == jute.OpSetWatches || q.Op == jute.OpSetWatches2:
		return l.watches(q, record, frame)
	case q.Op == jute.OpCheckWatches || q.Op == jute.OpRemoveWatches || q.Op == jute.OpSetACL:
		return l.rare(q, record, frame)
	case q.Op == jute.OpClose:
		l.s.closing = true
	}
	return frame, &call{}
}

// fatal says whether an answer is about the session, not about what was asked.
func fatal(code jute.Code) bool {
	return code == jute.SessionExpired || code == jute.SessionMoved || code == jute.AuthFailed
}

// here has something answered by what say returns. The server is asked whether the node exists, so that answers stay in
// order, and an answer that is about the session counts.
func here(xid int32, at string, say func(r jute.Reply) []byte) ([]byte, *call) {
	return jute.Look{Op: jute.OpExists, Path: at}.Frame(xid), &call{then: func(r jute.Reply, _, frame []byte) []byte {
		if fatal(r.Err) {
			return frame
		}
		r.Err = jute.OK
		return say(r)
	}}
}

// refuse answers what cannot be read, and could be a registration.
func (l *link) refuse(q jute.Request, what string, err error) ([]byte, *call) {
	l.notes = append(l.notes, note{"hold.unread", what + " in " + l.s.p.name + "; refused: " + err.Error()})
	return here(q.Xid, "/", func(r jute.Reply) []byte {
		r.Err = jute.BadArguments
		return r.Write().Frame()
	})
}

// look is a request that reads one node.
func (l *link) look(q jute.Request, record, frame []byte) ([]byte, *call) {
	look, err := jute.ReadLook(q.Op, record)
	n := l.s.nodes[look.Path]
	children := q.Op == jute.OpGetChildren || q.Op == jute.OpGetChildren2
	switch {
	case err != nil:
		return frame, &call{}
	case n != nil && n.local():
		n.watched = n.watched || look.Watch
		seen, acl := n.look(), n.acl
		return here(q.Xid, look.Path, func(r jute.Reply) []byte { return found(r, q.Op, seen, acl) })
	case n != nil, look.Path == config && q.Op == jute.OpGetData, children && len(l.s.nodes) > 0:
		return frame, &call{then: func(r jute.Reply, rest, frame []byte) []byte { return l.amend(r, q.Op, look.Path, rest, frame) }}
	}
	return frame, &call{}
}

// look is what the application is told of a node that is local.
func (n *node) look() jute.Seen { return jute.Seen{Data: n.data, Stat: n.stat()} }

func found(r jute.Reply, op jute.Op, seen jute.Seen, acl []jute.ACL) []byte {
	w := r.Write()
	switch op {
	case jute.OpGetData:
		w.Bytes(seen.Data)
	case jute.OpGetChildren, jute.OpGetChildren2:
		w.Texts(seen.Children)
	case jute.OpGetACL:
		w.ACL(acl)
	default:
	}
	if op != jute.OpGetChildren {
		w.Stat(seen.Stat)
	}
	return w.Frame()
}

// amend returns an answer of the server's as the application is to have it.
func (l *link) amend(r jute.Reply, op jute.Op, at string, rest, frame []byte) []byte {
	children := op == jute.OpGetChildren || op == jute.OpGetChildren2
	in := jute.NewReader(rest)
	var seen jute.Seen
	var acl []jute.ACL
	if r.Err == jute.OK {
		switch op {
		case jute.OpGetData:
			seen.Data = in.Bytes()
		case jute.OpGetChildren, jute.OpGetChildren2:
			seen.Children = in.Texts()
		case jute.OpGetACL:
			acl = in.ACL()
		default:
		}
		if op != jute.OpGetChildren {
			seen.Stat = in.Stat()
		}
	}
	believed := r.Err == jute.NoNode && children && l.believes(at)
	if (r.Err != jute.OK && !believed) || in.End() != nil {
		return frame
	}
	r.Err = jute.OK
	l.correct(at, &seen)
	return found(r, op, seen, acl)
}

// correct makes what the server has of a node what the application is to see.
func (l *link) correct(at string, seen *jute.Seen) {
	if n := l.s.nodes[at]; n != nil && !n.local() {
		seen.Stat.Version -= n.shift
	}
	if at == config {
		seen.Data, seen.Stat.DataLength = []byte{}, 0
	}
	for _, n := range l.s.nodes {
		if n.hidden() && parent(n.path) == at {
			if name := base(n.path); !slices.Contains(seen.Children, name) {
				seen.Children = append(seen.Children, name)
			}
		}
	}
}

// believes says whether the application believes that a node has children.
func (l *link) believes(at string) bool {
	for _, n := range l.s.nodes {
		if parent(n.path) == at {
			return true
		}
	}
	return false
}

// looks is a request that reads several nodes.
func (l *link) looks(record, frame []byte) ([]byte, *call) {
	parts, err := jute.ReadMultiRead(record)
	if err != nil {
		return frame, &call{}
	}
	for _, part := range parts {
		if n := l.s.nodes[part.Path]; n != nil && n.local() {
			n.watched = n.watched || part.Watch
		}
	}
	return frame, &call{then: func(r jute.Reply, rest, frame []byte) []byte {
		all, err := jute.ReadSeen(rest)
		if r.Err != jute.OK || err != nil || len(all) != len(parts) {
			return frame
		}
		for i, part := range parts {
			n, seen := l.s.nodes[part.Path], &all[i]
			switch {
			case n != nil && n.local():
				*seen = n.look()
				seen.Op = part.Op
			case seen.Op == jute.OpError && (part.Op != jute.OpGetChildren || !l.believes(part.Path)):
				continue
			}
			seen.Op, seen.Err = part.Op, jute.OK
			l.correct(part.Path, seen)
		}
		w := r.Write()
		w.Seen(all)
		return w.Frame()
	}}
}

// watches is what a client that has come back watches. What the server does not have would be deleted to it.
func (l *link) watches(q jute.Request, record, frame []byte) ([]byte, *call) {
	w, err := jute.ReadWatches(q.Op, record)
	if err != nil {
		return frame, &call{}
	}
	cut := false
	for _, list := range []int{jute.WatchesData, jute.WatchesChild} {
		w.Paths[list] = slices.DeleteFunc(w.Paths[list], func(at string) bool {
			n := l.s.nodes[at]
			if n == nil || !n.local() {
				return false
			}
			n.watched, cut = true, true
			return true
		})
	}
	if !cut {
		return frame, &call{}
	}
	return w.Frame(q.Xid), &call{}
}

// rare is what else may be asked of a node that is local: about its watches, and another ACL.
func (l *link) rare(q jute.Request, record, frame []byte) ([]byte, *call) {
	in := jute.NewReader(record)
	n := l.s.nodes[in.Text()]
	if n == nil || !n.local() {
		return frame, &call{}
	}
	switch q.Op {
	case jute.OpSetACL:
		acl := in.ACL()
		if in.Err() != nil {
			return frame, &call{}
		}
		n.acl = acl
	case jute.OpRemoveWatches:
		n.watched = false
	default:
	}
	stat := n.stat()
	return here(q.Xid, n.path, func(r jute.Reply) []byte {
		w := r.Write()
		if q.Op == jute.OpSetACL {
			w.Stat(stat)
		}
		return w.Frame()
	})
}
