package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/upstream"
)

// A stay is a request at a front, from when it could be passed on until its answer's last byte.
type stay struct {
	by     sender
	placed bool              // it has a place at the application
	turned bool              // it is refused: the application has not seen it
	heard  bool              // the application has answered
	direct *evidence.Traffic // where it is counted, where it came past the gateways; nil elsewhere, and once it has ended

	trailers []http1.Field // of the answer, with a load report
}

// A sender is who has sent a request to a front.
type sender uint8

const (
	nobody  sender = iota // the request has not come so far
	foreign               // nobody whom we know: it does not hear of drains
	ours                  // a gateway
	checker               // who watches over instances
)

// checkersTable is how those who check instances begin their User-Agent: our own gateways and control, Kubernetes, load
// balancers.
var checkersTable = [][]byte{
	[]byte("crossfade-check"), []byte("kube-probe/"), []byte("ELB-HealthChecker/"), []byte("GoogleHC/"), []byte("Consul Health Check"),
}

// Why a request is not passed on.
var (
	errTurned = errors.New("the request may be sent elsewhere")
	errLeft   = errors.New("the client has left")
	errBody   = errors.New("the request's body")
)

// sentBy says who has sent the request.
func (x *exchange) sentBy() sender {
	if x.pool.Service.Port == HealthPort {
		return checker
	}
	if x.req.House {
		if _, known := http1.Lookup(x.req.Fields, FieldGateway); known {
			return ours
		}
	}
	if !x.asksOnly() {
		return foreign
	}
	agent, _ := http1.Lookup(x.req.Fields, "User-Agent")
	for _, name := range checkersTable {
		if bytes.HasPrefix(agent, name) {
			return checker
		}
	}
	return foreign
}

// healthPath is what a gRPC check calls.
const healthPath = "/grpc.health.v1.Health/Check"

// asksOnly says whether the request can be a check: anybody may write a User-Agent, and what does work is nobody's check.
func (x *exchange) asksOnly() bool {
	switch string(x.req.Method) {
	case "GET", "HEAD":
		return x.bodiless()
	}
	return string(x.req.Path) == healthPath
}

// enter asks the front, where there is one, whether the request may be passed on.
func (x *exchange) enter(ctx context.Context) error {
	if f := x.c.p.o.Front; f != nil {
		return f.enter(ctx, x)
	}
	return nil
}

// enter takes a place at the application for the request, or waits for one. The error is errTurned, errLeft, errInside
// where that is no place to wait, errBody with what is wrong with that, or says that the time for it is over.
func (f *Front) enter(ctx context.Context, x *exchange) error {
	s := &x.stay
	if s.by == nobody {
		f.come(x)
	}
	switch {
	case s.placed, s.by == checker:
		return nil
	case f.orders.Load().Refusing && x.movable():
		return errTurned
	case f.line.take():
		s.placed = true
		return nil
	case x.c.inside:
		return errInside
	}
	return f.stand(ctx, x)
}

// come counts the request.
func (f *Front) come(x *exchange) {
	x.stay.by = x.sentBy()
	if x.stay.by == checker {
		return
	}
	f.open.Add(1)
	f.total.Add(1)
	f.tally.open(x.protocol)
	x.direct()
	if x.stay.by == foreign {
		f.foreign.Add(1)
	}
	f.saw(x, x.start)
}

// saw notes that a request came, or ended.
func (f *Front) saw(x *exchange, now time.Time) {
	after := max(1, int64(now.Sub(f.began)))
	f.last.Store(after)
	if x.stay.by == foreign {
		f.lastForeign.Store(after)
	}
}

// frontTally returns where the request is counted by its protocol, nil where it is not.
func (x *exchange) frontTally() *tally {
	if x.stay.by == ours || x.stay.by == foreign {
		return &x.c.p.o.Front.tally
	}
	return nil
}

// leaveFront ends what enter began, if it did.
func (x *exchange) leaveFront(o *outcome) {
	if f := x.c.p.o.Front; f != nil && x.stay.by != nobody {
		f.leave(x, o, x.ended())
	}
}

// leave ends a stay. It is told how the request ended, and when.
func (f *Front) leave(x *exchange, o *outcome, now time.Time) {
	s := &x.stay
	f.giveBack(s)
	if s.by == checker {
		return
	}
	switch {
	case s.turned:
		f.refused.Add(1)
	case !s.heard && o.verdict == refused && !x.isParted && f.orders.Load().Report:
		f.gauge.fail()
	}
	f.saw(x, now)
	if f.Note != nil && s.heard && o.verdict == whole {
		f.tellOf(x)
	}
	s.by = nobody
	f.open.Add(-1)
}

func (f *Front) giveBack(s *stay) {
	if s.placed {
		s.placed = false
		f.line.give()
	}
}

// tellOf has Note hear of a request, unless it was there to warm the application up.
func (f *Front) tellOf(x *exchange) {
	if _, warms := http1.Lookup(x.req.Fields, FieldWarmup); warms {
		return
	}
	protocol := "http"
	if x.c.stream != nil {
		protocol = "http2"
	}
	f.Note(protocol, x.pool.Service.Port, x.method, x.host, x.path, x.req.Fields, x.resp.Status)
}

// movable says whether the request may be refused, because who sends it may send it elsewhere.
func (x *exchange) movable() bool {
	if s := x.c.stream; s != nil && !x.feeder.whole.Load() && s.Whole() {
		_ = x.takeMore() // what is wrong with it is found again
	}
	switch {
	case x.stay.by == ours && x.req.Framing == http1.Length && x.req.ContentLength <= window:
		return true // it is kept until there is an answer
	case !x.feeder.whole.Load(), len(x.piece) > window:
		return false // its sender may not have all of it any more
	}
	return x.stay.by == ours || x.c.stream != nil || x.idempotent()
}

// takeMore takes what has come of the request's body since that was last looked at.
func (x *exchange) takeMore() error {
	f := &x.feeder
	if f.body.done || x.c.stream != nil && x.c.stream.Request().Protocol != nil {
		return nil
	}
	var err error
	if x.c.stream != nil {
		err = x.readMore()
	} else {
		f.out = f.out[:0]
		var out []byte
		out, err = f.body.pass(&f.out, x.c.in)
		x.piece = append(x.piece, out...)
	}
	f.whole.Store(f.body.done)
	x.written = nil // it was written before all of this had come
	x.write()
	return err
}

// stand waits in the line.
func (f *Front) stand(ctx context.Context, x *exchange) error {
	t := f.line.join()
	gone, end := x.vigil()
	f.limited.Add(1)
	err := f.await(ctx, x, t, gone)
	end()
	x.sentAt = time.Now() // what was waited for was not the application
	if err != nil {
		f.line.quit(t)
		return err
	}
	x.stay.placed = true
	if err := x.takeMore(); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	return nil
}

// await waits for t's place.
func (f *Front) await(ctx context.Context, x *exchange, t *ticket, gone <-chan struct{}) error {
	began := time.Now()
	ring := time.NewTimer(0)
	defer ring.Stop()
	for {
		wait, err := f.goesOn(x, began, time.Now())
		switch {
		case t.got():
			return nil
		case err != nil:
			return err
		}
		ring.Reset(wait)
		waiting, end := x.wait(ctx)
		select {
		case <-t.given:
			end()
			return nil
		case <-gone:
			end()
			return errLeft
		case <-waiting.Done():
		case <-t.look:
		case <-ring.C:
		}
		end()
		if ctx.Err() != nil {
			return upstream.ErrWait
		}
	}
}

// goesOn says why x, which has waited since began, waits no more; or when that is to be asked again, at the latest.
func (f *Front) goesOn(x *exchange, began, now time.Time) (wait time.Duration, err error) {
	o := f.orders.Load()
	waited := now.Sub(began)
	switch {
	case x.parts():
		return 0, errParted
	case x.late(now):
		return 0, errTimeout
	case (o.Refusing || waited >= o.MaxWait) && x.movable():
		return 0, errTurned
	}
	wait = x.spare(x.sooner(now.Add(lookAgain))).Sub(now)
	if left := o.MaxWait - waited; left > 0 {
		wait = min(wait, left)
	}
	return wait, nil
}

// vigil watches the client while its request waits: gone is closed when it has left. end ends that, and must be called.
func (x *exchange) vigil() (gone <-chan struct{}, end func()) {
	c, f := x.c, &x.feeder
	left := make(chan struct{})
	if s := c.stream; s != nil {
		s.OnGone(func() { close(left) })
		return left, func() { s.OnGone(nil) }
	}
	x.keep()
	f.quiet.Store(time.Now().UnixNano())
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		if f.watch(c) == clientLeft {
			close(left)
		}
	}()
	return left, func() {
		c.hush.Store(true)
		f.halted <- struct{}{}
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		v := <-ended
		select {
		case <-f.halted: // it had no need to hear it
		default:
		}
		c.hush.Store(false)
		c.read = upstream.Alarm{}
		f.quiet.Store(0)
		if v != nil {
			panic(v)
		}
	}
}
