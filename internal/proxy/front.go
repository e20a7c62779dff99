package proxy

import (
	"cmp"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// Fields by which a gateway and the front of an instance know of each other. None of them reaches a client, and none
// that a client sends is believed.
const (
	FieldGateway = "crossfade-gateway"         // request, gateway → front: who sends; without it, it is a caller that hears nothing of drains
	FieldDrain   = "crossfade-drain"           // response, front → caller: the incarnation that leaves
	FieldRefused = "crossfade-refused"         // response, front → caller: the incarnation, which has not seen the request; it may be sent elsewhere
	FieldLoad    = "endpoint-load-metrics"     // response: a load report of ORCA, "TEXT name=value,…"
	FieldLoadBin = "endpoint-load-metrics-bin" // trailer of gRPC: the same as protobuf
	FieldWarmup  = "crossfade-warmup"          // request: it is sent to warm an instance up
)

// A Front is what the data plane that stands before one instance is told, and what it saw. All methods may be called
// by several goroutines; what requests ask of it costs no lock. The zero value is ready, and orders nothing.
//
// Requests are passed on in the order in which they came. One that has to wait for a place at the application is not
// overtaken. What lasts by its nature (WebSockets, server-sent events, calls of gRPC) gives its place back with the head
// of its answer; it stays open. The place of a request whose client has left is free at once, although nobody can say when
// the application is done with it.
//
// A request is refused only if who sends it may send it elsewhere: all of it has come and it is small, so that its sender
// still has it, and it comes from a gateway of ours, or over HTTP/2, where REFUSED_STREAM says that nobody has seen it
// (RFC 9113 section 8.7), or by a method that is the same once or twice (RFC 9110 section 9.2.2). Over HTTP/1.1 it gets a
// 503 with crossfade-refused and Retry-After.
//
// The checks of those who watch over instances, and whatever comes to HealthPort, are passed on at once, always, and not
// counted.
type Front struct {
	// Note hears of every request that the application has answered, in the goroutine of its connection; nil: nobody
	// does. It must not keep what it is given. It is set before the first request.
	Note func(protocol string, port uint32, method, host, path []byte, fields []http1.Field, status int)

	orders atomic.Pointer[orders] // nil: none yet
	line   line
	gauge  gauge

	open                             atomic.Int64
	total, foreign, refused, limited atomic.Uint64
	last, lastForeign                atomic.Int64 // after began, in nanoseconds; 0 for never
	tally                            tally

	mu      sync.Mutex
	began   time.Time // constant once a proxy has it
	proxies []*Proxy  // that serve by it
}

// Orders are what a front is told, as a whole.
type Orders struct {
	Incarnation string
	Limit       int           // requests at once at the application; 0 is no limit
	MaxWait     time.Duration // of a request above the limit that may be retried elsewhere; others wait as long as it takes
	Leaving     bool          // mark every answer; end connections after it
	Refusing    bool          // refuse what may be retried elsewhere
	Report      bool          // load reports in every answer
	Warm        float64       // share of the instance, for load reports
	Born        time.Time     // of the instance, for load reports
	CPU         float64       // utilisation of the application's processors, for load reports; 0 is not known
}

// What a cold instance may be given at once where its Lifecycle does not say.
const (
	defaultLeast   = 8
	defaultMost    = 512
	defaultMaxWait = time.Second
)

// Cold returns o as it is for an instance of that share: with Limit, MaxWait and Warm.
func (o Orders) Cold(l fleet.FrontLimits, share float64) Orders {
	o.Warm = curve.Unit(share)
	o.Limit = curve.Limit(share, cmp.Or(l.Least, defaultLeast), cmp.Or(l.Most, defaultMost))
	o.MaxWait = cmp.Or(l.MaxWait, defaultMaxWait)
	return o
}

// Seen is what a front saw since it began.
type Seen struct {
	Open        int       // requests at the application now, or waiting
	Waiting     int       // of them
	Total       uint64    // requests
	Foreign     uint64    // of them, from callers other than crossfade's gateways
	LastForeign time.Time // when such a request last came or ended; zero: never
	Last        time.Time // likewise, whoever sent it
	Refused     uint64
	Limited     uint64      // requests that had to wait
	Tally       drain.Tally // of them all, by protocol
}

// HealthPort is where those who watch over an instance ask, as Istio has it: what comes there is nobody's request.
const HealthPort = 15021

// orders are Orders as answers need them.
type orders struct {
	Orders
	drain, refused, again http1.Field // of answers
	header, trailer       http1.Field // likewise, with a load report as value
	boot                  float64     // the incarnation, in load reports
}

// Order tells the front what holds from now on.
func (f *Front) Order(o Orders) {
	next := f.compile(o)
	f.mu.Lock()
	prev := f.orders.Swap(next)
	f.line.setLimit(o.Limit)
	proxies := f.proxies
	f.mu.Unlock()
	if o.Refusing {
		f.line.call()
	}
	if !o.Leaving || prev != nil && prev.Leaving {
		return
	}
	for _, p := range proxies { // who comes after this sees it
		for _, c := range p.conns.all() {
			c.Leave()
		}
	}
}

// Seen says what the front saw.
func (f *Front) Seen() Seen {
	f.mu.Lock()
	began := f.began
	f.mu.Unlock()
	at := func(after *atomic.Int64) time.Time {
		if n := after.Load(); n > 0 {
			return began.Add(time.Duration(n))
		}
		return time.Time{}
	}
	return Seen{
		Open: int(f.open.Load()), Waiting: int(f.line.waiting.Load()), Total: f.total.Load(), Foreign: f.foreign.Load(),
		LastForeign: at(&f.lastForeign), Last: at(&f.last),
		Refused: f.refused.Load(), Limited: f.limited.Load(), Tally: f.tally.read(),
	}
}

// attach has p serve by f.
func (f *Front) attach(p *Proxy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.began.IsZero() {
		f.began = time.Now()
	}
	if f.orders.Load() == nil {
		f.orders.Store(f.compile(Orders{}))
	}
	f.proxies = append(f.proxies, p)
}

// leaves says whether connections end with what is open on them; not where there is no front.
func (f *Front) leaves() bool { return f != nil && f.orders.Load().Leaving }
