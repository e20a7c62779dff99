package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// TestFindingsAreToldOnce saves a configuration again and again.
func TestFindingsAreToldOnce(t *testing.T) {
	warning := func(text string) config.Finding { return config.Finding{Severity: config.Warning, Message: text} }
	broken := func(text string) config.Finding { return config.Finding{Severity: config.Error, Message: text} }
	for _, told := range []bool{false, true} {
		c, _ := startControl(t)
		var log bytes.Buffer
		r := reader{control: c, log: slog.New(slog.NewTextHandler(&log, nil)), told: told}
		for _, save := range []struct {
			digest   string // "" is a configuration with errors
			findings []config.Finding
		}{
			{"1", []config.Finding{warning("w1"), warning("w1"), warning("w2")}},
			{"2", []config.Finding{warning("w1"), warning("w2")}},
			{"", []config.Finding{broken("e1"), broken("e2")}},
			{"3", []config.Finding{warning("w1"), warning("w3")}},
			{"4", []config.Finding{warning("w2")}}, // it was gone
		} {
			var d *fleet.Desired
			if save.digest != "" {
				d = &fleet.Desired{Digest: save.digest}
			}
			r.read(t.Context(), d, save.findings)
		}
		var got []string
		for _, e := range c.View().Events {
			if line := sentence(e); line != "" && e.Reason != "d" { // what startControl has configured
				got = append(got, line)
			}
		}
		line := func(f config.Finding) string { return f.String() }
		want := []string{
			"configuration applied (1)", line(warning("w1")), line(warning("w2")), "configuration applied (2)",
			"configuration not applied, what was in force stays so: " + line(broken("e1")) + ` (and 1 more: "crossfade validate DIR" lists them)`,
			"configuration applied (3)", line(warning("w3")), "configuration applied (4)", line(warning("w2")),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		logged := slices.DeleteFunc(strings.Split(log.String(), "\n"), func(s string) bool { return s == "" })
		if told && len(logged) > 0 || !told && len(logged) != 6 { // w1, w2, e1, e2, w3, w2
			t.Errorf("told %t: got log\n%s", told, log.String())
		}
	}
}
