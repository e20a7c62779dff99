package balancer_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
)

// Pool returns the input for n endpoints, the last of which warm up.
func pool(algorithm fleet.Algorithm, n, warming int) balancer.Input {
	endpoints := make([]fleet.Endpoint, n)
	for i := range endpoints {
		if endpoints[i] = warm(fmt.Sprint("e", i)); i >= n-warming {
			endpoints[i] = cold(fmt.Sprint("e", i))
			endpoints[i].Age = time.Minute
		}
	}
	return input(fleet.Policy{Algorithm: algorithm, Warmup: ramp(2*time.Minute, 0.1)}, endpoints...)
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, algorithm := range everyAlgorithm {
		for _, warming := range []int{0, 3, 10} {
			b := balancer.Compile(nil, pool(algorithm, 10, warming), epoch)
			now := epoch
			got := testing.AllocsPerRun(1000, func() {
				now = now.Add(100 * time.Millisecond) // past deadlines of probes
				b.Pick(now, b.Pick(now, -1))
			})
			if got != 0 {
				t.Errorf("%v, %d of 10 warming: Pick allocates %v times, want 0", algorithm, warming, got)
			}
		}
	}
}

// Requests pick while the next balancer is made and swapped in; every pick is counted once.
func TestPickWhileTheWorldChanges(t *testing.T) {
	const goroutines, picks = 4, 5000
	for _, algorithm := range everyAlgorithm {
		in := pool(algorithm, 20, 5)
		in.Pool.Policy.Hash = &fleet.Hash{TableSize: 1021, Bound: 1.25}
		var current atomic.Pointer[balancer.Balancer]
		current.Store(balancer.Compile(nil, in, epoch))
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for k := range picks {
					b := current.Load()
					if i := b.PickKey(epoch.Add(time.Duration(k)*time.Millisecond), uint64(k), g); i < 0 { //nolint:gosec // an index
						t.Errorf("Pick: got %d", i)
						return
					}
				}
			})
		}
		for k := range 200 {
			current.Store(balancer.Compile(current.Load(), in, epoch.Add(time.Duration(k)*10*time.Millisecond)))
			current.Load().Shares(epoch)
		}
		wg.Wait()
		var sum uint64
		for _, s := range current.Load().Shares(epoch) {
			sum += s.Actual
		}
		if sum != goroutines*picks {
			t.Errorf("%v: %d picks are counted, want %d", algorithm, sum, goroutines*picks)
		}
	}
}
