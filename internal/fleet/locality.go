package fleet

import (
	"cmp"
	"fmt"
	"strings"
)

// WarmupLabel is the label by which an instance says "off" to warm-up: it gets its full share as soon as it is
// offered. "on" is what holds without the label. Nothing else is a value of it.
const WarmupLabel = "crossfade.dev/warmup"

// The labels by which an instance says where it is.
const (
	localityLabel = "topology.istio.io/locality" // "region.zone.sub-zone"; labels of Kubernetes cannot hold "/"
	olderLocality = "istio-locality"             // likewise, under its older name
	regionLabel   = "topology.kubernetes.io/region"
	zoneLabel     = "topology.kubernetes.io/zone"
	subZoneLabel  = "topology.istio.io/subzone"
)

// A LabelError says which label does not say what it should, and what to write instead.
type LabelError struct {
	Label   string
	Message string
}

func (e *LabelError) Error() string { return e.Label + ": " + e.Message }

// ParseLocality reads "region", "region/zone" or "region/zone/sub-zone"; "" is nowhere in particular.
func ParseLocality(s string) (Locality, error) {
	if s == "" {
		return Locality{}, nil
	}
	parts := strings.Split(s, "/")
	for _, part := range parts {
		if part == "" || len(parts) > 3 || strings.ContainsAny(part, "* ") {
			return Locality{}, fmt.Errorf("%q is no place; write region, region/zone or region/zone/sub-zone", s)
		}
	}
	parts = append(parts, "", "")
	return Locality{Region: parts[0], Zone: parts[1], SubZone: parts[2]}, nil
}

// String is what [ParseLocality] reads.
func (l Locality) String() string {
	return strings.TrimRight(l.Region+"/"+l.Zone+"/"+l.SubZone, "/")
}

// LocalityOf reads where an instance is from its labels: topology.istio.io/locality, else istio-locality, else those
// of region, zone and sub-zone together, as Istio does; none is nowhere in particular. The error is a [*LabelError].
func LocalityOf(labels map[string]string) (Locality, error) {
	for _, label := range []string{localityLabel, olderLocality} {
		text := labels[label]
		if text == "" {
			continue
		}
		if !strings.Contains(text, "/") {
			text = strings.ReplaceAll(text, ".", "/")
		}
		l, err := ParseLocality(text)
		if err != nil {
			return Locality{}, &LabelError{label, fmt.Sprintf("%q is no place; write region.zone.sub-zone, or its first parts", labels[label])}
		}
		return l, nil
	}
	l := Locality{Region: labels[regionLabel], Zone: labels[zoneLabel], SubZone: labels[subZoneLabel]}
	switch {
	case l.Region == "" && l.Zone+l.SubZone != "":
		return Locality{}, &LabelError{cmp.Or(present(labels, zoneLabel), subZoneLabel), "a place has a region first; add the label " + regionLabel}
	case l.Zone == "" && l.SubZone != "":
		return Locality{}, &LabelError{subZoneLabel, "a sub-zone is part of a zone; add the label " + zoneLabel}
	}
	return l, nil
}

// present returns label where labels has a value for it, and "" otherwise.
func present(labels map[string]string, label string) string {
	if labels[label] == "" {
		return ""
	}
	return label
}
