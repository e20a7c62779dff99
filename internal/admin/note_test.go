package admin

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// TestEventsSayWhy looks for what happened in the sentence about where that has led.
func TestEventsSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now()
		w := spread(fleet.Policy{Warmup: fleet.Warmup{Window: time.Minute, Minimum: 0.1}}, fleet.Locality{}, func(s *fleet.Service) {
			s.Endpoints[0].Age, s.Endpoints[0].Stage = time.Minute, fleet.Starting
			for i := 1; i < 3; i++ { // nobody is warm
				s.Endpoints[i].Age, s.Endpoints[i].Stage = 10*time.Second, fleet.Warming
			}
			s.Pools[0].Members[2] = fleet.Member{Endpoint: 2, Base: 0.048, At: 3 * time.Second, Manual: true, Paused: true}
		})
		w.View.Events = []fleet.Event{
			{Time: at, Kind: "warmup.resumed", Incarnation: "3", Reason: "by bob, at 1 % of the way"},
			{Time: at, Kind: "warmup.paused", Incarnation: "3", Reason: "by alice, at 4 % of the way"},
			{Time: at, Kind: "warmup.paused", Incarnation: "2", Reason: "by mallory, at 5 % of the way"},
			{Time: at, Kind: "probe.failed", Incarnation: "1", Reason: "no answer in time: 1s"},
			{Time: at, Kind: "readiness.lost", Incarnation: "1", Reason: "its own readiness probe fails"},
			{Time: at, Kind: "readiness.lost", Incarnation: "2", Reason: "something else"},
		}
		got := get(t, serve(w), "/api/v1/explain")
		for _, want := range []string{
			"is Starting: it was in service until " + at.Local().Format(time.TimeOnly) + "; its own readiness probe fails: no answer in time: 1s. It gets nothing.",
			"Reason: bypass-all-cold: everybody is warming up, so shares are relative to the warmest. Its way up is paused by alice, at 4 % of the way.",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("got\n%s\nwant %q", got, want)
			}
		}
		if strings.Contains(got, "mallory") || strings.Contains(got, "something else") {
			t.Errorf("got\n%s\nwant only what is true still", got)
		}

		// A probe that has passed since says nothing about why.
		w.View.Events = append(w.View.Events, fleet.Event{Time: at, Kind: "probe.passed", Incarnation: "1"})
		if got := get(t, serve(w), "/api/v1/explain"); !strings.Contains(got, "its own readiness probe fails. It gets nothing.") {
			t.Errorf("got\n%s\nwant no reason of a probe that passes", got)
		}
	})
}

// TestStartingSaysWhatItWaitsFor: checks are not all that keeps a new instance from requests.
func TestStartingSaysWhatItWaitsFor(t *testing.T) {
	for _, c := range []struct{ kind, reason, want string }{
		{"probe.failed", "connection refused", "is Starting: its probe fails: connection refused. It gets nothing."},
		{"warmup.requests.started", "3 kinds of requests", "is Starting: its agent sends it warm-up requests: 3 kinds of requests. It gets nothing."},
		{"warmup.requests.progress", "514 sent", "is Starting: its agent sends it warm-up requests: 514 sent. It gets nothing."},
		{"registration.delayed", "by 3s", "is Starting: its registration is delayed by 3s. It gets nothing."},
		{"registration.failed", "permission denied", "is Starting: it is not registered: permission denied. It gets nothing."},
		{"probe.passed", "", "is Starting: it has not passed its checks yet. It gets nothing."},
		{"instance.started", "", "is Starting: it has not passed its checks yet. It gets nothing."},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := spread(fleet.Policy{}, fleet.Locality{}, func(s *fleet.Service) { s.Endpoints[0].Stage, s.Endpoints[0].Age = fleet.Starting, 0 })
			w.View.Events = []fleet.Event{{Kind: "probe.passed", Incarnation: "1"}, {Kind: c.kind, Incarnation: "1", Reason: c.reason}, {Kind: "probe.failed", Incarnation: "2", Reason: "not its own"}}
			if got := get(t, serve(w), "/api/v1/explain"); !strings.Contains(got, c.want) {
				t.Errorf("%s: got\n%s\nwant %q", c.kind, got, c.want)
			}
		})
	}
}

// TestDrainedIsNeverFull holds that who gets nothing by its weight is not promised the end of its warm-up.
func TestDrainedIsNeverFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for factor, promised := range map[float64]bool{0: false, 0.5: true} {
			w := spread(fleet.Policy{Warmup: fleet.Warmup{Window: time.Minute}}, fleet.Locality{}, func(s *fleet.Service) {
				s.Endpoints[0].Age, s.Endpoints[0].Stage, s.Endpoints[0].Factor = 10*time.Second, fleet.Warming, &factor
			})
			if got := get(t, serve(w), "/api/v1/explain"); strings.Contains(got, "Full in 50 s") != promised {
				t.Errorf("weight × %v: got\n%s\nwant a promise: %t", factor, got, promised)
			}
		}
	})
}

// TestNobodySaidWhere holds that a policy about places says so where it cannot work.
func TestNobodySaidWhere(t *testing.T) {
	near := fleet.Policy{Locality: &fleet.LocalityPolicy{}}
	spread80 := fleet.Policy{Locality: &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{From: "*", To: map[string]uint32{"eu/*": 80, "us/*": 20}}}}}
	labelled := fleet.Policy{Locality: &fleet.LocalityPolicy{Priority: []string{"tier=gold"}}}
	for want, policy := range map[string]fleet.Policy{
		"Requests would stay near, but nobody said where this program stands (--locality): everybody is equally near.": near,
		`nobody said where this program stands (--locality), so only from: \"*\" holds for it: eu/* gets 80 %`:         spread80,
		"Requests stay near, by tier=gold: ": labelled,
	} {
		if got := get(t, serve(spread(policy, fleet.Locality{}, nil)), "/api/v1/explain"); !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant %q", got, want)
		}
	}
	control := spread(near, fleet.Locality{}, nil)
	control.Pools = nil // it does not balance
	if got := get(t, serve(control), "/api/v1/explain"); !strings.Contains(got, "Requests stay near the gateway that sends them.") {
		t.Errorf("got\n%s\nwant whose place counts", got)
	}
}

func TestPolicyTexts(t *testing.T) {
	for _, tt := range []struct {
		policy           fleet.Policy
		algorithm, curve string
		sentence         string
	}{
		{fleet.Policy{}, "LEAST_REQUEST", "off", "Warm-up is off"},
		{
			fleet.Policy{Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1}, Locality: &fleet.LocalityPolicy{}},
			"LEAST_REQUEST, near first", "2 m from 10 %", "Warm-up takes 2 m: 10 % for the first 12 s, then in a straight line with time to 100 %",
		},
		{
			fleet.Policy{Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 2}, Locality: &fleet.LocalityPolicy{Priority: []string{"rack", "zone"}}},
			"LEAST_REQUEST, near by rack, zone", "2 m from 10 %, p^0.5", "Warm-up takes 2 m: 10 % for the first 1.2 s, then along progress^0.5 to 100 %",
		},
		{
			fleet.Policy{Algorithm: fleet.RingHash, Hash: &fleet.Hash{Header: "u"}, Warmup: fleet.Warmup{Window: time.Minute}, Locality: &fleet.LocalityPolicy{Distribute: []fleet.Distribution{{}}}},
			"RING_HASH by header u, distributed", "1 m from 0 %", "Warm-up takes 1 m: from 0 to 100 % in a straight line with time",
		},
		{
			fleet.Policy{Warmup: fleet.Warmup{Window: time.Minute, Minimum: 1}},
			"LEAST_REQUEST", "1 m from 100 %", "Warm-up takes 1 m, from 100 %: it makes no difference",
		},
	} {
		p := PoolStatus{Policy: tt.policy}
		if got := p.AlgorithmText(); got != tt.algorithm {
			t.Errorf("algorithm: got %q, want %q", got, tt.algorithm)
		}
		if got := p.WarmupText(); got != tt.curve {
			t.Errorf("warm-up: got %q, want %q", got, tt.curve)
		}
		if got := warmupSentence(p); !strings.HasPrefix(got, tt.sentence) {
			t.Errorf("warm-up: got %q, want %q", got, tt.sentence)
		}
	}
}

// TestEveryReasonIsExplained reads the reasons that there are, and looks for each in words and in the guide.
func TestEveryReasonIsExplained(t *testing.T) {
	source, err := os.ReadFile("../warmup/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/guides/balancing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(guide), "\n## What REASON says\n")
	table, _, _ = strings.Cut(table, "\n## ")
	reasons := regexp.MustCompile(`Reason += "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if !found || len(reasons) < 10 {
		t.Fatalf("got %d reasons, and the section of the guide: %v", len(reasons), found)
	}
	for _, r := range reasons {
		reason := warmup.Reason(r[1])
		if !strings.Contains(table, "\n| `"+r[1]+"` |") {
			t.Errorf("docs/guides/balancing.md: %q has no row", reason)
		}
		said := because(EndpointStatus{Ramp: &Ramp{Reason: reason}}, fleet.Policy{})
		if reason != warmup.BypassSingle && said == string(reason) { // that one has a sentence of its own
			t.Errorf("%q is not said in words", reason)
		}
	}
}

// TestWarmupTextOfOwn: what endpoints go by themselves stands where the pool has none.
func TestWarmupTextOfOwn(t *testing.T) {
	short := OwnWarmup{Warmup: fleet.Warmup{Window: time.Minute, Minimum: 0.1}, Endpoints: 2}
	long := OwnWarmup{Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5}, Endpoints: 1}
	for want, own := range map[string][]OwnWarmup{
		"off": nil, "own: 2 m from 10 %, p^2": {long}, "own: 1 m to 2 m": {short, long},
	} {
		if got := (PoolStatus{Own: own}).WarmupText(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p := PoolStatus{Policy: fleet.Policy{Warmup: fleet.Warmup{Window: time.Minute}}, Own: []OwnWarmup{long}}
	if got, want := p.WarmupText(), "1 m from 0 %"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
