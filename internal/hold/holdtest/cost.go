package holdtest

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

// What a proxy may cost.
const (
	mostAdded = time.Millisecond
	mostBytes = 10 << 20
)

// Cost fails the test when a proxy makes one call of an application slower by a millisecond, or takes ten megabytes. Both
// applications call in turns. The machine does other things too: of some batches the one counts in which the medians were
// nearest.
func Cost(t *testing.T, open func(t *testing.T, alone bool) World) {
	t.Helper()
	const warm, batches, calls = 100, 8, 100
	s := newScene(t, open(t, false))
	orders := s.service("orders")
	before := memory()
	app := s.begin(nil)
	s.registers(app, orders)
	s.release()
	plain := s.World.App("", port+1)
	defer plain.Kill()
	s.registers(plain, orders)
	best := time.Hour
	for range warm {
		s.took(app, orders)
		s.took(plain, orders)
	}
	for range batches {
		var with, without []time.Duration
		for range calls {
			with = append(with, s.took(app, orders))
			without = append(without, s.took(plain, orders))
		}
		best = min(best, median(with)-median(without))
	}
	took := memory() - before
	t.Logf("a call takes %v more; %d KB for the proxy and two clients", best, took>>10)
	if best > mostAdded {
		t.Errorf("a call takes %v more, at most %v", best, mostAdded)
	}
	if took > mostBytes {
		t.Errorf("the proxy and two clients take %d bytes, at most %d", took, mostBytes)
	}
}

func (s *scene) took(app App, service string) time.Duration {
	s.Helper()
	begun := time.Now()
	there, err := app.Sees(s.Context(), service)
	took := time.Since(begun)
	if err != nil || !there {
		s.Fatalf("it does not find itself in %s: %v", service, err)
	}
	return took
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// memory is what this process has on its heap and its stacks.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // it fits
}
