package config

import (
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// The two of the slow starts' pitfalls that are matters of configuration; the others are named tests of balancer.

// Numbers that make no curve are refused, and a fraction where a percentage is meant shows in what is said.
func TestPitfall04NumbersThatMakeNoCurve(t *testing.T) {
	for _, tc := range []struct {
		curve string
		want  string // of what is said; "" when it is a curve
	}{
		{"minimumPercent: 0", ""},
		{"minimumPercent: 1e-9", ""},
		{"minimumPercent: 100", ""},
		{"minimumPercent: 100.1", "is no percentage; it must be between 0 and 100"},
		{"minimumPercent: -1", "is no percentage"},
		{"minimumPercent: .nan", "finite"},
		{"minimumPercent: .inf", "finite"},
		{"aggression: 0.01", ""},
		{"aggression: 100", ""},
		{"aggression: 0", "must be above 0"},
		{"aggression: -1", "must be above 0"},
		{"aggression: .nan", "finite"},
		{"aggression: -.inf", "finite"},
		{"aggression: 1e-30", "must be between 0.01 and 100"},
		{"aggression: 1e30", "must be between 0.01 and 100"},
	} {
		d, said := warmUp("simple: ROUND_ROBIN", tc.curve)
		if (d != nil) != (tc.want == "") || !strings.Contains(said, tc.want) {
			t.Errorf("%s: loads: %v, and says %q; want %q", tc.curve, d != nil, said, tc.want)
		}
	}
}

// Every combination of a warm-up with a balancer is in force, or refused, or warned about where it holds for a part
// of the requests.
func TestPitfall22CombinationsThatAreNotSupported(t *testing.T) {
	for _, tc := range []struct {
		balancer string
		loads    bool
		want     string
	}{
		{"simple: ROUND_ROBIN", true, ""},
		{"simple: LEAST_REQUEST", true, ""},
		{"simple: RANDOM", true, ""},
		{"consistentHash: {httpHeaderName: x-user}", true, ""},
		{"consistentHash: {httpQueryParameterName: user, maglev: {}}", true, ""},
		{"simple: PASSTHROUGH", true, "warm"},
		{"simple: ROUND_ROBIN, localityLbSetting: {enabled: true}", true, ""},
		{"simple: ROUND_ROBIN, zoneAwareLbSetting: {}", false, "zoneAwareLbSetting"},
		{"simple: ROUND_ROBIN, warmupDurationSecs: 10s", false, "only one of"},
	} {
		d, said := warmUp(tc.balancer, "minimumPercent: 10")
		if (d != nil) != tc.loads || !strings.Contains(said, tc.want) {
			t.Errorf("%s: loads: %v, and says %q; want %v and %q", tc.balancer, d != nil, said, tc.loads, tc.want)
			continue
		}
		if d != nil && d.Services[0].Pools[0].Policy.Warmup.Window == 0 {
			t.Errorf("%s: the warm-up is accepted and is not in force", tc.balancer)
		}
	}
}

// warmUp reads a rule with this balancer and this curve, and returns what comes of it and what is said.
func warmUp(balancer, curve string) (*fleet.Desired, string) {
	d, findings := Parse([]File{{Name: "a.yaml", Data: []byte(service("a", "default", 80) + istio("DestinationRule", "a", "default",
		`host: a, trafficPolicy: {loadBalancer: {`+balancer+`, warmup: {duration: 120s, `+curve+`}}}`))}}, options())
	return d, text(findings)
}
