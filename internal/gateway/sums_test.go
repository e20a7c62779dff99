package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/meter"
	"crossfade.dev/internal/proxy"
)

// vast is a view of services with each so many endpoints.
func vast(services, each int) fleet.View {
	s := &fleet.Snapshot{Number: 1, Listeners: []fleet.Listener{{Name: "http"}}}
	for i := range services {
		service := fleet.Service{Name: fmt.Sprintf("service-%03d:9080", i), Pools: []fleet.Pool{{}}}
		for j := range each {
			name := fmt.Sprintf("service-%03d-v1-%02d", i, j)
			service.Endpoints = append(service.Endpoints, fleet.Endpoint{
				Name: name, Incarnation: name + "-20261122t180512", Weight: 1, Stage: fleet.Serving, Age: time.Hour,
				Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 1, byte(i), byte(j)}), 9080),
			})
			service.Pools[0].Members = append(service.Pools[0].Members, fleet.Member{Endpoint: j})
		}
		s.Services = append(s.Services, service)
	}
	return fleet.View{Snapshot: s, Taken: time.Now()}
}

// busy counts some requests at every endpoint.
func busy(s *proxy.State, n int) {
	for _, service := range s.Services() {
		for i, e := range service.Endpoints {
			for k := range n {
				e.Traffic.Total.Inc()
				e.Traffic.Answered(200, time.Duration(1+(i+k)%7)*time.Millisecond)
				for _, p := range service.Pools {
					p.Requests.Total.Inc()
					p.Requests.Answered(200, time.Duration(1+k%7)*time.Millisecond)
					p.Requests.Ended(ending.Served)
				}
			}
		}
	}
}

// A scene is a data plane whose world changes while it counts, and a control that hears of it, or does not.
type scene struct {
	*rapid.T
	state   *proxy.State
	account *account
	there   map[string]bool // listeners, services, and endpoints as "service/endpoint"
	open    []func()        // ends a request

	requests, endpoints map[string]uint64 // that were ever counted, by listener or service, and by endpoint
	ends                map[string]ending.Sums
	took                map[string]map[int64]int64 // by service and endpoint: buckets that were ever counted

	heard fleet.Traffic // what control has made of the reports that it got
}

func (s *scene) compile() {
	s.Helper()
	view := vast(3, 2)
	view.Listeners = slices.DeleteFunc([]fleet.Listener{{Name: "http"}, {Name: "mesh", Mesh: true}}, func(l fleet.Listener) bool { return !s.there[l.Name] })
	view.Services = slices.DeleteFunc(view.Services, func(x fleet.Service) bool { return !s.there[x.Name] })
	for i := range view.Services {
		x := &view.Services[i]
		x.Endpoints = slices.DeleteFunc(x.Endpoints, func(e fleet.Endpoint) bool { return !s.there[x.Name+"/"+e.Incarnation] })
		x.Pools[0].Members = x.Pools[0].Members[:len(x.Endpoints)]
	}
	next, err := proxy.Compile(s.state, view, nil, proxy.Options{}, time.Now())
	if err != nil {
		s.Fatal(err)
	}
	s.state = next
}

// places are what there can be.
func places() (list []string) {
	list = []string{"http", "mesh"}
	for _, x := range vast(3, 2).Services {
		list = append(list, x.Name)
		for _, e := range x.Endpoints {
			list = append(list, x.Name+"/"+e.Incarnation)
		}
	}
	return list
}

// begin begins a request at everything that there is.
func (s *scene) begin(took time.Duration, kind ending.Kind) {
	for _, l := range s.state.Listeners() {
		l.Traffic.Requests.Total.Inc()
		s.requests[l.Name]++
		s.open = append(s.open, func() { s.end(l.Name, &l.Traffic.Requests, took, kind) })
	}
	for _, x := range s.state.Services() {
		p := x.Pools[0]
		p.Requests.Total.Inc()
		s.requests[x.Name]++
		s.open = append(s.open, func() { s.end(x.Name, p.Requests, took, kind) })
		for _, e := range x.Endpoints {
			e.Traffic.Total.Inc()
			e.Traffic.Active.Add(1)
			key := x.Name + "/" + e.Incarnation
			s.endpoints[key]++
			s.open = append(s.open, func() {
				s.answer(key, e.Traffic, took)
				e.Traffic.Active.Add(-1)
			})
		}
	}
}

func (s *scene) answer(key string, t *evidence.Traffic, took time.Duration) {
	t.Answered(200, took)
	h := new(meter.Histogram)
	h.Observe(took)
	h.Each(func(index int, _ uint64) {
		if s.took[key] == nil {
			s.took[key] = map[int64]int64{}
		}
		s.took[key][int64(index)]++
	})
}

func (s *scene) end(key string, t *evidence.Traffic, took time.Duration, kind ending.Kind) {
	s.answer(key, t, took)
	t.Ended(kind)
	sums := s.ends[key]
	sums[kind]++
	s.ends[key] = sums
}

// report makes one, which control may get, and whose answer may be lost.
func (s *scene) report(all, arrives, answered bool) {
	s.Helper()
	t := s.account.traffic(s.state, all, time.Now())
	text, err := json.Marshal(t)
	if err != nil {
		s.Fatal(err)
	}
	var read fleet.Traffic
	if err := json.Unmarshal(text, &read); err != nil {
		s.Fatal(err)
	}
	if arrives {
		s.hear(&read)
	}
	s.account.told(arrives && answered)
}

// hear is control: newest rows are right, and so are newest buckets; nothing falls.
func (s *scene) hear(t *fleet.Traffic) {
	s.Helper()
	for _, row := range t.Listeners {
		old := rowOf(&s.heard.Listeners, func(r *fleet.ListenerTraffic) bool { return r.Name == row.Name })
		s.rises("requests of "+row.Name, old.Requests, row.Requests)
		s.rises("ended of "+row.Name, old.Ended.Ended(), row.Ended.Ended())
		if row.Requests != uint64(row.Active)+row.Ended.Ended() {
			s.Errorf("%s: %d requests, %d open, %v ended", row.Name, row.Requests, row.Active, row.Ended)
		}
		row.Latency = overlay(old.Latency, row.Latency)
		*old = row
	}
	for _, row := range t.Services {
		old := rowOf(&s.heard.Services, func(r *fleet.ServiceTraffic) bool { return r.Service == row.Service })
		s.rises("ended of "+row.Service, old.Ended.Ended(), row.Ended.Ended())
		row.Latency = overlay(old.Latency, row.Latency)
		*old = row
	}
	for _, row := range t.Endpoints {
		old := rowOf(&s.heard.Endpoints, func(r *fleet.EndpointTraffic) bool {
			return r.Service == row.Service && r.Incarnation == row.Incarnation
		})
		s.rises("sent to "+row.Incarnation, old.Requests, row.Requests)
		row.Latency = overlay(old.Latency, row.Latency)
		*old = row
	}
}

func (s *scene) rises(what string, before, after uint64) {
	s.Helper()
	if after < before {
		s.Errorf("%s: %d after %d", what, after, before)
	}
}

func rowOf[R any](rows *[]R, is func(*R) bool) *R {
	if i := slices.IndexFunc(*rows, func(r R) bool { return is(&r) }); i >= 0 {
		return &(*rows)[i]
	}
	*rows = append(*rows, *new(R))
	return &(*rows)[len(*rows)-1]
}

func overlay(old, changed fleet.Buckets) fleet.Buckets {
	by := map[int64]int64{}
	for _, b := range slices.Concat(old, changed) {
		by[b[0]] = b[1]
	}
	return sorted(by)
}

func sorted(by map[int64]int64) (list fleet.Buckets) {
	for _, i := range slices.Sorted(maps.Keys(by)) {
		list = append(list, [2]int64{i, by[i]})
	}
	return list
}

// Whatever comes and goes, is reset, gets lost on the way or was forgotten by control: no sum falls, and the first report that
// arrives after it says everything that was ever counted.
func TestSumsNeverFallAndNothingIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &scene{
			T: t, account: newAccount("run", time.Now()), there: map[string]bool{}, requests: map[string]uint64{}, endpoints: map[string]uint64{},
			ends: map[string]ending.Sums{}, took: map[string]map[int64]int64{},
		}
		for _, place := range places() {
			s.there[place] = true
		}
		s.compile()
		t.Repeat(map[string]func(*rapid.T){
			"request": func(t *rapid.T) {
				s.begin(time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "took")), ending.Kind(rapid.IntRange(0, ending.Kinds-1).Draw(t, "kind")))
			},
			"end": func(t *rapid.T) {
				for n := rapid.IntRange(0, len(s.open)).Draw(t, "how many"); n > 0; n-- {
					s.open[0]()
					s.open = s.open[1:]
				}
			},
			"change": func(t *rapid.T) {
				place := rapid.SampledFrom(places()).Draw(t, "place")
				s.there[place] = !s.there[place]
				s.account.look(s.state, time.Now()) // it was seen before it went: looked at after each change and each second
				s.compile()
			},
			"reset": func(*rapid.T) {
				for _, l := range s.state.Listeners() {
					l.Traffic.Reset()
				}
				for _, x := range s.state.Services() {
					x.Pools[0].Requests.Reset()
					for _, e := range x.Endpoints {
						e.Traffic.Reset()
					}
				}
			},
			"report": func(t *rapid.T) { s.report(false, rapid.Bool().Draw(t, "arrives"), rapid.Bool().Draw(t, "answered")) },
			"restart of control": func(*rapid.T) {
				s.heard = fleet.Traffic{}
				s.report(true, true, true)
			},
		})
		for _, end := range s.open {
			end()
		}
		s.report(false, true, true)
		s.wantAll()
		if again := s.account.traffic(s.state, false, time.Now()); len(again.Listeners)+len(again.Services)+len(again.Endpoints) > 0 {
			t.Errorf("got %v once more, though nothing has changed", again)
		}
	})
}

// wantAll checks that control knows all that was ever counted.
func (s *scene) wantAll() {
	s.Helper()
	latency := map[string]fleet.Buckets{}
	ends, requests, endpoints := map[string]ending.Sums{}, map[string]uint64{}, map[string]uint64{}
	for _, row := range s.heard.Listeners {
		ends[row.Name], requests[row.Name], latency[row.Name] = row.Ended, row.Requests, row.Latency
	}
	for _, row := range s.heard.Services {
		ends[row.Service], requests[row.Service], latency[row.Service] = row.Ended, row.Ended.Ended()+uint64(row.Active), row.Latency
	}
	for _, row := range s.heard.Endpoints {
		key := row.Service + "/" + row.Incarnation
		endpoints[key], latency[key] = row.Requests, row.Latency
	}
	took := map[string]fleet.Buckets{}
	for key, by := range s.took {
		took[key] = sorted(by)
	}
	maps.DeleteFunc(ends, func(_ string, sums ending.Sums) bool { return sums.Ended() == 0 })
	maps.DeleteFunc(requests, func(_ string, n uint64) bool { return n == 0 })
	maps.DeleteFunc(endpoints, func(_ string, n uint64) bool { return n == 0 })
	maps.DeleteFunc(latency, func(_ string, b fleet.Buckets) bool { return len(b) == 0 })
	for what, diff := range map[string]string{
		"ends": cmp.Diff(s.ends, ends), "requests": cmp.Diff(s.requests, requests),
		"sent to endpoints": cmp.Diff(s.endpoints, endpoints), "latencies": cmp.Diff(took, latency),
	} {
		if diff != "" {
			s.Errorf("%s (-counted +heard):\n%s", what, diff)
		}
	}
}

// An endpoint that comes and goes all day takes no more memory, and nothing of what it was sent is forgotten.
func TestAnEndpointMayComeAndGoAllDay(t *testing.T) {
	with, without := vast(1, 1), vast(1, 1)
	without.Services[0].Endpoints, without.Services[0].Pools[0].Members = nil, nil
	a := newAccount("run", time.Now())
	var state *proxy.State
	see := func(view fleet.View) {
		t.Helper()
		next, err := proxy.Compile(state, view, nil, proxy.Options{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		state = next
		a.look(state, time.Now())
	}
	const times = 50
	var ends []func()
	for i := range times {
		see(with)
		e := state.Services()[0].Endpoints[0]
		e.Traffic.Total.Add(2)
		e.Traffic.Answered(503, time.Millisecond)
		if i%10 == 0 { // one that takes long
			e.Traffic.Active.Add(1)
			ends = append(ends, func() {
				e.Traffic.Cut.Inc()
				e.Traffic.Active.Add(-1)
			})
			a.traffic(state, true, time.Now())
		}
		see(without)
	}
	see(with)
	key := endpointKey{with.Services[0].Name, with.Services[0].Endpoints[0].Incarnation}
	if n := len(a.endpoints[key].gone); n > len(ends)+1 {
		t.Errorf("%d are kept of which nothing more can come, want those with something open, %d, and the last", n, len(ends))
	}
	for _, end := range ends {
		end()
	}
	got := a.traffic(state, true, time.Now()).Endpoints[0]
	var took int64
	for _, b := range got.Latency {
		took += b[1]
	}
	if want := uint64(times + len(ends)); got.Requests != 2*times || got.Failed != want || got.Active != 0 || took != times {
		t.Errorf("got %d sent, %d failed, %d open, %d answers; want %d, %d, 0, %d", got.Requests, got.Failed, got.Active, took, 2*times, want, times)
	}
}

// What reading 10,000 endpoints costs, all of which have had some requests since; and what writing that down, and reading it,
// costs. Once a second, 30 ms are 3 % of a core.
func BenchmarkTraffic(b *testing.B) {
	state, err := proxy.Compile(nil, vast(500, 20), nil, proxy.Options{}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	a := newAccount("run", time.Now())
	var text []byte
	t := &fleet.Traffic{}
	measure := func(name string, before, do func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var spent time.Duration // of processors: what else runs on the machine does not count
			for b.Loop() {
				b.StopTimer()
				before()
				b.StartTimer()
				began := processor(b)
				do()
				spent += processor(b) - began
			}
			b.ReportMetric(float64(spent.Microseconds())/1e3/float64(b.N), "cpu-ms/op")
		})
	}
	none := func() {}
	read := func() {
		t = a.traffic(state, false, time.Now())
		a.told(true)
	}
	measure("read", func() { busy(state, 3) }, read)
	measure("idle", none, read)
	busy(state, 3)
	read()
	measure("write", none, func() {
		if text, err = json.Marshal(t); err != nil {
			b.Fatal(err)
		}
	})
	measure("parse", none, func() {
		if _, _, ok := fleet.ReadTraffic(text); !ok {
			b.Fatal("it is not read in the short way")
		}
	})
	b.Logf("%d B a report", len(text))
}

// processor is what this process has had of processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
