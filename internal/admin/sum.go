package admin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http2"
	"crossfade.dev/internal/warmup"
)

// A Sum is what one data plane has counted and knows, or several of them together: the answer of /api/v1/sum. Several
// that share their sockets are one gateway to people, and their sum is what its admin API shows; see [Sum.World].
type Sum struct {
	Of       int           `json:"of"`       // data planes that run
	Snapshot uint64        `json:"snapshot"` // the newest that all of them have come to; 0 where none has any
	Overlay  fleet.Overlay `json:"overlay,omitempty"`
	Ejecting Ejecting      `json:"ejecting,omitempty"`

	Pools     map[string]*PoolSum             `json:"pools,omitempty"`     // by service and subset, as poolKey writes them
	Endpoints map[string]EndpointSums         `json:"endpoints,omitempty"` // by service
	Listeners map[string]*evidence.Downstream `json:"listeners,omitempty"`
	Streams   *http2.Stats                    `json:"streams,omitempty"`

	Drain  *drain.Report `json:"drain,omitempty"`
	Conns  int           `json:"conns"`
	Leaves *Leaves       `json:"leaves,omitempty"` // of data planes that run no more
}

// Ejecting is how many data planes leave an incarnation out.
type Ejecting map[string]int

// EndpointSums are what endpoints were counted, by incarnation; absent is nothing.
type EndpointSums map[string]*evidence.Counts

// A PoolSum is one pool of a service.
type PoolSum struct {
	Service  string               `json:"service"`
	Traffic  evidence.Counts      `json:"traffic"`
	Requests evidence.Counts      `json:"requests"`
	Shares   map[string]*ShareSum `json:"shares,omitempty"` // by incarnation
	Groups   []warmup.Group       `json:"groups,omitempty"`
}

func poolKey(service, subset string) string { return service + "|" + subset }

// A ShareSum is what an endpoint gets of its pool. Numbers but Expected and Actual are those of Of data planes added up.
type ShareSum struct {
	balancer.Share // its Endpoint is nil

	Of int `json:"of"`
}

// SumOf is what one data plane counts and knows.
func SumOf(w World) *Sum {
	w = w.normal()
	s := &Sum{
		Of: 1, Snapshot: w.View.Number, Overlay: w.Overlay, Ejecting: Ejecting{},
		Pools: map[string]*PoolSum{}, Endpoints: map[string]EndpointSums{}, Listeners: w.Listeners, Streams: w.Streams,
		Drain: w.Drain, Conns: w.Conns, Leaves: w.Leaves,
	}
	for incarnation, mark := range w.Overlay {
		if mark.Ejected {
			s.Ejecting[incarnation] = 1
		}
	}
	for _, p := range w.Pools {
		sum := &PoolSum{Service: p.Service.Name, Traffic: p.Traffic.Counts(), Requests: p.Requests.Counts(), Groups: p.Groups, Shares: map[string]*ShareSum{}}
		for _, share := range p.Shares {
			if share.Endpoint != nil {
				incarnation := share.Endpoint.Incarnation
				share.Endpoint = nil
				sum.Shares[incarnation] = &ShareSum{Share: share, Of: 1}
			}
		}
		s.Pools[poolKey(p.Service.Name, p.Pool.Subset)] = sum
		if s.Endpoints[p.Service.Name] == nil {
			s.Endpoints[p.Service.Name] = endpointSums(p.Endpoints)
		}
	}
	return s
}

// endpointSums are the counts of those in a book that were ever used.
func endpointSums(book evidence.Book) EndpointSums {
	sums := EndpointSums{}
	for incarnation, t := range book {
		if c := t.Counts(); c.Total+c.Connects+c.ConnectFail > 0 || c.Active != 0 || c.ActiveConnects != 0 || len(c.Codes) > 0 {
			sums[incarnation] = &c
		}
	}
	return sums
}

// Add adds what others counted, and leaves other as it was.
func (s *Sum) Add(other *Sum) {
	if s.Snapshot == 0 || other.Snapshot != 0 && other.Snapshot < s.Snapshot {
		s.Snapshot = other.Snapshot
	}
	s.Of += other.Of
	s.addOverlay(other)
	s.addLeave(other)
	for key, from := range other.Pools {
		into := made(&s.Pools, key)
		into.Service = from.Service
		into.add(from)
	}
	for service, from := range other.Endpoints {
		if s.Endpoints[service] == nil {
			s.Endpoints = put(s.Endpoints, service, EndpointSums{})
		}
		into := map[string]*evidence.Counts(s.Endpoints[service])
		for incarnation, counts := range from {
			made(&into, incarnation).Merge(counts)
		}
	}
	for name, from := range other.Listeners {
		made(&s.Listeners, name).Add(from)
	}
	if other.Streams != nil {
		if s.Streams == nil {
			s.Streams = new(http2.Stats)
		}
		s.Streams.Add(other.Streams)
	}
}

func put[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// made returns what stands in a map under key, and puts it there first if it has to.
func made[V any](m *map[string]*V, key string) *V {
	if (*m)[key] == nil {
		*m = put(*m, key, new(V))
	}
	return (*m)[key]
}

// addOverlay notes whom any of the data planes leaves out, and how far it had come where that was least.
func (s *Sum) addOverlay(other *Sum) {
	for incarnation, theirs := range other.Overlay {
		ours, known := s.Overlay[incarnation]
		if !known {
			s.Overlay = put(s.Overlay, incarnation, theirs)
			continue
		}
		ours.Ejected = ours.Ejected || theirs.Ejected
		ours.Reason = cmp.Or(ours.Reason, theirs.Reason)
		ours.Progress = min(ours.Progress, theirs.Progress)
		if theirs.Returned.After(ours.Returned) {
			ours.Returned = theirs.Returned
		}
		s.Overlay[incarnation] = ours
	}
	for incarnation, n := range other.Ejecting {
		s.Ejecting = put(s.Ejecting, incarnation, s.Ejecting[incarnation]+n)
	}
}

func (p *PoolSum) add(from *PoolSum) {
	p.Traffic.Merge(&from.Traffic)
	p.Requests.Merge(&from.Requests)
	if len(p.Groups) == 0 {
		p.Groups = from.Groups
	}
	for incarnation, share := range from.Shares {
		made(&p.Shares, incarnation).add(share)
	}
}

func (s *ShareSum) add(from *ShareSum) {
	s.Of += from.Of
	s.Expected += from.Expected
	s.Actual += from.Actual
	s.Progress += from.Progress
	s.Curve += from.Curve
	s.Share.Share += from.Share.Share
	s.Weight += from.Weight
	s.Effective += from.Effective
	s.Part += from.Part
	s.Fraction += from.Fraction
	s.Age = max(s.Age, from.Age)
	s.Level = cmp.Or(s.Level, from.Level)
	s.Reason = cmp.Or(s.Reason, from.Reason)
}

// Left returns what goes on counting of data planes that run no more: what they have done, not what was open.
func (s *Sum) Left() *Sum {
	left := new(Sum)
	left.Add(s)
	left.buryLeave()
	left.Of, left.Snapshot, left.Overlay, left.Ejecting, left.Conns = 0, 0, nil, nil, 0
	for _, p := range left.Pools {
		p.Groups = nil
		closed(&p.Traffic)
		for incarnation, share := range p.Shares {
			p.Shares[incarnation] = &ShareSum{Share: balancer.Share{Expected: share.Expected, Actual: share.Actual}}
		}
	}
	for _, sums := range left.Endpoints {
		for _, counts := range sums {
			closed(counts)
		}
	}
	for _, d := range left.Listeners {
		for _, g := range []interface {
			Add(n int64) int64
			Load() int64
		}{&d.ActiveConnects, &d.Requests.Active, &d.Requests.ActiveConnects} {
			g.Add(-g.Load())
		}
	}
	return left
}

func closed(c *evidence.Counts) { c.Active, c.ActiveConnects = 0, 0 }

// Reset sets everything that was counted to zero; what is open stays counted.
func (s *Sum) Reset() {
	for _, p := range s.Pools {
		zero(&p.Traffic)
		zero(&p.Requests)
	}
	for _, sums := range s.Endpoints {
		for _, counts := range sums {
			zero(counts)
		}
	}
	for _, d := range s.Listeners {
		d.Reset()
	}
	if s.Streams != nil {
		s.Streams.Reset()
	}
	if s.Leaves != nil {
		s.Leaves = newLeaves()
	}
}

func zero(c *evidence.Counts) {
	t := new(evidence.Traffic)
	t.Add(c)
	t.Reset()
	*c = t.Counts()
}

// Keep forgets the services and endpoints that a snapshot does not have.
func (s *Sum) Keep(v *fleet.Snapshot) {
	exist := map[string]map[string]bool{}
	for i := range v.Services {
		endpoints := map[string]bool{}
		for j := range v.Services[i].Endpoints {
			endpoints[v.Services[i].Endpoints[j].Incarnation] = true
		}
		exist[v.Services[i].Name] = endpoints
	}
	maps.DeleteFunc(s.Pools, func(_ string, p *PoolSum) bool { return exist[p.Service] == nil })
	for _, p := range s.Pools {
		maps.DeleteFunc(p.Shares, func(incarnation string, _ *ShareSum) bool { return !exist[p.Service][incarnation] })
	}
	maps.DeleteFunc(s.Endpoints, func(service string, _ EndpointSums) bool { return exist[service] == nil })
	for service, sums := range s.Endpoints {
		maps.DeleteFunc(sums, func(incarnation string, _ *evidence.Counts) bool { return !exist[service][incarnation] })
	}
}

// World is what the data planes show together, by the view that they go by.
func (s *Sum) World(v fleet.View) World {
	w := World{
		View: v, Overlay: s.overlay(), Listeners: map[string]*evidence.Downstream{}, Streams: new(http2.Stats),
		Drain: s.Drain, Conns: s.Conns, Leaves: s.Leaves,
	}
	w = w.normal()
	books := map[*fleet.Service]evidence.Book{}
	for i := range w.Pools {
		p := &w.Pools[i]
		if books[p.Service] == nil {
			books[p.Service] = s.book(p.Service)
		}
		p.Endpoints, p.Traffic, p.Requests = books[p.Service], new(evidence.Traffic), new(evidence.Traffic)
		if sum := s.Pools[poolKey(p.Service.Name, p.Pool.Subset)]; sum != nil {
			p.Traffic.Add(&sum.Traffic)
			p.Requests.Add(&sum.Requests)
			p.Groups, p.Shares = sum.Groups, sum.shares(p.Service)
		}
	}
	for i := range v.Listeners {
		name := v.Listeners[i].Name
		w.Listeners[name] = new(evidence.Downstream)
		if d := s.Listeners[name]; d != nil {
			w.Listeners[name].Add(d)
		}
	}
	if s.Streams != nil {
		w.Streams.Add(s.Streams)
	}
	return w
}

// overlay is who is left out, and by how many where not one data plane is all there are.
func (s *Sum) overlay() fleet.Overlay {
	overlay := maps.Clone(s.Overlay)
	for incarnation, mark := range overlay {
		if mark.Ejected && s.Of > 1 {
			mark.Reason = fmt.Sprintf("%s (%d of %d replicas leave it out)", mark.Reason, s.Ejecting[incarnation], s.Of)
			overlay[incarnation] = mark
		}
	}
	return overlay
}

// book is what a service's endpoints were counted.
func (s *Sum) book(service *fleet.Service) evidence.Book {
	book := evidence.Book{}
	for i := range service.Endpoints {
		t, incarnation := new(evidence.Traffic), service.Endpoints[i].Incarnation
		if counts := s.Endpoints[service.Name][incarnation]; counts != nil {
			t.Add(counts)
		}
		book[incarnation] = t
	}
	return book
}

// shares is what a pool's endpoints get, on average over the data planes.
func (p *PoolSum) shares(service *fleet.Service) []balancer.Share {
	endpoints := make(map[string]*fleet.Endpoint, len(service.Endpoints))
	for i := range service.Endpoints {
		endpoints[service.Endpoints[i].Incarnation] = &service.Endpoints[i]
	}
	var list []balancer.Share
	for incarnation, sum := range p.Shares {
		share := sum.Share
		share.Endpoint = endpoints[incarnation]
		if share.Endpoint == nil || sum.Of == 0 {
			continue
		}
		for _, f := range []*float64{
			&share.Progress, &share.Curve, &share.Share, &share.Weight, &share.Effective, &share.Part, &share.Fraction,
		} {
			*f /= float64(sum.Of)
		}
		list = append(list, share)
	}
	return list
}

// sum answers with what is counted: now, or with ?last=1 when the program has served its last request.
func (a *api) sum(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query(), "last"); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if r.URL.Query().Get("last") != "" {
		control := http.NewResponseController(w)
		for _, err := range []error{control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})} {
			if err != nil && !errors.Is(err, http.ErrNotSupported) {
				return
			}
		}
		<-r.Context().Done() // the program ends its admin API last, or the client has left
	}
	w.Header().Set("Content-Type", "application/json")
	_ = newEncoder(w).Encode(SumOf(a.world())) // the client left: there is nobody to tell
}
