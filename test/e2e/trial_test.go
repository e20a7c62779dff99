//go:build integration

package e2e

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// A recipe is a service's policy: how its balancer draws, and the curve of its newcomers.
type recipe struct {
	service             string
	minimum, aggression float64
	// low and high bound what the newcomer gets in the mean of many runs, as a factor of its expected share: two
	// choices look at who is busier, and that is not the share alone.
	low, high float64
}

// chance is how many standard deviations of a draw may be chance. A stride needs a tenth of it where the machine is
// quiet; where it is busy, shares come late.
const chance = 4

// share is the newcomer's at an age.
func (r recipe) share(age, window time.Duration) float64 {
	progress := min(1, max(0, age.Seconds()/window.Seconds()))
	return max(r.minimum, math.Pow(progress, 1/r.aggression))
}

// allowed says whether what the newcomer got can be chance around what the policy may give it in the mean: |z| < 4.
func (r recipe) allowed(p part) bool {
	slack := chance * math.Sqrt(p.variance)
	return float64(p.got) >= r.low*p.expected-slack && float64(p.got) <= r.high*p.expected+slack
}

// A trial is one policy put to the test: loads on a service whose endpoints are warm, and the newcomer that comes
// under them.
type trial struct {
	recipe
	rate     int // requests a second of all loads
	loads    []*load
	old      []endpoint
	newcomer endpoint
	births   []birth
	shots    []sighting
	keys     uint64          // requests have so many keys in turn, by which the service is balanced; 0 is otherwise
	own      map[uint64]bool // the keys that are the newcomer's in the end
}

// A birth is when the newcomer's age was 0, by what the gateway said of it when it was asked. The answer took so long.
type birth struct {
	at    time.Time
	asked time.Time
	took  time.Duration
}

// A sighting is a request of any of the loads, by the clock on the wall.
type sighting struct {
	shot
	at time.Time // of sending
}

func newTrial(t *testing.T, r recipe, rate int) *trial {
	t.Helper()
	old, err := endpointsOf(t, r.service)
	if err != nil {
		t.Fatal(err)
	}
	if len(old) == 0 || slices.ContainsFunc(old, func(e endpoint) bool { return e.Stage != "Serving" }) {
		t.Fatalf("before the trial of %s all of its endpoints are to be warm, got %+v", r.service, old)
	}
	return &trial{recipe: r, rate: rate, old: old}
}

// begin starts one of the trial's loads: requests at random moments, as of many clients.
func (tr *trial) begin(t *testing.T, rate int, args ...string) {
	t.Helper()
	tr.loads = append(tr.loads, beginLoad(t, rate, append([]string{"--poisson", "--endpoint-header", "x-bookinfo-instance"}, args...)...))
}

// follow looks at the newcomers until each is in one of the stages.
func follow(t *testing.T, trials []*trial, window time.Duration, stages ...string) {
	t.Helper()
	eventually(t, window+late, func() string {
		asked := time.Now()
		all, err := everyEndpoint(t)
		took := time.Since(asked)
		if err != nil {
			return err.Error()
		}
		var waiting []string
		for _, tr := range trials {
			if !slices.Contains(stages, tr.see(t, all, asked, took)) {
				waiting = append(waiting, tr.service)
			}
		}
		if len(waiting) > 0 {
			return "newcomers of " + strings.Join(waiting, ", ")
		}
		return ""
	})
}

// see looks for the newcomer among all endpoints, as they were at some moment of a question, and says its
// stage, "" when there is none: the age at which it counts begins anew when it is ready.
func (tr *trial) see(t *testing.T, all []endpoint, asked time.Time, took time.Duration) string {
	t.Helper()
	i := slices.IndexFunc(all, func(e endpoint) bool {
		return deploymentOf(e) == tr.service && e.Age > 0 && e.Stage != "Starting" && !slices.ContainsFunc(tr.old, func(o endpoint) bool { return o.Incarnation == e.Incarnation })
	})
	if i < 0 {
		return ""
	}
	if tr.newcomer.Incarnation != "" && all[i].Incarnation != tr.newcomer.Incarnation {
		t.Fatalf("%s: %s came instead of %s", tr.service, all[i].Incarnation, tr.newcomer.Incarnation)
	}
	tr.newcomer = all[i]
	tr.births = append(tr.births, birth{asked.Add(took/2 - tr.newcomer.Age), asked, took})
	return tr.newcomer.Stage
}

// born is the moment of the newcomer's age 0, as the gateway saw it at a time: by the answer that is known best of
// those around it. On a busy machine a gateway hears late of how old somebody is, and makes up for it with the next
// snapshot.
func (tr *trial) born(now time.Time) time.Time {
	const around = 4
	i, _ := slices.BinarySearchFunc(tr.births, now, func(b birth, now time.Time) int { return b.asked.Compare(now) })
	near := tr.births[max(0, i-around):min(len(tr.births), i+around)]
	return slices.MinFunc(near, func(a, b birth) int { return cmp.Compare(a.took, b.took) }).at
}

// age is how old the newcomer was when a request was sent.
func (tr *trial) age(s sighting) time.Duration { return s.at.Sub(tr.born(s.at)) }

// checkAges sees that what the gateway said of the newcomer's age is about one moment, but for what was late: an age
// that runs at another pace, or begins anew, is not.
func (tr *trial) checkAges(t *testing.T, window time.Duration) {
	t.Helper()
	inOrder := slices.Clone(tr.births)
	slices.SortFunc(inOrder, func(a, b birth) int { return a.at.Compare(b.at) })
	n := len(inOrder)
	for _, b := range inOrder[n/10 : n-n/10] {
		if off := b.at.Sub(inOrder[n/2].at).Abs(); off > window/8+b.took {
			t.Fatalf("%s: by its age the newcomer was born %v apart from when it was by most of what the gateway said", tr.service, off)
		}
	}
}

// finish ends the loads. Nothing may have been lost, and the newcomer's agent has counted what clients say that
// the newcomer answered.
func (tr *trial) finish(t *testing.T) {
	t.Helper()
	abandoned := 0 // what was open when its load was stopped may have been answered by anyone
	for _, l := range tr.loads {
		account, shots := l.stop(t)
		if n := len(lost(shots)); n > 0 {
			t.Errorf("%s: %d requests lost of %d, want none", tr.service, n, account.Sent)
		}
		abandoned += int(account.Abandoned)
		for _, s := range shots {
			tr.shots = append(tr.shots, sighting{s, l.zero.Add(s.Sent)})
		}
	}
	named := 0
	for _, s := range tr.shots {
		if s.Endpoint == tr.newcomer.Name {
			named++
		}
	}
	if counted := answered(t, tr.newcomer); counted < named || counted > named+abandoned {
		t.Errorf("%s: the newcomer's agent counted %d answers, %d name it and %d were abandoned", tr.service, counted, named, abandoned)
	}
}

// settle finds out whose each key is after the window, and sees that none had gone back: where it had moved to the
// newcomer it stayed.
func (tr *trial) settle(t *testing.T, window time.Duration) {
	t.Helper()
	if tr.keys == 0 {
		return
	}
	slices.SortFunc(tr.shots, func(a, b sighting) int { return a.at.Compare(b.at) })
	moved := map[uint64]bool{}
	last := map[uint64]string{}
	for _, s := range tr.shots {
		key := s.Number % tr.keys
		if mine := s.Endpoint == tr.newcomer.Name; mine {
			moved[key] = true
		} else if moved[key] {
			t.Errorf("%s: key %d went back from %s to %s at an age of %v", tr.service, key, tr.newcomer.Name, s.Endpoint, tr.age(s))
		}
		if tr.age(s) > window {
			last[key] = s.Endpoint
		}
	}
	if uint64(len(last)) != tr.keys {
		t.Fatalf("invalid run: after its window %s had requests of %d keys, want all %d", tr.service, len(last), tr.keys)
	}
	tr.own = moved
	if part := points(len(moved), int(tr.keys)-len(moved)); part < 35 || part > 65 { // points of two on a ring: 50 ± 4 × 3.8
		t.Errorf("%s: %.1f %% of the keys are the newcomer's in the end, want about half", tr.service, part)
	}
}

// due is the newcomer's part of a request, by the moment and the key: 0 to 1; false when it has nothing to do with
// the newcomer.
func (tr *trial) due(s sighting, age, window time.Duration) (float64, bool) {
	share := tr.share(age, window)
	if tr.keys > 0 {
		return share, tr.own[s.Number%tr.keys]
	}
	return share / (float64(len(tr.old)) + share), true
}

// A part is what happened while the newcomer's age was within bounds.
type part struct {
	sent, got int
	expected  float64 // requests for the newcomer
	variance  float64
}

// part looks at the requests that were sent at ages from from to to. Too few of them show nothing.
func (tr *trial) part(t *testing.T, from, to, window time.Duration) part {
	t.Helper()
	var p part
	all := 0
	tick := min(time.Second, window/100) // shares are those of the last tick: of half a tick ago, in the mean
	for _, s := range tr.shots {
		age := tr.age(s)
		if age < from || age >= to {
			continue
		}
		all++
		due, concerned := tr.due(s, age-tick/2, window)
		if !concerned {
			continue
		}
		p.sent++
		p.expected += due
		p.variance += due * (1 - due)
		if s.Endpoint == tr.newcomer.Name {
			p.got++
		}
	}
	if planned := (to - from).Seconds() * float64(tr.rate); float64(all) < planned-6*math.Sqrt(planned) {
		t.Fatalf("invalid run: %d requests to %s at ages from %v to %v, want about %.0f", all, tr.service, from, to, planned)
	}
	return p
}

// z is how many standard deviations of a draw the newcomer got more than expected; 0 where nothing is left to chance.
func (p part) z() float64 {
	if p.variance == 0 {
		return 0
	}
	return (float64(p.got) - p.expected) / math.Sqrt(p.variance)
}
