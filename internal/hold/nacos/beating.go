package nacos

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

// Release registers it with a mark.
func (b *beating) Release(ctx context.Context, m hold.Mark) error {
	done, err := b.serving.calls.take(ctx, b.key.Name)
	if err != nil {
		return err
	}
	defer done()
	return settled(ctx, []wire.Instance{as(b.made.call.Instance, m)}, func(ctx context.Context, nudged bool) error {
		_, err := b.put(ctx, b.made, m, nudged)
		return err
	}, b.list)
}

// Withdraw deregisters it. Its beats are swallowed from now on: the gate is drained.
func (b *beating) Withdraw(ctx context.Context) error {
	done, err := b.serving.calls.take(ctx, b.key.Name)
	if err != nil {
		return err
	}
	defer done()
	if !b.there { // the registry has refused it, whenever it was asked
		return nil
	}
	return removed(ctx, []wire.Instance{b.made.call.Instance}, func(ctx context.Context) error {
		o := b.plain(wire.Deregister, b.identity())
		answer, err := b.serving.send(ctx, o)
		if err == nil {
			err = refusal(answer)
		}
		if err == nil {
			b.there = false
		}
		return err
	}, b.list, func(wire.Instance) bool { return false })
}

// identity has the values that name the instance.
func (b *beating) identity() url.Values {
	c, in := b.made.call, b.made.call.Instance
	return url.Values{
		"namespaceId": {c.Service.Namespace}, "groupName": {c.Service.Group}, "serviceName": {c.Service.Name}, "ip": {in.IP}, "port": {strconv.Itoa(in.Port)},
		"clusterName": {c.Key().Cluster}, "ephemeral": {strconv.FormatBool(in.Ephemeral)},
	}
}

// plain returns a call of ours about the service, at the path and with the credentials by which the instance was registered.
func (b *beating) plain(op wire.Op, values url.Values) *visit {
	if all := b.made.values(); all.Has(accessToken) {
		values.Set(accessToken, all.Get(accessToken))
	}
	o := *b.made
	o.query, o.form, o.body = values, nil, nil
	o.method, _ = wire.HTTPPath(o.call.API, op)
	o.url.Path, o.url.RawPath, o.url.RawQuery = strings.TrimSuffix(cleaned(o.url.Path), "/partial"), "", values.Encode()
	if op == wire.List {
		o.url.Path += "/list"
	}
	o.header = o.header.Clone()
	o.header.Del("Content-Type")
	o.call.Op, o.call.Values = op, values
	return b.serving.fresh(&o)
}

// list asks for the service as consumers do.
func (b *beating) list(ctx context.Context) ([]wire.Instance, error) {
	c := b.made.call
	values := url.Values{"namespaceId": {c.Service.Namespace}, "groupName": {c.Service.Group}, "serviceName": {c.Service.Grouped()}, "healthyOnly": {"false"}}
	if c.API != wire.V1 {
		values.Set("serviceName", c.Service.Name)
	}
	o := b.plain(wire.List, values)
	answer, err := b.serving.send(ctx, o)
	if err == nil && answer.status == http.StatusNotFound {
		return nil, nil
	}
	if err == nil {
		err = refusal(answer)
	}
	if err != nil {
		return nil, err
	}
	all, err := hosts(answer.body)
	return all, err
}

// somebodys says whether the registry has the instance that a call is about, which the application has not registered.
func (s *serving) somebodys(ctx context.Context, v *visit) (bool, error) {
	o := &beating{serving: s, made: v}
	all, err := o.list(ctx)
	if no := (*wire.Error)(nil); errors.As(err, &no) {
		return false, nil // it has no such service
	}
	_, is := find(all, v.call.Instance.IP, v.call.Instance.Port)
	return is, err
}

// sweep forgets instances whose beats have ended, when their registry does.
func (s *serving) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		s.mu.Lock()
		var ended []*beating
		for name, b := range s.beats {
			if b.ended(now) {
				delete(s.beats, name)
				ended = append(ended, b)
			}
		}
		s.mu.Unlock()
		for _, b := range ended {
			s.gate.Forget(b.key, b)
		}
	}
}

func (b *beating) ended(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	after := removedAfter
	if ms, err := strconv.ParseInt(b.in.Metadata[removedKey], 10, 32); err == nil && ms > 0 {
		after = time.Duration(ms) * time.Millisecond
	}
	return b.in.Ephemeral && now.Sub(b.last) > after
}
