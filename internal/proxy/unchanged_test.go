package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/upstream"
)

// full returns a value of type t in which every field says something, and n decides what.
func full(t reflect.Type, n int64) reflect.Value {
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[netip.AddrPort]() {
		v.Set(reflect.ValueOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 80)))
		return v
	}
	switch kind := t.Kind(); {
	case v.CanInt():
		v.SetInt(n)
	case v.CanUint():
		v.SetUint(uint64(n))
	case v.CanFloat():
		v.SetFloat(float64(n))
	case kind == reflect.Bool:
		v.SetBool(n%2 == 1)
	case kind == reflect.String:
		v.SetString(strconv.FormatInt(n, 10))
	case kind == reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(full(t.Elem(), n))
	case kind == reflect.Slice:
		v.Set(reflect.Append(v, full(t.Elem(), n)))
	case kind == reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(full(t.Key(), n), full(t.Elem(), n))
	case kind == reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(full(t.Field(i).Type, n))
		}
	}
	return v
}

// aService is a service in which every field of everything says something; its only endpoint is old enough.
func aService() *fleet.Service {
	s := full(reflect.TypeFor[fleet.Service](), 1).Interface().(fleet.Service)
	s.Endpoints[0].Age = time.Hour
	return &s
}

// TestEveryFieldOfAServiceMakesADifference changes each field in turn: those of tomorrow too.
func TestEveryFieldOfAServiceMakesADifference(t *testing.T) {
	if !unchanged(aService(), aService()) {
		t.Fatal("two equal services differ")
	}
	for _, part := range []struct {
		name string
		of   func(*fleet.Service) any
	}{
		{"service", func(s *fleet.Service) any { return s }},
		{"pool", func(s *fleet.Service) any { return &s.Pools[0] }},
		{"policy", func(s *fleet.Service) any { return &s.Pools[0].Policy }},
		{"member", func(s *fleet.Service) any { return &s.Pools[0].Members[0] }},
		{"endpoint", func(s *fleet.Service) any { return &s.Endpoints[0] }},
		{"check", func(s *fleet.Service) any { return s.Endpoints[0].Check }},
	} {
		fields := reflect.TypeOf(part.of(aService())).Elem()
		for i := range fields.NumField() {
			old, now := aService(), aService()
			reflect.ValueOf(part.of(now)).Elem().Field(i).Set(full(fields.Field(i).Type, 2))
			name := part.name + "." + fields.Field(i).Name
			if got, want := unchanged(old, now), name == "endpoint.Age"; got != want {
				t.Errorf("%s: unchanged is %t, want %t", name, got, want)
			}
		}
	}
}

// Who is younger than a warm-up lasts may count as mature for now: that ends by age alone.
func TestAYoungEndpointMakesADifference(t *testing.T) {
	young := func() *fleet.Service {
		s := aService()
		s.Pools[0].Policy.Warmup.Window, s.Endpoints[0].Age = time.Minute, 59*time.Second
		return s
	}
	if unchanged(young(), young()) {
		t.Error("a service with a young endpoint is taken for settled")
	}
}

// TestCompileLeavesAloneWhatStands follows the services of a town through what may happen to one of them.
func TestCompileLeavesAloneWhatStands(t *testing.T) {
	var prev *State
	o := Options{}
	at := time.Now()
	compile := func(v fleet.View, overlay fleet.Overlay) (again []int) {
		t.Helper()
		at = at.Add(time.Second)
		next, err := Compile(prev, v, overlay, o, at)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range next.Services() {
			if prev == nil || prev.Services()[i] != s {
				again = append(again, i)
			}
			if got := next.pools[destinationKey{s.Name, ""}]; got != s.Pools[0] || next.Listeners()[0].pools[i][0] != got {
				t.Errorf("%s: routes lead to another pool", s.Name)
			}
		}
		prev = next
		return again
	}
	view := func(number uint64, change func([]fleet.Service)) fleet.View {
		v := town(4, 12, number)
		v.Taken = at
		for i := range v.Services {
			v.Services[i].Pools[0].Policy.Warmup.Window = time.Minute
			for j := range v.Services[i].Endpoints {
				v.Services[i].Endpoints[j].Age += time.Duration(number) * time.Second
			}
		}
		if change != nil {
			change(v.Services)
		}
		return v
	}
	warms := func(s []fleet.Service) {
		s[1].Pools[0].Members[0].Base, s[1].Endpoints[0].Age, s[1].Endpoints[0].Stage = 0, 0, fleet.Warming
	}
	ejected := fleet.Overlay{"i-6": {Ejected: true}} // the first of the third service
	last := view(5, warms)
	for _, step := range []struct {
		what    string
		view    fleet.View
		overlay fleet.Overlay
		again   []int
	}{
		{"the first time", view(1, nil), nil, []int{0, 1, 2, 3}},
		{"only older", view(2, nil), nil, nil},
		{"one weight", view(3, func(s []fleet.Service) { s[2].Endpoints[1].Weight = 2 }), nil, []int{2}},
		{"and back", view(4, nil), nil, []int{2}},
		{"one comes", last, nil, []int{1}},
		{"a tick", last, nil, []int{1}},
		{"one is ejected", last, ejected, []int{1, 2}},
		{"still", last, ejected, []int{1}},
		{"and back", last, nil, []int{1, 2}},
		{"whose warm-up ends", view(6, nil), nil, []int{1}},
		{"nothing", view(7, nil), nil, nil},
	} {
		if got := compile(step.view, step.overlay); fmt.Sprint(got) != fmt.Sprint(step.again) {
			t.Errorf("%s: services %v were compiled again, want %v", step.what, got, step.again)
		}
	}
	if n := prev.View().Number; n != 7 {
		t.Errorf("the state is of snapshot %d, want 7", n)
	}
}

// A service that goes, and endpoints that change places, lose and keep their connections as they should.
func TestConnectionsFollowTheirEndpoints(t *testing.T) {
	o := Options{Upstream: upstream.Options{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = theirs.Close() })
		return ours, nil
	}}}
	p := New(o)
	compile := func(v fleet.View) *State {
		t.Helper()
		next, err := Compile(p.State(), v, nil, o, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		p.Swap(next)
		return next
	}
	conns, open := map[string]*upstream.Pool{}, map[string]*evidence.Traffic{}
	for _, s := range compile(town(2, 6, 1)).Services() {
		for _, e := range s.Endpoints {
			conns[e.Incarnation], open[e.Incarnation] = e.conns, e.Traffic
			c, err := e.conns.Get(t.Context(), time.Now(), time.Now().Add(time.Second), false)
			if err != nil {
				t.Fatal(err)
			}
			e.conns.Put(c, time.Now())
		}
	}
	v := town(2, 6, 2)
	e := v.Services[0].Endpoints
	e[0], e[2] = e[2], e[0]
	e[1].Incarnation = "new"
	v.Services = v.Services[:1]
	second := compile(v)
	for i, want := range []*upstream.Pool{conns["i-2"], nil, conns["i-0"]} {
		got := second.Services()[0].Endpoints[i].conns
		if want != nil && got != want || want == nil && (got == conns["i-1"] || got == nil) {
			t.Errorf("endpoint %d has other connections than before", i)
		}
	}
	for incarnation, want := range map[string]int64{"i-0": 1, "i-1": 0, "i-2": 1, "i-3": 0, "i-4": 0, "i-5": 0} {
		if got := open[incarnation].ActiveConnects.Load(); got != want {
			t.Errorf("%s: %d idle connections, want %d", incarnation, got, want)
		}
	}
}
