package effects

import (
	"slices"
	"strings"
	"testing"

	"crossfade.dev/internal/config"
)

func effects(t *testing.T) []effect {
	t.Helper()
	return slices.Concat(fronting(t), matching(), acting(), binding(), balancing(), entries(), orchestrated(), outward(t), versions(t), limits(), lifecycles())
}

func TestEveryFieldChangesTraffic(t *testing.T) {
	for _, e := range effects(t) {
		t.Run(e.fields[0], func(t *testing.T) {
			t.Parallel()
			e.check(t)
		})
	}
}

// quietTable are the fields that are applied and change no traffic by themselves, with what they change instead.
var quietTable = map[string]string{
	"Deployment": "which processes run: internal/local and test/e2e show it",
	"DestinationRule metadata.annotations[crossfade.dev/load-reports]": "what clients are told: TestLoadReportsPassWhereTheyMay in internal/proxy and TestInterop in test/e2e show it",
	"IstioGateway":                              "how many processes serve, and how long their requests have when one leaves: TestDrainTimeoutFollowsTheAnnotation in internal/gateway, internal/supervisor and test/e2e show it",
	"WorkloadGroup spec.probe":                  "when control offers an instance: internal/health shows it",
	"EndpointSlice endpoints[].targetRef":       newIncarnation,
	"Endpoints subsets[].addresses[].targetRef": newIncarnation,
	"Pod metadata.uid":                          newIncarnation,
	"Lifecycle spec.registration":               comesUp,
	"Lifecycle spec.warmupRequests":             comesUp,
	"Lifecycle spec.readiness":                  comesUp,
	"Lifecycle spec.drain":                      "how long an instance waits for its callers when it leaves: internal/agent and test/e2e show it",
	"Lifecycle spec.front":                      "what an agent's front passes on while its instance is cold: internal/proxy shows it",
	"WarmupRequests":                            comesUp,
	"Agent":                                     "what an agent does beside one instance: internal/agent, cmd/crossfade and test/e2e show it",
}

const (
	comesUp        = "what an instance does before anybody may send to it: internal/agent, internal/warmer and test/e2e show it"
	newIncarnation = "what an endpoint is called, and whether it is the one from before, so that it warms up: internal/control shows it"
)

// quiet says whether a field, or what it is part of, is in quietTable.
func quiet(kind, field string) bool {
	for name := range quietTable {
		if full := kind + " " + field; full == name || strings.HasPrefix(full, name+".") || kind == name {
			return true
		}
	}
	return false
}

// TestEffectsAreComplete fails when a field is applied and nothing above shows it, and when something above is not
// applied any more.
func TestEffectsAreComplete(t *testing.T) {
	shown := map[string]bool{}
	for _, e := range effects(t) {
		for _, f := range e.fields {
			shown[f] = true
		}
	}
	applied := map[string]bool{}
	for _, k := range config.Kinds() {
		for _, d := range k.Decisions {
			if d.Effect != config.Applied || metadata(d.Field) {
				continue
			}
			name := k.Name + " " + d.Field
			applied[name] = true
			onlyDefault := len(d.Values) == 1 // nothing else could be shown
			if !onlyDefault && !shown[name] && !quiet(k.Name, d.Field) {
				t.Errorf("%s is applied, but nothing shows that it changes traffic", name)
			}
			if shown[name] && quiet(k.Name, d.Field) {
				t.Errorf("%s is said to change no traffic, but it does", name)
			}
		}
	}
	for name := range shown {
		if _, field, _ := strings.Cut(name, " "); !applied[name] && !metadata(field) {
			t.Errorf("%s is shown, but it is not applied", name)
		}
	}
}

// metadata says whether a field only says which object it is in, as those of every kind do.
func metadata(field string) bool {
	for _, k := range config.Kinds() {
		if !slices.ContainsFunc(k.Decisions, func(d config.Decision) bool { return d.Field == field }) {
			return false
		}
	}
	return true
}
