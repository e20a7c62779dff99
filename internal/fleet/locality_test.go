package fleet_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

func TestParseLocality(t *testing.T) {
	for text, want := range map[string]fleet.Locality{
		"":       {},
		"eu":     {Region: "eu"},
		"eu/a":   {Region: "eu", Zone: "a"},
		"eu/a/1": {Region: "eu", Zone: "a", SubZone: "1"},
	} {
		if got, err := fleet.ParseLocality(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"/", "/a", "eu/", "eu//1", "eu/a/1/x", "*", "eu/*", "eu/a b"} {
		if got, err := fleet.ParseLocality(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// TestLocalityIsReadBack holds String against ParseLocality.
func TestLocalityIsReadBack(t *testing.T) {
	part := rapid.StringMatching(`[a-z0-9.-]{1,5}`)
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.Locality{Region: part.Draw(t, "region")}
		if rapid.Bool().Draw(t, "has a zone") {
			want.Zone = part.Draw(t, "zone")
			want.SubZone = rapid.OneOf(part, rapid.Just("")).Draw(t, "sub-zone")
		}
		if got, err := fleet.ParseLocality(want.String()); err != nil || got != want {
			t.Errorf("%v: got %+v, %v, want %+v", want, got, err, want)
		}
	})
}

func TestLocalityOfLabels(t *testing.T) {
	const region, zone, sub = "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"
	for _, c := range []struct {
		labels map[string]string
		want   string // the locality, or the label that is wrong
		wrong  bool
	}{
		{nil, "", false},
		{map[string]string{"istio-locality": "eu.a.1"}, "eu/a/1", false},
		{map[string]string{"istio-locality": "eu/west.a"}, "eu/west.a", false}, // with a slash, dots are part of names
		{map[string]string{"istio-locality": "eu", "topology.istio.io/locality": "us.b"}, "us/b", false},
		{map[string]string{"istio-locality": "eu.a", region: "us", zone: "b"}, "eu/a", false},
		{map[string]string{"istio-locality": "", region: "us"}, "us", false},
		{map[string]string{region: "us", zone: "b", sub: "2"}, "us/b/2", false},
		{map[string]string{"istio-locality": "eu..1"}, "istio-locality", true},
		{map[string]string{"topology.istio.io/locality": "a.b.c.d"}, "topology.istio.io/locality", true},
		{map[string]string{zone: "b"}, zone, true},
		{map[string]string{sub: "2"}, sub, true},
		{map[string]string{region: "us", sub: "2"}, sub, true},
	} {
		got, err := fleet.LocalityOf(c.labels)
		var wrong *fleet.LabelError
		switch {
		case c.wrong && (!errors.As(err, &wrong) || wrong.Label != c.want):
			t.Errorf("%v: got %v, %v, want an error about %s", c.labels, got, err, c.want)
		case !c.wrong && (err != nil || got.String() != c.want):
			t.Errorf("%v: got %v, %v, want %s", c.labels, got, err, c.want)
		}
	}
}
