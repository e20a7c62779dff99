package balancer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/balancer"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

// returns runs l until an end, a second at a time, and counts the keys that go back to where they were before.
func returns(l *lab.Lab, keys int, end time.Duration) int {
	last := whereabouts(l, keys)
	been := make([]map[string]bool, keys)
	for key := range been {
		been[key] = map[string]bool{last[key]: true}
	}
	back := 0
	for l.Now() < end {
		l.Run(l.Now() + time.Second)
		next := whereabouts(l, keys)
		for key := range next {
			if next[key] != last[key] && been[key][next[key]] {
				back++
			}
			been[key][next[key]] = true
		}
		last = next
	}
	return back
}

// Shares fall while nobody comes or goes where they are relative to the greatest, or where the budget that held them
// up has to do so no longer. No key goes back for that. Of a Maglev's table some do when somebody becomes warm.
func TestKeysStayWhileSharesFall(t *testing.T) {
	const window, keys = 100 * time.Second, 2000
	for name, play := range map[string]func(*lab.Lab){
		"the budget lets go": func(l *lab.Lab) {
			l.Run(time.Second)
			for i := range 6 {
				l.Leave(fmt.Sprint("warm-", i))
				l.Join(fmt.Sprint("new-", i))
			}
			l.Run(60 * time.Second)
			for i := 6; i < 9; i++ {
				l.Leave(fmt.Sprint("warm-", i))
				l.Join(fmt.Sprint("new-", i))
			}
			l.Run(61 * time.Second)
		},
		"everybody is cold, and one older than the others": func(l *lab.Lab) {
			l.Run(time.Second)
			for i := range 10 {
				l.Leave(fmt.Sprint("warm-", i))
			}
			l.Join("old")
			l.Run(30 * time.Second)
			for i := range 4 {
				l.Join(fmt.Sprint("new-", i))
			}
			l.Run(31 * time.Second)
		},
	} {
		for _, algorithm := range hashing {
			l := lab.New(lab.Config{Policy: keyed(algorithm, window, 0.1), Warm: 10, Rate: 1, Seed: 3})
			play(l)
			most := 0
			if algorithm == fleet.Maglev {
				most = keys / 20
			}
			if got := returns(l, keys, 200*time.Second); got > most {
				t.Errorf("%s, %v: %d of %d keys went back, want %d at most", name, algorithm, got, keys, most)
			}
		}
	}
}

// A key's endpoint is found by its address, whoever else is or was there and gets nothing.
func TestATwinThatIsLeftOutTakesNoKeys(t *testing.T) {
	const keys = 3000
	now := time.Now()
	endpoint := func(name string, address byte) fleet.Endpoint {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, address}), 80)
		return fleet.Endpoint{Name: name, Incarnation: name, Address: at, Weight: 1, Stage: fleet.Serving, Age: time.Hour}
	}
	a, b, c, next := endpoint("a", 1), endpoint("b", 2), endpoint("c", 3), endpoint("next", 1)
	leaving, drained := a, a
	leaving.Stage, drained.Weight = fleet.Draining, 0
	for _, algorithm := range hashing {
		for name, twin := range map[string]fleet.Endpoint{"draining": leaving, "of weight 0": drained} {
			var last *balancer.Balancer
			where := func(endpoints ...fleet.Endpoint) []netip.AddrPort {
				s := &fleet.Service{Name: "s:80", Endpoints: endpoints, Pools: []fleet.Pool{{Policy: fleet.Policy{Algorithm: algorithm}}}}
				for i := range endpoints {
					s.Pools[0].Members = append(s.Pools[0].Members, fleet.Member{Endpoint: i, Base: 1})
				}
				v := fleet.View{Snapshot: &fleet.Snapshot{Services: []fleet.Service{*s}}, Taken: now}
				last = balancer.Compile(last, balancer.Input{View: v, Service: s, Pool: &s.Pools[0], Seed: 7}, now)
				at := make([]netip.AddrPort, keys)
				for key := range at {
					at[key] = endpoints[last.PickKey(now, uint64(key), -1)].Address //nolint:gosec // an index
				}
				return at
			}
			before, with, after := where(a, b, c), where(twin, next, b, c), where(next, b, c)
			moved := 0
			for key := range before {
				if before[key] != with[key] || with[key] != after[key] {
					moved++
				}
			}
			if moved > 0 {
				t.Errorf("%v: %d of %d keys moved while one that is %s is at the address of another", algorithm, moved, keys, name)
			}
		}
	}
}
