//go:build integration

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A drainAccount is what clients saw of their requests: each was answered, or was lost in one way. Several clients
// share one.
type drainAccount struct {
	mu   sync.Mutex
	sent uint64
	ok   map[string]uint64 // by protocol, as drain reports name them
	lost map[string]uint64 // by what the client saw
}

func newDrainAccount() *drainAccount {
	return &drainAccount{ok: map[string]uint64{}, lost: map[string]uint64{}}
}

// note enters one request; nil is an answer that was as it should be.
func (a *drainAccount) note(protocol string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent++; err == nil {
		a.ok[protocol]++
		return
	}
	a.lost[protocol+": "+numbers.Replace(err.Error())]++
}

// numbers takes out of an error what makes it differ from others of its kind.
var numbers = strings.NewReplacer("0", "", "1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", "")

// add enters what somebody else counted.
func (a *drainAccount) add(other *drainAccount) {
	other.mu.Lock()
	defer other.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent += other.sent
	for protocol, n := range other.ok {
		a.ok[protocol] += n
	}
	for how, n := range other.lost {
		a.lost[how] += n
	}
}

// more waits until so many more requests have come to their end.
func (a *drainAccount) more(t *testing.T, n int) {
	t.Helper()
	count := func() uint64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.sent
	}
	before := count()
	eventually(t, soon, func() string {
		if now := count(); now < before+uint64(n) {
			return fmt.Sprintf("%d more requests, got %d", n, now-before)
		}
		return ""
	})
}

// losses is how many requests were lost.
func (a *drainAccount) losses() (n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, of := range a.lost {
		n += of
	}
	return n
}

func (a *drainAccount) String() string {
	lost := a.losses()
	a.mu.Lock()
	defer a.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%d sent, ok %v, %d lost", a.sent, a.ok, lost)
	for _, how := range slices.Sorted(maps.Keys(a.lost)) {
		fmt.Fprintf(&text, "\n    %6d %s", a.lost[how], how)
	}
	return text.String()
}

// wantWhole sees that everything was answered, of at least so many requests, and that nothing fell through.
func (a *drainAccount) wantWhole(t *testing.T, what string, least uint64) {
	t.Helper()
	t.Logf("%s: %s", what, a)
	var ok uint64
	for _, n := range a.ok {
		ok += n
	}
	lost := a.losses()
	if a.sent != ok+lost {
		t.Errorf("%s: sent %d ≠ ok %d + lost %d", what, a.sent, ok, lost)
	}
	if lost > 0 {
		t.Errorf("%s: %d of %d requests were lost, want none", what, lost, a.sent)
	}
	if a.sent < least {
		t.Errorf("invalid run: %s: %d requests, want %d at least", what, a.sent, least)
	}
}

// controlRuns is how often a control may be tried until it loses.
const controlRuns = 5

// mustLose runs a control, which does what is shown to be wrong, until it loses something, or five times where there
// is time.
func mustLose(t *testing.T, what string, run func(t *testing.T) *drainAccount) {
	t.Helper()
	var told []string
	all := newDrainAccount()
	for range controlRuns {
		a := run(t)
		all.add(a)
		told = append(told, fmt.Sprintf("%d of %d", a.losses(), a.sent))
		if a.losses() > 0 && !full() {
			break
		}
	}
	t.Logf("control: %s lost %s; %s", what, strings.Join(told, ", "), all)
	if all.losses() > 0 {
		return
	}
	t.Errorf("control: %s lost nothing (%s): what is shown beside it shows nothing", what, strings.Join(told, ", "))
}

// rounds is how often something is done: once, or as often as the design says where there is time.
func rounds(short, long int) int {
	if full() {
		return long
	}
	return short
}
