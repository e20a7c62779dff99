package nacos

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

// An application that has registered is in its own service: so it was answered, and so it finds itself when it asks, or is
// told of that service, also while it is held or after it was withdrawn. Nobody else finds it there.

// own is an instance that the application takes to be registered.
type own struct {
	key      hold.Key
	service  wire.Service
	instance wire.Instance
}

// own returns what the application has registered in a service, over whatever connections, and the registry is not to have
// now: who registers over one may ask over another.
func (s *serving) own(service wire.Service) []own {
	s.mu.Lock()
	links := slices.Collect(maps.Keys(s.links))
	beats := slices.Collect(maps.Values(s.beats))
	s.mu.Unlock()
	var list []own
	for _, b := range beats {
		b.mu.Lock()
		if b.service == service && !b.back {
			list = append(list, own{b.key, service, b.in})
		}
		b.mu.Unlock()
	}
	for _, l := range links {
		l.mu.Lock()
		for key, made := range l.made {
			if made.request.Of() == service && !made.back {
				for _, in := range made.request.All() {
					list = append(list, own{key, service, in})
				}
			}
		}
		l.mu.Unlock()
	}
	return slices.DeleteFunc(list, func(o own) bool { return !o.instance.Enabled || s.gate.State(o.key) == hold.Released })
}

// hidden returns those that are not listed; with clusters only those of these, which have commas between them.
func hidden(list []own, listed []wire.Instance, clusters string) []wire.Instance {
	var out []wire.Instance
	for _, o := range list {
		in := o.instance
		in.Cluster = o.service.Key(in).Cluster
		_, is := find(listed, in.IP, in.Port)
		_, again := find(out, in.IP, in.Port)
		if is || again || clusters != "" && !slices.Contains(strings.Split(clusters, ","), in.Cluster) {
			continue
		}
		in.Service = o.service.Grouped()
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b wire.Instance) int { return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port)) })
	return out
}

// lists answers who is in a service.
func (s *serving) lists(w http.ResponseWriter, r *http.Request, v *visit, unreadable error) {
	a, err := s.send(r.Context(), v)
	if err != nil {
		s.gone(r, err)
	}
	if unreadable == nil && a.status == http.StatusOK {
		a.body = joined(a.body, s.own(v.call.Service), v.call.Values.Get("clusters")+v.call.Values.Get("clusterName"))
	}
	a.write(w)
}

// joined adds instances to the body of an answer over HTTP.
func joined(body []byte, list []own, clusters string) []byte {
	if len(list) == 0 {
		return body
	}
	all, err := hosts(body)
	if err != nil {
		return body
	}
	if mine := hidden(list, all, clusters); len(mine) > 0 {
		return withHosts(body, mine)
	}
	return body
}

// answersQuery adds the application's own instances to the answer to a query or a subscription.
func (s *serving) answersQuery(ctx context.Context, l *link, f wire.Frame, p wire.Payload) (wire.Frame, error) {
	answer, err := wire.Call(ctx, l.conn, f)
	if err != nil {
		return nil, err
	}
	request, bad := wire.ParseRequest(p.Body)
	if bad != nil {
		return answer, nil //nolint:nilerr // it is the registry's to say so
	}
	return added(answer, s.own(request.Of()), request.Cluster+request.Clusters), nil
}

// pushes adds them to what the registry says of a service by itself.
func (s *serving) pushes(f wire.Frame) wire.Frame {
	p, err := f.Payload()
	if err != nil || p.Type != wire.TypeNotifySubscriber {
		return f
	}
	var push wire.Push
	if json.Unmarshal(p.Body, &push) != nil || push.Info == nil {
		return f
	}
	service := wire.NewService(push.Namespace, push.Group, push.Service)
	if push.Service == "" {
		service = wire.NewService(push.Namespace, push.Info.Group, push.Info.Name)
	}
	return added(f, s.own(service), push.Info.Clusters)
}

// added adds instances to a frame that has a list.
func added(f wire.Frame, list []own, clusters string) wire.Frame {
	if len(list) == 0 {
		return f
	}
	p, err := f.Payload()
	if err != nil {
		return f
	}
	var body struct {
		Info *wire.ServiceInfo `json:"serviceInfo"`
	}
	if json.Unmarshal(p.Body, &body) != nil || body.Info == nil {
		return f
	}
	mine := hidden(list, body.Info.Hosts, clusters)
	if len(mine) == 0 {
		return f
	}
	if changed, err := f.WithBody(within(p.Body, "serviceInfo", func(raw []byte) []byte { return withHosts(raw, mine) })); err == nil {
		return changed
	}
	return f
}

// withHosts adds instances to a list: to hosts, in data or at the top, or to data, if that is the list.
func withHosts(body []byte, mine []wire.Instance) []byte {
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil {
		return body
	}
	if data := top["data"]; len(data) > 0 && data[0] == '{' {
		return within(body, "data", func(raw []byte) []byte { return withHosts(raw, mine) })
	}
	name := "hosts"
	if data := top["data"]; len(data) > 0 && data[0] == '[' {
		name = "data"
	}
	return within(body, name, func(raw []byte) []byte {
		var list []json.RawMessage
		if len(raw) > 0 && json.Unmarshal(raw, &list) != nil {
			return raw
		}
		for _, in := range mine {
			if one, err := json.Marshal(in); err == nil {
				list = append(list, one)
			}
		}
		out, err := json.Marshal(list)
		if err != nil {
			return raw
		}
		return out
	})
}

// within changes one member of an object.
func within(body []byte, name string, change func([]byte) []byte) []byte {
	var o map[string]json.RawMessage
	if json.Unmarshal(body, &o) != nil {
		return body
	}
	o[name] = change(o[name])
	out, err := json.Marshal(o)
	if err != nil {
		return body
	}
	return out
}
