package control

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// Bounds of the live requests that are kept in memory for instances that start later.
const (
	recordedRequests = 200       // of a service, and of one instance
	recordedBytes    = 128 << 10 // of one instance
	recorders        = 8         // instances of a service: those that reported last, though they may have gone since
)

// A recording is what one instance saw.
type recording struct {
	incarnation string
	requests    []fleet.WarmupRequest
}

// record keeps what an agent recorded, in place of what it recorded before. Nothing is no news.
func (w *world) record(incarnation string, requests []fleet.WarmupRequest) {
	requests = recordable(requests)
	if len(requests) == 0 {
		return
	}
	there, its := map[string]bool{}, map[string]bool{}
	for i := range w.view.Services {
		s := &w.view.Services[i]
		there[key(s.Namespace, s.Host)] = true
		if slices.ContainsFunc(s.Endpoints, func(e fleet.Endpoint) bool { return e.Incarnation == incarnation }) {
			its[key(s.Namespace, s.Host)] = true
		}
	}
	for service := range w.recordings {
		if !there[service] {
			delete(w.recordings, service)
		}
	}
	next := make(map[string][]fleet.WarmupRequest, len(w.recordings)+1)
	for service := range its {
		list := slices.DeleteFunc(w.recordings[service], func(r recording) bool { return r.incarnation == incarnation })
		list = append(list, recording{incarnation, requests})
		w.recordings[service] = list[max(0, len(list)-recorders):]
	}
	for service, list := range w.recordings {
		if next[service] = w.recorded[service]; its[service] {
			next[service] = together(list)
		}
	}
	w.recorded = next
}

// recordable leaves what may be sent again to anybody: safe methods, without a body and without credentials.
func recordable(requests []fleet.WarmupRequest) []fleet.WarmupRequest {
	var out []fleet.WarmupRequest
	size := 0
	for i := range requests {
		r := requests[i]
		secret := slices.ContainsFunc(r.Headers, func(h fleet.Header) bool {
			return slices.Contains([]string{"authorization", "proxy-authorization", "cookie"}, strings.ToLower(h.Name))
		})
		spoken := r.Protocol == "http" || r.Protocol == "http2"
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !spoken || !safe || len(r.Body) > 0 || secret {
			continue
		}
		size += len(r.Path) + len(r.Host)
		for _, h := range r.Headers {
			size += len(h.Name) + len(h.Value)
		}
		if size > recordedBytes || len(out) == recordedRequests {
			break
		}
		r.Weight = max(1, r.Weight)
		out = append(out, r)
	}
	return out
}

// together is what several saw: each kind of request once, with the sum of its weights, the most frequent first.
func together(list []recording) []fleet.WarmupRequest {
	all := map[string]fleet.WarmupRequest{}
	for _, from := range list {
		for _, r := range from.requests {
			k := kindOf(&r)
			known, seen := all[k]
			if seen {
				known.Weight = uint32(min(uint64(known.Weight)+uint64(r.Weight), 1<<32-1))
				r = known
			}
			all[k] = r
		}
	}
	out := make([]fleet.WarmupRequest, 0, len(all))
	for _, r := range all {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b fleet.WarmupRequest) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), strings.Compare(kindOf(&a), kindOf(&b)))
	})
	return out[:min(len(out), recordedRequests)]
}

func kindOf(r *fleet.WarmupRequest) string {
	return fmt.Sprintf("%s %s %s %s %d", r.Protocol, r.Method, r.Host, r.Path, r.Port)
}

// withRecorded adds to an instance's warm-up requests those of others that its Lifecycle wants recorded.
func withRecorded(l fleet.Lifecycle, services []string, recorded map[string][]fleet.WarmupRequest) fleet.Lifecycle {
	if l.Requests == nil || l.Requests.Record == nil {
		return l
	}
	var found []recording
	for _, service := range services {
		if requests := recorded[service]; len(requests) > 0 {
			found = append(found, recording{service, requests})
		}
	}
	wanted := slices.DeleteFunc(together(found), func(r fleet.WarmupRequest) bool {
		return !slices.ContainsFunc(l.Requests.Record.Paths, func(prefix string) bool { return strings.HasPrefix(r.Path, prefix) })
	})
	requests := *l.Requests
	requests.Requests = slices.Concat(requests.Requests, wanted[:min(len(wanted), requests.Record.Keep)])
	l.Requests = &requests
	return l
}
