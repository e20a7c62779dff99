package balancer_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
)

// Crowd returns the input for n endpoints as a gateway has it: the last warming ones are in the middle of their
// ramp, and there are some requests in flight everywhere.
func crowd(algorithm fleet.Algorithm, n, warming int) balancer.Input {
	in := idle(algorithm, n, warming)
	random := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // figures must repeat
	for i := range in.Service.Endpoints {
		in.Traffic[in.Service.Endpoints[i].Incarnation].Active.Add(random.Int64N(4))
	}
	return in
}

// Idle is a crowd with nothing in flight.
func idle(algorithm fleet.Algorithm, n, warming int) balancer.Input {
	in := pool(algorithm, n, warming)
	keys := make([]string, n)
	for i := range keys {
		keys[i] = in.Service.Endpoints[i].Incarnation
	}
	in.Traffic = evidence.Book(nil).Next(keys)
	return in
}

// A size is a pool that figures are wanted for.
type size struct {
	algorithm  fleet.Algorithm
	n, warming int
}

func (s size) String() string {
	return fmt.Sprintf("%v/endpoints=%d/warming=%d", s.algorithm, s.n, s.warming)
}

// Sizes lists every algorithm, in the steady state and with a tenth warming up.
func sizes() (all []size) {
	for _, algorithm := range everyAlgorithm {
		for _, n := range []int{10, 1000, 10_000} {
			all = append(all, size{algorithm, n, 0}, size{algorithm, n, n / 10})
		}
	}
	return all
}

// The clock goes on as it does for a gateway of 10,000 requests a second, so that probes fall due.
const between = 100 * time.Microsecond

func BenchmarkPick(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.String(), func(b *testing.B) {
			now := time.Now() // with a monotonic reading, as requests have it
			in := crowd(s.algorithm, s.n, s.warming)
			in.View.Taken = now
			p := balancer.Compile(nil, in, now)
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(between)
				p.Pick(now, -1)
			}
		})
	}
}

// What else happens to an endpoint that was picked: its requests in flight go up and down.
func BenchmarkPickParallel(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.String(), func(b *testing.B) {
			begin := time.Now()
			in := crowd(s.algorithm, s.n, s.warming)
			in.View.Taken = begin
			p := balancer.Compile(nil, in, begin)
			traffic := make([]*evidence.Traffic, s.n)
			for i, e := range p.Endpoints() {
				traffic[i] = in.Traffic[e.Incarnation]
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for now := begin; pb.Next(); {
					now = now.Add(between)
					t := traffic[p.Pick(now, -1)]
					t.Active.Add(1)
					t.Active.Add(-1)
				}
			})
		})
	}
}

// A gateway compiles what it has never seen, and at every tick what it knows.
func BenchmarkCompile(b *testing.B) {
	for _, algorithm := range everyAlgorithm {
		for _, n := range []int{100, 10_000} {
			in := crowd(algorithm, n, n/10)
			first := balancer.Compile(nil, in, epoch)
			for name, prev := range map[string]*balancer.Balancer{"first": nil, "tick": first} {
				b.Run(fmt.Sprintf("%v/endpoints=%d/%s", algorithm, n, name), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						balancer.Compile(prev, in, epoch)
					}
				})
			}
		}
	}
}

// Churn is one change of membership: one endpoint leaves at one end of the list and another comes at the other. A
// hundred changes a second are to cost a twentieth of a core at most; what this costs times how many compiles a
// gateway makes of them is the sum.
func BenchmarkChurn(b *testing.B) {
	for _, s := range sizes() {
		b.Run(s.String(), func(b *testing.B) {
			in := crowd(s.algorithm, s.n+1, s.warming)
			all := in.Pool.Members
			in.Pool.Members = all[1:]
			p := balancer.Compile(nil, in, epoch)
			b.ReportAllocs()
			for k := 0; b.Loop(); k++ {
				in.Pool.Members = all[k%2 : s.n+k%2]
				p = balancer.Compile(p, in, epoch)
			}
		})
	}
}
