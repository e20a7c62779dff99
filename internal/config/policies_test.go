package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// TestPartsOfATrafficPolicyAreReplacedOneByOne: a subset that sets one part has the others of its rule; a port
// that sets one part has the defaults of the others.
func TestPartsOfATrafficPolicyAreReplacedOneByOne(t *testing.T) {
	d := mustParse(t, service("a", "default", 80, 81), istio("DestinationRule", "a", "default",
		`host: a, trafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {minHealthPercent: 50}, portLevelSettings: [{port: {number: 81}, outlierDetection: {minHealthPercent: 10}}]},
		subsets: [{name: same}, {name: health, trafficPolicy: {outlierDetection: {minHealthPercent: 20}}}, {name: balancer, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}},
		{name: port, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: PASSTHROUGH}}]}}]`))
	want := map[string]fleet.Policy{
		"a:80":          {Algorithm: fleet.Random, Panic: 0.5},
		"a:80/same":     {Algorithm: fleet.Random, Panic: 0.5},
		"a:80/health":   {Algorithm: fleet.Random, Panic: 0.2},
		"a:80/balancer": {Algorithm: fleet.RoundRobin, Panic: 0.5},
		"a:80/port":     {Algorithm: fleet.Passthrough},
		"a:81":          {Panic: 0.1},
		"a:81/same":     {Panic: 0.1},
		"a:81/health":   {Panic: 0.2},
		"a:81/balancer": {Algorithm: fleet.RoundRobin, Panic: 0.1},
		"a:81/port":     {Algorithm: fleet.RoundRobin, Panic: 0.1},
	}
	got := map[string]fleet.Policy{}
	for _, s := range d.Services {
		for _, p := range s.Pools {
			got[strings.TrimRight(s.Name+"/"+p.Subset, "/")] = p.Policy
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
}

// wellFormed says what is wrong with a policy that a data plane is handed; "" is nothing.
func wellFormed(p *fleet.Policy) string {
	hashes := p.Algorithm == fleet.RingHash || p.Algorithm == fleet.Maglev
	if hashes != (p.Hash != nil) {
		return "a hash belongs to a consistent hash"
	}
	if h := p.Hash; h != nil {
		keys := 0
		for _, set := range []bool{h.Header != "", h.Cookie != nil, h.Query != "", h.SourceIP} {
			if set {
				keys++
			}
		}
		if keys != 1 || h.TableSize > 8<<20 || h.Bound != 0 && !(h.Bound >= 1) {
			return "a hash has one key, a table that fits and no bound below 1"
		}
	}
	if !(p.Panic >= 0 && p.Panic <= 1) {
		return "panic is a fraction"
	}
	if p.Locality == nil {
		return ""
	}
	for _, d := range p.Locality.Distribute {
		sum := uint32(0)
		for _, weight := range d.To {
			sum += weight
		}
		if sum != 100 || d.From == "" {
			return "a distribution is from somewhere and sums to 100"
		}
	}
	return ""
}

// inPlace says whether a locality lies in a place as fleet.Distribution writes it: the dumb way.
func inPlace(place string, l fleet.Locality) bool {
	parts := strings.Split(place, "/")
	for i, name := range []string{l.Region, l.Zone, l.SubZone} {
		if parts[i] == "*" {
			return true
		}
		if parts[i] != name {
			return false
		}
	}
	return true
}

// TestPlacesOfADistributionDoNotOverlap draws places: they load exactly when no endpoint could be in two of them.
func TestPlacesOfADistributionDoNotOverlap(t *testing.T) {
	names := []string{"a", "b", "*"}
	place := rapid.Custom(func(t *rapid.T) string {
		parts := []string{rapid.SampledFrom(names).Draw(t, "region")}
		for len(parts) < 3 && parts[len(parts)-1] != "*" && rapid.Bool().Draw(t, "more") {
			parts = append(parts, rapid.SampledFrom(names).Draw(t, "part"))
		}
		return strings.Join(parts, "/")
	})
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(place, 1, 4, rapid.ID).Draw(t, "places")
		var to []string
		for i, p := range list {
			weight := 1
			if i == 0 {
				weight = 101 - len(list)
			}
			to = append(to, fmt.Sprintf("%q: %d", p, weight))
		}
		d, findings := Parse([]File{{Name: "x.yaml", Data: []byte(service("s", "default", 80) + istio("DestinationRule", "s", "default",
			`host: s, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: "*", to: {`+strings.Join(to, ", ")+"}}]}}}"))}}, options())
		if d == nil {
			if !overlap(list) {
				t.Errorf("%v overlap nowhere, and do not load:\n%s", list, text(findings))
			}
			return
		}
		if overlap(list) {
			t.Errorf("%v overlap, and load", list)
		}
		read := d.Services[0].Pools[0].Policy.Locality.Distribute[0].To
		for _, l := range localities() {
			held := 0
			for p := range read {
				if inPlace(p, l) {
					held++
				}
			}
			if held > 1 {
				t.Errorf("%v lies in %d places of %v", l, held, read)
			}
		}
	})
}

// overlap says whether there is a locality that two places hold, as people write them: "a" is all of a.
func overlap(places []string) bool {
	for _, l := range localities() {
		held := 0
		for _, p := range places {
			if inPlace(p+strings.Repeat("/*", 3), l) {
				held++
			}
		}
		if held > 1 {
			return true
		}
	}
	return false
}

func localities() []fleet.Locality {
	var list []fleet.Locality
	for _, region := range []string{"a", "b", "c"} {
		for _, zone := range []string{"a", "b", "c"} {
			for _, sub := range []string{"a", "b", "c"} {
				list = append(list, fleet.Locality{Region: region, Zone: zone, SubZone: sub})
			}
		}
	}
	return list
}
