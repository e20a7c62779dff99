package fleet

import (
	"math"
	"slices"
	"strconv"

	"crossfade.dev/internal/ending"
)

// ReadTraffic reads a Traffic at the start of text as encoding/json writes one, and returns what follows it. ok is false where
// it stands there in any other way, though that may be right too: then encoding/json is to be asked, which takes five times
// as long. Reports of ten thousand endpoints come each second.
func ReadTraffic(text []byte) (t *Traffic, rest []byte, ok bool) {
	r := trafficReader{rest: text, names: map[string]string{}}
	t = new(Traffic)
	first := r.begin()
	if r.field("run", &first) {
		t.Run = r.text()
	}
	if r.field("span_ns", &first) {
		r.integer((*int64)(&t.Span))
	}
	if r.field("listeners", &first) {
		t.Listeners = list(&r, r.listener)
	}
	if r.field("services", &first) {
		t.Services = list(&r, r.service)
	}
	if r.field("endpoints", &first) {
		t.Endpoints = list(&r, r.endpoint)
	}
	r.must("}")
	return t, r.rest, !r.failed
}

// A trafficReader reads what encoding/json writes: no spaces, fields in the order of their struct, no escapes. Once
// something else has come it has failed, and what it returns means nothing.
type trafficReader struct {
	rest    []byte
	failed  bool
	names   map[string]string // of services: each is kept once
	buckets Buckets           // to collect in
	codes   []Code            // likewise
}

// begin reads the beginning of an object. It returns what the first call of field wants to know.
func (r *trafficReader) begin() (first bool) {
	r.must("{")
	return true
}

// comes says whether s comes next, and passes it if so.
func (r *trafficReader) comes(s string) bool {
	if len(r.rest) < len(s) || string(r.rest[:len(s)]) != s {
		return false
	}
	r.rest = r.rest[len(s):]
	return true
}

func (r *trafficReader) must(s string) {
	if !r.comes(s) {
		r.fail()
	}
}

// fail ends the reading.
func (r *trafficReader) fail() { r.failed, r.rest = true, nil }

// field says whether a field comes next, and passes its name if so.
func (r *trafficReader) field(name string, first *bool) bool {
	before := r.rest
	if (*first || r.comes(",")) && r.comes(`"`) && r.comes(name) && r.comes(`":`) {
		*first = false
		return true
	}
	r.rest = before
	return false
}

// raw reads a string, without its quotes.
func (r *trafficReader) raw() []byte {
	r.must(`"`)
	for i, c := range r.rest {
		switch {
		case c == '"':
			s := r.rest[:i]
			r.rest = r.rest[i+1:]
			return s
		case c < ' ' || c == '\\' || c >= 0x80:
			r.fail()
			return nil
		}
	}
	r.fail()
	return nil
}

func (r *trafficReader) text() string { return string(r.raw()) }

// name is text for one that comes again and again.
func (r *trafficReader) name() string {
	raw := r.raw()
	name, known := r.names[string(raw)]
	if !known {
		name = string(raw)
		r.names[name] = name
	}
	return name
}

func (r *trafficReader) boolean() bool {
	if r.comes("true") {
		return true
	}
	r.must("false")
	return false
}

// digits reads at least one, and no zero before others.
func (r *trafficReader) digits() (n uint64) {
	i := 0
	for ; i < len(r.rest) && '0' <= r.rest[i] && r.rest[i] <= '9'; i++ {
		d := uint64(r.rest[i] - '0')
		if n > (math.MaxUint64-d)/10 {
			r.fail()
			return 0
		}
		n = 10*n + d
	}
	if i == 0 || i > 1 && r.rest[0] == '0' {
		r.fail()
		return 0
	}
	r.rest = r.rest[i:]
	return n
}

func (r *trafficReader) integer(to *int64) {
	negative := r.comes("-")
	n := r.digits()
	if n > math.MaxInt64 {
		r.fail()
	}
	if *to = int64(n); negative { //nolint:gosec // not greater than that
		*to = -*to
	}
}

// float reads a number that is not negative.
func (r *trafficReader) float() float64 {
	at := r.rest
	r.digits()
	if r.comes(".") {
		r.skipDigits()
	}
	if r.comes("e") {
		_ = r.comes("-") || r.comes("+")
		r.skipDigits()
	}
	v, err := strconv.ParseFloat(string(at[:len(at)-len(r.rest)]), 64)
	if err != nil {
		r.fail()
	}
	return v
}

// skipDigits passes over at least one.
func (r *trafficReader) skipDigits() {
	i := 0
	for i < len(r.rest) && '0' <= r.rest[i] && r.rest[i] <= '9' {
		i++
	}
	if i == 0 {
		r.fail()
		return
	}
	r.rest = r.rest[i:]
}

// list reads a list of what one reads.
func list[T any](r *trafficReader, one func(*T)) []T {
	r.must("[")
	if r.comes("]") {
		return []T{}
	}
	var all []T
	for !r.failed {
		all = append(all, *new(T))
		one(&all[len(all)-1])
		if r.comes("]") {
			break
		}
		r.must(",")
	}
	return all
}

func (r *trafficReader) listener(l *ListenerTraffic) {
	first := r.begin()
	if r.field("name", &first) {
		l.Name = r.name()
	}
	if r.field("mesh", &first) {
		l.Mesh = r.boolean()
	}
	if r.field("requests", &first) {
		l.Requests = r.digits()
	}
	if r.field("active", &first) {
		r.integer(&l.Active)
	}
	if r.field("connects", &first) {
		l.Connects = r.digits()
	}
	if r.field("rejected", &first) {
		l.Rejected = r.digits()
	}
	if r.field("ended", &first) {
		r.ended(&l.Ended)
	}
	if r.field("codes", &first) {
		l.Codes = r.statuses()
	}
	if r.field("calls", &first) {
		l.Calls = r.statuses()
	}
	if r.field("latency", &first) {
		l.Latency = r.latency()
	}
	r.must("}")
}

func (r *trafficReader) service(s *ServiceTraffic) {
	first := r.begin()
	if r.field("service", &first) {
		s.Service = r.name()
	}
	if r.field("subset", &first) {
		s.Subset = r.name()
	}
	if r.field("active", &first) {
		r.integer(&s.Active)
	}
	if r.field("retries", &first) {
		s.Retries = r.digits()
	}
	if r.field("ended", &first) {
		r.ended(&s.Ended)
	}
	if r.field("codes", &first) {
		s.Codes = r.statuses()
	}
	if r.field("latency", &first) {
		s.Latency = r.latency()
	}
	if r.field("callers", &first) {
		s.Callers = map[string]uint64{}
		r.each(func(name []byte, n uint64) bool {
			_, twice := s.Callers[string(name)]
			s.Callers[string(name)] = n
			return !twice
		})
	}
	r.must("}")
}

func (r *trafficReader) endpoint(e *EndpointTraffic) {
	first := r.begin()
	if r.field("service", &first) {
		e.Service = r.name()
	}
	if r.field("incarnation", &first) {
		e.Incarnation = r.text()
	}
	if r.field("requests", &first) {
		e.Requests = r.digits()
	}
	if r.field("failed", &first) {
		e.Failed = r.digits()
	}
	if r.field("active", &first) {
		r.integer(&e.Active)
	}
	if r.field("share", &first) {
		e.Share = r.float()
	}
	if r.field("due", &first) {
		e.Due = r.float()
	}
	if r.field("got", &first) {
		e.Got = r.digits()
	}
	if r.field("reason", &first) {
		e.Reason = r.name()
	}
	if r.field("ejected", &first) {
		e.Ejected = r.boolean()
	}
	if r.field("latency", &first) {
		e.Latency = r.latency()
	}
	r.must("}")
}

// each reads an object of counts. yield says whether one is right.
func (r *trafficReader) each(yield func(name []byte, n uint64) bool) {
	r.must("{")
	for first := true; !r.failed && !r.comes("}"); first = false {
		if !first {
			r.must(",")
		}
		name := r.raw()
		r.must(":")
		if n := r.digits(); !yield(name, n) {
			r.fail()
		}
	}
}

func (r *trafficReader) ended(s *ending.Sums) {
	var seen [ending.Kinds]bool
	r.each(func(name []byte, n uint64) bool {
		for kind := range s {
			if string(name) == ending.Kind(kind).String() { //nolint:gosec // there are twelve
				twice := seen[kind]
				s[kind], seen[kind] = n, true
				return !twice
			}
		}
		return false
	})
}

func (r *trafficReader) latency() Buckets {
	r.buckets = r.buckets[:0]
	r.must("[")
	for !r.failed && !r.comes("]") {
		if len(r.buckets) > 0 {
			r.must(",")
		}
		var b [2]int64
		r.must("[")
		r.integer(&b[0])
		r.must(",")
		r.integer(&b[1])
		r.must("]")
		r.buckets = append(r.buckets, b)
	}
	return slices.Clone(r.buckets)
}

func (r *trafficReader) statuses() []Code {
	r.codes = r.codes[:0]
	r.must("[")
	for !r.failed && !r.comes("]") {
		if len(r.codes) > 0 {
			r.must(",")
		}
		var status int64
		r.must(`{"status":`)
		r.integer(&status)
		r.must(`,"n":`)
		r.codes = append(r.codes, Code{Status: int(status), N: r.digits()})
		r.must("}")
	}
	return slices.Clone(r.codes)
}
