package jute

import (
	"fmt"
	"strconv"
)

// String names a code as ZooKeeper does.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return "error " + strconv.Itoa(int(c))
}

// An ACL says who may do what with a node.
type ACL struct {
	Perms      int32
	Scheme, ID string
}

// A Change is a request that changes a node, or the part of a multi that does, or that looks at its version. It has what
// its Op has.
type Change struct {
	Op      Op
	Path    string
	Data    []byte // of what creates, and OpSetData
	ACL     []ACL  // of what creates; nil is null
	Flags   int32  // of what creates
	TTL     int64  // of OpCreateTTL, milliseconds
	Version int32  // of OpDelete, OpSetData and OpCheck; -1 is any
}

// Changes says whether an op is that of a Change.
func (o Op) Changes() bool { return o.Creates() || o == OpDelete || o == OpSetData || o == OpCheck }

// ReadChange reads what follows the head of a request whose op is that of a Change.
func ReadChange(op Op, record []byte) (Change, error) {
	r := NewReader(record)
	c := r.change(op)
	return c, r.End()
}

func (r *Reader) change(op Op) Change {
	c := Change{Op: op, Path: r.Text()}
	switch op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		c.Data, c.ACL, c.Flags = r.Bytes(), r.ACL(), r.Int()
		if op == OpCreateTTL {
			c.TTL = r.Long()
		}
	case OpSetData:
		c.Data, c.Version = r.Bytes(), r.Int()
	case OpDelete, OpCheck:
		c.Version = r.Int()
	default:
		if r.err == nil {
			r.err = fmt.Errorf("%w: %d in a multi", ErrRecord, op)
		}
	}
	return c
}

// leastACL is how many bytes an ACL takes at least.
const leastACL = 12

// ACL reads a list of ACLs; one that is null or empty is nil.
func (r *Reader) ACL() []ACL {
	n := r.Count(leastACL)
	if n == 0 {
		return nil
	}
	list := make([]ACL, 0, n)
	for range n {
		list = append(list, ACL{Perms: r.Int(), Scheme: r.Text(), ID: r.Text()})
	}
	return list
}

// Change writes what follows a request's head.
func (w *Writer) Change(c *Change) {
	w.Text(c.Path)
	switch c.Op {
	case OpCreate, OpCreate2, OpCreateContainer, OpCreateTTL:
		w.Bytes(c.Data)
		w.ACL(c.ACL)
		w.Int(c.Flags)
		if c.Op == OpCreateTTL {
			w.Long(c.TTL)
		}
	case OpSetData:
		w.Bytes(c.Data)
		w.Int(c.Version)
	default:
		w.Int(c.Version)
	}
}

// ACL writes a list of ACLs.
func (w *Writer) ACL(list []ACL) {
	w.Int(int32(len(list))) //nolint:gosec // memory ends sooner
	for _, a := range list {
		w.Int(a.Perms)
		w.Text(a.Scheme)
		w.Text(a.ID)
	}
}

// Frame writes c as a request.
func (c *Change) Frame(xid int32) []byte {
	w := Request{Xid: xid, Op: c.Op}.Write()
	w.Change(c)
	return w.Frame()
}

// A Look is a request that reads a node: OpExists, OpGetData, OpGetChildren or OpGetChildren2, or, without a watch, OpGetACL.
type Look struct {
	Op    Op
	Path  string
	Watch bool
}

// Looks says whether an op is that of a Look.
func (o Op) Looks() bool {
	return o == OpExists || o == OpGetData || o == OpGetChildren || o == OpGetChildren2 || o == OpGetACL
}

// ReadLook reads what follows the head of a request whose op is that of a Look.
func ReadLook(op Op, record []byte) (Look, error) {
	r := NewReader(record)
	l := Look{Op: op, Path: r.Text()}
	if op != OpGetACL {
		l.Watch = r.Bool()
	}
	return l, r.End()
}

// Frame writes l as a request.
func (l Look) Frame(xid int32) []byte {
	w := Request{Xid: xid, Op: l.Op}.Write()
	w.Text(l.Path)
	if l.Op != OpGetACL {
		w.Bool(l.Watch)
	}
	return w.Frame()
}

// Watches is what a client that has come back watches: OpSetWatches has the first three lists, OpSetWatches2 all.
type Watches struct {
	Op    Op
	Zxid  int64 // what it has seen
	Paths [5][]string
}

// The lists of Watches.
const (
	WatchesData = iota
	WatchesExist
	WatchesChild
	WatchesPersistent
	WatchesRecursive
)

func (s *Watches) lists() int {
	if s.Op == OpSetWatches {
		return WatchesPersistent
	}
	return len(s.Paths)
}

// ReadWatches reads what follows the head of OpSetWatches or OpSetWatches2.
func ReadWatches(op Op, record []byte) (Watches, error) {
	r := NewReader(record)
	s := Watches{Op: op, Zxid: r.Long()}
	for i := range s.lists() {
		s.Paths[i] = r.Texts()
	}
	return s, r.End()
}

// Frame writes s as a request.
func (s *Watches) Frame(xid int32) []byte {
	w := Request{Xid: xid, Op: s.Op}.Write()
	w.Long(s.Zxid)
	for i := range s.lists() {
		w.Texts(s.Paths[i])
	}
	return w.Frame()
}
