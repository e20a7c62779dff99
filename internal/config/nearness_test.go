package config

import (
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// TestWhatTheOnlyGatewayLacks: what a localityLbSetting asks of a gateway that is alone and does not have it is a
// warning; of several nothing is known.
func TestWhatTheOnlyGatewayLacks(t *testing.T) {
	const (
		place = "localityLbSetting: balances by locality, and this gateway has none; start it with --locality REGION/ZONE"
		rack  = "localityLbSetting.failoverPriority[0]: this gateway carries no label rack, so that endpoints without it count as near; start it with --label rack=VALUE"
	)
	here := Options{Alone: true, Locality: fleet.Locality{Region: "eu", Zone: "a"}}
	racked := Options{Alone: true, Labels: map[string]string{"rack": "r1"}}
	for _, tt := range []struct {
		setting string
		options Options
		want    []string
	}{
		{"{enabled: true}", Options{Alone: true}, []string{place}},
		{"{enabled: true}", here, nil},
		{"{enabled: true}", Options{}, nil},
		{"{enabled: false}", Options{Alone: true}, nil},
		{"{failover: [{from: eu, to: us}]}", Options{Alone: true}, []string{place}},
		{"{failover: [{from: eu, to: us}]}", here, nil},
		{"{failoverPriority: [rack]}", Options{Alone: true}, []string{rack}},
		{"{failoverPriority: [rack]}", Options{}, nil},
		{"{failoverPriority: [rack]}", racked, nil},
		{"{failoverPriority: [rack=r1, app]}", Options{Alone: true}, nil},
		{"{failoverPriority: [topology.kubernetes.io/zone]}", racked, []string{place}},
		{"{failoverPriority: [topology.kubernetes.io/zone]}", here, nil},
		{"{failoverPriority: [rack], failover: [{from: eu, to: us}]}", Options{Alone: true}, []string{place, rack}},
		{`{distribute: [{from: "*", to: {eu: 100}}]}`, Options{Alone: true}, nil},
		{`{distribute: [{from: eu, to: {eu: 100}}]}`, Options{Alone: true}, []string{place}},
		{`{distribute: [{from: eu, to: {eu: 100}}]}`, here, nil},
	} {
		entry := istio("ServiceEntry", "a", "default", "hosts: [a.example.com], resolution: STATIC, ports: [{number: 80, name: http}], "+
			"endpoints: [{address: 10.0.0.1, locality: eu}, {address: 10.0.0.2, locality: us}]")
		rule := istio("DestinationRule", "a", "default", "host: a.example.com, trafficPolicy: {loadBalancer: {localityLbSetting: "+tt.setting+"}}")
		d, findings := Parse([]File{{Name: "a.yaml", Data: []byte(entry)}, {Name: "b.yaml", Data: []byte(rule)}}, tt.options)
		if d == nil {
			t.Fatalf("%s does not load:\n%s", tt.setting, text(findings))
		}
		for i, f := range findings {
			if f.Severity != Warning || f.Line == 0 || i >= len(tt.want) || !strings.HasSuffix(f.String(), tt.want[i]) {
				t.Errorf("%s with %+v: got %v", tt.setting, tt.options, f)
			}
		}
		if len(findings) != len(tt.want) {
			t.Errorf("%s with %+v: got %d findings, want %d", tt.setting, tt.options, len(findings), len(tt.want))
		}
	}
}

func TestParseLabel(t *testing.T) {
	for text, want := range map[string][2]string{
		"rack=r1": {"rack", "r1"}, "example.com/rack=": {"example.com/rack", ""},
		"rack": {}, "=r1": {}, "": {}, "a b=c": {}, "a=b=c": {}, "a=b c": {},
	} {
		name, value, err := ParseLabel(text)
		if got := [2]string{name, value}; got != want || (err == nil) != (want[0] != "") {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}
