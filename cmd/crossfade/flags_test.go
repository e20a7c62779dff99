package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		for _, text := range []string{"eu.a", "eu.a.1"} {
			var out, errs bytes.Buffer
			code := run(t.Context(), append(strings.Fields(command), "--locality", text), &out, &errs)
			if want := "did you mean " + strings.ReplaceAll(text, ".", "/"); code != 2 || !strings.Contains(errs.String(), want) {
				t.Errorf("%s --locality %s: got %d, %q, want %q", command, text, code, errs.String(), want)
			}
		}
		for _, text := range []string{"eu//a", "eu/*", "eu/a/1/x", "/a"} {
			var out, errs bytes.Buffer
			code := run(t.Context(), append(strings.Fields(command), "--locality", text), &out, &errs)
			if code != 2 || !strings.Contains(errs.String(), "write region, region/zone or region/zone/sub-zone") {
				t.Errorf("%s --locality %s: got %d, %q", command, text, code, errs.String())
			}
		}
	}
}

func TestLabelFlags(t *testing.T) {
	var f labelFlags
	for _, text := range []string{"rack=r1", "app=edge", "rack=r1"} {
		if err := f.Set(text); err != nil {
			t.Errorf("--label %s: %v", text, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"istio": "ingressgateway", "app": "edge", "rack": "r1"}, f.all()); diff != "" {
		t.Errorf("labels of the gateway (-want +got):\n%s", diff)
	}
	if got, want := f.String(), "app=edge,rack=r1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for text, want := range map[string]string{"rack": "write NAME=VALUE", "=r1": "write NAME=VALUE", "rack=r2": "rack is r1 already"} {
		if err := f.Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--label %s: got %v, want %q", text, err, want)
		}
	}
}

// TestAddressOfAGateway: --address is an IP address, and for those that follow a control.
func TestAddressOfAGateway(t *testing.T) {
	for line, want := range map[string]string{
		"gateway --feed unix:feed.sock --address here":                                      "ParseAddr",
		"gateway --feed unix:feed.sock --address 127.0.0.1:80":                              "ParseAddr",
		"gateway --inbound 127.0.0.1:1=127.0.0.1:2 --address 127.0.0.5":                     "--address is for a gateway that follows a control",
		"gateway --feed unix:feed.sock --label rack":                                        "write NAME=VALUE",
		"up -f . --label rack":                                                              "write NAME=VALUE",
		"control -f . --socket feed.sock --locality eu.a":                                   "did you mean eu/a",
		"gateway --feed unix:feed.sock --label rack=r1 --label rack=r2 --address 127.0.0.5": "rack is r1 already",
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(line), &out, &errs); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: got %d, %q, want 2, %q", line, code, errs.String(), want)
		}
	}
}
