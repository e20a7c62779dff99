package registry

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// sameAddress compares addresses, which have fields that nobody exports.
func sameAddress() cmp.Option {
	return cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
}

func TestAnnotations(t *testing.T) {
	in := full()
	in.Leaving = true
	got := Annotate(in)
	// The names are a promise to others who read them.
	want := map[string]string{
		"crossfade.incarnation": "reviews-v2-1-3", "crossfade.name": "reviews-v2-1", "crossfade.namespace": "prod", "crossfade.workload": "reviews-v2",
		"crossfade.revision": "7f", "crossfade.address": "127.1.2.3", "crossfade.ports.http": "9080", "crossfade.ports.grpc": "9081",
		"crossfade.labels.app": "reviews", "crossfade.region": "eu", "crossfade.zone": "a", "crossfade.sub_zone": "rack-1", "crossfade.weight": "3",
		"crossfade.leaving": "true", "crossfade.bound_ms": "30000", "crossfade.front": "true",
		"crossfade.warmup_window_ms": "120000", "crossfade.warmup_minimum": "0.1", "crossfade.warmup_aggression": "0.5",
		"crossfade.start_time_unix_ms": "1790000000123", "crossfade.registration_time_unix_ms": "1790000060456", "crossfade.age_at_registration_ms": "90000",
		"crossfade.check_path": "/health", "crossfade.check_port": "15021", "crossfade.check_interval_ms": "1000", "crossfade.check_timeout_ms": "500",
		"crossfade.check_initial_delay_ms": "2000", "crossfade.check_healthy": "1", "crossfade.check_unhealthy": "3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is usual is not said: there are registries with little room.
	got = Annotate(fleet.Instance{Incarnation: "a-1", Name: "a-1", Namespace: "default", Ready: true, Weight: 1})
	if diff := cmp.Diff(map[string]string{"crossfade.incarnation": "a-1", "crossfade.weight": "1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestAnyInstanceIsReadAsItWasAnnotated, whatever else stands in the metadata.
func TestAnyInstanceIsReadAsItWasAnnotated(t *testing.T) {
	text := rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`)
	millis := rapid.Map(rapid.Int64Range(0, 1<<40), func(n int64) time.Duration { return time.Duration(n) * time.Millisecond })
	moment := rapid.Map(rapid.Int64Range(0, 1<<42), fromUnixMS)
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.Instance{
			Name: text.Draw(t, "name"), Namespace: rapid.SampledFrom([]string{"", "default", "prod"}).Draw(t, "namespace"), Incarnation: text.Draw(t, "incarnation"),
			Workload: rapid.String().Draw(t, "workload"), Revision: rapid.String().Draw(t, "revision"),
			Ports:    rapid.MapOfN(rapid.String(), rapid.Uint32Range(1, 65535), 0, 3).Draw(t, "ports"),
			Labels:   rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "labels"),
			Locality: fleet.Locality{Region: rapid.String().Draw(t, "region"), Zone: rapid.String().Draw(t, "zone"), SubZone: rapid.String().Draw(t, "rack")},
			Weight:   rapid.Uint32Range(0, maxWeight).Draw(t, "weight"), Ready: rapid.Bool().Draw(t, "ready"),
			Leaving: rapid.Bool().Draw(t, "leaving"), Bound: millis.Draw(t, "bound"), Front: rapid.Bool().Draw(t, "front"),
		}
		if rapid.Bool().Draw(t, "is somewhere") {
			want.Address = netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
		}
		if rapid.Bool().Draw(t, "warms") {
			want.Warmup = &fleet.Warmup{Window: millis.Draw(t, "window"), Minimum: rapid.Float64Range(0, 1).Draw(t, "minimum"), Aggression: rapid.Float64Range(0, 100).Draw(t, "aggression")}
		}
		if rapid.Bool().Draw(t, "publishes") {
			want.Published = &fleet.Published{Started: moment.Draw(t, "started"), Registered: moment.Draw(t, "registered"), Age: millis.Draw(t, "age")}
		}
		if rapid.Bool().Draw(t, "is checked") {
			positive := rapid.Map(rapid.Int64Range(1, 1<<40), func(n int64) time.Duration { return time.Duration(n) * time.Millisecond })
			want.Check = &fleet.Check{
				Path: rapid.String().Draw(t, "path"), HTTPS: rapid.Bool().Draw(t, "https"), GRPC: rapid.Bool().Draw(t, "grpc"), Service: rapid.String().Draw(t, "service"),
				Port: rapid.Uint32Range(0, 65535).Draw(t, "port"), InitialDelay: millis.Draw(t, "delay"), Interval: positive.Draw(t, "interval"),
				Timeout: positive.Draw(t, "timeout"), Healthy: rapid.IntRange(1, 9).Draw(t, "healthy"), Unhealthy: rapid.IntRange(1, 9).Draw(t, "unhealthy"),
			}
		}
		metadata := Annotate(want)
		others := rapid.MapOfN(text, rapid.String(), 0, 3).Draw(t, "others")
		maps.Copy(metadata, others)
		got, is, err := Annotated(metadata)
		if err != nil || !is {
			t.Fatalf("%v, %v: %v", is, err, metadata)
		}
		want.Ready = want.Ready || want.Leaving
		if diff := cmp.Diff(want, got, sameAddress(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%v", diff, metadata)
		}
		if diff := cmp.Diff(others, Plain(metadata), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("the rest (-want +got):\n%s", diff)
		}
	})
}

func TestBrokenAnnotationsSayWhichKey(t *testing.T) {
	for key, value := range map[string]string{
		"crossfade.weight": "heavy", "crossfade.leaving": "maybe", "crossfade.bound_ms": "-1", "crossfade.address": "nobody", "crossfade.ports.http": "65536",
		"crossfade.warmup_minimum": "NaN", "crossfade.warmup_window_ms": "9223372036854775807", "crossfade.check_healthy": "0", "crossfade.check_port": "-1",
		"crossfade.age_at_registration_ms": "1m", "crossfade.labels.long": strings.Repeat("x", MaxEntry),
	} {
		if in, _, err := Annotated(map[string]string{"crossfade.incarnation": "a", key: value}); err == nil {
			t.Errorf("%s = %.20q was read as %.200s", key, value, fmt.Sprintf("%+v", in))
		}
	}
	in, is, err := Annotated(map[string]string{"crossfade.later": "x", "crossfade.warmup_window_ms": "60000"})
	if err != nil || is || in.Warmup == nil || in.Warmup.Window != time.Minute || in.Weight != 1 || !in.Ready {
		t.Errorf("an application that says its own warm-up: %+v, %v, %v", in, is, err)
	}
}

// orders is a registration of an application that knows nothing of crossfade.
func orders(id string) Registration {
	return Registration{Service: "orders", ID: id, Address: "10.0.0.7", Port: 8080, Weight: 1, Metadata: map[string]string{"version": "v2"}}
}

func TestRegistrations(t *testing.T) {
	foreign := orders("zookeeper/orders/1")
	reading := foreign.Reading()
	want := fleet.Instance{
		Name: "10.0.0.7:8080", Namespace: "default", Incarnation: "zookeeper/orders/1", Address: netip.MustParseAddr("10.0.0.7"), Ports: map[string]uint32{"http": 8080},
		Labels: map[string]string{"version": "v2", "app": "orders"}, Weight: 1, Ready: true, Foreign: true,
	}
	if diff := cmp.Diff(want, reading.Instance, sameAddress()); diff != "" || reading.Err != nil {
		t.Errorf("%v (-want +got):\n%s", reading.Err, diff)
	}
	if len(foreign.Metadata) != 1 {
		t.Errorf("its metadata became %v", foreign.Metadata)
	}
	ours := orders("zookeeper/orders/1")
	ours.Metadata = Annotate(fleet.Instance{
		Incarnation: "orders-1-a", Name: "orders-1", Namespace: "prod", Address: netip.MustParseAddr("127.1.0.1"), Ports: map[string]uint32{"http": 8080, "admin": 9090},
		Labels: map[string]string{"version": "v3"}, Weight: 2, Ready: true,
	})
	ours.Metadata["version"], ours.Metadata["app"], ours.Weight, ours.Unready = "v2", "shop", 0.1, true
	want = fleet.Instance{
		Name: "orders-1", Namespace: "prod", Incarnation: "orders-1-a", Address: netip.MustParseAddr("10.0.0.7"), Ports: map[string]uint32{"http": 8080, "admin": 9090},
		Labels: map[string]string{"version": "v3", "app": "shop"}, Weight: 2,
	}
	if diff := cmp.Diff(want, ours.Reading().Instance, sameAddress()); diff != "" {
		t.Errorf("under an agent (-want +got):\n%s", diff)
	}
	ours.Port, ours.PortName = 20880, "dubbo"
	if got := ours.Reading().Instance.Ports; !maps.Equal(got, map[string]uint32{"dubbo": 20880}) {
		t.Errorf("a port that the agent knows nothing of: %v", got)
	}
	for what, broken := range map[string]func(*Registration){
		"IP address": func(r *Registration) { r.Address = "host.example" },
		"port":       func(r *Registration) { r.Port = 65536 },
		"no id":      func(r *Registration) { r.ID = "" },
		"weight":     func(r *Registration) { r.Metadata["crossfade.weight"] = "-1" },
	} {
		r := orders("1")
		broken(&r)
		if err := r.Reading().Err; err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want an error with %q", err, what)
		}
	}
}

// TestWeightsWithFractions: proportions count within a service, and a ramp is none of them.
func TestWeightsWithFractions(t *testing.T) {
	entries := map[string]Reading{}
	add := func(service, id string, weight float64, metadata map[string]string) {
		r := Registration{Service: service, ID: id, Address: "10.0.0.7", Port: 8080, Weight: weight, Metadata: metadata}
		entries[id] = r.Reading()
	}
	add("orders", "half", 0.5, nil)
	add("orders", "whole", 1, nil)
	add("orders", "nothing", 0, nil)
	add("orders", "little", 0.001, nil)
	add("orders", "ramped", 0.1, map[string]string{"crossfade.incarnation": "ramped", "crossfade.weight": "2"})
	add("orders", "rubbish", math.NaN(), nil)
	add("users", "three", 3, nil)
	add("users", "first tenth of its ramp", 0.1, map[string]string{"crossfade.incarnation": "ramps", "crossfade.weight": "1"})
	got := map[string]uint32{}
	for _, in := range MakeList(entries, false).Instances {
		got[in.Incarnation] = in.Weight
	}
	want := map[string]uint32{"half": 50, "whole": 100, "nothing": 0, "little": 1, "ramped": 200, "rubbish": 0, "three": 3, "ramps": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOneInstanceInSeveralServices is an application of Dubbo's under one agent, and an impostor.
func TestOneInstanceInSeveralServices(t *testing.T) {
	under := func(service, address, app string) Reading {
		r := Registration{Service: service, Address: address, Port: 20880, Metadata: map[string]string{"crossfade.incarnation": "a-1", "crossfade.labels.app": app}}
		return r.Reading()
	}
	list := func(entries map[string]Reading) map[string]string {
		got := map[string]string{}
		l := MakeList(entries, true)
		for i, in := range l.Instances {
			got[in.Incarnation] = in.Labels["app"]
			if i > 0 && l.Instances[i-1].Incarnation >= in.Incarnation {
				t.Errorf("%s comes behind %s", in.Incarnation, l.Instances[i-1].Incarnation)
			}
		}
		for _, u := range l.Unread {
			got[u.Key] = "unread"
		}
		return got
	}
	three := map[string]Reading{"1": under("Cart", "10.0.0.7", "shop"), "2": under("Shop", "10.0.0.7", "shop"), "3": under("Users", "10.0.0.7", "shop"), "4": under("Users", "10.6.6.6", "shop")}
	want := map[string]string{"a-1": "shop", "a-1@Shop": "Shop", "a-1@Users": "Users", "4": "unread"}
	if diff := cmp.Diff(want, list(three)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	three["5"] = under("shop", "10.0.0.7", "shop") // whose app it is has the incarnation
	want = map[string]string{"a-1": "shop", "a-1@Cart": "Cart", "a-1@Shop": "Shop", "a-1@Users": "Users", "4": "unread"}
	if diff := cmp.Diff(want, list(three)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Twice in one service it is one, at both ports: a provider of Dubbo's speaks two protocols.
	tri := Registration{Service: "shop", Address: "10.0.0.7", Port: 50051, PortName: "tri", Metadata: map[string]string{"crossfade.incarnation": "a-1"}}
	three["6"], three["7"] = tri.Reading(), under("shop", "10.0.0.7", "shop")
	if diff := cmp.Diff(want, list(three)); diff != "" {
		t.Errorf("twice in one service (-want +got):\n%s", diff)
	}
	if got := MakeList(three, false).Instances[0].Ports; !maps.Equal(got, map[string]uint32{"http": 20880, "tri": 50051}) {
		t.Errorf("its ports are %v", got)
	}
}

// FuzzAnnotated: whatever metadata says is refused, or is an instance that can be annotated again.
func FuzzAnnotated(f *testing.F) {
	f.Add("weight", "1.5", "labels.a", "b")
	f.Add("warmup_minimum", "1e-9", "ports.", "1")
	f.Fuzz(func(t *testing.T, key, value, other, another string) {
		in, _, err := Annotated(map[string]string{Prefix + "incarnation": "a", Prefix + key: value, Prefix + other: another})
		if err != nil {
			return
		}
		again, _, err := Annotated(Annotate(in))
		if err != nil {
			t.Fatalf("%v: %+v", err, in)
		}
		if diff := cmp.Diff(in, again, sameAddress(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
