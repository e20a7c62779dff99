package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "one", "B": "$(A)", "E": ""}
	for in, want := range map[string]string{
		"":                 "",
		"plain":            "plain",
		"$(A)":             "one",
		"x$(A)y$(A)":       "xoney" + "one",
		"$(B)":             "$(A)", // once
		"$(E)!":            "!",
		"$(NONE)":          "$(NONE)",
		"$$(A)":            "$(A)",
		"$$$(A)":           "$one",
		"$A":               "$A",
		"$(A":              "$(A",
		"cost: 5$":         "cost: 5$",
		"$($(A))":          "$(one)",
		"a)$(A)":           "a)one",
		"$()":              "$()",
		"--port=$(A)$(C)$": "--port=one$(C)$",
	} {
		if got := expand(in, values); got != want {
			t.Errorf("expand(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestExpandLeavesTheRestAlone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.StringMatching(`[$()A-C$]{0,12}`).Draw(rt, "s")
		if got, want := expand(s, nil), strings.ReplaceAll(s, "$$", "$"); got != want {
			rt.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestEnvironment(t *testing.T) {
	w := &fleet.Workload{
		Namespace: "shop",
		Ports:     []fleet.ContainerPort{{Name: "http", Number: 9080}, {Number: 9090}},
		Env: []fleet.EnvVar{
			{Name: "ME", Field: "metadata.name"},
			{Name: "AT", Field: "status.podIP"},
			{Name: "IN", Field: "metadata.namespace"},
			{Name: "URL", Value: "http://$(AT):$(PORT)/$(LATER)"},
			{Name: "LATER", Value: "x"},
			{Name: "HTTP_PROXY", Value: ""},
		},
	}
	got := environment(w, "web-1", homeAt(5), "127.0.0.1:15001")
	want := []variable{
		{"HOST", "127.2.0.5"},
		{"PORT", "9080"},
		{"POD_IP", "127.1.0.5"},
		{"POD_NAME", "web-1"},
		{"POD_NAMESPACE", "shop"},
		{"HTTP_PROXY", "http://web-1:@127.0.0.1:15001"},
		{"http_proxy", "http://web-1:@127.0.0.1:15001"},
		{"NO_PROXY", "127.0.0.0/8,localhost,::1"},
		{"no_proxy", "127.0.0.0/8,localhost,::1"},
		{"ME", "web-1"},
		{"AT", "127.1.0.5"},
		{"IN", "shop"},
		{"URL", "http://127.1.0.5:9080/$(LATER)"},
		{"LATER", "x"},
		{"HTTP_PROXY", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(variable{})); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestFind(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, path := range []string{filepath.Join(dir, "app"), filepath.Join(other, "app"), filepath.Join(other, "sh")} {
		if err := os.WriteFile(path, nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sh"), nil, 0o600); err != nil { // not a program
		t.Fatal(err)
	}
	for program, want := range map[string]string{
		"app":      filepath.Join(dir, "app"),
		"sh":       filepath.Join(other, "sh"),
		"./here":   "/srv/here",
		"/usr/x":   "/usr/x",
		"sub/here": "/srv/sub/here",
	} {
		if got, err := find(program, "/srv", []string{dir, other}); got != want || err != nil {
			t.Errorf("find(%q): got %q, %v, want %q", program, got, err, want)
		}
	}
	if got, err := find("env", "", nil); err != nil || filepath.Base(got) != "env" {
		t.Errorf("find(env): got %q, %v, want it in PATH", got, err)
	}
	if _, err := find("no-such-program", "", []string{dir}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want an error that names %s", err, dir)
	}
}
