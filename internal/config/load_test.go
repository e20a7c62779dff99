package config

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// options are those of a gateway on a laptop.
func options() Options { return Options{PortOffset: 8000, MeshAddress: "127.0.0.1:15001"} }

// TestBroken loads what is wrong in one way or another; the golden files hold the lines that people see.
func TestBroken(t *testing.T) {
	for _, file := range glob(t, "testdata/broken/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			desired, findings := Load(file, options())
			if desired != nil {
				t.Errorf("%s loads", file)
			}
			var lines strings.Builder
			for _, f := range findings {
				f.File = filepath.Base(f.File)
				lines.WriteString(strings.ReplaceAll(f.String(), "testdata/broken/", "") + "\n")
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", lines.String())
		})
	}
}

// TestGood loads what is right; the golden files hold everything that comes of it.
func TestGood(t *testing.T) {
	for _, file := range glob(t, "testdata/good/*.yaml") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			desired, findings := Load(file, options())
			if desired == nil {
				t.Fatalf("%s does not load:\n%s", file, text(findings))
			}
			data, err := json.MarshalIndent(struct {
				*fleet.Desired
				Findings []Finding `json:",omitempty"`
			}{desired, findings}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden.json", string(data)+"\n")
		})
	}
}

func glob(tb testing.TB, pattern string) []string {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		tb.Fatalf("%s: no files (%v)", pattern, err)
	}
	return files
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("differs from %s (-want +got); if it is right, run go test -update:\n%s", file, diff)
	}
}

func text(findings []Finding) string {
	var lines strings.Builder
	for _, f := range findings {
		lines.WriteString(f.String() + "\n")
	}
	return lines.String()
}

// within says whether a field is another one, or below it.
func within(field, other string) bool {
	rest, ok := strings.CutPrefix(field, other)
	return ok && other != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
