package nacos

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"sync"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

// accessToken is where the application shows its token: in headers over gRPC, among the values over HTTP.
const accessToken = "accessToken"

// A registration is one that came over gRPC: of one instance, or of a batch, which is one to Nacos too.
type registration struct {
	serving *serving
	link    *link
	key     hold.Key
	frame   wire.Frame
	payload wire.Payload
	request wire.Request
	before  []wire.Instance // that earlier batches had and this one has not
	there   bool            // the registry has taken it, or nobody knows; guarded by its turn
	back    bool            // the application has taken it back; guarded by its link
	cramped sync.Once       // there is no room for all of its mark: that was told
}

var _ hold.Registration = (*registration)(nil)

// overGRPC returns the registration that a request makes, or takes back.
func (s *serving) overGRPC(l *link, f wire.Frame, p wire.Payload, request wire.Request) *registration {
	r := &registration{serving: s, link: l, frame: f, payload: p, request: request}
	name := request.Of().String() + "/batch"
	if p.Type != wire.TypeBatchInstance {
		name = named(request.Of(), *request.Instance)
	}
	if !r.persistent() {
		name += " (connection " + l.name + ")"
	}
	r.key = hold.Key{Registry: s.Registry(), Name: name}
	return r
}

// deregisters says whether the application takes back what it had registered. A batch of nobody does, too.
func (r *registration) deregisters() bool {
	switch r.request.Type {
	case wire.DeregisterInstance, wire.BatchDeregisterInstance:
		return true
	}
	return len(r.request.All()) == 0
}

// persistent says whether it stays when the connection ends.
func (r *registration) persistent() bool { return r.payload.Type == wire.TypePersistentInstance }

// replaces notes what an earlier batch had: registries are seen (r-nacos 0.8) that keep it.
func (r *registration) replaces() {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	old := r.link.made[r.key]
	if old == nil {
		return
	}
	for _, in := range append(old.request.All(), old.before...) {
		if _, again := find(r.request.All(), in.IP, in.Port); !again {
			r.before = append(r.before, in)
		}
	}
}

// Release registers it with a mark, over the connection that it came by.
func (r *registration) Release(ctx context.Context, m hold.Mark) error {
	done, err := r.serving.calls.take(ctx, r.key.Name)
	if err != nil {
		return err
	}
	defer done()
	want := make([]wire.Instance, 0, 1)
	for _, in := range r.request.All() {
		want = append(want, as(in, m))
	}
	return settled(ctx, want, func(ctx context.Context, mend bool) error {
		_, err := r.send(ctx, m, mend)
		if err == nil && mend && len(m.Metadata) > 0 {
			r.mend(ctx, want)
		}
		return err
	}, r.list)
}

// mend has the registry show the metadata that was registered, by a call over HTTP v1. Registries are seen (r-nacos 0.8) that
// keep, for ever, the metadata with which an address registered first, an earlier instance's too, unless they are told that
// way. Whether it can be done is seen when it is read back.
func (r *registration) mend(ctx context.Context, want []wire.Instance) {
	for _, in := range want {
		all := r.request.Of().Form(in)
		values := url.Values{"metadata": all["metadata"]}
		for _, name := range []string{"namespaceId", "groupName", "serviceName", "clusterName", "ip", "port", "ephemeral"} {
			values[name] = all[name]
		}
		if token := r.headers()[accessToken]; token != "" {
			values.Set(accessToken, token)
		}
		v := &visit{method: http.MethodPatch, url: url.URL{Path: "/nacos/v1/ns/instance", RawQuery: values.Encode()}}
		if _, err := r.serving.send(ctx, v); err != nil {
			return
		}
	}
}

// Withdraw deregisters all of it.
func (r *registration) Withdraw(ctx context.Context) error {
	done, err := r.serving.calls.take(ctx, r.key.Name)
	if err != nil {
		return err
	}
	defer done()
	if !r.there { // the registry has refused it, whenever it was asked
		return nil
	}
	all := append(r.request.All(), r.before...)
	return removed(ctx, all, func(ctx context.Context) error {
		for _, in := range all {
			if err := r.take(ctx, in); err != nil {
				return err
			}
		}
		return nil
	}, r.list, func(in wire.Instance) bool { return r.serving.elsewhere(r, in) })
}

// take deregisters one instance.
func (r *registration) take(ctx context.Context, in wire.Instance) error {
	kind := wire.TypeInstance
	if r.persistent() {
		kind = r.payload.Type
	}
	request := r.request
	request.Type, request.Instance, request.Instances = wire.DeregisterInstance, &in, nil
	f, err := wire.NewFrame(kind, r.headers(), request)
	if err != nil {
		return err
	}
	_, err = r.over().call(ctx, f)
	return err
}

// send registers it with a mark, and returns the answer.
func (r *registration) send(ctx context.Context, m hold.Mark, nudged bool) (wire.Frame, error) {
	r.serving.tellCramped(&r.cramped, r.key, m, r.request.All())
	body, err := wire.EditInstances(r.payload.Body, func(_ int, in wire.Instance) wire.Change {
		c := change(m, in)
		if nudged {
			c = nudge(c, in)
		}
		return c
	})
	if err != nil {
		return nil, err
	}
	f := r.frame
	if headers := r.headers(); !maps.Equal(headers, r.payload.Headers) {
		p := r.payload
		p.Headers, p.Body = headers, body
		f = p.Frame()
	} else if string(body) != string(r.payload.Body) {
		if f, err = f.WithBody(body); err != nil {
			return nil, err
		}
	}
	before := r.there
	r.there = true // or may be
	answer, err := r.over().call(ctx, f)
	if no := (*wire.Error)(nil); errors.As(err, &no) && answer != nil {
		r.there = before
	}
	return answer, err
}

// list asks for the service as consumers do.
func (r *registration) list(ctx context.Context) ([]wire.Instance, error) {
	f, err := wire.NewFrame(wire.TypeServiceQuery, r.headers(), wire.Request{
		Module: r.request.Module, Headers: r.request.Headers, Namespace: r.request.Namespace, Service: r.request.Service, Group: r.request.Group,
	})
	if err != nil {
		return nil, err
	}
	answer, err := r.over().call(ctx, f)
	if err != nil {
		return nil, err
	}
	response, err := wire.ParseResponse(answer)
	if err != nil || response.Info == nil {
		return nil, err
	}
	return response.Info.Hosts, nil
}

// headers are those that it came with, and the token that the application showed last.
func (r *registration) headers() map[string]string {
	r.link.mu.Lock()
	defer r.link.mu.Unlock()
	if r.link.token == "" || r.payload.Headers[accessToken] == r.link.token {
		return r.payload.Headers
	}
	headers := maps.Clone(r.payload.Headers)
	if headers == nil {
		headers = map[string]string{}
	}
	headers[accessToken] = r.link.token
	return headers
}

// over is the connection to call by: its own; of one that outlives it, any other when that has ended.
func (r *registration) over() *link {
	select {
	case <-r.link.over:
	default:
		return r.link
	}
	if r.persistent() {
		r.serving.mu.Lock()
		defer r.serving.mu.Unlock()
		for l := range r.serving.links {
			select {
			case <-l.over: // it waits for its last calls
			default:
				return l
			}
		}
	}
	return r.link
}

// elsewhere says whether an instance is registered over another connection too.
func (s *serving) elsewhere(r *registration, in wire.Instance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		if l != r.link && l.has(r.request.Of(), in) {
			return true
		}
	}
	return false
}

func (l *link) has(service wire.Service, in wire.Instance) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, made := range l.made {
		if made.request.Of() == service && !made.back {
			if _, there := find(made.request.All(), in.IP, in.Port); there {
				return true
			}
		}
	}
	return false
}
