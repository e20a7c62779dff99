//go:build integration

package e2e

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Of these tests. An application registers with a weight of 100, as one does that has always been there.
const (
	holdWeight   = 100
	holdTenths   = 10
	holdMinimum  = 0.1  // an agent's default
	holdJudged   = 7    // tenths at least that say something
	holdFollowed = 0.05 // how far from the curve a tenth of the weights may be: a step of two tenths is at most a tenth late
)

// TestHoldRampDubbo and TestHoldRampNacos look at consumers that know nothing of crossfade: where the newcomer's weight grows
// in the registry, they send it what its curve says, by the weighted choice of their own client; and when it leaves they
// lose nothing.
func TestHoldRampDubbo(t *testing.T) { rampOf(t, "dubbo") }

func TestHoldRampNacos(t *testing.T) { rampOf(t, "nacos-go") }

func rampOf(t *testing.T, name string) {
	t.Helper()
	all := applications()
	at := slices.IndexFunc(all, func(a application) bool { return a.name == name })
	unmodifiedIn(t, all[at]).ramp(t, windowOf(20*time.Second))
}

func (u *unmodified) ramp(t *testing.T, window time.Duration) {
	t.Helper()
	old := u.alone(t)
	old.believes(t)
	u.lists(t, old)
	c := u.consumer(t)
	eventually(t, soon, func() string {
		if len(c.picks()) == 0 {
			return "the consumer to reach anybody"
		}
		return ""
	})
	newcomer := u.beside(t, "--drain-callers", "3s", "--registration-weight", "ramp", "--warmup", window.String(), "--curve", "linear")
	newcomer.believes(t)
	newcomer.release(t)
	eventually(t, late, func() string {
		if list, err := u.look(); err != nil || list[newcomer.port] < holdWeight {
			return fmt.Sprintf("all of the newcomer's weight: %v, %v", list, err)
		}
		return ""
	})
	<-time.After(window / holdTenths) // and what is sent by it
	weights := u.weightsOf(newcomer)
	stop(t, newcomer)
	u.lists(t, old)
	if lost := c.lost(); lost != "" {
		t.Errorf("the consumer lost %s", lost)
	}
	stop(t, old)
	eventually(t, soon, func() string {
		if u.hasty && c.lost() == "" {
			return "the consumer to lose what it sends to one that leaves without an agent"
		}
		return ""
	})
	stop(t, c.registrant)

	t.Logf("%s, window %v: the registry had weights %v", u.name, window, steps(weights))
	whole := weights
	if known := c.weightsOf(newcomer); len(known) > 0 {
		weights = known // it says what it goes by
	}
	calls := c.countIn(t, old, newcomer, weights, window)
	calls.judge(t)
	judgeWeights(t, whole, window, calls.stalled())
}

// A holdConsumer is a client of the application's service.
type holdConsumer struct{ *registrant }

func (u *unmodified) consumer(t *testing.T) holdConsumer {
	t.Helper()
	r, _, work := u.one(t)
	r.run(t, u.consume(u.registry(), work))
	return holdConsumer{r}
}

// A pick is whom it reached, and when.
type pick struct {
	at   time.Time
	port int
}

// picks reads lines like "1795360356379 pick 127.0.0.1:9001", or with the port alone.
func (c holdConsumer) picks() (all []pick) {
	for line := range strings.Lines(c.says.String()) {
		words := strings.Fields(line)
		if len(words) != 3 || words[1] != "pick" {
			continue
		}
		ms, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			continue // the line is not whole yet
		}
		port, err := strconv.Atoi(words[2][strings.LastIndexByte(words[2], ':')+1:])
		if err != nil {
			continue
		}
		all = append(all, pick{time.UnixMilli(ms), port})
	}
	return all
}

// lost is the first call that failed, "" when none did.
func (c holdConsumer) lost() string {
	for line := range strings.Lines(c.says.String()) {
		if _, what, is := strings.Cut(line, " lost "); is {
			return what
		}
	}
	return ""
}

// weightsOf reads lines like "1795360356379 list 127.0.1.1:9001=100 127.0.1.2:9002=1": the weights of one, as the consumer
// knows them.
func (c holdConsumer) weightsOf(r *registrant) (all []weighed) {
	for line := range strings.Lines(c.says.String()) {
		words := strings.Fields(line)
		if len(words) < 3 || words[1] != "list" {
			continue
		}
		ms, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil {
			continue
		}
		for _, entry := range words[2:] {
			text, is := strings.CutPrefix(entry, r.address()+"=")
			if w, err := strconv.ParseFloat(text, 64); is && err == nil {
				all = append(all, weighed{time.UnixMilli(ms), w})
			}
		}
	}
	return all
}

// A weighed is a weight that one has from a moment on.
type weighed struct {
	at     time.Time
	weight float64
}

// weightsOf are all that one had, from when it was listed on.
func (u *unmodified) weightsOf(r *registrant) (all []weighed) {
	for _, g := range u.glimpses(time.Time{}) {
		w, is := g.list[r.port]
		if is && (len(all) == 0 || all[len(all)-1].weight != w) {
			all = append(all, weighed{g.at, w})
		}
	}
	return all
}

func steps(all []weighed) (text []string) {
	for _, w := range all {
		text = append(text, fmt.Sprintf("%g", math.Round(10*w.weight)/10))
	}
	return text
}

// weightAt is the weight at a moment.
func weightAt(all []weighed, at time.Time) float64 {
	i, exact := slices.BinarySearchFunc(all, at, func(w weighed, at time.Time) int { return w.at.Compare(at) })
	if !exact {
		i--
	}
	return all[max(i, 0)].weight
}

// curveAt is what the policy gives after a part of the window.
func curveAt(part float64) float64 { return max(holdMinimum, min(1, part)) }

// judgeWeights holds what the registry had against the curve: in each tenth of the window the mean of both.
func judgeWeights(t *testing.T, all []weighed, window time.Duration, stalled []bool) {
	t.Helper()
	if !slices.IsSortedFunc(all, func(a, b weighed) int { return int(math.Round(a.weight - b.weight)) }) {
		t.Errorf("its weights go down: %v", steps(all))
	}
	if last := all[len(all)-1].weight; math.Abs(last-holdWeight) > 1e-3 { // r-nacos takes a weight of 1 for none
		t.Errorf("at last it has a weight of %g, want %d", last, holdWeight)
	}
	const parts = 100 // of a tenth
	for tenth := range holdTenths {
		var got, want float64
		for i := range parts {
			part := (float64(tenth) + (float64(i)+0.5)/parts) / holdTenths
			got += weightAt(all, all[0].at.Add(time.Duration(part*float64(window)))) / holdWeight / parts
			want += curveAt(part) / parts
		}
		if !stalled[tenth] && math.Abs(got-want) > holdFollowed {
			t.Errorf("tenth %d of the window: the registry had %.3f of its weight, want %.3f", tenth+1, got, want)
		}
	}
}

// A tally is whom a consumer reached in a tenth of the window: of n calls at moments tᵢ the newcomer is due
// Σ w(tᵢ)/(w(tᵢ)+100), of the variance Σ 100 w(tᵢ)/(w(tᵢ)+100)².
type tally struct{ n, got, due, variance float64 }

func (k tally) z() float64 { return (k.got - k.due) / math.Sqrt(k.variance) }

// tallies are of the tenths of a window, and of the one after it.
type tallies [holdTenths + 1]tally

func (c holdConsumer) countIn(t *testing.T, old, newcomer *registrant, weights []weighed, window time.Duration) (all tallies) {
	t.Helper()
	for _, p := range c.picks() {
		if p.port != old.port && p.port != newcomer.port {
			t.Fatalf("it reached %d", p.port)
		}
		since := p.at.Sub(weights[0].at)
		tenth := int(since * holdTenths / window)
		if since < 0 || tenth >= len(all) {
			continue
		}
		w := math.Floor(weightAt(weights, p.at)) // both clients go by whole weights
		share := w / (w + holdWeight)
		k := &all[tenth]
		k.n++
		k.due += share
		k.variance += share * (1 - share)
		if p.port == newcomer.port {
			k.got++
		}
	}
	return all
}

// stalled says which tenths had less than half of the calls that others had: the machine stood still.
func (all *tallies) stalled() (which []bool) {
	var most float64
	for _, k := range all {
		most = max(most, k.n)
	}
	for _, k := range all {
		which = append(which, k.n < most/2)
	}
	return which
}

// judge tests each tenth. What the newcomer would be due without a ramp must not fit the first.
func (all *tallies) judge(t *testing.T) {
	t.Helper()
	stalled, judged := all.stalled(), 0
	var table strings.Builder
	for i, k := range all {
		fmt.Fprintf(&table, "| %d | %.0f | %.1f | %.0f | %.2f |\n", i+1, k.n, k.due, k.got, k.z())
		if stalled[i] {
			continue
		}
		judged++
		if math.Abs(k.z()) >= 4 {
			t.Errorf("tenth %d: it got %.0f of %.0f calls, due %.1f: z = %.2f", i+1, k.got, k.n, k.due, k.z())
		}
	}
	t.Logf("| tenth | calls | due | got | z |\n%s", table.String())
	if judged < holdJudged {
		t.Errorf("the machine stood still for all but %d tenths of the window, want %d to be judged", judged, holdJudged)
	}
	early := all[slices.Index(stalled, false)]
	if even := (early.got - early.n/2) / math.Sqrt(early.n/4); math.Abs(even) < 4 {
		t.Errorf("half of the calls fits the first tenth as well, z = %.2f: the test shows nothing", even)
	}
}
