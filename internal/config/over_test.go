package config

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	overService   = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: {app: a}, ports: [{port: 80}]}\n"
	overLifecycle = "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: a}\nspec: {warmupRequests: {file: requests.yaml}}\n"
	overRequests  = "apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: a}\nspec: {requests: [{path: /ready}]}\n"
)

// TestFilesAreLaidOver compares a directory with files laid over it to one in which they are.
func TestFilesAreLaidOver(t *testing.T) {
	write := func(files map[string]string) string {
		dir := filepath.Join(t.TempDir(), "config")
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	there := map[string]string{"a.yaml": overService, "sub/life.yaml": overLifecycle, "sub/requests.yaml": overRequests}
	tests := map[string]map[string]string{ // what is laid over; "" is a file that goes
		"nothing":                {},
		"another text":           {"a.yaml": "# x\n" + overService},
		"a new file":             {"b.yaml": "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec: {host: a}\n"},
		"a file goes":            {"sub/life.yaml": ""},
		"one that another names": {"sub/requests.yaml": ""},
		"a mistake":              {"a.yaml": "kind: [\n"},
		"all go":                 {"a.yaml": "", "sub/life.yaml": "", "sub/requests.yaml": ""},
	}
	for name, over := range tests {
		t.Run(name, func(t *testing.T) {
			dir, want := write(there), maps.Clone(there)
			laid := map[string][]byte{}
			for file, text := range over {
				want[file] = text
				laid[filepath.Join(dir, file)] = []byte(text)
				if text == "" {
					delete(want, file)
					laid[filepath.Join(dir, file)] = nil
				}
			}
			got, gotFindings := LoadOver(dir, laid, Options{})
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range want {
				path := filepath.Join(dir, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			plain, plainFindings := Load(dir, Options{})
			if diff := cmp.Diff(plain, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(plainFindings, gotFindings); diff != "" {
				t.Error(diff)
			}
		})
	}
}
