package warmer

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// Bounds of what is recorded. A request beyond them is not.
const (
	mostKept    = 1000
	mostTarget  = 1024 // bytes of path and query
	mostSegment = 40   // bytes of one part of a path: a longer one may be a secret. UUIDs have 36
	mostName    = 64   // bytes of a query's name
	mostValue   = 256  // bytes of a field, or of the authority
)

// plainNames are all the fields that are kept: they say which form of an answer is wanted, and nothing about who wants
// it. A list of what to drop would have to know every way of carrying a credential.
var plainNames = []string{"accept", "accept-encoding", "accept-language"}

// A Recorder keeps a bounded sample of live requests, fit to be sent again to another instance: GET and HEAD, answered
// below 400, under the allowed paths. Of a request it keeps method, authority, path, the names of its query, and those
// few fields that only say which form of an answer is wanted. No body, no credential, no value of a query is kept; and
// not at all what has path parameters (";jsessionid=") or a part of its path that is long enough to be a secret.
//
// What is kept are the most frequent ones, by the Space-Saving algorithm (A. Metwally, D. Agrawal, A. El Abbadi, 2005):
// whatever makes up more than one in Keep of all requests is among them.
type Recorder struct {
	prefixes [][]byte
	keep     int

	mu    sync.Mutex // held by whoever finds it free: requests are a sample anyway
	kept  map[string]*entry
	key   []byte // made anew for each request
	query []byte
}

// An entry is a kind of request.
type entry struct {
	request     fleet.WarmupRequest
	count, over uint64 // how often it came, at most; by how much that may be too many
}

// NewRecorder returns a recorder that has seen nothing.
func NewRecorder(r fleet.Record) *Recorder {
	rec := &Recorder{keep: min(cmp.Or(max(r.Keep, 0), fleet.DefaultRecordKeep), mostKept), kept: map[string]*entry{}}
	for _, p := range r.Paths {
		rec.prefixes = append(rec.prefixes, []byte(p))
	}
	return rec
}

// Note is told of a request that was answered: protocol is "http" or "http2", port the instance's port that it came
// for, path has its query. It keeps none of the slices. It may be called by any goroutine; it waits for nobody, and
// allocates nothing for a kind that it knows. On nil it does nothing.
func (r *Recorder) Note(protocol string, port uint32, method, host, path []byte, fields []http1.Field, status int) {
	if r == nil || status < 200 || status >= 400 || !r.allowed(method, path) || len(host) > mostValue || !r.mu.TryLock() {
		return
	}
	defer r.mu.Unlock()
	path, query, _ := bytes.Cut(path, []byte("?"))
	r.query = appendNames(r.query[:0], query)
	key, ok := appendKey(r.key[:0], protocol, port, method, host, path, r.query, fields)
	r.key = key
	if !ok {
		return
	}
	e := r.kept[string(key)]
	if e == nil {
		e = r.place()
		e.request = fleet.WarmupRequest{
			Protocol: protocol, Port: port, Method: string(method), Host: string(host),
			Path: string(path) + string(r.query), Headers: plain(fields),
		}
		r.kept[string(key)] = e
	}
	e.count++
}

// allowed says whether a request may be kept as far as its method and its path go.
func (r *Recorder) allowed(method, path []byte) bool {
	if string(method) != http.MethodGet && string(method) != http.MethodHead || len(path) > mostTarget {
		return false
	}
	under := func(prefix []byte) bool { return bytes.HasPrefix(path, prefix) }
	if !slices.ContainsFunc(r.prefixes, under) {
		return false
	}
	path, _, _ = bytes.Cut(path, []byte("?"))
	long := 0
	for _, c := range path {
		long++
		switch {
		case c == '/':
			long = 0
		case c == ';' || c <= ' ' || c >= 0x7f || c == '#' || long > mostSegment:
			return false
		}
	}
	return len(path) > 0 && path[0] == '/'
}

// place returns an entry to fill: a new one, or that which came least often, whose count it inherits.
func (r *Recorder) place() *entry {
	if len(r.kept) < r.keep {
		return new(entry)
	}
	var leastKey string
	var least *entry
	for key, e := range r.kept {
		if least == nil || e.count < least.count {
			leastKey, least = key, e
		}
	}
	delete(r.kept, leastKey)
	return &entry{count: least.count, over: least.count}
}

// Kept returns what was recorded, most frequent first; weights are how often each was seen for certain. It is nil
// of a nil Recorder.
func (r *Recorder) Kept() []fleet.WarmupRequest {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []fleet.WarmupRequest
	for _, e := range r.kept {
		one := e.request
		one.Weight = uint32(min(e.count-e.over, 1<<31))
		if _, err := url.ParseRequestURI(one.Path); err == nil { // what could not be sent again
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b fleet.WarmupRequest) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method),
			cmp.Compare(a.Host, b.Host), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port),
			slices.CompareFunc(a.Headers, b.Headers, func(x, y fleet.Header) int {
				return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
			}))
	})
	return out
}

// appendNames appends a query without its values: "?page=&sort=". What has no value may be one itself, and goes too;
// so does a name of more than letters, digits and "_-.".
func appendNames(dst, query []byte) []byte {
	before := byte('?')
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		name, _, has := bytes.Cut(pair, []byte("="))
		if !has || len(name) == 0 || len(name) > mostName || bytes.ContainsFunc(name, notOfAName) {
			continue
		}
		dst = append(append(append(dst, before), name...), '=')
		before = '&'
	}
	return dst
}

func notOfAName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_-.", c)
}

// appendKey appends all that tells one kind of request from another. It is not ok for a warm-up request.
func appendKey(dst []byte, protocol string, port uint32, method, host, path, query []byte, fields []http1.Field) ([]byte, bool) {
	dst = append(append(dst, protocol...), byte(port>>24), byte(port>>16), byte(port>>8), byte(port))
	for _, part := range [...][]byte{method, host, path, query} {
		dst = append(append(dst, part...), 0)
	}
	for i := range fields {
		f := &fields[i]
		if bytes.EqualFold(f.Name, []byte(Marker)) {
			return dst, false
		}
		if n := plainField(f); n >= 0 {
			dst = append(append(append(dst, byte(n)), f.Value...), 0)
		}
	}
	return dst, true
}

// plainField returns the field's place among plainNames, or -1.
func plainField(f *http1.Field) int {
	if len(f.Value) > mostValue {
		return -1
	}
	return slices.IndexFunc(plainNames, func(name string) bool {
		return len(name) == len(f.Name) && strings.EqualFold(name, string(f.Name))
	})
}

func plain(fields []http1.Field) []fleet.Header {
	var out []fleet.Header
	for i := range fields {
		if n := plainField(&fields[i]); n >= 0 {
			out = append(out, fleet.Header{Name: plainNames[n], Value: string(fields[i].Value)})
		}
	}
	return out
}
