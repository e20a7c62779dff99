package main

import (
	"bytes"
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

func TestLocalityFlag(t *testing.T) {
	for text, want := range map[string]fleet.Locality{
		"": {}, "eu": {Region: "eu"}, "eu/a": {Region: "eu", Zone: "a"}, "eu/a/1": {Region: "eu", Zone: "a", SubZone: "1"},
	} {
		var f localityFlag
		if err := f.Set(text); err != nil || f.Locality != want || f.String() != text {
			t.Errorf("--locality %q: got %+v (%s), %v", text, f.Locality, f.String(), err)
		}
	}
	for _, command := range []string{"gateway --inbound 127.0.0.1:1=127.0.0.1:2", "up -f ."} {
		for _, text := range []string{"eu//a", "eu/*", "eu/a/1/x", "/a"} {
			var out, errs bytes.Buffer
			code := run(t.Context(), append(strings.Fields(command), "--locality", text), &out, &errs)
			if code != 2 || !strings.Contains(errs.String(), "write region, region/zone or region/zone/sub-zone") {
				t.Errorf("%s --locality %s: got %d, %q", command, text, code, errs.String())
			}
		}
	}
}
