package load

import (
	"bufio"
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What a server may send before it hears from us again, in bytes.
const (
	streamWindow  = 1 << 20
	sessionWindow = 8 << 20
)

const (
	usualWindow = 65_535    // of streams and connections until somebody says otherwise (RFC 9113, 6.9.2)
	usualFrame  = 16_384    // likewise, of a frame
	lastStream  = 1<<31 - 1 // streams have no higher number
)

var (
	errLeaving  = errors.New("the connection takes no more streams")
	errClosed   = errors.New("closed by ourselves")
	errNotHTTP2 = errors.New("not HTTP/2")
)

// A session is one connection of HTTP/2 and the streams on it. One goroutine reads, one writes; who sends a request
// waits for its own stream alone, so that a connection that hangs keeps nobody past his time.
type session struct {
	// Set once.
	nc      net.Conn
	account *account
	framer  *http2.Framer
	settled chan struct{} // closed when the server's SETTINGS have come
	over    chan struct{} // closed when the connection has ended
	wake    chan struct{} // rings when there is something to write

	mu      sync.Mutex
	out     outbox // what goes out next
	block   outbox // what the encoder writes to
	encoder *hpack.Encoder
	streams map[uint32]*stream
	next    uint32        // number of the next stream
	frames  uint64        // that were read, without SETTINGS
	greeted bool          // the server's SETTINGS have come
	leaving bool          // takes no more streams; ends with the last one
	ended   error         // why the connection has ended
	unsent  error         // why no more can be written
	vacancy chan struct{} // closed when there may be room for another stream, or never will be; nil if nobody waits

	// What the server allows.
	room    int   // streams at a time
	sending int64 // bytes of all bodies
	window  int64 // bytes of a new stream's body
	frame   int   // bytes of one frame

	allowed int64 // what the server may still send on all streams, in bytes
}

// An outbox is bytes on their way out. Writing to it never fails.
type outbox []byte

func (o *outbox) Write(p []byte) (int, error) {
	*o = append(*o, p...)
	return len(p), nil
}

// newSession begins a session on a connection: run reads and writes until close, or until it ends.
func newSession(nc net.Conn, account *account) *session {
	c := &session{
		nc: nc, account: account, settled: make(chan struct{}), over: make(chan struct{}), wake: make(chan struct{}, 1),
		streams: map[uint32]*stream{}, next: 1,
		room: lastStream, sending: usualWindow, window: usualWindow, frame: usualFrame, allowed: sessionWindow,
	}
	c.framer = http2.NewFramer(&c.out, bufio.NewReaderSize(nc, 16<<10))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = maxHead
	c.framer.SetMaxReadFrameSize(usualFrame)
	c.framer.SetReuseFrames()
	c.encoder = hpack.NewEncoder(&c.block)
	_, _ = c.out.Write([]byte(http2.ClientPreface))
	_ = c.framer.WriteSettings( // into the outbox, which takes everything
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
	)
	_ = c.framer.WriteWindowUpdate(0, sessionWindow-usualWindow)
	c.ring()
	return c
}

// run reads and writes until the connection has ended.
func (c *session) run() {
	var writing sync.WaitGroup
	writing.Go(c.write)
	err := c.read()
	c.end(err)
	writing.Wait()
}

// ring wakes the writer.
func (c *session) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write sends what is in the outbox until the connection has ended.
func (c *session) write() {
	var chunk outbox
	for {
		select {
		case <-c.wake:
		case <-c.over:
			return
		}
		c.mu.Lock()
		chunk, c.out = c.out, chunk[:0]
		c.mu.Unlock()
		if _, err := c.nc.Write(chunk); err != nil {
			c.mu.Lock()
			c.unsent = err
			c.leave()
			c.mu.Unlock()
			// What the server said before it hung up is still to be read, and counts.
			_ = c.nc.SetReadDeadline(time.Now().Add(lastWords))
			return
		}
	}
}

// lastWords is how long a server that takes nothing more may go on sending.
const lastWords = time.Second

// settle waits for the server's SETTINGS: what it allows is known before anything is asked.
func (c *session) settle(ctx context.Context) error {
	select {
	case <-c.settled:
		return nil
	case <-c.over:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ended
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open sends the head of a request as soon as the server has room for another stream; end says that there is no
// body. With errLeaving nothing was sent.
func (c *session) open(ctx context.Context, r *request, s *stream, end bool) error {
	for {
		vacancy := c.begin(r, s, end)
		if vacancy == nil {
			break
		}
		select {
		case <-vacancy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.id == 0 {
		return errLeaving
	}
	c.ring()
	return nil
}

// begin starts the stream, or returns what to wait for. A session that is leaving gives it no number.
func (c *session) begin(r *request, s *stream, end bool) (vacancy chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.leaving:
		return nil
	case len(c.streams) >= c.room:
		if c.vacancy == nil {
			c.vacancy = make(chan struct{})
		}
		return c.vacancy
	}
	s.id, s.opened, s.sending, s.allowed, s.ended = c.next, c.frames, c.window, streamWindow, end
	c.streams[s.id] = s
	c.next += 2
	if c.next > lastStream {
		c.leaving = true
	}
	c.block = c.block[:0]
	for _, field := range r.fields {
		_ = c.encoder.WriteField(field) // into the outbox
	}
	for first, rest := true, []byte(c.block); first || len(rest) > 0; first = false {
		n := min(len(rest), c.frame)
		if first {
			_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: rest[:n], EndStream: end, EndHeaders: n == len(rest)})
		} else {
			_ = c.framer.WriteContinuation(s.id, n == len(rest), rest[:n])
		}
		rest = rest[n:]
	}
	return nil
}

// send puts all of p on the stream, as the server takes it, and ends our side if end. It returns early, with nil,
// when the stream is done.
func (c *session) send(ctx context.Context, s *stream, p []byte, end bool) error {
	for {
		left, done := c.put(s, p, end)
		c.ring()
		if done {
			return nil
		}
		if len(left) < len(p) {
			p = left
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// put writes what the server takes now, and returns what is left.
func (c *session) put(s *stream, p []byte, end bool) (left []byte, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.done {
		return nil, true
	}
	n := int(min(int64(len(p)), int64(c.frame), s.sending, c.sending))
	if n <= 0 && len(p) > 0 {
		return p, false
	}
	s.sending -= int64(n)
	c.sending -= int64(n)
	s.ended = end && n == len(p)
	_ = c.framer.WriteData(s.id, s.ended, p[:n])
	return p[n:], n == len(p)
}

// await waits until the stream is done, or has so many messages.
func (c *session) await(ctx context.Context, s *stream, messages int) error {
	for {
		c.mu.Lock()
		enough := s.done || s.messages.whole >= messages
		c.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rest waits for d, or until the stream is done.
func (c *session) rest(ctx context.Context, s *stream, d time.Duration) error {
	pause, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_ = c.await(pause, s, math.MaxInt) // either is the end of the pause
	return ctx.Err()
}

// cancel ends a stream that nobody waits for any more. A connection that has been silent since it began may be dead:
// it takes no more.
func (c *session) cancel(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.done {
		return
	}
	c.finish(s, errClosed)
	_ = c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
	c.ring()
	if c.frames == s.opened {
		c.leave()
	}
}

// finish takes a stream off the session; err is nil when its answer is whole.
func (c *session) finish(s *stream, err error) {
	s.done, s.err = true, err
	delete(c.streams, s.id)
	s.ring()
	c.stir()
	if c.leaving && len(c.streams) == 0 {
		c.hangUp()
	}
}

// stir wakes who waits for room.
func (c *session) stir() {
	if c.vacancy != nil {
		close(c.vacancy)
		c.vacancy = nil
	}
}

// leave takes no more streams; the connection ends with the last one.
func (c *session) leave() {
	c.leaving = true
	c.stir()
	if len(c.streams) == 0 {
		c.hangUp()
	}
}

// hangUp ends the connection: the reader notices.
func (c *session) hangUp() {
	if c.ended == nil {
		c.ended = errClosed
	}
	_ = c.nc.Close() // nothing of ours is in flight any more
}

// retire is leave for who does not hold mu.
func (c *session) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave()
}

// serves says whether the session takes streams.
func (c *session) serves() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.leaving
}

// end books the connection's end: every stream on it is lost.
func (c *session) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unsent != nil && isTimeout(err) {
		err = c.unsent
	}
	if !c.leaving && c.greeted && len(c.streams) == 0 {
		c.account.idleClosed()
	}
	c.leaving = true
	if c.ended == nil {
		c.ended = err
	}
	for _, s := range c.streams {
		c.finish(s, err)
	}
	c.stir()
	close(c.over)
	_ = c.nc.Close()
}
