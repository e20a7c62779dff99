package http2

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	frame "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	firstWindow = 1<<16 - 1 // of streams and connections, until somebody says otherwise
	maxWindow   = 1<<31 - 1
	maxStreamID = 1<<31 - 1
	frameSize   = 1 << 14 // of DATA and header blocks, both ways: nobody has to take more
	tableSize   = 4096    // of header compression, both ways
	lingerTime  = time.Second
)

// A Conn is what both sides of a connection have. Its methods may be called from any goroutine.
type Conn struct {
	nc     net.Conn
	o      Options
	client bool
	handle func(*Stream) // servers

	// Only the goroutine that reads touches what follows.
	in      inlet
	framer  *frame.Framer // reads, and under mu writes
	decoder *hpack.Decoder
	parser  parser
	block   block

	heard   atomic.Int64 // when something was last read, in Unix nanoseconds
	partial atomic.Int64 // when the frame or block that is not whole began; 0 for none

	mu       sync.Mutex // guards what follows; never held while reading or writing
	calm     sync.Cond  // nobody writes any more, or a handler returned
	streams  map[uint32]*Stream
	free     []*Stream // to be used again
	open     int       // streams that count against the peer's bound, or ours
	running  int       // handlers
	arriving bool      // the head of a stream is coming that is not open yet
	lastID   uint32    // servers: the highest stream of the peer. Clients: of ours
	resets   ring      // streams that we reset: what still comes for them is nobody's fault
	ended    ring      // streams that ended otherwise
	useful   uint64    // work done: see budgetTable
	answered uint64
	spent    [floods]bucket
	changed  bool // Options.Changed is due

	out      outlet
	encoder  *encoder
	flushing bool   // somebody writes
	begun    uint64 // bytes that were handed to nc
	owed     int    // answers among what waits to be written
	writeBy  time.Time
	blocked  []*Stream // wait for c.send, or for room in out

	send      int64 // bytes of bodies that the peer takes
	recv      int64 // bytes of bodies that it may still send
	consumed  int64 // bytes that were read since the peer was last told
	peer      peerSettings
	ours      int64 // the window of a stream of the peer's, as far as it is known to know
	greeted   bool  // its first SETTINGS came
	unacked   bool  // it has not acknowledged ours
	timer     *time.Timer
	timerAt   time.Time // when that goes off
	started   time.Time
	pingedAt  time.Time     // of the PING that is not answered; zero for none
	checking  bool          // clients: no stream is opened before it is answered,
	checkTime time.Duration // which must be within that time
	idleSince time.Time     // since when there is no stream
	leaving   departure
	leftAt    time.Time
	heardIt   bool   // the PING that went with the leave was answered
	goneAt    uint32 // the last stream that is served, once leaving is decided
	peerLeft  bool   // GOAWAY came
	over      bool   // in order: nothing is left to do
	farewell  error  // why the peer left, if for a reason
	cause     error  // why the connection ended; nil while it has not
}

// A departure is how far a connection has gone in leaving.
type departure uint8

const (
	staying   departure = iota
	expectant           // it has come only just, and is told with its first stream
	announced
	decided
)

// peerSettings are what the peer said of itself.
type peerSettings struct {
	maxStreams uint32
	window     int64
	maxHead    uint32
	tableSize  uint32
	extended   bool
}

func (c *Conn) prepare(nc net.Conn, o *Options, client bool) {
	c.nc, c.o, c.client = nc, *o, client
	c.o.prepare()
	c.calm.L = &c.mu
	c.streams = make(map[uint32]*Stream)
	c.in.from, c.in.memory, c.in.wait = nc, c.o.Memory, c.beforeRead
	c.out.memory = c.o.Memory
	c.framer = frame.NewFramer(&c.out, &c.in)
	c.framer.SetMaxReadFrameSize(frameSize)
	c.decoder = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) {
		if !c.parser.field(f.Name, f.Value) {
			c.decoder.SetEmitEnabled(false)
		}
	})
	c.decoder.SetMaxStringLength(c.o.MaxHead)
	c.parser.extended = c.o.ExtendedConnect
	c.encoder = newEncoder(client)
	c.send, c.recv = firstWindow, int64(c.o.ConnWindow)
	c.ours = max(firstWindow, int64(c.o.StreamWindow))
	c.peer = peerSettings{maxStreams: 100, window: firstWindow, maxHead: 1<<32 - 1, tableSize: tableSize}
}

// greet writes what a side says first.
func (c *Conn) greet() {
	settings := []frame.Setting{
		{ID: frame.SettingInitialWindowSize, Val: uint32(c.o.StreamWindow)},
		{ID: frame.SettingMaxHeaderListSize, Val: uint32(c.o.MaxHead)},
	}
	if c.client {
		_, _ = c.out.Write([]byte(Preface))
		settings = append(settings, frame.Setting{ID: frame.SettingEnablePush, Val: 0})
	} else {
		settings = append(settings, frame.Setting{ID: frame.SettingMaxConcurrentStreams, Val: uint32(c.o.MaxStreams)})
		if c.o.ExtendedConnect {
			settings = append(settings, frame.Setting{ID: frame.SettingEnableConnectProtocol, Val: 1})
		}
	}
	_ = c.framer.WriteSettings(settings...)
	if more := c.o.ConnWindow - firstWindow; more > 0 {
		_ = c.framer.WriteWindowUpdate(0, uint32(more))
	}
	c.unacked = true
}

// run reads until the connection ends, closes it, and waits for the handlers. It returns nil if the end was in order.
func (c *Conn) run(first func() error) error {
	c.mu.Lock()
	c.started = time.Now()
	c.idleSince = c.started
	c.heard.Store(c.started.UnixNano())
	c.timer = time.AfterFunc(c.o.HandshakeTimeout, c.tick)
	c.timerAt = c.started.Add(c.o.HandshakeTimeout)
	c.rearm(c.started)
	c.mu.Unlock()
	err := first()
	if err == nil {
		err = c.readFrames()
	}
	return c.end(err)
}

// end settles everything after reading has ended with err.
func (c *Conn) end(err error) error {
	c.mu.Lock()
	switch {
	case c.cause != nil:
		err = c.cause
	case c.farewell != nil:
		err = c.farewell
	case c.over, errors.Is(err, io.EOF) && c.open == 0:
		err = nil
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // io.EOF is how a body ends that is whole
	}
	c.breakOff(err)
	_ = c.nc.SetWriteDeadline(time.Now().Add(lingerTime))
	for c.flushing {
		c.calm.Wait()
	}
	c.flush()
	for c.flushing {
		c.calm.Wait()
	}
	c.timer.Stop()
	polite := c.over
	c.unlock()
	if broken, ok := errors.AsType[*ConnError](err); polite || ok && !broken.Remote {
		c.linger()
	}
	_ = c.nc.Close()
	c.in.release()
	c.mu.Lock()
	for c.running > 0 {
		c.calm.Wait()
	}
	c.mu.Unlock()
	return err
}

// breakOff ends all streams for err, and says goodbye to a peer that can still hear it.
func (c *Conn) breakOff(err error) {
	if c.cause == nil {
		c.cause = err
		if err == nil {
			c.cause = ErrClosed
		}
		if c.client && !c.over { // else all streams have ended, and the end of the last one may wait in there
			c.out.drop() // streams that wait in there count as unprocessed: somebody sends them elsewhere
		}
		if broken, ok := errors.AsType[*ConnError](err); ok && !broken.Remote {
			c.o.Stats.Broken.Inc()
			c.goAway(c.lastOfPeer(), broken.Code, broken.Reason)
		}
	}
	for _, s := range c.streams {
		c.fail(s, &StreamError{Code: codeOf(c.cause), Remote: true, Unprocessed: c.client && s.headAt >= c.begun, Cause: c.cause})
	}
	for _, s := range c.free {
		s.silence()
	}
	c.free, c.changed = nil, true
}

// lastOfPeer is the last stream that the peer opened.
func (c *Conn) lastOfPeer() uint32 {
	switch {
	case c.client:
		return 0
	case c.leaving == decided:
		return c.goneAt
	default:
		return c.lastID
	}
}

func codeOf(err error) Code {
	if broken, ok := errors.AsType[*ConnError](err); ok {
		return broken.Code
	}
	return Cancel
}

// linger lets the peer read what was written last: closed with bytes unread, a connection is reset, and the reset may
// overtake the GOAWAY.
func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	limit := time.Now().Add(lingerTime)
	_ = c.nc.SetReadDeadline(limit)
	for scratch := c.in.little[:]; time.Now().Before(limit); {
		if _, err := c.nc.Read(scratch); err != nil {
			return
		}
	}
}

// Close ends the connection at once, with every stream on it. Serve or Run, and with them the handlers, return soon.
func (c *Conn) Close() {
	c.mu.Lock()
	c.breakOff(ErrClosed)
	c.unlock()
	_ = c.nc.Close()
}

// OpenStreams returns how many streams are open, and since when there has been none.
func (c *Conn) OpenStreams() (n int, idleSince time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, c.idleSince
}

// unlock releases mu and tells whoever wants to know that something changed.
func (c *Conn) unlock() {
	changed := c.changed
	c.changed = false
	c.mu.Unlock()
	if changed && c.o.Changed != nil {
		c.o.Changed()
	}
}

// complete ends the connection in order, if nothing is left to do.
func (c *Conn) complete() {
	done := c.leaving == decided || c.peerLeft
	if !done || c.open > 0 || c.arriving || c.over || c.cause != nil {
		return
	}
	c.over = true
	c.wakeReader()
}

// wakeReader makes the reader look up. Whoever calls it has set over or cause.
func (c *Conn) wakeReader() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// A ring remembers the last streams of a kind.
type ring struct {
	ids    []uint32
	next   int
	forgot bool
}

const ringSize = 128

func (r *ring) add(id uint32) {
	if len(r.ids) < ringSize {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % ringSize
	r.forgot = true
}

func (r *ring) drop(id uint32) {
	if i := slices.Index(r.ids, id); i >= 0 {
		r.ids[i] = 0 // no stream has that number
	}
}

func (r *ring) has(id uint32) bool { return slices.Contains(r.ids, id) }
