// Package http2 multiplexes HTTP/2 streams over one connection (RFC 9113), of either side: a [Server] hands every
// stream that its client opens to a function; a [Client] opens streams to an endpoint.
//
// Frames and the reading of compressed heads are those of golang.org/x/net/http2; streams, windows and limits are ours,
// so that how a connection leaves is under our control and what a peer can make us hold is bounded. So is the writing of
// compressed heads, which knows what is written again and again.
//
// One goroutine reads. Whoever has something to write appends it to what goes out next and, if nobody is writing,
// writes it: what several streams say at a time leaves in one write. Nothing is handed between goroutines but heads
// and bodies, and everything that streams share is under one mutex that is never held across a write.
//
// What stands in a [Head] has been checked and may go on to an HTTP/1.1 peer as it is: names are tokens in small
// letters, values hold no control byte, pseudo fields are there once and of the right kind, Content-Length is one
// number that the body keeps to, and no field of one connection only is left.
package http2

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	frame "golang.org/x/net/http2"

	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/meter"
)

// Preface is what a client's connection starts with.
const Preface = frame.ClientPreface

// StartsPreface says whether b is the start of a Preface, and whether it is a whole one.
func StartsPreface(b []byte) (starts, whole bool) {
	n := min(len(b), len(Preface))
	return bytes.Equal(b[:n], []byte(Preface[:n])), n == len(Preface)
}

// A Code says why a stream or a connection ends.
type Code = frame.ErrCode

// The codes of RFC 9113 section 7.
const (
	NoError            = frame.ErrCodeNo
	ProtocolError      = frame.ErrCodeProtocol
	InternalError      = frame.ErrCodeInternal
	FlowControlError   = frame.ErrCodeFlowControl
	SettingsTimeout    = frame.ErrCodeSettingsTimeout
	StreamClosed       = frame.ErrCodeStreamClosed
	FrameSizeError     = frame.ErrCodeFrameSize
	RefusedStream      = frame.ErrCodeRefusedStream
	Cancel             = frame.ErrCodeCancel
	CompressionError   = frame.ErrCodeCompression
	ConnectError       = frame.ErrCodeConnect
	EnhanceYourCalm    = frame.ErrCodeEnhanceYourCalm
	InadequateSecurity = frame.ErrCodeInadequateSecurity
	HTTP11Required     = frame.ErrCodeHTTP11Required
)

// A Head is what stands before a body: a request's or an answer's.
type Head struct {
	Method    []byte // requests
	Scheme    []byte // requests; nil for CONNECT without Protocol
	Authority []byte // requests; of Host, if :authority is missing; may be empty
	Path      []byte // requests, with the query; "*" for OPTIONS *; nil for CONNECT without Protocol
	Protocol  []byte // requests: of an extended CONNECT (RFC 8441); else nil
	Status    int    // answers: 100..999, never 101

	// Fields are the others, in their order, without Host and Content-Length; Cookie is one field. Written, names
	// may have capitals, and fields that must not go out over HTTP/2 are left out.
	Fields []http1.Field

	ContentLength int64 // when Sized
	Sized         bool  // the length of the body is announced
	End           bool  // nothing follows; only of heads that were read
}

// A StreamError is why a stream ended before its messages were whole.
type StreamError struct {
	Code        Code
	Remote      bool   // the peer ended it, or broke a rule
	Unprocessed bool   // the peer cannot have acted on the request: it may be sent again (RFC 9113 section 8.7)
	Reason      string // one sentence for a log
	Cause       error  // the *ConnError connection that took the stream along, or what ended that connection; may be nil
}

func (e *StreamError) Error() string {
	by := "we reset it"
	switch {
	case e.Cause != nil:
		by = "its connection ended"
	case e.Remote:
		by = "the peer reset it"
	}
	if e.Reason == "" {
		return fmt.Sprintf("http2 stream: %s: %v", by, e.Code)
	}
	return fmt.Sprintf("http2 stream: %s: %v: %s", by, e.Code, e.Reason)
}

func (e *StreamError) Unwrap() error { return e.Cause }

// A ConnError is why a connection ended in disorder.
type ConnError struct {
	Code   Code
	Remote bool // the peer said so
	Reason string
}

func (e *ConnError) Error() string {
	who := "we ended it"
	if e.Remote {
		who = "the peer ended it"
	}
	return fmt.Sprintf("http2 connection: %s: %v: %s", who, e.Code, e.Reason)
}

// What a call may come back with, besides a *StreamError.
var (
	ErrClosed  = errors.New("http2: the connection is closed")
	ErrLeaving = errors.New("http2: the connection takes no more streams")
	ErrNoRoom  = errors.New("http2: the peer allows no more streams at a time")
	ErrEnded   = errors.New("http2: the stream's message is complete")
	ErrStalled = errors.New("http2: the peer takes nothing")
	ErrField   = errors.New("http2: a field cannot be written")
)

// Options say what a connection allows. A zero means the usual.
type Options struct {
	MaxStreams      int    // that the peer may have open at a time; usually 250
	MaxHead         int    // bytes of one head, 32 more for each field; usually 64 KiB
	StreamWindow    int    // bytes of one stream's body that wait to be read; usually 256 KiB
	ConnWindow      int    // bytes of all bodies that wait to be read; usually 1 MiB
	ExtendedConnect bool   // serve RFC 8441
	Stats           *Stats // where to count; usually nowhere

	Memory *Memory // shared with other connections; usually not

	HandshakeTimeout time.Duration // for the preface and the first SETTINGS; usually 10 s
	SettingsTimeout  time.Duration // for the acknowledgement of ours; usually 10 s
	FrameTimeout     time.Duration // for the rest of a frame or header block that has begun; usually 10 s
	StallTimeout     time.Duration // for the peer to take something of what waits; usually 60 s
	IdleTimeout      time.Duration // a server leaves after that time without a stream; usually never
	PingAfter        time.Duration // silence after which the peer must answer a PING; usually never
	PingTimeout      time.Duration // for that answer; usually 10 s
	LeaveAfter       time.Duration // from Leave to LeaveNow at least, and until the peer has heard of it; usually only when that is called

	// Changed is called when Client.Limit may say something else than before: the peer changed its settings, or either side
	// leaves. Whoever opens streams knows how many of theirs have ended. It must not block; no lock is held.
	Changed func()
}

func (o *Options) prepare() {
	usual := func(d *time.Duration, u time.Duration) {
		if *d == 0 {
			*d = u
		}
	}
	atLeast := func(n *int, least, u int) {
		if *n == 0 {
			*n = u
		}
		*n = max(*n, least)
	}
	atLeast(&o.MaxStreams, 1, 250)
	atLeast(&o.MaxHead, 1<<10, 64<<10)
	atLeast(&o.StreamWindow, 1, 256<<10)
	atLeast(&o.ConnWindow, firstWindow, 1<<20)
	usual(&o.HandshakeTimeout, 10*time.Second)
	usual(&o.SettingsTimeout, 10*time.Second)
	usual(&o.FrameTimeout, 10*time.Second)
	usual(&o.StallTimeout, time.Minute)
	usual(&o.PingTimeout, 10*time.Second)
	if o.Memory == nil {
		o.Memory = new(Memory)
	}
	if o.Stats == nil {
		o.Stats = new(Stats)
	}
}

// Stats count what happened on connections. They may be shared by many.
type Stats struct {
	Streams      meter.Counter // opened, refused ones included
	Refused      meter.Counter // streams refused: too many at a time, or after LeaveNow
	Malformed    meter.Counter // messages that broke a rule of RFC 9113 section 8
	HeadTooLarge meter.Counter // heads beyond MaxHead
	ResetsIn     meter.Counter // RST_STREAM of the peer, for a stream that was open
	ResetsOut    meter.Counter // RST_STREAM of ours
	GoAwaysIn    meter.Counter
	GoAwaysOut   meter.Counter
	Stalled      meter.Counter         // streams whose body the peer did not take in time
	Broken       meter.Counter         // connections that ended for what the peer did
	TimedOut     meter.Counter         // connections that ended for what the peer did not do
	Floods       [floods]meter.Counter // connections that ended for too much of something, by Flood
}

// Reset sets the counters to zero.
func (s *Stats) Reset() {
	for _, c := range s.counters() {
		c.Reset()
	}
}

// Add counts what other counted.
func (s *Stats) Add(other *Stats) {
	theirs := other.counters()
	for i, c := range s.counters() {
		c.Add(theirs[i].Load())
	}
}

func (s *Stats) counters() []*meter.Counter {
	all := []*meter.Counter{
		&s.Streams, &s.Refused, &s.Malformed, &s.HeadTooLarge, &s.ResetsIn, &s.ResetsOut, &s.GoAwaysIn, &s.GoAwaysOut,
		&s.Stalled, &s.Broken, &s.TimedOut,
	}
	for i := range s.Floods {
		all = append(all, &s.Floods[i])
	}
	return all
}
