package nacos

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

var reviews = wire.NewService("", "", "reviews")

// TestWhatIsRegisteredIsRead as it was, whatever of its weight Nacos has.
func TestWhatIsRegisteredIsRead(t *testing.T) {
	p := place{namespace: "public", group: "DEFAULT_GROUP", instances: "DEFAULT"}
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.Instance{
			Name: "reviews-1", Namespace: rapid.SampledFrom([]string{"default", "prod"}).Draw(t, "namespace"), Incarnation: rapid.StringMatching(`[a-z]{1,8}-[0-9]`).Draw(t, "incarnation"),
			Address: netip.AddrFrom4([4]byte{127, 1, 0, byte(rapid.IntRange(1, 250).Draw(t, "address"))}),
			Ports:   rapid.MapOfN(rapid.SampledFrom([]string{"http", "grpc", "admin", "dubbo"}), rapid.Uint32Range(1, 65535), 1, 3).Draw(t, "ports"),
			Labels:  map[string]string{"app": "reviews", "version": rapid.StringMatching(`v[0-9]`).Draw(t, "version")},
			Weight:  rapid.Uint32Range(0, 1_000_000).Draw(t, "weight"), Leaving: rapid.Bool().Draw(t, "leaving"), Ready: true,
		}
		if !want.Leaving {
			want.Ready = rapid.Bool().Draw(t, "ready")
		}
		in := want
		in.Ramp = rapid.Float64Range(0, 1).Draw(t, "ramp")
		of, registered, err := p.shape(in)
		if err != nil || of != reviews {
			t.Fatalf("it is registered in %v, %v", of, err)
		}
		if want.Weight == 0 && !want.Leaving {
			want.Ready = false // nobody chooses it
		}
		got := read(of, registered)
		if got.Err != nil {
			t.Fatal(got.Err)
		}
		if diff := cmp.Diff(want, got.Instance, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("(-put +read):\n%s", diff)
		}
		if !holds(registered, registered) {
			t.Fatal("it is not what it is")
		}
	})
}

func TestWeights(t *testing.T) {
	for _, c := range []struct {
		in   fleet.Instance
		want float64
	}{
		{fleet.Instance{Weight: 1, Ready: true}, 1},
		{fleet.Instance{Weight: 1, Ready: true, Ramp: 0.25}, 1},
		{fleet.Instance{Weight: 10, Ready: true, Ramp: 0.01}, 1},
		{fleet.Instance{Weight: 10, Ready: true, Ramp: 0.25}, 3},
		{fleet.Instance{Ready: true, Ramp: 0.25}, 0},
		{fleet.Instance{Weight: 200, Ready: true, Ramp: 0.25}, 50},
		{fleet.Instance{Weight: 7, Ready: true, Ramp: 1}, 7},
		{fleet.Instance{Weight: 1_000_000, Ready: true}, 10_000},
		{fleet.Instance{Weight: 1, Ready: true, Leaving: true}, 0},
		{fleet.Instance{Weight: 1}, 0},
	} {
		if got := weight(c.in); got != c.want {
			t.Errorf("%+v has the weight %v, want %v", c.in, got, c.want)
		}
	}
}

func TestWhereAnInstanceIsRegistered(t *testing.T) {
	base := fleet.Instance{Incarnation: "a-1", Address: netip.MustParseAddr("10.0.0.1"), Ports: map[string]uint32{"http": 80}, Workload: "reviews"}
	for name, c := range map[string]struct {
		change  func(*fleet.Instance)
		service string // of the URL
		want    string
	}{
		"by its workload":     {want: "reviews:80"},
		"by its label":        {change: func(in *fleet.Instance) { in.Labels = map[string]string{"app": "ratings"} }, want: "ratings:80"},
		"as the URL says":     {service: "books", want: "books:80"},
		"with its gRPC":       {change: func(in *fleet.Instance) { in.Ports = map[string]uint32{"grpc": 50051, "admin": 1} }, want: "reviews:50051"},
		"with its first port": {change: func(in *fleet.Instance) { in.Ports = map[string]uint32{"y": 2, "x": 1} }, want: "reviews:1"},
		"without a port":      {change: func(in *fleet.Instance) { in.Ports = nil }, want: errNoPort.Error()},
		"without a service":   {change: func(in *fleet.Instance) { in.Workload = "" }, want: errNoService.Error()},
		"without an address":  {change: func(in *fleet.Instance) { in.Address = netip.Addr{} }, want: errNoAddress.Error()},
	} {
		in := base
		if c.change != nil {
			c.change(&in)
		}
		p := place{namespace: "public", group: "G", service: c.service, instances: "sh"}
		of, registered, err := p.shape(in)
		got := fmt.Sprintf("%s:%d", of.Name, registered.Port)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestForeignInstances: what control makes of those whom no agent registered.
func TestForeignInstances(t *testing.T) {
	base := wire.Instance{IP: "10.0.0.1", Port: 8080, Weight: 1, Healthy: true, Enabled: true, Ephemeral: true, Cluster: "DEFAULT"}
	const id = "nacos/public/DEFAULT_GROUP/reviews/DEFAULT/10.0.0.1:8080"
	plain := fleet.Instance{
		Name: "10.0.0.1:8080", Namespace: "default", Incarnation: id, Address: netip.MustParseAddr("10.0.0.1"), Ports: map[string]uint32{"http": 8080},
		Labels: map[string]string{"app": "reviews"}, Weight: 1, Ready: true, Foreign: true,
	}
	for name, c := range map[string]struct {
		change func(*wire.Instance)
		want   func(*fleet.Instance)
	}{
		"plain":       {func(*wire.Instance) {}, func(*fleet.Instance) {}},
		"not enabled": {func(in *wire.Instance) { in.Enabled = false }, func(want *fleet.Instance) { want.Ready = false }},
		"unhealthy":   {func(in *wire.Instance) { in.Healthy = false }, func(want *fleet.Instance) { want.Ready = false }},
		"of weight 0": {func(in *wire.Instance) { in.Weight = 0 }, func(want *fleet.Instance) { want.Ready, want.Weight = false, 0 }},
		"of weight 1, in single precision and a bit": {func(in *wire.Instance) { in.Weight = 1.0000001 }, func(*fleet.Instance) {}},
		"of Dubbo": {
			func(in *wire.Instance) {
				in.Metadata = map[string]string{"protocol": "dubbo", "timestamp": "1790000000000", "warmup": "60000", "preserved.register.source": "DUBBO"}
			},
			func(want *fleet.Instance) {
				want.Incarnation += "/1790000000000"
				want.Ports = map[string]uint32{"dubbo": 8080}
				want.Labels = map[string]string{"app": "reviews", "protocol": "dubbo", "timestamp": "1790000000000", "warmup": "60000"}
				started := time.UnixMilli(1_790_000_000_000).UTC()
				want.Published = &fleet.Published{Started: started, Registered: started}
				want.Warmup = &fleet.Warmup{Window: time.Minute, Minimum: 0.01, Aggression: 1}
			},
		},
		"with labels": {
			func(in *wire.Instance) { in.Metadata = map[string]string{"app": "books", "version": "v2"} },
			func(want *fleet.Instance) { want.Labels = map[string]string{"app": "books", "version": "v2"} },
		},
	} {
		in, want := base, plain
		c.change(&in)
		c.want(&want)
		got := read(reviews, in)
		if got.Err != nil {
			t.Errorf("%s: %v", name, got.Err)
		}
		if diff := cmp.Diff(want, got.Instance, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +read):\n%s", name, diff)
		}
	}
	for _, bad := range []wire.Instance{{IP: "reviews.internal", Port: 80}, {IP: "10.0.0.1"}, {IP: "10.0.0.1", Port: 80, Metadata: map[string]string{"crossfade.weight": "heavy"}}} {
		if got := read(reviews, bad); got.Err == nil {
			t.Errorf("%+v is read as %+v", bad, got.Instance)
		}
	}
}

// TestFractions: who halved a weight in Nacos's console meant to change traffic.
func TestFractions(t *testing.T) {
	readings := map[string]registry.Reading{}
	for n, weight := range []float64{1, 0.5, 1.0000001} {
		in := wire.NewInstance()
		in.IP, in.Port, in.Weight = fmt.Sprintf("10.0.0.%d", n), 80, weight
		readings[reviews.Key(in).String()] = read(reviews, in)
	}
	for n, want := range []uint32{100, 50, 100} {
		if got := registry.MakeList(readings, true).Instances[n].Weight; got != want {
			t.Errorf("%d has the weight %d, want %d", n, got, want)
		}
	}
}

// TestMetadataIsShort: a server of Nacos takes 1024 characters of an instance's metadata, in all.
func TestMetadataIsShort(t *testing.T) {
	at := time.UnixMilli(1_790_000_000_000).UTC()
	in := fleet.Instance{
		Name: "reviews-v2-7d9f8b6c5-x2x4z", Namespace: "bookinfo", Workload: "reviews-v2", Revision: "7d9f8b6c5", Incarnation: "reviews-v2-7d9f8b6c5-x2x4z-1790000000000",
		Address: netip.MustParseAddr("10.0.0.1"), Ports: map[string]uint32{"http": 9080}, Labels: map[string]string{"app": "reviews", "version": "v2"},
		Locality: fleet.Locality{Region: "eu-central-1", Zone: "eu-central-1a"}, Weight: 100, Ready: true, Front: true, Bound: 30 * time.Second,
		Warmup: &fleet.Warmup{Window: time.Minute, Minimum: 0.1, Aggression: 0.5}, Published: &fleet.Published{Started: at, Registered: at},
		Check: &fleet.Check{Path: "/healthz", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3},
	}
	p := place{namespace: "public", group: "DEFAULT_GROUP", instances: "DEFAULT"}
	_, registered, err := p.shape(in)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for key, value := range registered.Metadata {
		n += len(key) + len(value)
		if strings.HasPrefix(key, registry.Prefix+"ports.") || key == registry.Prefix+"address" {
			t.Errorf("%s is said twice", key)
		}
	}
	if n > 1024 {
		t.Errorf("%d characters: %v", n, registered.Metadata)
	}
}
