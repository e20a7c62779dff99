package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/pace"
)

// great is a snapshot of n endpoints, as control publishes it.
func great(n int) *fleet.Snapshot {
	s := &fleet.Snapshot{Number: 1, Config: "great"}
	service := fleet.Service{Name: "reviews:9080", Host: "reviews", Port: 9080, Pools: []fleet.Pool{{}, {Subset: "v2"}}}
	for i := range n {
		at := netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})
		labels := map[string]string{"app": "reviews", "version": "v2", "pod-template-hash": "5d8c7f9b6"}
		check := &fleet.Check{Path: "/healthz", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
		name, incarnation := fmt.Sprint("reviews-v2-", i), fmt.Sprint("0f3a5b1c-", i, "-0")
		service.Endpoints = append(service.Endpoints, fleet.Endpoint{
			Name: name, Incarnation: incarnation, Address: netip.AddrPortFrom(at, 9080), Labels: labels, Weight: 1,
			Stage: fleet.Serving, Age: time.Hour, Check: check,
		})
		for j := range service.Pools {
			service.Pools[j].Members = append(service.Pools[j].Members, fleet.Member{Endpoint: i})
		}
		s.Instances = append(s.Instances, fleet.Instance{
			Name: name, Namespace: "default", Workload: "reviews-v2", Incarnation: incarnation, Address: at, Labels: labels,
			Weight: 1, Ready: true, Check: check,
		})
	}
	s.Services = []fleet.Service{service}
	return s
}

func TestAViewThatIsWrittenIsReadAsItWas(t *testing.T) {
	zero := 0.0
	s := great(3)
	s.Services[0].Endpoints[1].Factor = &zero
	text, err := newEncoder().encode(s)
	if err != nil {
		t.Fatal(err)
	}
	message, err := jsonCodec{}.Marshal(&written{text, 7 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var got viewMessage
	if err := (jsonCodec{}).Unmarshal(message, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, got.Snapshot, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if got.Elapsed != 7*time.Second {
		t.Errorf("elapsed = %v, want 7 s", got.Elapsed)
	}
	if !json.Valid(message) {
		t.Errorf("%s is no JSON", message)
	}
}

func TestASnapshotIsWrittenOnceForAll(t *testing.T) {
	e, s := newEncoder(), great(2)
	one, err := e.encode(s)
	if err != nil {
		t.Fatal(err)
	}
	two, err := e.encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if &one[0] != &two[0] {
		t.Error("the second follower's was written anew")
	}
	if three, err := e.encode(great(2)); err != nil || &three[0] == &one[0] {
		t.Errorf("the next snapshot is the last one's text, %v", err)
	}
}

// A source is a control whose snapshot is another one each time that somebody looks.
type source struct{ Control }

func (source) Follow(ctx context.Context, _ Hello, apply func(fleet.View)) error {
	for n := uint64(1); ctx.Err() == nil; n++ {
		apply(fleet.View{Snapshot: &fleet.Snapshot{Number: n}, Taken: time.Now()})
	}
	return ctx.Err()
}

// In a bubble time stands still while a snapshot is written, so what it costs is set by hand.
func TestSnapshotsThatAreDearArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := served{Control: source{}, encoder: &encoder{pace: pace.Pace{Factor: sixtyfold, Most: slowest}}}
		for range 4 {
			s.encoder.pace.Spent(time.Now().Add(-20*time.Millisecond), time.Now())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		sent := 0
		err := s.send(ctx, Hello{ID: "a"}, func(any) error {
			sent++
			for range 4 { // as dear as those before
				s.encoder.pace.Spent(time.Now().Add(-20*time.Millisecond), time.Now())
			}
			return nil
		})
		if ctx.Err() == nil || sent < 10 || sent > 12 { // one every 1.18 s
			t.Errorf("%d snapshots in 12 s (%v), want one each 60 × 20 ms", sent, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	s := great(10_000)
	for b.Loop() {
		text, err := json.Marshal(s)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(text)))
	}
}

func BenchmarkRead(b *testing.B) {
	text, err := json.Marshal(great(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var s fleet.Snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			b.Fatal(err)
		}
	}
}
