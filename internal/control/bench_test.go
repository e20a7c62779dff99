package control

import (
	"fmt"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// many is a world with n endpoints in one service with a subset, all warm.
func many(t testing.TB, n int) *stage {
	t.Helper()
	s := newStage(t)
	s.configure(reviews(linear))
	check := fleet.Check{Path: "/healthz", Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
	for i := range n {
		s.runs = append(s.runs, fleet.Instance{
			Name: fmt.Sprint("reviews-v2-", i), Namespace: "default", Workload: "reviews-v2", Incarnation: fmt.Sprint("0f3a5b1c-", i, "-0"),
			Weight: 1, Ready: true, Address: netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)}), Check: &check,
			Labels: map[string]string{"app": "reviews", "version": "v2", "pod-template-hash": "5d8c7f9b6"},
		})
	}
	s.report()
	for i := range s.runs {
		s.w.verdict(s.runs[i].Incarnation, true, "HTTP 200", s.now)
	}
	s.fold()
	s.after(time.Hour)
	return s
}

// What it costs control to make the next snapshot of 10,000 endpoints after one of them changed.
func BenchmarkFold(b *testing.B) {
	s := many(b, 10_000)
	for i := 0; b.Loop(); i++ {
		s.now = s.now.Add(10 * time.Millisecond)
		s.w.verdict(s.runs[i%len(s.runs)].Incarnation, i/len(s.runs)%2 == 1, "", s.now)
		factor := float64(i%10) / 10
		s.w.lives[s.runs[i%len(s.runs)].Incarnation].factor = &factor
		n := s.w.view.Number
		s.w.fold(s.now)
		if s.w.view.Number == n {
			b.Fatal("nothing changed")
		}
	}
}

// What it costs when nothing is new, as after most reports.
func BenchmarkFoldOfNothingNew(b *testing.B) {
	s := many(b, 10_000)
	for b.Loop() {
		s.now = s.now.Add(10 * time.Millisecond)
		s.w.fold(s.now)
	}
}

// Likewise in 500 services of 20 endpoints.
func BenchmarkFoldOfACrowd(b *testing.B) {
	const services, each = 500, 20
	s := newStage(b)
	var all fleet.Desired
	for i := range services {
		one := reviews(linear)
		one.Services[0].Name, one.Services[0].Selector = fmt.Sprintf("s%03d:80", i), map[string]string{"app": strconv.Itoa(i)}
		all.Digest, all.Services = one.Digest, append(all.Services, one.Services...)
		for j := range each {
			n := i*each + j
			s.runs = append(s.runs, fleet.Instance{
				Name: fmt.Sprintf("s%03d-%02d", i, j), Namespace: "default", Incarnation: fmt.Sprintf("s%03d-%02d-x", i, j), Weight: 1, Ready: true,
				Address: netip.AddrFrom4([4]byte{127, 1, byte(n >> 8), byte(n)}), Labels: map[string]string{"app": strconv.Itoa(i), "version": fmt.Sprint("v", 1+j%2)},
			})
		}
	}
	s.configure(&all)
	s.report()
	for i := range s.runs {
		s.w.verdict(s.runs[i].Incarnation, true, "HTTP 200", s.now)
	}
	s.fold()
	s.after(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		s.now = s.now.Add(10 * time.Millisecond)
		s.w.fold(s.now)
	}
}
