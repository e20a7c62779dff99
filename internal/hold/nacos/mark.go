package nacos

import (
	"maps"
	"math"
	"strconv"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// weightKey is where a registration says its full weight.
const weightKey = registry.Prefix + "weight"

// change is what a mark changes of an instance.
func change(m hold.Mark, in wire.Instance) wire.Change {
	c := wire.Change{Metadata: says(m, in)}
	if w := weighed(in.Weight, m); w != in.Weight {
		c.Weight = &w
	}
	return c
}

// says is the metadata of a mark, as far as there is room. Of an instance whose application says a weight that is its weight,
// not what its agent knows.
func says(m hold.Mark, in wire.Instance) map[string]string {
	if _, is := m.Metadata[weightKey]; !is || in.Weight == 1 {
		return fitting(m.Metadata, in)
	}
	own := maps.Clone(m.Metadata) // a mark's is shared
	own[weightKey] = strconv.FormatFloat(in.Weight, 'g', -1, 64)
	return fitting(own, in)
}

// weighed is a weight with a mark. One that leaves has none: whoever is not enabled would be in no list any more, and nobody
// could read that it leaves. One that is a whole number stays one, and does not fall below 1: there are consumers that
// cut weights to whole numbers, and choose nobody who has 0 (nacos-sdk-go, which ends the program when all have it).
func weighed(weight float64, m hold.Mark) float64 {
	switch {
	case m.Leaving:
		return 0
	case m.Share == 0 || m.Share == 1:
		return weight
	case weight >= 1 && weight == math.Trunc(weight):
		return max(1, math.Round(weight*m.Share))
	}
	return weight * m.Share
}

// as returns an instance as consumers see it that is registered with a mark.
func as(in wire.Instance, m hold.Mark) wire.Instance {
	if add := says(m, in); len(add) > 0 {
		all := maps.Clone(add)
		for name, value := range in.Metadata {
			if _, ours := add[name]; !ours {
				all[name] = value
			}
		}
		in.Metadata = all
	}
	in.Weight = weighed(in.Weight, m)
	return in
}

// find returns the instance at an address.
func find(list []wire.Instance, ip string, port int) (wire.Instance, bool) {
	for _, in := range list {
		if in.IP == ip && in.Port == port {
			return in, true
		}
	}
	return wire.Instance{}, false
}

// A sight is what consumers see of an instance that was registered.
type sight uint8

const (
	missing sight = iota
	stale         // it is there, but not yet as it was registered, or an operator has changed it
	seen
)

// look compares what is listed with what was registered. Whoever is not enabled is not listed, nor, by some, who is not healthy.
func look(list []wire.Instance, want wire.Instance) sight {
	got, is := find(list, want.IP, want.Port)
	switch {
	case !want.Enabled && (!is || !got.Enabled), !want.Healthy && !is:
		return seen
	case !is:
		return missing
	case got.Enabled != want.Enabled || float32(got.Weight) != float32(want.Weight):
		return stale
	}
	for k, v := range want.Metadata {
		if got.Metadata[k] != v {
			return stale
		}
	}
	return seen
}

// nudge makes of a weight of 1 one that is as good. Registries are seen (r-nacos 0.8) that take a weight of 1 for one that was not
// said when an instance registers again, and keep the one it had: the last step of a ramp would be lost. This is the
// smallest number above 1 that they can tell from it.
func nudge(c wire.Change, in wire.Instance) wire.Change {
	w := in.Weight
	if c.Weight != nil {
		w = *c.Weight
	}
	if float32(w) == 1 {
		w = float64(math.Nextafter32(1, 2))
		c.Weight = &w
	}
	return c
}
