// Package proxy carries HTTP/1.1 requests from clients to endpoints and answers back.
//
//	p := proxy.New(options)
//	state, err := proxy.Compile(p.State(), view, overlay, options, now)
//	p.Swap(state)                                  // from now on, requests go by it
//	p.NewConn(accepted, door).Serve(ctx)           // one goroutine per connection
//
// A [State] is the whole world as the hot path needs it: route tables, balancers, connection pools and counters, all
// looked up when the world changes and none when a request comes. It is immutable; the next is made from the
// previous one, so that connections, counts and the balancers' positions outlive every change.
//
// What a client may rely on: an answer that began and could not be finished is cut, never ended cleanly; a
// request is sent a second time only when the endpoint cannot have acted on it, or when its method makes twice the
// same as once and a connection used before broke without a word; answers to pipelined requests come in order; what
// an endpoint writes is passed on when it is read, not when a buffer is full.
package proxy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/upstream"
)

// A Reveal says when an answer names the endpoint that gave it, in the field X-Crossfade-Endpoint.
type Reveal uint8

// The zero value reveals to whoever asks: the name is that of an instance, never an address. Say RevealNever
// where even that is too much.
const (
	RevealAsked  Reveal = iota // when the request has a field X-Crossfade-Endpoint, whatever its value
	RevealNever                // not at all
	RevealAlways               // on every answer that came from an endpoint
)

// Options bound what requests may take. A zero value means the default that stands beside it.
type Options struct {
	HeaderTimeout    time.Duration // from a head's first byte to its last; 10 s
	IdleTimeout      time.Duration // between requests; 650 s, longer than balancers in front keep theirs, so that we are not the first to close
	StallTimeout     time.Duration // in which a client must take or send the next bytes of a body; 60 s
	WaitTimeout      time.Duration // for a connection to an endpoint, made or become free; 10 s
	AnswerTimeout    time.Duration // from the last byte of a request to the head of its answer, where the route says nothing; 5 min
	StreamTimeout    time.Duration // in which an endpoint must send the next bytes of an answer; 5 min
	HalfCloseTimeout time.Duration // likewise, when the client has closed its half of the connection; then it counts as one that has left; 5 s
	TunnelTimeout    time.Duration // in which one side of an upgraded connection must say something; 1 h
	LingerTimeout    time.Duration // for a client to read its last answer and close; 5 s
	WatchAfter       time.Duration // an answer that takes longer has its client watched for leaving; 200 ms

	MaxStreams int // requests that a client of HTTP/2 may have open at a time; 250

	MaxHead int // bytes of a request's or answer's head; 64 KiB
	Retries int // times that a request which cannot have been acted on is sent again; 2, negative for none

	Name      string // what Via and Server call us; "crossfade"
	Reveal    Reveal
	AccessLog bool         // log every request, not only those that failed
	Plain     bool         // serve plaintext as TLS is served, by Read and Write alone; see parked.go
	Log       *slog.Logger // nil: nothing is logged

	Labels   map[string]string // of this gateway: what SourceLabels are held against outside the mesh
	Locality fleet.Locality    // of this gateway: what near means to a policy's Locality
	ID       string            // this gateway's name among Snapshot.Gateways
	Seed     uint64            // this gateway's own; see balancer.Input
	Front    *Front            // of the one instance that all requests go to; nil where there is none
	Upstream upstream.Options  // of every endpoint's connections
}

// WithDefaults returns o with every zero value replaced by its default.
func (o Options) WithDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.HeaderTimeout, 10 * time.Second},
		{&o.IdleTimeout, 650 * time.Second},
		{&o.StallTimeout, time.Minute},
		{&o.WaitTimeout, 10 * time.Second},
		{&o.AnswerTimeout, 5 * time.Minute},
		{&o.StreamTimeout, 5 * time.Minute},
		{&o.HalfCloseTimeout, 5 * time.Second},
		{&o.TunnelTimeout, time.Hour},
		{&o.LingerTimeout, 5 * time.Second},
		{&o.WatchAfter, 200 * time.Millisecond},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.MaxHead == 0 {
		o.MaxHead = 64 << 10
	}
	if o.Retries == 0 {
		o.Retries = 2
	}
	if o.Name == "" {
		o.Name = "crossfade"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Proxy serves connections by the newest [State] that was swapped in.
type Proxy struct {
	o         Options
	state     atomic.Pointer[State]
	journal   journal
	buffers   upstream.Buffers // of clients' connections
	exchanges sync.Pool
	memory    http2.Memory
	streams   http2.Stats
	tally     tally
	told      atomic.Uint64 // connections
	conns     crowd
	ousted    ouster
	signs     chan Sign
}

// New returns a proxy that has no state yet and serves nobody until it has.
func New(o Options) *Proxy {
	p := &Proxy{o: o.WithDefaults(), journal: newJournal(), signs: make(chan Sign, mostSigns)}
	p.exchanges.New = func() any { return newExchange(p) }
	if o.Front != nil {
		o.Front.attach(p)
	}
	return p
}

// Streams are the counters of all clients' connections of HTTP/2.
func (p *Proxy) Streams() *http2.Stats { return &p.streams }

// State returns the state in force, nil before the first Swap.
func (p *Proxy) State() *State { return p.state.Load() }

// Swap puts next in force: every endpoint that is picked from now on is picked from it. Requests that are
// under way keep what they have. Idle connections to endpoints that are not in next are closed; those in use,
// when their requests end. States must be swapped by one goroutine at a time, each compiled from the one before.
func (p *Proxy) Swap(next *State) {
	prev := p.state.Swap(next)
	if prev == nil {
		return
	}
	stays := make(map[string]*Service, len(next.services))
	for _, s := range next.services {
		stays[s.Name] = s
	}
	for _, s := range prev.services {
		if after := stays[s.Name]; after != s {
			s.leave(after)
		}
	}
}

// leave closes the connections to the endpoints of s that are not in next, which is nil where the service is no
// more.
func (s *Service) leave(next *Service) {
	kept := map[*upstream.Pool]bool{}
	for i, e := range s.Endpoints {
		switch {
		case next == nil:
			e.each((*upstream.Pool).Close)
			continue
		case i < len(next.Endpoints) && next.Endpoints[i].sameConns(e):
			continue
		case len(kept) == 0:
			for _, after := range next.Endpoints {
				after.each(func(p *upstream.Pool) { kept[p] = true })
			}
		}
		e.each(func(p *upstream.Pool) {
			if !kept[p] {
				p.Close()
			}
		})
	}
}

// sweepEvery is how often idle connections to endpoints are looked through for expired ones.
const sweepEvery = 5 * time.Second

// Run writes the log and closes expired connections to endpoints until ctx ends, and returns nil. A proxy that
// is not run serves all the same, but logs nothing.
func (p *Proxy) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case r := <-p.journal.records:
			p.journal.write(ctx, p.o.Log, &r)
		case now := <-tick.C:
			if s := p.state.Load(); s != nil {
				s.sweep(now)
			}
		case <-ctx.Done():
			p.journal.flush(context.WithoutCancel(ctx), p.o.Log)
			return nil
		}
	}
}

// Close closes the connections to endpoints: idle ones now, those in use when their requests end.
func (p *Proxy) Close() {
	if s := p.state.Load(); s != nil {
		for _, service := range s.services {
			service.leave(nil)
		}
	}
}
