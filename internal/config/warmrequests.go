package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/internal/fleet"
)

// A warmupFile is a WarmupRequests: requests that a Lifecycle or an Agent names by the file that they stand in.
type warmupFile struct {
	meta.TypeMeta   `json:""`
	meta.ObjectMeta `json:"metadata"`
	Spec            struct {
		Requests []warmupRequest `json:"requests"`
	} `json:"spec"`
	Status any `json:"status"`
}

// What warm-up requests may be at most.
const (
	maxConcurrency   = 1000
	maxRequests      = 1000
	maxRequestCount  = 10_000_000
	maxRequestBody   = 1 << 20
	maxRequestWeight = 1000
)

// A requestFile is what the documents of one file hold of warm-up requests.
type requestFile struct {
	objects  []*object
	requests []fleet.WarmupRequest
	used     bool
}

// addRequestFiles takes in what others name.
func (b *builder) addRequestFiles(objects []*object) {
	for _, o := range objects {
		if f, ok := o.body.(*warmupFile); ok {
			b.addRequestFile(o, f)
		}
	}
}

// addRequestFile takes in a WarmupRequests.
func (b *builder) addRequestFile(o *object, f *warmupFile) {
	if b.requests[o.file] == nil {
		b.requests[o.file] = &requestFile{}
	}
	own := b.requests[o.file]
	own.objects = append(own.objects, o)
	own.requests = append(own.requests, b.requestList(o, "spec.requests", f.Spec.Requests)...)
	if len(f.Spec.Requests) == 0 {
		b.report(o, Missing, "spec.requests", "is missing; write the requests that warm an instance up")
	}
}

// checkRequestFiles names WarmupRequests that nobody uses.
func (b *builder) checkRequestFiles() {
	for _, f := range b.requests {
		if f.used {
			continue
		}
		for _, o := range f.objects {
			b.warn(o, "metadata.name", "no Lifecycle or Agent names this file in its warmupRequests: nobody is sent these")
		}
	}
}

// warmupRequests reads the requests that an instance is sent before it registers.
func (b *builder) warmupRequests(o *object, path string, s *warmupRequests) *fleet.WarmupRequests {
	out := &fleet.WarmupRequests{
		Requests:    b.requestList(o, path+".requests", s.Requests),
		Count:       b.count(o, path+".count", s.Count, maxRequestCount, 0),
		Time:        b.bounded(o, path+".time", cmp.Or(time.Duration(s.Time), fleet.DefaultRequestTime)),
		Concurrency: b.count(o, path+".concurrency", s.Concurrency, maxConcurrency, fleet.DefaultRequestConcurrency),
		Refuse:      s.OnFailure == refuse,
	}
	if s.Record != nil {
		out.Record = b.record(o, path+".record", s.Record)
	}
	switch {
	case s.File != "" && len(s.Requests) > 0:
		b.report(o, Conflict, path+".requests", "only one of file and requests may be set")
	case s.File != "":
		out.Requests = b.fromFile(o, path+".file", s.File)
	case len(s.Requests) == 0 && s.Record == nil:
		b.report(o, Missing, path, "holds no requests; write requests, file or record")
	}
	return out
}

// fromFile returns the requests of a file that stands beside an object's.
func (b *builder) fromFile(o *object, path, name string) []fleet.WarmupRequest {
	if b.stored {
		b.report(o, Unsupported, path, "nothing lies beside a document in a store; write requests")
		return nil
	}
	at := besides(o.file, name)
	f := b.requests[at]
	if f == nil {
		why := "holds no " + requestsKind
		if err := b.absent[at]; err != nil {
			why = "cannot be read: " + err.Error()
		}
		b.report(o, Reference, path, "%s %s; it is looked for beside this file", at, why)
		return nil
	}
	f.used = true
	return f.requests
}

func (b *builder) record(o *object, path string, s *recordSpec) *fleet.Record {
	if len(s.Paths) == 0 {
		b.report(o, Missing, path+".paths", `is missing; say which requests may be kept, as in ["/api/"]`)
	}
	for i, p := range s.Paths {
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?# ") {
			b.report(o, Invalid, fmt.Sprintf("%s.paths[%d]", path, i), `%q is no beginning of a path; write it as in "/api/"`, clip(p))
		}
	}
	return &fleet.Record{Paths: s.Paths, Keep: b.count(o, path+".keep", s.Keep, maxRequests, fleet.DefaultRecordKeep)}
}

func (b *builder) requestList(o *object, path string, list []warmupRequest) []fleet.WarmupRequest {
	var out []fleet.WarmupRequest
	if len(list) > maxRequests {
		b.report(o, Invalid, path, "has %d requests; there may be %d at most", len(list), maxRequests)
		return nil
	}
	for i := range list {
		out = append(out, b.warmupRequest(o, fmt.Sprintf("%s[%d]", path, i), &list[i]))
	}
	return out
}

// warmupRequest reads one kind of request.
func (b *builder) warmupRequest(o *object, path string, s *warmupRequest) fleet.WarmupRequest {
	r := fleet.WarmupRequest{
		Protocol: cmp.Or(string(s.Protocol), "http"), Method: s.Method, Path: s.Path, Host: s.Host, Body: s.BodyBase64,
		Headers: b.requestHeaders(o, path+".headers", s.Headers),
		Weight:  uint32(b.count(o, path+".weight", s.Weight, maxRequestWeight, 1)), //nolint:gosec // bounded
	}
	if s.Port != nil && b.checkPort(o, path+".port", int64(*s.Port)) {
		r.Port = uint32(*s.Port)
	}
	if s.Host != "" && strings.ContainsFunc(s.Host, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune("/?#@", c) }) {
		b.report(o, Invalid, path+".host", "%q is no host", clip(s.Host))
	}
	if s.Body != nil {
		r.Body = []byte(*s.Body)
		if s.BodyBase64 != nil {
			b.report(o, Conflict, path+".body", "only one of body and bodyBase64 may be set")
		}
	}
	if len(r.Body) > maxRequestBody {
		b.report(o, Invalid, path+".body", "has %d bytes; there may be %d at most", len(r.Body), maxRequestBody)
	}
	if s.Protocol == grpcRequest {
		b.checkCall(o, path, s)
		return r
	}
	r.Method = cmp.Or(s.Method, "GET")
	b.checkRequest(o, path, s)
	return r
}

// checkCall checks a request of gRPC.
func (b *builder) checkCall(o *object, path string, s *warmupRequest) {
	service, method, ok := strings.Cut(s.Method, "/")
	switch {
	case s.Method == "":
		b.report(o, Missing, path+".method", "is missing; name what to call, as in shop.Cart/Get")
	case !ok || service == "" || method == "" || strings.ContainsAny(s.Method, " ?#") || strings.Contains(method, "/"):
		b.report(o, Invalid, path+".method", "%q is no method of gRPC; write it as in shop.Cart/Get", clip(s.Method))
	}
	if s.Path != "" {
		b.report(o, Conflict, path+".path", "the path of a call is its method; remove it")
	}
	if s.Body != nil {
		b.report(o, Conflict, path+".body", "of a call is a message, not text; write bodyBase64")
	}
}

// checkRequest checks a request of HTTP.
func (b *builder) checkRequest(o *object, path string, s *warmupRequest) {
	switch method := cmp.Or(s.Method, "GET"); {
	case !isToken(strings.ToLower(method)) || strings.ToUpper(method) != method:
		b.report(o, Invalid, path+".method", "%q is no method; write it as in GET", clip(s.Method))
	case method == "CONNECT" || method == "TRACE":
		b.report(o, Unsupported, path+".method", "%s warms nothing up; remove it", method)
	}
	switch {
	case s.Path == "":
		b.report(o, Missing, path+".path", "is missing; write what to ask for, as in /")
	case s.Path[0] != '/' || strings.ContainsFunc(s.Path, func(c rune) bool { return c <= ' ' || c == '#' || c >= 0x7f }):
		b.report(o, Invalid, path+".path", "%q is no path of a request; write it as in /reviews/0?full=1, escaped as it is sent", clip(s.Path))
	}
}

// requestHeaders reads the headers of a request, sorted by name.
func (b *builder) requestHeaders(o *object, path string, from map[string]string) []fleet.Header {
	var list []fleet.Header
	for name, value := range from {
		at := path + "[" + name + "]"
		lower, ok := b.headerName(o, at, name)
		switch {
		case !ok:
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }):
			b.report(o, Invalid, at, "a value must not contain line breaks or control characters")
		default:
			list = append(list, fleet.Header{Name: lower, Value: strings.Trim(value, " \t")})
		}
	}
	slices.SortFunc(list, func(x, y fleet.Header) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value)) })
	return list
}
