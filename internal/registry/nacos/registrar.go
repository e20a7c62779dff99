package nacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

var (
	errStale   = errors.New("what is read back is not what was put")
	errStill   = errors.New("it is still listed")
	errNotOurs = errors.New("somebody else has registered it, and keeps it")
)

// settles is after how long it is no delay any more that something else is read back than was put: Nacos answers from what it
// pushed last, which it does half a second after a change.
const settles = 1500 * time.Millisecond

// An entry is one incarnation that this client publishes, or has still to take away.
type entry struct {
	at wire.Key // where it is registered; the client's lock is that of this field

	held   chan struct{} // holds one while somebody has it locked, over one attempt at most; in a test's bubble time goes on meanwhile
	over   bool          // it is taken away, or there is another incarnation in its place
	of     wire.Service
	in     wire.Instance
	gone   bool      // to be taken away
	before *placed   // registered at another address, to be taken away
	first  time.Time // when Nacos first accepted what it says now
	sent   time.Time // when Nacos last accepted it; zero is that it is to be sent
	mended bool      // by an operator's update, then
	read   time.Time // when it was last read to be there; zero is not since it was sent
}

func (e *entry) lock()   { e.held <- struct{}{} }
func (e *entry) unlock() { <-e.held }

// again has an entry sent once more. It is locked, or new.
func (e *entry) again() { e.sent, e.read = time.Time{}, time.Time{} }

// placed is an instance of a service.
type placed struct {
	of wire.Service
	in wire.Instance
}

var _ registry.Registrar = (*Client)(nil)

// Put publishes an instance, see [registry.Registrar]. One that failed is still to be published: Run goes on trying,
// until Remove, and so does another Put of the same, from where this one stopped.
func (c *Client) Put(ctx context.Context, in fleet.Instance) error {
	of, shaped, err := c.place.shape(in)
	if err != nil {
		return fmt.Errorf("nacos: publish %s: %w", in.Incarnation, err)
	}
	e := c.entry(in.Incarnation, of.Key(shaped))
	for e.over { // somebody was just taking it away
		e.unlock()
		e = c.entry(in.Incarnation, of.Key(shaped))
	}
	e.change(of, shaped)
	e.unlock()
	return c.persist(ctx, "publish "+in.Incarnation, func(ctx context.Context) error {
		e.lock()
		defer e.unlock()
		return c.publish(ctx, e)
	})
}

// entry returns that of an incarnation, locked, which is to be registered at a place. Those that were there are over.
func (c *Client) entry(incarnation string, at wire.Key) *entry {
	c.mu.Lock()
	var replaced []*entry
	for other, old := range c.entries {
		if other != incarnation && old.at == at {
			delete(c.entries, other)
			replaced = append(replaced, old)
		}
	}
	e := c.entries[incarnation]
	if e == nil {
		e = &entry{held: make(chan struct{}, 1)}
		c.entries[incarnation] = e
	}
	e.at = at
	c.mu.Unlock()
	for _, old := range replaced {
		old.lock()
		old.over = true
		old.unlock()
	}
	e.lock()
	return e
}

// change has an entry say something. What it says already, and Nacos has not been read to have, goes on as it is: whoever asks
// for that again does not begin anew. The entry is locked.
func (e *entry) change(of wire.Service, in wire.Instance) {
	moves := e.of.Key(e.in) != of.Key(in)
	if moves && e.in.IP != "" {
		e.before = &placed{e.of, e.in}
	}
	if moves || !same(e.in, in) {
		e.first = time.Time{}
	}
	if e.first.IsZero() || e.gone || !e.read.IsZero() {
		e.again()
	}
	e.of, e.in, e.gone = of, in, false
}

// publish registers an entry, if that is not done, and reads it back. It goes on where the one before has stopped. The entry is
// locked.
func (c *Client) publish(ctx context.Context, e *entry) error {
	if e.gone || e.over {
		return nil
	}
	if e.sent.IsZero() {
		if err := c.send(ctx, e); err != nil {
			return err
		}
	}
	has, there, err := c.find(ctx, e)
	switch {
	case unanswered(err):
		return err
	case err != nil: // it may be another Nacos now
		e.again()
		return err
	case there && holds(has, e.in):
		if e.mended {
			c.sticky.Store(true)
		}
		e.read = time.Now()
		return c.leaveOld(ctx, e)
	case !e.read.IsZero(): // somebody has changed it, or taken it away
		e.again()
		return c.publish(ctx, e)
	}
	return c.insist(ctx, e, there)
}

// insist does what there is to do about an entry that was sent and is not read back, whether or not something else is there. At first
// that is nothing; then it is mended, and after as long again it is sent again. The entry is locked.
func (c *Client) insist(ctx context.Context, e *entry, there bool) error {
	late := time.Since(e.sent) > settles
	switch {
	case late && there && !e.mended:
		e.sent, e.mended = time.Now(), true
		if err := c.mend(ctx, e); err != nil {
			return fmt.Errorf("%w; an update over HTTP: %w", errStale, err)
		}
		return c.publish(ctx, e)
	case late:
		e.again()
	}
	return errStale
}

// send registers an entry. The entry is locked.
func (c *Client) send(ctx context.Context, e *entry) error {
	if err := c.speak.register(ctx, e.of, e.in); err != nil {
		return err
	}
	if e.mended = c.sticky.Load(); e.mended {
		if err := c.mend(ctx, e); err != nil {
			return err
		}
	}
	e.sent = time.Now()
	if e.first.IsZero() {
		e.first = e.sent
	}
	return nil
}

// leaveOld takes an entry away from where it was before. The entry is locked.
func (c *Client) leaveOld(ctx context.Context, e *entry) error {
	if e.before == nil {
		return nil
	}
	err := c.speak.deregister(ctx, e.before.of, e.before.in)
	if err == nil {
		e.before = nil
	}
	return err
}

// mend has Nacos have what it did not take from a registration, by an operator's update. r-nacos is such a one: it keeps
// the metadata that was first said of an address, also for whoever registers there next, and takes a weight of exactly 1 for
// none.
func (c *Client) mend(ctx context.Context, e *entry) error {
	in := e.in
	if in.Weight == 1 {
		in.Weight = float64(math.Nextafter32(1, 2))
	}
	versions := []wire.API{wire.V1, wire.V3}
	if c.place.api == wire.V2 || c.place.api == wire.V3 {
		versions = []wire.API{c.place.api}
	}
	var err error
	for _, api := range versions {
		_, err = overHTTP{c.web, api, c.place.ttl}.do(ctx, wire.Update, e.of.Form(in))
		if no, is := errors.AsType[*wire.Error](err); !is || no.Code != http.StatusNotFound && no.Code != http.StatusGone {
			return err
		}
	}
	return err
}

// find reads what Nacos has at an entry's address: that of its incarnation, if there are two.
func (c *Client) find(ctx context.Context, e *entry) (has wire.Instance, there bool, err error) {
	info, err := c.speak.list(ctx, e.of)
	key := e.of.Key(e.in)
	for _, in := range info.Hosts {
		if e.of.Key(in) == key && (!there || in.Metadata[saidIncarnation] == e.in.Metadata[saidIncarnation]) {
			has, there = in, true
		}
	}
	return has, there, err
}

// Remove takes an incarnation away, see [registry.Registrar]. From when it is called Run does not publish it any more,
// and goes on taking it away if this fails.
func (c *Client) Remove(ctx context.Context, incarnation string) error {
	c.mu.Lock()
	e := c.entries[incarnation]
	c.mu.Unlock()
	if e == nil {
		return c.persist(ctx, "remove "+incarnation, func(ctx context.Context) error { return c.absent(ctx, incarnation) })
	}
	e.lock()
	e.gone = true
	e.unlock()
	return c.persist(ctx, "remove "+incarnation, func(ctx context.Context) error {
		e.lock()
		defer e.unlock()
		return c.withdraw(ctx, incarnation, e)
	})
}

// withdraw takes an entry away, reads that it is gone, and forgets it. Over HTTP whoever is registered at an address can be taken
// away by anybody: there another incarnation in its place is left alone. The entry is locked.
func (c *Client) withdraw(ctx context.Context, incarnation string, e *entry) error {
	if !e.gone || e.over {
		return nil
	}
	has, there, err := c.find(ctx, e)
	if err != nil {
		return err
	}
	if said := has.Metadata[saidIncarnation]; c.place.api == 0 || !there || said == incarnation || said == "" {
		if err := c.speak.deregister(ctx, e.of, e.in); err != nil {
			return err
		}
		if has, there, err = c.find(ctx, e); err != nil {
			return err
		}
	}
	if said := has.Metadata[saidIncarnation]; there && (said == incarnation || said == "") {
		return errStill
	}
	if err := c.leaveOld(ctx, e); err != nil {
		return err
	}
	e.over = true
	c.mu.Lock()
	if c.entries[incarnation] == e {
		delete(c.entries, incarnation)
	}
	c.mu.Unlock()
	return nil
}

// absent reads whether an incarnation is listed that this client has not put: then it is not for it to take away.
func (c *Client) absent(ctx context.Context, incarnation string) error {
	names, err := c.names(ctx, c.speak)
	for _, name := range names {
		var info wire.ServiceInfo
		if info, err = c.speak.list(ctx, wire.NewService(c.place.namespace, c.place.group, name)); err != nil {
			break
		}
		for _, in := range info.Hosts {
			if in.Metadata[saidIncarnation] == incarnation {
				return errNotOurs
			}
		}
	}
	return err
}

// Run keeps what was put, see [registry.Registrar]: three times in an instance's time it sends a beat, or asks whether the
// connection is still there, and once it reads what Nacos has. What is lost it puts again, at once when that is the connection.
func (c *Client) Run(ctx context.Context, told func(error)) error {
	defer c.need()()
	return registry.Keep(ctx, "nacos", c.place.ttl, c.lost, c.keep, told)
}

// keep does for every entry what Run promises, once.
func (c *Client) keep(ctx context.Context) error {
	c.mu.Lock()
	entries := maps.Clone(c.entries)
	c.mu.Unlock()
	var errs []error
	for incarnation, e := range entries {
		errs = append(errs, c.keepOne(ctx, incarnation, e))
	}
	return errors.Join(errs...)
}

func (c *Client) keepOne(ctx context.Context, incarnation string, e *entry) error {
	e.lock()
	defer e.unlock()
	switch {
	case e.over:
		return nil
	case e.gone:
		return c.withdraw(ctx, incarnation, e)
	}
	return c.refresh(ctx, e)
}

// refresh has Nacos keep an entry for another while. What was put a moment ago is left to who put it: he reads it, and is told what
// is wrong with it. The entry is locked.
func (c *Client) refresh(ctx context.Context, e *entry) error {
	if e.sent.IsZero() {
		return c.publish(ctx, e)
	}
	err := c.speak.keep(ctx, e.of, e.in)
	switch {
	case errors.Is(err, errGone):
		e.again()
	case err != nil:
		return err
	case e.read.IsZero() && time.Since(e.first) <= settles, !e.read.IsZero() && time.Since(e.read) < c.place.ttl:
		return nil
	}
	return c.publish(ctx, e)
}
