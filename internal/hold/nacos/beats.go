package nacos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// How long Nacos keeps an instance without beats, unless its metadata says otherwise.
const (
	removedAfter = 30 * time.Second
	removedKey   = "preserved.ip.delete.timeout" // milliseconds
)

// A beating is an instance that the application has registered over HTTP. Its turn must be had by whoever calls a method.
type beating struct {
	serving *serving
	key     hold.Key
	service wire.Service
	made    *visit // what registers it: the newest
	cramped sync.Once

	mu   sync.Mutex // for who looks at it without its turn
	in   wire.Instance
	last time.Time // the newest sign of life
	back bool      // the application has taken it back

	there bool      // we have passed on what registers it, and nothing that takes it back since
	mark  hold.Mark // with which
}

var _ hold.Registration = (*beating)(nil)

// decide says what a call about an instance is answered with. An error is that the registry does not answer.
func (s *serving) decide(ctx context.Context, key hold.Key, v *visit) (said, error) {
	b := s.known(key)
	if b != nil && b.isBack() {
		b = nil
	}
	switch v.call.Op {
	case wire.Deregister:
		return s.takeBack(ctx, key, v)
	case wire.Beat:
		switch {
		case b != nil:
			return b.beat(ctx, v)
		case v.call.Light:
			return unknown(v.call), nil // it registers itself then
		}
		return s.first(ctx, key, v)
	case wire.Update, wire.Patch:
		if b != nil {
			return b.update(ctx, v)
		}
		if is, err := s.somebodys(ctx, v); err != nil || is {
			return s.through(ctx, v, err)
		}
	default: // Register
	}
	return s.enter(ctx, key, v)
}

func (s *serving) through(ctx context.Context, v *visit, err error) (said, error) {
	if err != nil {
		return said{}, err
	}
	return s.send(ctx, v)
}

// known returns what the application has registered by a key, or nil.
func (s *serving) known(key hold.Key) *beating {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beats[key.Name]
}

// leave forgets it.
func (b *beating) leave() {
	b.serving.mu.Lock()
	defer b.serving.mu.Unlock()
	if b.serving.beats[b.key.Name] == b {
		delete(b.serving.beats, b.key.Name)
	}
}

// lives notes a sign of life.
func (b *beating) lives(in wire.Instance) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.in, b.last, b.back = in, time.Now(), false
}

// takesBack notes that the application has taken it back.
func (b *beating) takesBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.back = true
}

func (b *beating) isBack() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.back
}

// enter holds a call back that registers an instance, passes it on or swallows it.
func (s *serving) enter(ctx context.Context, key hold.Key, v *visit) (said, error) {
	b := s.known(key)
	if b == nil {
		b = &beating{serving: s, key: key, service: v.call.Service}
		s.mu.Lock()
		s.beats[key.Name] = b
		s.mu.Unlock()
	}
	before := b.made
	b.made = v
	b.lives(v.call.Instance)
	verdict, mark := s.gate.Register(key, b)
	if verdict == hold.Answer {
		return accepted(v.call), nil
	}
	answer, err := b.put(ctx, v, mark, false)
	s.gate.Settle(key, b, err)
	if answer.status == 0 {
		return said{}, err
	}
	if err != nil { // it was refused: what there was before is in its place
		b.made = before
		if before == nil {
			b.leave()
		} else {
			b.lives(before.call.Instance)
		}
	}
	return answer, nil
}

// put sends what registers an instance, with a mark. Beside an answer that says no there is an error that says what.
func (b *beating) put(ctx context.Context, v *visit, m hold.Mark, nudged bool) (said, error) {
	b.serving.tellCramped(&b.cramped, b.key, m, []wire.Instance{v.call.Instance})
	c := change(m, v.call.Instance)
	if nudged {
		c = nudge(c, v.call.Instance)
	}
	values, err := v.call.Edit(c)
	if err != nil {
		return said{}, err
	}
	before := b.there
	b.there = true // or may be
	answer, err := b.serving.send(ctx, b.serving.fresh(v.with(values)))
	if err != nil {
		return answer, err
	}
	if err = refusal(answer); err == nil {
		b.mark = m
	} else {
		b.there = before
	}
	return answer, err
}

// takeBack passes on that the application takes an instance back, or answers it.
func (s *serving) takeBack(ctx context.Context, key hold.Key, v *visit) (said, error) {
	b := s.known(key)
	if b != nil {
		b.takesBack()
	}
	if s.gate.Deregister(key) == hold.Answer {
		if b != nil && !b.there {
			b.leave()
		}
		return accepted(v.call), nil
	}
	answer, err := s.send(ctx, v)
	if err == nil && refusal(answer) == nil {
		s.gate.Gone(key)
		if b != nil {
			b.leave()
		}
	}
	return answer, err
}

// first is a beat of an instance that is not known. It has a body, by which it registers it: here by a registration, which
// says what a beat does not.
func (s *serving) first(ctx context.Context, key hold.Key, v *visit) (said, error) {
	o := *v
	in := v.call.Instance
	o.method, o.url.Path, o.url.RawPath = http.MethodPost, strings.TrimSuffix(cleaned(v.url.Path), "/beat"), ""
	o.query, o.form = v.call.Service.Form(in), nil
	if v.call.Values.Has(accessToken) {
		o.query.Set(accessToken, v.call.Values.Get(accessToken))
	}
	o.url.RawQuery, o.body = o.query.Encode(), nil
	o.header = v.header.Clone()
	o.header.Del("Content-Type")
	o.call.Op, o.call.Values = wire.Register, o.query
	answer, err := s.enter(ctx, key, &o)
	if err == nil && answer.status == http.StatusOK {
		return accepted(v.call), nil
	}
	return answer, err
}

// beat passes a beat on when the registry has its instance, as we have registered it there.
func (b *beating) beat(ctx context.Context, v *visit) (said, error) {
	b.mu.Lock()
	b.last = time.Now()
	in := b.in
	b.mu.Unlock()
	if b.serving.gate.State(b.key) == hold.Drained {
		b.serving.gate.Register(b.key, b) // it is swallowed, and counted
		return accepted(v.call), nil
	}
	if !b.there {
		b.serving.suspect() // nobody but us has heard this beat: whether the registry is there is not known from it
		return accepted(v.call), nil
	}
	marked, err := b.marked(v, in)
	if err != nil {
		return said{}, err
	}
	answer, err := b.serving.send(ctx, marked)
	if err != nil || !forgotten(answer) {
		return answer, err
	}
	if answer, err = b.put(ctx, b.made, b.mark, false); answer.status != http.StatusOK {
		return answer, err
	}
	return accepted(v.call), nil
}

// marked is a beat with the mark of its instance: a registry that has forgotten that takes it from the beat. One without a
// body gets one: registries are seen (r-nacos 0.8) that take an address alone for an instance.
func (b *beating) marked(v *visit, in wire.Instance) (*visit, error) {
	c := change(b.mark, in)
	if c.Weight == nil && len(c.Metadata) == 0 || v.call.API == wire.V3 {
		return v, nil
	}
	call := v.call
	if call.Light {
		plain, err := json.Marshal(map[string]any{
			"ip": in.IP, "port": in.Port, "weight": in.Weight, "cluster": b.made.call.Key().Cluster, "serviceName": call.Service.Grouped(),
			"metadata": in.Metadata, "scheduled": true,
		})
		if err != nil {
			return nil, err
		}
		call.Light = false
		call.Values = v.values()
		call.Values.Set("beat", string(plain))
	}
	values, err := call.Edit(c)
	if err != nil {
		return nil, err
	}
	return v.with(values), nil
}

// update takes in what is changed of an instance, and passes that on when the registry has it.
func (b *beating) update(ctx context.Context, v *visit) (said, error) {
	merged := v.values()
	values := b.made.values()
	for _, name := range []string{"weight", "enabled", "enable", "metadata", "healthy"} {
		if merged.Has(name) {
			values[name] = merged[name]
		}
	}
	if v.call.Op == wire.Patch && merged.Has("metadata") { // what it does not say stays
		edited, err := b.made.call.Edit(wire.Change{Metadata: v.call.Instance.Metadata})
		if err != nil {
			return unreadable(v.call, err), nil
		}
		values["metadata"] = edited["metadata"]
	}
	made := b.made.with(values)
	call, err := wire.ParseHTTP(made.method, cleaned(made.url.Path), values)
	if err != nil {
		return unreadable(v.call, err), nil
	}
	made.call = call
	b.made = made
	b.lives(call.Instance)
	verdict, mark := b.serving.gate.Register(b.key, b)
	if verdict == hold.Answer {
		return accepted(v.call), nil
	}
	marked, err := call.Edit(change(mark, call.Instance))
	if err == nil {
		for _, name := range []string{"weight", "enabled", "metadata"} {
			if marked.Has(name) && marked.Get(name) != values.Get(name) {
				merged[name] = marked[name]
			}
		}
	}
	answer, err := b.serving.send(ctx, v.with(merged))
	if err == nil {
		err = refusal(answer)
	}
	b.serving.gate.Settle(b.key, b, err)
	if err == nil {
		b.there, b.mark = true, mark
	}
	if answer.status == 0 {
		return said{}, err
	}
	return answer, nil
}

// wrapAway is an error that wraps registry.ErrAway.
func wrapAway(err error) error { return fmt.Errorf("%w: %w", registry.ErrAway, err) }
