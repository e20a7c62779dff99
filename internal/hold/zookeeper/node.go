package zookeeper

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/wire/jute"
)

var (
	errTaken   = errors.New("the application has taken it back")
	errUneasy  = errors.New("the registry keeps on changing it")
	errNotOurs = errors.New("somebody else has it there")
)

// A node is a registration: an ephemeral node that the application has made, in its session. It is guarded by the session's
// lock.
type node struct {
	s   *session
	key hold.Key

	// As the application knows it.
	path    string
	acl     []jute.ACL
	data    []byte
	version int32
	made    int64 // zxids and times of its stat
	changed int64
	madeAt  time.Time
	setAt   time.Time
	watched bool // it wants to hear of a change, and the server does not know that
	gone    bool // it has deleted it
	unknown bool // it was not answered when it made it, or deleted it

	// As the server has it.
	at        string // where it is, or may be; "" is nowhere
	next      string // where it may be besides: a move there was not answered
	placed    bool   // it is there
	passing   bool   // its creation, by the application itself, is on its way
	doubted   bool   // something is there: is it this one?
	withdrawn bool   // it is to be there no more
	written   []byte // its data; nil is not known
	writing   bool   // a setData of ours is on its way
	mark      hold.Mark
	told      bool  // of Release alone: people have heard that there is no room for a mark
	shift     int32 // its version there is so much greater: what was written by us
}

// hidden says whether the server does not have the node, or not for long.
func (n *node) hidden() bool { return !n.placed || n.withdrawn }

// decided says whether it is known without the server that to the application the node is there.
func (n *node) decided() bool { return n.hidden() && !n.passing && !n.unknown }

// local says whether the application is answered here: the node is hidden, or has another name there.
func (n *node) local() bool { return n.hidden() || n.at != n.path }

// stat is what the application is told of a node that is local.
func (n *node) stat() jute.Stat {
	return jute.Stat{
		Czxid: n.made, Mzxid: n.changed, Pzxid: n.made, Ctime: n.madeAt.UnixMilli(), Mtime: n.setAt.UnixMilli(), Version: n.version,
		Owner: n.s.id, DataLength: int32(len(n.data)), //nolint:gosec // a frame has less
	}
}

// mostSteps bounds what one Release asks: a move, its parents, and what others do meanwhile.
const mostSteps = 12

// Release makes the node in the registry, or gives it another mark: see [hold.Registration].
func (n *node) Release(ctx context.Context, m hold.Mark) error {
	for range mostSteps {
		var t turn
		if err := n.s.ask(ctx, func(xid int32) (frame []byte, err error) {
			frame, err = n.step(xid, m, &t)
			return frame, err
		}, func(a answered) { t.taken(a) }); err != nil {
			return err
		}
		switch {
		case t.err != nil:
			return t.err
		case t.done:
			if !t.room && !n.told {
				n.told = true
				about := n.noRoom()
				n.s.p.gate.Note(about.kind, about.reason)
			}
			return nil
		case t.parents:
			if err := n.mkdir(ctx, parent(n.path)); err != nil {
				return err
			}
		}
	}
	return errUneasy
}

// noRoom is what people hear of what consumers do not.
func (n *node) noRoom() note {
	return note{"hold.unread", n.key.String() + "; it is neither Curator's JSON with metadata nor a Dubbo provider's URL: passed on as it is, without what agents publish"}
}

// A turn is one question of a Release, and what came of it.
type turn struct {
	taken   func(answered)
	done    bool
	parents bool // they are missing
	room    bool // for a mark
	err     error
}

// step asks what brings the registry nearer to having the node with a mark.
func (n *node) step(xid int32, m hold.Mark, t *turn) ([]byte, error) {
	if n.gone {
		return nil, errTaken
	}
	at, data, room := marked(n.path, n.data, m)
	n.mark, t.room = m, room
	switch {
	case n.next != "" && n.next != n.at && n.placed && at == n.at && !n.doubted:
		old := n.next
		t.taken = func(a answered) { n.cleared(a, old, t) }
		return (&jute.Change{Op: jute.OpDelete, Path: old, Version: -1}).Frame(xid), nil
	case n.doubted, n.placed && at == n.at && bytes.Equal(data, n.written):
		t.taken = func(a answered) { n.seen(a, t) }
		return jute.Look{Op: jute.OpExists, Path: n.at, Watch: n.watched && n.at == n.path}.Frame(xid), nil
	case n.placed && at == n.at:
		n.writing = true
		t.taken = func(a answered) { n.wrote(a, data, t) }
		return (&jute.Change{Op: jute.OpSetData, Path: at, Data: data, Version: -1}).Frame(xid), nil
	case n.placed:
		n.next = at
		t.taken = func(a answered) { n.moved(a, at, data, t) }
		return jute.Multi(xid, []jute.Change{n.creation(at, data), {Op: jute.OpDelete, Path: n.at, Version: -1}}), nil
	}
	n.at, n.written, n.withdrawn = at, data, false
	t.taken = func(a answered) { n.created(a, t) }
	c := n.creation(at, data)
	return c.Frame(xid), nil
}

func (n *node) creation(at string, data []byte) jute.Change {
	return jute.Change{Op: jute.OpCreate, Path: at, Data: data, ACL: n.acl, Flags: jute.FlagEphemeral}
}

// refused is what the server did not do.
func refused(what, at string, code jute.Code) error {
	switch code {
	case jute.ConnectionLoss:
		return errLost
	case jute.NotReadOnly, jute.SessionMoved, jute.SessionExpired:
		return fmt.Errorf("%w: %s %s: %v", registry.ErrAway, what, at, code)
	default:
		return fmt.Errorf("%s %s: %v", what, at, code)
	}
}

// notCreated is what the server said to the application of what it has made itself.
func notCreated(at string, code jute.Code) error {
	if code == jute.NoNode {
		return fmt.Errorf("create %s: %v: its parent is not there yet; most clients make that now, and try again", at, code)
	}
	return fmt.Errorf("create %s: %v", at, code)
}

// created takes in the answer to a creation.
func (n *node) created(a answered, t *turn) {
	switch a.code {
	case jute.OK:
		n.placed, n.shift = true, -n.version
	case jute.NodeExists: // of an answer that was lost, or of somebody else
		n.doubted = true
	case jute.NoNode:
		n.at, t.parents = "", true
	case jute.ConnectionLoss: // it may be there
	default:
		n.at, t.err = "", refused("create", n.path, a.code)
	}
}

// seen takes in whether the node is there.
func (n *node) seen(a answered, t *turn) {
	stat := jute.NewReader(a.rest).Stat()
	ours := a.code == jute.OK && stat.Owner == n.s.id
	switch {
	case a.code == jute.ConnectionLoss:
	case ours && n.doubted:
		n.doubted, n.placed, n.written, n.shift = false, true, nil, stat.Version-n.version
	case ours:
		t.done = true
		n.watched = n.watched && n.at != n.path
	case a.code == jute.OK:
		n.at, n.placed, n.doubted = "", false, false
		t.err = fmt.Errorf("create %s: %w: %v", n.path, errNotOurs, jute.NodeExists)
	case a.code == jute.NoNode: // somebody has deleted it
		n.at, n.placed, n.doubted = "", false, false
	default:
		t.err = refused("exists", n.at, a.code)
	}
}

// wrote takes in the answer to other data.
func (n *node) wrote(a answered, data []byte, t *turn) {
	n.writing = false
	switch a.code {
	case jute.OK:
		n.written = data
		n.shift++
	case jute.NoNode:
		n.at, n.placed = "", false
	case jute.ConnectionLoss:
		n.written, n.doubted = nil, true // by its version it is known how often it was written
	default:
		t.err = refused("setData", n.at, a.code)
	}
}

// moved takes in the answer to a node that was made elsewhere, in place of this one.
func (n *node) moved(a answered, at string, data []byte, t *turn) {
	code := a.code
	if code == jute.OK {
		results, err := jute.ReadResults(a.rest)
		if err != nil {
			code = jute.RuntimeInconsistency
		}
		for _, r := range results {
			if r.Err != jute.OK && r.Err != jute.RuntimeInconsistency {
				code = r.Err
			}
		}
	}
	if code != jute.ConnectionLoss {
		n.next = ""
	}
	switch code {
	case jute.OK:
		n.at, n.written = at, data
	case jute.NoNode: // this one is not there any more
		n.at, n.placed = "", false
	case jute.NodeExists: // of an answer that was lost
		n.next, n.at, n.placed, n.doubted = n.at, at, false, true
	case jute.ConnectionLoss:
	default:
		t.err = refused("multi", at, code)
	}
}

// cleared takes in that it is not any more where it may have been besides.
func (n *node) cleared(a answered, old string, t *turn) {
	switch a.code {
	case jute.OK, jute.NoNode:
		if n.next == old {
			n.next = ""
		}
	case jute.ConnectionLoss:
	default:
		t.err = refused("delete", old, a.code)
	}
}

// mkdir makes a path, as Curator does: of containers, which go with the last of their children.
func (n *node) mkdir(ctx context.Context, path string) error {
	op, flags := jute.OpCreateContainer, jute.FlagContainer
	for range mostSteps {
		var code jute.Code
		err := n.s.ask(ctx, func(xid int32) ([]byte, error) {
			if n.gone {
				return nil, errTaken
			}
			return (&jute.Change{Op: op, Path: path, Data: []byte{}, ACL: n.acl, Flags: flags}).Frame(xid), nil
		}, func(a answered) { code = a.code })
		switch {
		case err != nil:
			return err
		case code == jute.OK, code == jute.NodeExists:
			return nil
		case code == jute.Unimplemented && op != jute.OpCreate: // before ZooKeeper 3.5
			op, flags = jute.OpCreate, 0
		case code == jute.NoNode && path != "/":
			if err := n.mkdir(ctx, parent(path)); err != nil {
				return err
			}
		default:
			return refused("create", path, code)
		}
	}
	return errUneasy
}

// Withdraw deletes the node: see [hold.Registration]. The application does not hear of it.
func (n *node) Withdraw(ctx context.Context) error {
	back, err := n.s.borrow(ctx)
	if err != nil {
		if errors.Is(err, errEnded) { // and the node with it
			return nil
		}
		return err
	}
	defer back()
	for range mostSteps {
		var t turn
		err := n.s.ask(ctx, func(xid int32) ([]byte, error) { return n.unstep(xid, &t), nil }, func(a answered) { t.taken(a) })
		switch {
		case errors.Is(err, errEnded):
			return nil
		case err != nil:
			return err
		case t.taken == nil || t.err != nil:
			return t.err
		}
	}
	return errUneasy
}

// unstep asks what brings the registry nearer to having nothing of the node; nil is that it has nothing.
func (n *node) unstep(xid int32, t *turn) []byte {
	at := cmp.Or(n.at, n.next)
	if at == "" {
		return nil
	}
	n.withdrawn = true
	if n.doubted {
		t.taken = func(a answered) {
			if n.seen(a, t); errors.Is(t.err, errNotOurs) {
				t.err = nil
			}
		}
		return jute.Look{Op: jute.OpExists, Path: at}.Frame(xid)
	}
	t.taken = func(a answered) {
		if a.code != jute.OK && a.code != jute.NoNode {
			t.err = refused("delete", n.path, a.code)
			return
		}
		n.vanish()
	}
	return (&jute.Change{Op: jute.OpDelete, Path: at, Version: -1}).Frame(xid)
}

// vanish takes in that the server does not have the node where it was, nor, after the second time, where it may have been.
func (n *node) vanish() {
	if n.at == "" {
		n.next = ""
	}
	n.at, n.placed, n.doubted, n.written, n.shift = "", false, false, nil, 0
}
