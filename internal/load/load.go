// Package load sends requests over HTTP/1.1 or HTTP/2, or gRPC calls, and accounts for every one of them: each ends
// as exactly one [Outcome], and nothing is ever sent a second time.
//
//	report, err := load.Run(ctx, load.Plan{URLs: []string{"http://127.0.0.1:8080/"}, Rate: 1000, Duration: 10 * time.Second})
//
// In the open loop (Rate set) each request has a moment at which it is due, fixed before the run begins. The
// loop never waits for answers; when all connections are busy a request goes out late, is counted as late, and
// its latency still counts from the moment it was due. That is what corrects the percentiles for coordinated
// omission. In the closed loop (no Rate) each connection sends its next request when it has its last answer;
// there latency counts from the moment of sending, and a stall hides the requests that were never sent.
//
// Over HTTP/2 a request is a stream, and several share a connection. A connection that says GOAWAY gets no more
// streams, and those that it took are waited for, as a correct client does. What a correct client would then send
// once more, a stream refused or one that came after the last one taken, is a loss of its own kind here: others
// may hide it, the report does not.
//
// The package reads answers with net/http's own reader and x/net's frames, and shares no code with the gateway's
// codecs: what measures does not lean on what is measured. net/http's client of HTTP/2 would send some requests
// twice without a word, so streams are the package's own.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

var (
	// ErrPlan means that a plan cannot be carried out as it stands; nothing was sent.
	ErrPlan = errors.New("nothing sent")
	// ErrUnaccounted means that a report's numbers do not add up: an error in this package.
	ErrUnaccounted = errors.New("requests unaccounted for")
)

// The values that stand for a Plan's zero ones.
const (
	DefaultConnections    = 50 // of HTTP/1.1
	DefaultStreams        = 50 // of HTTP/2, on one connection
	DefaultTimeout        = 10 * time.Second
	DefaultEndpointHeader = "x-crossfade-endpoint"
	DefaultLateAfter      = 10 * time.Millisecond
)

// A Plan says what to send, when, and for how long. It needs URLs and at least one of Duration and Requests.
type Plan struct {
	URLs     []string    // http or https; request i goes to URLs[i mod len]
	Protocol Protocol    // the zero one is HTTP1
	TLS      *tls.Config // of https: whom to trust; nil is the system's authorities
	Method   string      // "" is GET, or POST with a body
	Headers  []Header    // Host replaces the URL's
	Body     []byte      // sent with every request, with a Content-Length; with GRPC the bytes of each message

	Call     string        // GRPC: "SERVICE/METHOD", the path of URLs without one
	Messages int           // GRPC: 0 is a unary call; else a stream of so many messages each way, each sent when the last was answered
	Every    time.Duration // GRPC: the pause between two messages of a stream

	Rate        float64       // requests per second, an open loop; 0 is a closed loop
	Poisson     bool          // open loop: exponential gaps instead of equal ones
	Seed        uint64        // of the Poisson gaps
	Connections int           // to an address at most; 0 is DefaultConnections, or 1 of HTTP/2
	Streams     int           // in flight at once on a connection at most: 1 of HTTP/1.1; 0 is DefaultStreams of HTTP/2
	Duration    time.Duration // requests due after it are not sent; 0 is no limit
	Requests    uint64        // number of requests; 0 is no limit
	Timeout     time.Duration // of one request from its sending, connecting and waiting for room included; 0 is DefaultTimeout
	LateAfter   time.Duration // a request sent this much after it was due is late; 0 is DefaultLateAfter

	NoKeepAlive    bool         // a connection for each request
	Source         netip.Prefix // local addresses that new connections use in turn; zero lets the system choose
	EndpointHeader string       // answer's header that names who answered; "" is DefaultEndpointHeader

	Trace  io.Writer    // gets one line of JSON per request, in the order in which they end; may be nil
	Second func(Second) // called after every second of the run, from one goroutine; may be nil

	dial  func(ctx context.Context, address netip.AddrPort) (net.Conn, error) // nil is TCP
	pause func(ctx context.Context, d time.Duration) bool                     // nil is pause
}

// maxRate bounds Plan.Rate, in requests per second.
const maxRate = 10_000_000

// A Header is one header line of the requests.
type Header struct{ Name, Value string }

// check refuses a plan that cannot be.
func (p *Plan) check() error {
	switch {
	case len(p.URLs) == 0:
		return errors.New("no URL to send to")
	case p.Duration == 0 && p.Requests == 0:
		return errors.New("load without end: give a duration or a number of requests")
	case p.Duration < 0 || p.Timeout < 0 || p.LateAfter < 0 || p.Connections < 0 || p.Streams < 0:
		return errors.New("durations, connections and streams cannot be negative")
	case !(p.Rate >= 0 && p.Rate <= maxRate): // not a number is neither
		return fmt.Errorf("rate %v is not within 0 and %d per second", p.Rate, maxRate)
	case p.Poisson && p.Rate == 0:
		return errors.New("poisson gaps need a rate")
	}
	return p.checkProtocol()
}

// checkProtocol refuses what the protocol does not know.
func (p *Plan) checkProtocol() error {
	switch {
	case p.Protocol == HTTP1 && p.Streams > 1:
		return errors.New("a connection of HTTP/1.1 has one request in flight: several streams need HTTP/2")
	case p.NoKeepAlive && p.Streams > 1:
		return errors.New("several streams on a connection, and a connection for each request, exclude each other")
	case (p.Protocol == GRPC) != (p.Call != ""):
		return errors.New("gRPC and the name of a call belong together")
	case p.Protocol == GRPC && p.Method != "" && p.Method != http.MethodPost:
		return fmt.Errorf("method %s: gRPC's is POST", p.Method)
	case p.Protocol != GRPC && p.Messages != 0 || p.Messages < 0:
		return fmt.Errorf("%d messages: a stream of them needs gRPC, and at least one", p.Messages)
	case p.Every != 0 && p.Messages < 2 || p.Every < 0:
		return errors.New("pauses are between the messages of a stream: give two or more")
	}
	return nil
}

// fillIn puts the usual in the place of what was left out.
func (p *Plan) fillIn() {
	connections, streams := DefaultConnections, 1
	if p.Protocol != HTTP1 && !p.NoKeepAlive {
		connections, streams = 1, DefaultStreams
	}
	p.Connections = orElse(p.Connections, connections)
	p.Streams = orElse(p.Streams, streams)
	p.Timeout = orElse(p.Timeout, DefaultTimeout)
	p.LateAfter = orElse(p.LateAfter, DefaultLateAfter)
	p.EndpointHeader = orElse(p.EndpointHeader, DefaultEndpointHeader)
	if p.Method == "" {
		p.Method = http.MethodGet
		if p.Body != nil || p.Protocol == GRPC {
			p.Method = http.MethodPost
		}
	}
	if p.pause == nil {
		p.pause = pause
	}
	if p.dial == nil {
		p.dial = dialer(p.Source)
	}
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Run carries out the plan and returns its account. When ctx ends early nothing new is sent, what is in flight
// gets a second (or Timeout, if shorter) to be answered, the rest is abandoned, and the report says Interrupted;
// that is not an error. Errors are [ErrPlan], [ErrUnaccounted], and that the trace could not be written.
func Run(ctx context.Context, plan Plan) (*Report, error) {
	if err := plan.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	plan.fillIn()
	requests, err := compose(ctx, plan)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	c := newCrew(ctx, plan, requests)
	stopReporting := c.reportSeconds()
	if plan.Rate > 0 {
		c.openLoop(ctx)
	} else {
		c.closedLoop(ctx)
	}
	elapsed := time.Since(c.start)
	c.end()
	stopReporting()
	report := c.account.report(elapsed)
	report.describe(plan, requests)
	report.Interrupted = ctx.Err() != nil
	if plan.Trace != nil {
		if err := c.trace.flush(); err != nil {
			return report, fmt.Errorf("write trace: %w", err)
		}
	}
	return report, report.Check()
}
