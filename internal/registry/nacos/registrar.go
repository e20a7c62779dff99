package nacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"sync"
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

	mu     sync.Mutex // held over one attempt at most
	over   bool       // it is taken away, or there is another incarnation in its place
	of     wire.Service
	in     wire.Instance
	gone   bool      // to be taken away
	before *placed   // registered at another address, to be taken away
	sent   time.Time // when Nacos accepted it; zero is that it is to be sent
	mended bool      // by an operator's update, then
	read   time.Time // when it was last read to be there
}

// placed is an instance of a service.
type placed struct {
	of wire.Service
	in wire.Instance
}

var _ registry.Registrar = (*Client)(nil)

// Put publishes an instance, see [registry.Registrar]. One that failed is still to be published: Run goes on trying,
// until Remove.
func (c *Client) Put(ctx context.Context, in fleet.Instance) error {
	of, shaped, err := c.place.shape(in)
	if err != nil {
		return fmt.Errorf("nacos: publish %s: %w", in.Incarnation, err)
	}
	e, replaced := c.entry(in.Incarnation, of.Key(shaped))
	for _, old := range replaced {
		old.mu.Lock()
		old.over = true
		old.mu.Unlock()
	}
	e.mu.Lock()
	if was := e.in; was.IP != "" && e.of.Key(was) != of.Key(shaped) {
		e.before = &placed{e.of, was}
	}
	e.of, e.in, e.gone, e.sent = of, shaped, false, time.Time{}
	e.mu.Unlock()
	return c.persist(ctx, "publish "+in.Incarnation, func(ctx context.Context) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		return c.publish(ctx, e)
	})
}

// entry returns that of an incarnation, which is to be registered at a place, and those that were there.
func (c *Client) entry(incarnation string, at wire.Key) (e *entry, replaced []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other, old := range c.entries {
		if other != incarnation && old.at == at {
			delete(c.entries, other)
			replaced = append(replaced, old)
		}
	}
	e = c.entries[incarnation]
	if e == nil {
		e = &entry{}
		c.entries[incarnation] = e
	}
	e.at = at
	return e, replaced
}

// publish registers an entry, if that is not done, and reads it back. The entry is locked.
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
	late := time.Since(e.sent) > settles
	switch {
	case err != nil:
		e.sent = time.Time{}
		return err
	case there && holds(has, e.in):
		if e.mended {
			c.sticky.Store(true)
		}
		e.read = time.Now()
		return c.leaveOld(ctx, e)
	case late && there && !e.mended:
		e.sent, e.mended = time.Now(), true
		if err := c.mend(ctx, e); err != nil {
			return fmt.Errorf("%w; an update over HTTP: %w", errStale, err)
		}
	case late:
		e.sent = time.Time{}
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
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
	return c.persist(ctx, "remove "+incarnation, func(ctx context.Context) error {
		e.mu.Lock()
		defer e.mu.Unlock()
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
	names, err := c.namesBy(c.speak)(ctx)
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
		errs = append(errs, once(ctx, func(ctx context.Context) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			switch {
			case e.over:
				return nil
			case e.gone:
				return c.withdraw(ctx, incarnation, e)
			}
			return c.refresh(ctx, e)
		}))
	}
	return errors.Join(errs...)
}

// refresh has Nacos keep an entry for another while. The entry is locked.
func (c *Client) refresh(ctx context.Context, e *entry) error {
	err := c.speak.keep(ctx, e.of, e.in)
	if errors.Is(err, errGone) || e.sent.IsZero() {
		e.sent = time.Time{}
		return c.publish(ctx, e)
	}
	if err != nil || time.Since(e.read) < c.place.ttl {
		return err
	}
	has, there, err := c.find(ctx, e)
	switch {
	case err != nil:
		return err
	case !there || !holds(has, e.in):
		e.sent = time.Time{}
		return c.publish(ctx, e)
	}
	e.read = time.Now()
	return nil
}
