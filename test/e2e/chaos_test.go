//go:build integration

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	chaosRate = 100 // requests a second: three proxied hops each, and room for the machine to start processes
	callRate  = 20  // gRPC streams a second, each open for half of one
	// skew bounds how far apart the load's clock and the schedule's may be; between two upheavals the load runs
	// for longer than two of them, so that a loss belongs to one.
	skew = 500 * time.Millisecond
	// shortly is how long after a kill -9 requests may be lost at the most.
	shortly = 15 * time.Second
)

// An upheaval is something that happens to a running system, and what it may cost.
type upheaval struct {
	name    string
	costs   []string // outcomes that a client may see while it lasts; none where nothing may be lost
	certain bool     // it cannot but cost something
	run     func(c *chaos)
}

// A span is an upheaval that took place: from just before it until the system was whole again.
type span struct {
	upheaval
	from, to time.Duration // on the load's clock
}

func (s span) String() string {
	return fmt.Sprintf("%s (%.1f s to %.1f s)", s.name, s.from.Seconds(), s.to.Seconds())
}

// A chaos is one random run.
type chaos struct {
	t     *testing.T
	m     *mesh
	rng   *rand.Rand
	extra bool // reviews-v2 has a second replica
	more  bool // the gateway has a third
}

// upheavals are everything that may happen, each at least once a round.
func upheavals() []upheaval {
	instanceDies := []string{"5xx", "cut", "grpc", "stream_reset"}
	gatewayDies := []string{"reset", "eof", "cut", "5xx", "grpc"} // never refused: the sockets are not its own
	return []upheaval{
		{"scale out or in", nil, false, (*chaos).rescale},
		{"rollout restart reviews-v1", nil, false, func(c *chaos) { c.rollout("reviews-v1") }},
		{"rollout restart productpage-v1", nil, false, func(c *chaos) { c.rollout("productpage-v1") }},
		{"rollout restart echo", nil, false, func(c *chaos) { c.rollout("echo") }},
		{"valid configuration", nil, false, (*chaos).reload},
		{"restart, pause, resume and skip a warm-up", nil, false, (*chaos).moveWarmup},
		{"weight 0 and back", nil, false, (*chaos).weigh},
		{"broken configuration", nil, false, (*chaos).breakConfig},
		{"another algorithm and window in mid-warm-up", nil, false, (*chaos).reloadMidRamp},
		{"kill -9 control", nil, false, (*chaos).killControl},
		{"kill -9 control in mid-drain", nil, false, (*chaos).killControlInDrain},
		{"kill -9 an application", instanceDies, false, (*chaos).killApplication},
		{"kill -9 an agent", instanceDies, false, (*chaos).killAgent},
		{"kill -9 etcd", nil, false, (*chaos).killEtcd},
		{"kill -9 etcd and control", nil, false, (*chaos).killEtcdAndControl},
		{"etcd hangs for longer than a lease", nil, false, (*chaos).hangEtcd},
		{"an instance goes offline", nil, false, (*chaos).goOffline},
		{"kill -9 a replica of the gateway", gatewayDies, false, (*chaos).killGateway},
		{"scale the gateway", nil, false, (*chaos).rescaleGateway},
		{"rollout restart of the gateway", nil, false, (*chaos).rolloutGateway},
		{"upgrade of the gateway", nil, false, (*chaos).upgradeGateway},
		{"two restarts of the gateway at once", nil, false, (*chaos).restartTwice},
		{"kill -9 control in a restart of the gateway", nil, false, (*chaos).killControlInRollout},
		{"scale the gateway back", nil, false, (*chaos).rescaleGateway},
		{"scale back", nil, false, (*chaos).rescale},
	}
}

// TestChaos lets everything happen in random order under a load that never waits, and accounts for every
// request: what was planned costs nothing, a kill -9 costs what it must, at once and not later.
func TestChaos(t *testing.T) {
	seed := chaosSeed(t)
	t.Logf("CROSSFADE_SEED=%d repeats the order of this run", seed)
	rounds := 1
	if full() {
		rounds = 6
	}
	m := start(t, func(m *mesh) {
		slowly(t, m)
		m.write(t, "mixed.yaml", mixedYAML)
	})
	c := &chaos{t: t, m: m, rng: rand.New(rand.NewPCG(seed, seed))}
	replicas := map[string]int{"productpage-v1": 2, "details-v1": 2, "ratings-v1": 2, "reviews-v1": 2, "reviews-v2": 1, "slow": 2, "echo": 2}
	for deployment, n := range replicas {
		scale(t, deployment, n)
	}
	for deployment, n := range replicas {
		c.settled(deployment, n)
	}
	cli(t, "scale", edge, "--replicas="+strconv.Itoa(c.edges()))
	c.edgeSettled()

	first, err := console[overview](t, "overview")
	if err != nil {
		t.Fatal(err)
	}
	load := startLoad(t, chaosRate)
	calls := beginLoad(t, callRate, bidi(5, "-H", "Host: echo", "http://"+meshPort)...)
	calls.seconds(t, 1)
	var spans []upheaved
	for range rounds {
		all := upheavals()
		c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, u := range all {
			load.seconds(t, 2)
			from := time.Now()
			u.run(c)
			spans = append(spans, upheaved{u, from, time.Now()})
		}
	}
	load.seconds(t, 2)
	account, shots := load.stop(t)
	tell(t, "the page", account, shots, onClock(load, spans), chaosRate)
	c.told(account, first.Outside, spans)
	account, shots = calls.stop(t)
	tell(t, "gRPC", account, shots, onClock(calls, spans), callRate)
}

// An upheaved is an upheaval that took place, by the clock on the wall.
type upheaved struct {
	upheaval
	from, to time.Time
}

// onClock returns what took place on a load's clock.
func onClock(l *load, all []upheaved) (spans []span) {
	for _, u := range all {
		spans = append(spans, span{u.upheaval, u.from.Sub(l.zero), u.to.Sub(l.zero)})
	}
	return spans
}

// tell logs a load's story and says what is wrong with it.
func tell(t *testing.T, what string, a account, shots []shot, spans []span, rate int) {
	t.Helper()
	problems, notes := judge(a, shots, spans, rate)
	for _, note := range notes {
		t.Logf("%s: %s", what, note)
	}
	for i, problem := range problems {
		if i == 20 {
			t.Errorf("%s: … and %d more", what, len(problems)-i)
			break
		}
		t.Errorf("%s: %s", what, problem)
	}
}

// told compares what the console counted with the load, through all that has happened: nothing twice, however often control was
// killed, and nothing forgotten but what a killed replica of the gateway had not reported yet.
func (c *chaos) told(a account, before counted, spans []upheaved) {
	c.t.Helper()
	const unreported = 3 * chaosRate // a report a second, or later on a busy machine
	kills := 0
	for _, s := range spans {
		if s.name == "kill -9 a replica of the gateway" {
			kills++
		}
	}
	var missing uint64
	eventually(c.t, soon, func() string {
		all, err := console[overview](c.t, "overview")
		if err != nil {
			return err.Error()
		}
		now := since(all.Outside, before)
		if missing = a.Sent - now.Requests; now.Requests > a.Sent || int(missing) > kills*unreported || now.Active > 0 {
			return fmt.Sprintf("%d requests in the console, fewer only by what %d killed replicas had not reported; got %d, %d of them open",
				a.Sent, kills, now.Requests, now.Active)
		}
		return ""
	})
	c.t.Logf("the console counted all of %d requests but %d", a.Sent, missing)
}

func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("CROSSFADE_SEED")
	if text == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("CROSSFADE_SEED: %v", err)
	}
	return seed
}

// settled waits until a Deployment has n endpoints, all at their full share, none of them one of old.
func (c *chaos) settled(deployment string, n int, old ...endpoint) []endpoint {
	c.t.Helper()
	return awaitAll(c.t, deployment, n, func(e endpoint) bool {
		return e.Stage == "Serving" && !slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation })
	})
}

func (c *chaos) rescale() {
	c.t.Helper()
	c.extra = !c.extra
	scale(c.t, "reviews-v2", c.replicas())
	c.settled("reviews-v2", c.replicas())
}

// replicas are those of reviews-v2.
func (c *chaos) replicas() int {
	if c.extra {
		return 2
	}
	return 1
}

func (c *chaos) rollout(deployment string) {
	c.t.Helper()
	old := c.settled(deployment, 2)
	cli(c.t, "rollout", "restart", "deployment/"+deployment)
	c.settled(deployment, 2, old...)
}

func (c *chaos) reload() {
	c.t.Helper()
	saved(c.t, "config.applied", func() { c.m.setWindow(c.t, time.Duration(2000+c.rng.IntN(1000))*time.Millisecond) })
}

const brokenYAML = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec:
  hosts: [broken]
  htpp: []
`

func (c *chaos) breakConfig() {
	c.t.Helper()
	saved(c.t, "config.rejected", func() { c.m.write(c.t, "broken.yaml", brokenYAML) })
	if err := os.Remove(filepath.Join(c.m.dir, "broken.yaml")); err != nil {
		c.t.Fatal(err)
	}
	c.reload() // what is good again is applied
}

func (c *chaos) killControl() {
	c.t.Helper()
	c.m.killed(c.t, c.m.control(c.t), isControl)
	c.controlReady()
	c.reload() // it is heard
}

// victim is any replica of what the page, or the calls, cannot do without.
func (c *chaos) victim() endpoint {
	c.t.Helper()
	all := c.settled("reviews-v1", 2)
	all = append(all, c.settled("productpage-v1", 2)...)
	all = append(all, c.settled("echo", 2)...)
	return all[c.rng.IntN(len(all))]
}

func (c *chaos) killApplication() {
	c.t.Helper()
	e := c.victim()
	kill(c.t, c.m.application(c.t, e))
	c.settled(deploymentOf(e), 2, e)
}

// killAgent kills an agent, and with it the application: another of each takes their place.
func (c *chaos) killAgent() {
	c.t.Helper()
	e := c.victim()
	c.m.killed(c.t, c.m.agent(c.t, e), func(p proc) bool { return isBeside(p, e) })
	c.settled(deploymentOf(e), 2, e)
}

// killed kills a process and waits until another has taken its place.
func (m *mesh) killed(t *testing.T, before proc, match func(proc) bool) {
	t.Helper()
	kill(t, before)
	eventually(t, soon, func() string {
		for _, p := range m.find(t, match) {
			if p.pid != before.pid {
				return ""
			}
		}
		return "another process in the place of " + before.String()
	})
}
