package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	wire "crossfade.dev/internal/wire/nacos"
)

// overHTTP speaks one of the versions of HTTP.
type overHTTP struct {
	web *web
	api wire.API
	ttl time.Duration
}

// do calls an operation of this version and returns the data of its answer.
func (h overHTTP) do(ctx context.Context, op wire.Op, values url.Values) (json.RawMessage, error) {
	method, path := wire.HTTPPath(h.api, op)
	body, err := h.web.call(ctx, method, path, values)
	if err != nil || h.api == wire.V1 || op == wire.Beat && h.api == wire.V2 {
		return body, err
	}
	return unwrap(body)
}

// unwrap returns the data of an answer of v2 or v3.
func unwrap(body []byte) (json.RawMessage, error) {
	var answer struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Code != 0 && answer.Code != http.StatusOK {
		return nil, &wire.Error{Code: answer.Code, Message: answer.Message}
	}
	return answer.Data, nil
}

// register registers with what Nacos goes by to take away who sends no beats any more.
func (h overHTTP) register(ctx context.Context, of wire.Service, in wire.Instance) error {
	_, err := h.do(ctx, wire.Register, of.Form(h.timed(in)))
	return err
}

// timed adds to the metadata how soon a silent instance is unhealthy, and gone, in the words of Nacos. What stands
// there already stays.
func (h overHTTP) timed(in wire.Instance) wire.Instance {
	unhealthy, gone := strconv.FormatInt((h.ttl/2).Milliseconds(), 10), strconv.FormatInt(h.ttl.Milliseconds(), 10)
	all := map[string]string{"preserved.heart.beat.timeout": unhealthy, "preserved.ip.delete.timeout": gone}
	maps.Copy(all, in.Metadata)
	in.Metadata = all
	return in
}

func (h overHTTP) deregister(ctx context.Context, of wire.Service, in wire.Instance) error {
	values := of.Form(in)
	values.Del("metadata")
	_, err := h.do(ctx, wire.Deregister, values)
	return err
}

// keep sends a beat. In v1 and v2 it says everything, so that nothing is missing where it registers.
func (h overHTTP) keep(ctx context.Context, of wire.Service, in wire.Instance) error {
	in = h.timed(in)
	values := of.BeatForm(in)
	if h.api == wire.V3 {
		values = of.Form(in)
		values.Set("heartBeat", "true")
	} else {
		beat, err := json.Marshal(map[string]any{
			"serviceName": of.Grouped(), "ip": in.IP, "port": in.Port, "cluster": in.Cluster, "weight": in.Weight, "metadata": in.Metadata, "scheduled": true,
		})
		if err != nil {
			return err
		}
		values.Set("beat", string(beat))
	}
	body, err := h.do(ctx, wire.Beat, values)
	if no, is := errors.AsType[*wire.Error](err); is && no.Code == wire.CodeNoInstance {
		return errGone
	}
	var answer struct {
		Code int `json:"code"`
	}
	if err == nil && h.api != wire.V3 {
		err = json.Unmarshal(body, &answer)
	}
	if err == nil && answer.Code == wire.CodeNotFound {
		return errGone
	}
	return err
}

func (h overHTTP) list(ctx context.Context, of wire.Service) (wire.ServiceInfo, error) {
	var info wire.ServiceInfo
	data, err := h.do(ctx, wire.List, url.Values{"namespaceId": {of.Namespace}, "groupName": {of.Group}, "serviceName": {h.called(of)}, "healthyOnly": {"false"}})
	switch {
	case err != nil:
	case h.api == wire.V3:
		info.Hosts, info.Unread, err = wire.ParseHosts(data)
	default:
		err = json.Unmarshal(data, &info)
	}
	return info, err
}

// called is a service's name in a list's parameters: v1 wants its group before it.
func (h overHTTP) called(of wire.Service) string {
	if h.api == wire.V1 {
		return of.Grouped()
	}
	return of.Name
}

// page is how many services are asked for at once.
const page = 500

func (h overHTTP) services(ctx context.Context, namespace, group string) ([]string, error) {
	if h.api == wire.V3 {
		return nil, errNoListing
	}
	return pages(func(n int) ([]string, int, error) {
		values := url.Values{"namespaceId": {namespace}, "groupName": {group}, "pageNo": {strconv.Itoa(n)}, "pageSize": {strconv.Itoa(page)}}
		path := "/v1/ns/service/list"
		if h.api == wire.V2 {
			path = "/v2/ns/service/list"
		}
		body, err := h.web.call(ctx, http.MethodGet, path, values)
		if err == nil && h.api == wire.V2 {
			body, err = unwrap(body)
		}
		var answer struct {
			Count    int      `json:"count"`
			Doms     []string `json:"doms"`     // v1
			Services []string `json:"services"` // v2
		}
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		return append(answer.Doms, answer.Services...), answer.Count, err
	})
}

// pages returns all that is on pages, from page 1 on, each of which says how many there are on all.
func pages(ask func(n int) ([]string, int, error)) ([]string, error) {
	var all []string
	for n := 1; ; n++ {
		some, count, err := ask(n)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if len(some) == 0 || len(all) >= count {
			return all, nil
		}
	}
}
