package config

import (
	"maps"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// entryLimitTable are the limits of a WorkloadEntry, and of what looks like one.
var entryLimitTable = map[string]int{
	"address": 256, "locality": 2048, "network": 2048, "serviceAccount": 253, "labels": 256, "ports": 128,
}

// limitTable says how long a string, list or mapping may be, by kind and field, where Istio's schemas set a limit.
var limitTable = map[string]map[string]int{
	"DestinationRule": {"spec.workloadSelector.matchLabels": 4096, "spec.workloadSelector.matchLabels[]": 63},
	"ServiceEntry": merged(map[string]int{
		"spec.hosts": 256, "spec.addresses": 256, "spec.addresses[]": 64, "spec.endpoints": 4096,
		"spec.ports": 256, "spec.ports[].name": 256, "spec.ports[].protocol": 256,
		"spec.workloadSelector.labels": 256, "spec.workloadSelector.labels[]": 63,
	}, below("spec.endpoints[].", entryLimitTable)),
	"WorkloadEntry": below("spec.", entryLimitTable),
	"WorkloadGroup": merged(map[string]int{"spec.metadata.labels": 256, "spec.metadata.annotations": 256}, below("spec.template.", entryLimitTable)),
}

func below(path string, limits map[string]int) map[string]int {
	out := map[string]int{}
	for name, n := range limits {
		out[path+name] = n
	}
	return out
}

func merged(a, b map[string]int) map[string]int {
	maps.Copy(a, b)
	return a
}

// limit names a value that is longer than its field may be.
func (c *checker) limit(n *yaml.Node, v any, at spot) {
	most, limited := limitTable[c.kind.Name][at.pattern]
	if !limited {
		return
	}
	size, unit := 0, "entries"
	switch v := v.(type) {
	case string:
		size, unit = utf8.RuneCountInString(v), "characters"
	case []any:
		size = len(v)
	case map[string]any:
		size = len(v)
	}
	if size > most {
		c.report(placeOf(n), Invalid, at.path, "has %d %s; there may be %d at most", size, unit, most)
	}
}
