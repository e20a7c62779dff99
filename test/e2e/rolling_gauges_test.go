//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Gauges are what processes hold, over time.
type gauges struct {
	stay     []int // processes that live on through everything: the last is the supervisor
	replicas map[int]bool
	alone    []holding // of those who stay
	all      []holding // with the replicas
}

// A holding is what processes hold at a moment.
type holding struct{ bytes, descriptors, processes int }

func newGauges(stay ...int) *gauges { return &gauges{stay: stay, replicas: map[int]bool{}} }

// sample looks for so long.
func (g *gauges) sample(t *testing.T, lasting time.Duration) {
	t.Helper()
	over := time.NewTimer(lasting)
	defer over.Stop()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for {
		var alone, all holding
		for _, pid := range g.stay {
			alone.add(pid)
		}
		all = alone
		for _, p := range replicasOf(t, g.stay[len(g.stay)-1]) {
			g.replicas[p.pid] = true
			all.add(p.pid)
		}
		g.alone, g.all = append(g.alone, alone), append(g.all, all)
		select {
		case <-again.C:
		case <-over.C:
			return
		}
	}
}

// add adds what a process holds, nothing when it has just ended.
func (h *holding) add(pid int) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return
	}
	statm, err := os.ReadFile(filepath.Join(dir, "statm"))
	if err != nil {
		return
	}
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1])
		h.bytes += pages * os.Getpagesize()
		h.descriptors += len(fds)
		h.processes++
	}
}

// fifths returns the medians of the first and of the last fifth.
func fifths(held []holding) (first, last holding) {
	n := max(1, len(held)/5)
	return middle(held[:n]), middle(held[len(held)-n:])
}

func middle(held []holding) holding {
	of := func(what func(holding) int) int {
		var values []int
		for _, h := range held {
			values = append(values, what(h))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return holding{
		of(func(h holding) int { return h.bytes }),
		of(func(h holding) int { return h.descriptors }),
		of(func(h holding) int { return h.processes }),
	}
}

// judge compares the end with the beginning, so that there may be more processes at one time than at another: by
// process. Who stays has met as many replicas in between as there were restarts of each; a descriptor for each of them
// would be seen.
func (g *gauges) judge(t *testing.T) {
	t.Helper()
	first, last := fifths(g.alone)
	before, after := fifths(g.all)
	flat := func(what string, before, after, most float64) {
		if after > before*most {
			t.Errorf("%s: %.1f at the end, %.1f at the beginning", what, after, before)
		}
	}
	per := func(n int, h holding) float64 { return float64(n) / float64(h.processes) }
	flat("descriptors of control and supervisor by process", per(first.descriptors, before), per(last.descriptors, after), 1.12)
	flat("MiB of control and supervisor", mebi(first.bytes)+16, mebi(last.bytes), 1.25) // a small heap may double
	// Of these most live for seconds, and what they hold is their connections.
	flat("MiB of all by process", mebi(before.bytes)/float64(before.processes), mebi(after.bytes)/float64(after.processes), 1.5)
	flat("descriptors of all by process", per(before.descriptors, before), per(after.descriptors, after), 2)
	if after.processes > before.processes+rollingReplicas {
		t.Errorf("%d processes at the end, %d at the beginning", after.processes, before.processes)
	}
}

func mebi(bytes int) float64 { return float64(bytes) / (1 << 20) }

func (g *gauges) String() string {
	show := func(held []holding) string {
		first, last := fifths(held)
		return fmt.Sprintf("%d → %d MiB, %d → %d descriptors, %d → %d processes",
			first.bytes>>20, last.bytes>>20, first.descriptors, last.descriptors, first.processes, last.processes)
	}
	return "control and supervisor: " + show(g.alone) + "\nwith the replicas: " + show(g.all)
}
