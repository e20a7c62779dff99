package proxy

import (
	"errors"
	"os"
	"syscall"
	"time"

	"crossfade.dev/internal/upstream"
)

// A Sign is what requests show of an endpoint that goes or is gone, before anybody else says so.
type Sign struct {
	Incarnation string
	Kind        SignKind
}

// A SignKind is what an endpoint shows.
type SignKind uint8

// The kinds.
const (
	SignLeaves  SignKind = iota // its front says that it leaves; it serves on
	SignDoubted                 // it cut an answer, or a connection could not be made: it may be gone
	SignRefused                 // it has refused connections, two at least and one after another: nobody listens there
)

// mostSigns is how many wait to be heard. More are dropped: while there is reason, each is told again every second.
const mostSigns = 64

// Signs are what requests show of endpoints. Somebody should listen.
func (p *Proxy) Signs() <-chan Sign { return p.signs }

func (p *Proxy) sign(incarnation string, kind SignKind) {
	select {
	case p.signs <- Sign{incarnation, kind}:
	default:
	}
}

// unreached tells of an endpoint that no connection could be made to, unless that is our own trouble.
func (x *exchange) unreached(err error) {
	const enough = 2 // one may have met a restart on the same address
	e := x.endpoint
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		if e.Traffic.Signs.Refused() >= enough && e.Traffic.Signs.Gone(time.Now()) {
			x.c.p.sign(e.Incarnation, SignRefused)
		}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, upstream.ErrWait):
		x.doubt()
	}
}

// doubt tells that the endpoint may be gone.
func (x *exchange) doubt() {
	if e := x.endpoint; e.Traffic.Signs.Doubt(time.Now()) {
		x.c.p.sign(e.Incarnation, SignDoubted)
	}
}
