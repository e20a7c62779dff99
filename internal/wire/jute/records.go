package jute

// An Op is what a request asks for.
type Op int32

// The requests that the records of this package are of, and those that have a meaning without a record.
const (
	OpError           Op = -1 // in what multi is answered with
	OpCreate          Op = 1
	OpDelete          Op = 2
	OpExists          Op = 3
	OpGetData         Op = 4
	OpSetData         Op = 5
	OpGetACL          Op = 6
	OpSetACL          Op = 7
	OpGetChildren     Op = 8
	OpSync            Op = 9
	OpPing            Op = 11
	OpGetChildren2    Op = 12
	OpCheck           Op = 13
	OpMulti           Op = 14
	OpCreate2         Op = 15
	OpReconfig        Op = 16
	OpCheckWatches    Op = 17
	OpRemoveWatches   Op = 18
	OpCreateContainer Op = 19
	OpCreateTTL       Op = 21
	OpMultiRead       Op = 22
	OpAuth            Op = 100
	OpSetWatches      Op = 101
	OpSASL            Op = 102
	OpSetWatches2     Op = 105
	OpAddWatch        Op = 106
	OpClose           Op = -11
)

// Creates says whether an op makes a node.
func (o Op) Creates() bool {
	return o == OpCreate || o == OpCreate2 || o == OpCreateContainer || o == OpCreateTTL
}

// A Code is how a request was answered.
type Code int32

// The answers that mean something to whoever stands between.
const (
	OK                      Code = 0
	RuntimeInconsistency    Code = -2 // of what stood beside the one in a multi that failed
	ConnectionLoss          Code = -4
	Unimplemented           Code = -6
	BadArguments            Code = -8
	NoNode                  Code = -101
	NoAuth                  Code = -102
	BadVersion              Code = -103
	NoChildrenForEphemerals Code = -108
	NodeExists              Code = -110
	SessionExpired          Code = -112
	AuthFailed              Code = -115
	InvalidACL              Code = -114
	SessionMoved            Code = -118
	NotReadOnly             Code = -119
)

var codeNames = map[Code]string{
	OK:                   "OK",
	RuntimeInconsistency: "RuntimeInconsistency", ConnectionLoss: "ConnectionLoss", Unimplemented: "Unimplemented", BadArguments: "BadArguments",
	NoNode: "NoNode", NoAuth: "NoAuth", BadVersion: "BadVersion", NoChildrenForEphemerals: "NoChildrenForEphemerals", NodeExists: "NodeExists",
	SessionExpired: "SessionExpired", AuthFailed: "AuthFailed", InvalidACL: "InvalidACL", SessionMoved: "SessionMoved", NotReadOnly: "NotReadOnly",
}

// The xids that are no client's count.
const (
	XidEvent      int32 = -1
	XidPing       int32 = -2
	XidAuth       int32 = -4
	XidSetWatches int32 = -8
)

// Flags of a node that is created.
const (
	FlagEphemeral           int32 = 1
	FlagSequential          int32 = 2
	FlagEphemeralSequential int32 = 3
	FlagContainer           int32 = 4
)

// A Connect is the first record of a connection, from the client.
type Connect struct {
	Protocol    int32
	LastZxid    int64
	TimeoutMS   int32
	Session     int64
	Password    []byte
	HasReadOnly bool // the record has the field that follows
	ReadOnly    bool
}

// ReadConnect reads a Connect.
func ReadConnect(record []byte) (Connect, error) {
	r := NewReader(record)
	c := Connect{Protocol: r.Int(), LastZxid: r.Long(), TimeoutMS: r.Int(), Session: r.Long(), Password: r.Bytes()}
	if len(r.Rest()) > 0 {
		c.HasReadOnly, c.ReadOnly = true, r.Bool()
	}
	return c, r.End()
}

// Frame writes c.
func (c *Connect) Frame() []byte {
	w := NewWriter()
	w.Int(c.Protocol)
	w.Long(c.LastZxid)
	w.Int(c.TimeoutMS)
	w.Long(c.Session)
	w.Bytes(c.Password)
	if c.HasReadOnly {
		w.Bool(c.ReadOnly)
	}
	return w.Frame()
}

// Connected is the first record of a connection, from the server. One whose TimeoutMS is not above 0 says that the
// session has expired.
type Connected struct {
	Protocol    int32
	TimeoutMS   int32
	Session     int64
	Password    []byte
	HasReadOnly bool
	ReadOnly    bool // the server has lost its leader
}

// ReadConnected reads a Connected.
func ReadConnected(record []byte) (Connected, error) {
	r := NewReader(record)
	c := Connected{Protocol: r.Int(), TimeoutMS: r.Int(), Session: r.Long(), Password: r.Bytes()}
	if len(r.Rest()) > 0 {
		c.HasReadOnly, c.ReadOnly = true, r.Bool()
	}
	return c, r.End()
}

// Frame writes c.
func (c *Connected) Frame() []byte {
	w := NewWriter()
	w.Int(c.Protocol)
	w.Int(c.TimeoutMS)
	w.Long(c.Session)
	w.Bytes(c.Password)
	if c.HasReadOnly {
		w.Bool(c.ReadOnly)
	}
	return w.Frame()
}

// A Request is the head of a request.
type Request struct {
	Xid int32
	Op  Op
}

// ReadRequest reads the head of a request, and returns what follows it.
func ReadRequest(record []byte) (Request, []byte, error) {
	r := NewReader(record)
	q := Request{Xid: r.Int(), Op: Op(r.Int())}
	return q, r.Rest(), r.Err()
}

// Write returns a writer that has written q.
func (q Request) Write() *Writer {
	w := NewWriter()
	w.Int(q.Xid)
	w.Int(int32(q.Op))
	return w
}

// A Reply is the head of an answer, or of an event.
type Reply struct {
	Xid  int32
	Zxid int64
	Err  Code
}

// ReadReply reads the head of an answer, and returns what follows it.
func ReadReply(record []byte) (Reply, []byte, error) {
	r := NewReader(record)
	p := Reply{Xid: r.Int(), Zxid: r.Long(), Err: Code(r.Int())}
	return p, r.Rest(), r.Err()
}

// Write returns a writer that has written p.
func (p Reply) Write() *Writer {
	w := NewWriter()
	w.Int(p.Xid)
	w.Long(p.Zxid)
	w.Int(int32(p.Err))
	return w
}

// A Stat is what a server says of a node.
type Stat struct {
	Czxid, Mzxid                int64
	Ctime, Mtime                int64 // milliseconds since 1970
	Version, Cversion, Aversion int32
	Owner                       int64 // the session that an ephemeral node lives by; 0 is of one that is not
	DataLength, Children        int32
	Pzxid                       int64
}

// Stat reads a Stat.
func (r *Reader) Stat() Stat {
	return Stat{
		Czxid: r.Long(), Mzxid: r.Long(), Ctime: r.Long(), Mtime: r.Long(), Version: r.Int(), Cversion: r.Int(), Aversion: r.Int(),
		Owner: r.Long(), DataLength: r.Int(), Children: r.Int(), Pzxid: r.Long(),
	}
}

// Stat writes a Stat.
func (w *Writer) Stat(s Stat) {
	for _, n := range []int64{s.Czxid, s.Mzxid, s.Ctime, s.Mtime} {
		w.Long(n)
	}
	for _, n := range []int32{s.Version, s.Cversion, s.Aversion} {
		w.Int(n)
	}
	w.Long(s.Owner)
	w.Int(s.DataLength)
	w.Int(s.Children)
	w.Long(s.Pzxid)
}

// An Event is what a watch has seen: its reply's xid is XidEvent.
type Event struct {
	Type  EventType
	State int32
	Path  string
}

// An EventType is what became of a node.
type EventType int32

// The types of events.
const (
	NodeCreated         EventType = 1
	NodeDeleted         EventType = 2
	NodeDataChanged     EventType = 3
	NodeChildrenChanged EventType = 4
)

// Synced is the state that comes with an event of a client that is connected.
const Synced int32 = 3

// ReadEvent reads what follows an event's head.
func ReadEvent(record []byte) (Event, error) {
	r := NewReader(record)
	e := Event{Type: EventType(r.Int()), State: r.Int(), Path: r.Text()}
	return e, r.End()
}

// Frame writes e with its head.
func (e Event) Frame() []byte {
	w := Reply{Xid: XidEvent, Zxid: -1}.Write()
	w.Int(int32(e.Type))
	w.Int(e.State)
	w.Text(e.Path)
	return w.Frame()
}
