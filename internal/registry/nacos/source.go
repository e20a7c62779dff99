package nacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// errBroken says that connections ended that nobody had announced to end: Nacos may be another one now, or have
// forgotten everything.
var errBroken = errors.New("its connections broke")

// atOnce is how many services are asked for at one time.
const atOnce = 8

var _ registry.Source = (*Client)(nil)

// Watch follows the instances of a group, or of one service, see [registry.Source]. Over gRPC Nacos pushes every change, some
// hundred milliseconds after it; over HTTP it is asked every second, as it is for new services. Watch ends with nil when ctx does.
func (c *Client) Watch(ctx context.Context, apply func(registry.List), away func(error)) error {
	defer c.need()()
	gone, first := false, true
	for ctx.Err() == nil {
		f := c.following(apply)
		f.first = first
		err := f.start(ctx)
		if err == nil {
			first = false
			if gone {
				gone = false
				away(nil)
			}
			err = f.changes(ctx)
		}
		f.end()
		if ctx.Err() == nil && !gone {
			gone = true
			away(fmt.Errorf("nacos: follow %s: %w: %w", c.place.followed(), registry.ErrAway, err))
		}
		if err := pauseFor(ctx, pause); err != nil {
			return nil
		}
	}
	return nil
}

// pauseFor waits, and fails when ctx ends before.
func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// followed names what is followed, for people.
func (p *place) followed() string {
	if p.service != "" {
		return wire.NewService(p.namespace, p.group, p.service).String()
	}
	return p.namespace + "/" + p.group
}

// A following is one watch, from a first reading on until Nacos is away.
type following struct {
	c     *Client
	apply func(registry.List)
	first bool

	pushed bool    // over gRPC; otherwise Nacos is asked with
	speak  speaker // over
	web    *web    // of its own, whose connections nobody else uses
	broken int64   // of them, when everything was read last
	link   *link   // or this

	services map[string]*service // by name
	turn     int                 // whose service is read again next
}

// A service is one as it was read last.
type service struct {
	at    int64                 // when, by Nacos's clock; 0 where it does not say
	there map[string]registered // by key
}

// registered is a registration as it was read last.
type registered struct {
	in      wire.Instance
	reading registry.Reading
}

func (c *Client) following(apply func(registry.List)) *following {
	f := &following{c: c, apply: apply, pushed: c.place.api == 0, speak: c.speak, services: map[string]*service{}}
	if !f.pushed {
		f.web = newWeb(&c.place, c.tls, 1)
		f.speak = overHTTP{f.web, c.place.api, c.place.ttl}
	}
	return f
}

func (f *following) end() {
	if f.web != nil {
		f.web.client.CloseIdleConnections()
	}
}

// start reads everything and applies it.
func (f *following) start(ctx context.Context) error {
	if f.pushed {
		var err error
		if f.link, err = f.c.linked(ctx); err != nil {
			return err
		}
	}
	if _, err := f.reread(ctx); err != nil {
		return err
	}
	if f.web != nil {
		f.broken = f.web.broken.Load()
	}
	f.tell()
	return nil
}

// reread reads which services there are, and those that are new; without pushes, all. It says whether anything has changed.
func (f *following) reread(ctx context.Context) (bool, error) {
	names, err := f.c.names(ctx, f.speak)
	if err != nil {
		return false, err
	}
	there := map[string]bool{}
	var ask []string
	for _, name := range names {
		name = wire.NewService("", f.c.place.group, name).Name
		_, known := f.services[name]
		if there[name] = true; !known || !f.pushed {
			ask = append(ask, name)
		}
	}
	infos, err := f.ask(ctx, ask)
	if err != nil {
		return false, err
	}
	changed := false
	for name, info := range infos {
		changed = f.take(name, info) || changed
	}
	for name, was := range f.services {
		if there[name] {
			continue
		}
		changed = changed || len(was.there) > 0
		delete(f.services, name)
		if f.pushed {
			if _, err := f.subscribe(ctx, name, false); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// names returns the services' names as a speaker says them.
func (c *Client) names(ctx context.Context, speak speaker) ([]string, error) {
	if c.place.service != "" {
		return []string{c.place.service}, nil
	}
	return speak.services(ctx, c.place.namespace, c.place.group)
}

// ask asks for these services, some at a time, and subscribes to them where Nacos pushes.
func (f *following) ask(ctx context.Context, names []string) (map[string]wire.ServiceInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var first error
	infos := make(map[string]wire.ServiceInfo, len(names))
	turn := make(chan string)
	var all sync.WaitGroup
	for range min(atOnce, len(names)) {
		all.Go(func() {
			for name := range turn {
				info, err := f.one(ctx, name)
				mu.Lock()
				if infos[name] = info; err != nil && first == nil {
					first = err
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		turn <- name
	}
	close(turn)
	all.Wait()
	return infos, first
}

func (f *following) one(ctx context.Context, name string) (wire.ServiceInfo, error) {
	if f.pushed {
		return f.subscribe(ctx, name, true)
	}
	return f.speak.list(ctx, f.of(name))
}

func (f *following) of(name string) wire.Service {
	return wire.NewService(f.c.place.namespace, f.c.place.group, name)
}

func (f *following) subscribe(ctx context.Context, name string, on bool) (wire.ServiceInfo, error) {
	return overGRPC{f.c}.subscribe(ctx, f.of(name), on)
}

// take takes a service as Nacos has it, unless something newer has come before it, and says whether it has changed. A
// registration is read only when it has.
func (f *following) take(name string, info wire.ServiceInfo) bool {
	of, s := f.of(name), f.services[name]
	changed := s == nil
	if changed {
		s = &service{}
		f.services[name] = s
	}
	if info.LastRef != 0 && info.LastRef < s.at {
		return false
	}
	now := make(map[string]registered, len(info.Hosts))
	for _, in := range info.Hosts {
		key := of.Key(in).String()
		was, again := s.there[key]
		if again && same(was.in, in) {
			now[key] = was
			continue
		}
		changed = true
		now[key] = registered{in: in, reading: read(of, in)}
	}
	for _, bad := range info.Unread {
		key := of.String() + "/" + bad.At
		was, again := s.there[key]
		changed = changed || !again || was.reading.Err == nil || was.reading.Err.Error() != bad.Err.Error()
		now[key] = registered{reading: registry.Reading{Service: of.Name, Err: bad.Err}}
	}
	changed = changed || len(now) != len(s.there)
	s.at, s.there = info.LastRef, now
	return changed
}

func same(a, b wire.Instance) bool {
	return a.Weight == b.Weight && a.Healthy == b.Healthy && a.Enabled == b.Enabled && a.Ephemeral == b.Ephemeral && maps.Equal(a.Metadata, b.Metadata)
}

// tell applies everything as it is.
func (f *following) tell() {
	all := map[string]registry.Reading{}
	for _, s := range f.services {
		for key, r := range s.there {
			all[key] = r.reading
		}
	}
	f.apply(registry.MakeList(all, f.first))
	f.first = false
}

// changes applies what changes until ctx ends or Nacos is away.
func (f *following) changes(ctx context.Context) error {
	var over <-chan struct{}
	var bell chan struct{}
	if f.link != nil {
		over, bell = f.link.over, f.link.bell
	}
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		changed := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return f.link.why()
		case <-bell:
			for of, info := range f.link.news() {
				if _, follows := f.services[of.Name]; follows && of == f.of(of.Name) {
					changed = f.take(of.Name, info) || changed
				}
			}
		case <-tick.C:
			var err error
			if changed, err = f.look(ctx); err != nil {
				return err
			}
		}
		if changed {
			f.tell()
		}
	}
}

// look asks Nacos what it does not say by itself. Where it pushes, that is which services it has, and one service in
// turn, in case a push was lost.
func (f *following) look(ctx context.Context) (bool, error) {
	changed, err := f.reread(ctx)
	if err != nil {
		return false, err
	}
	if f.web != nil {
		if now := f.web.broken.Load(); now != f.broken {
			return false, errBroken
		}
		return changed, nil
	}
	if f.link.isOver() {
		return false, f.link.why()
	}
	if names := slices.Sorted(maps.Keys(f.services)); len(names) > 0 {
		f.turn = (f.turn + 1) % len(names)
		info, err := f.speak.list(ctx, f.of(names[f.turn]))
		if err != nil {
			return false, err
		}
		changed = f.take(names[f.turn], info) || changed
	}
	return changed, nil
}
