package nacos

import (
	"context"
	"errors"

	wire "crossfade.dev/internal/wire/nacos"
)

// overGRPC speaks over the client's one connection.
type overGRPC struct{ c *Client }

// ask asks a question about instances, with a token where Nacos asks for one.
func (g overGRPC) ask(ctx context.Context, kind string, r wire.Request) (*link, wire.Response, error) {
	r.Module = "naming"
	for again := false; ; again = true {
		l, err := g.c.linked(ctx)
		if err != nil {
			return nil, wire.Response{}, err
		}
		bearer, err := g.c.web.bearer(ctx)
		if err != nil {
			return nil, wire.Response{}, err
		}
		var headers map[string]string
		if bearer != "" {
			headers = map[string]string{"accessToken": bearer}
		}
		response, err := l.ask(ctx, kind, headers, r)
		no, is := errors.AsType[*wire.Error](err)
		switch {
		case is && no.Code == wire.CodeNoRight && bearer != "" && !again:
			g.c.web.forget(bearer)
			continue
		case is && no.Code == wire.CodeUnregistered: // Nacos has forgotten this connection
			l.close(err)
		}
		return l, response, err
	}
}

func about(of wire.Service) wire.Request {
	return wire.Request{Namespace: of.Namespace, Group: of.Group, Service: of.Name}
}

func (g overGRPC) register(ctx context.Context, of wire.Service, in wire.Instance) error {
	r := about(of)
	r.Type, r.Instance = wire.RegisterInstance, &in
	l, _, err := g.ask(ctx, wire.TypeInstance, r)
	if err == nil {
		l.note(of.Key(in), true)
	}
	return err
}

func (g overGRPC) deregister(ctx context.Context, of wire.Service, in wire.Instance) error {
	r := about(of)
	r.Type, r.Instance = wire.DeregisterInstance, &in
	l, _, err := g.ask(ctx, wire.TypeInstance, r)
	if err == nil {
		l.note(of.Key(in), false)
	}
	return err
}

// keep asks whether the connection is still one. What it has was registered over it, or is lost.
func (g overGRPC) keep(ctx context.Context, of wire.Service, in wire.Instance) error {
	l, err := g.c.linked(ctx)
	if err != nil {
		return err
	}
	if !l.has(of.Key(in)) {
		return errGone
	}
	_, _, err = g.ask(ctx, wire.TypeHealthCheck, wire.Request{})
	return err
}

func (g overGRPC) list(ctx context.Context, of wire.Service) (wire.ServiceInfo, error) {
	_, response, err := g.ask(ctx, wire.TypeServiceQuery, about(of))
	return infoOf(response), err
}

// subscribe has Nacos push a service whenever it changes, or do so no more, and returns it as it is now.
func (g overGRPC) subscribe(ctx context.Context, of wire.Service, on bool) (wire.ServiceInfo, error) {
	r := about(of)
	r.Subscribe = on
	_, response, err := g.ask(ctx, wire.TypeSubscribe, r)
	return infoOf(response), err
}

func infoOf(r wire.Response) wire.ServiceInfo {
	if r.Info == nil {
		return wire.ServiceInfo{}
	}
	return *r.Info
}

func (g overGRPC) services(ctx context.Context, namespace, group string) ([]string, error) {
	return pages(func(n int) ([]string, int, error) {
		_, response, err := g.ask(ctx, wire.TypeServiceList, wire.Request{Namespace: namespace, Group: group, PageNo: n, PageSize: page})
		return response.Services, response.Count, err
	})
}
