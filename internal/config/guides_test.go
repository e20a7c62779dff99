package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestYAMLInGuidesLoads loads every example of every guide as it stands, with the services around it that it takes
// for granted. Nobody should find fault with what we tell people to write.
func TestYAMLInGuidesLoads(t *testing.T) {
	around, err := os.ReadFile("testdata/istio/around/services.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range glob(t, "../../docs/guides/*.md") {
		for _, example := range examples(t, file) {
			t.Run(example.Name, func(t *testing.T) {
				files := []File{example, readSample(t, "testdata/istio/around/gateway.yaml")}
				for i, document := range bytes.Split(around, []byte("---\n")) {
					if name := nameOf(document); !bytes.Contains(example.Data, name) {
						files = append(files, File{Name: fmt.Sprintf("around-%d.yaml", i), Data: document})
					}
				}
				_, findings := Parse(files, options())
				for _, f := range findings {
					if f.Severity == Error || f.File == example.Name {
						t.Error(f)
					}
				}
			})
		}
	}
}

// nameOf is the line of a document that says its kind and name, which an example may have as well.
func nameOf(document []byte) []byte {
	_, from, _ := bytes.Cut(document, []byte("kind: "))
	kind, rest, _ := bytes.Cut(from, []byte("\n"))
	name, _, _ := bytes.Cut(rest, []byte("\n"))
	return bytes.Join([][]byte{kind, name}, []byte("\n"))
}

// examples are the blocks of YAML in a page, each named by the line that it begins at.
func examples(t *testing.T, file string) []File {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []File
	before, rest, found := strings.Cut(string(data), "\n```yaml\n")
	for line := 1; found; before, rest, found = strings.Cut(rest, "\n```yaml\n") {
		line += strings.Count(before, "\n") + 2
		block, after, ended := strings.Cut(rest, "\n```\n")
		if !ended {
			t.Fatalf("%s:%d: the block does not end", file, line)
		}
		list = append(list, File{Name: fmt.Sprintf("%s:%d", filepath.Base(file), line), Data: []byte(block)})
		line += strings.Count(block, "\n") + 2
		rest = after
	}
	return list
}

// TestAgentsInGuidesLoad loads every agent's file that a guide shows.
func TestAgentsInGuidesLoad(t *testing.T) {
	found := 0
	for _, page := range glob(t, "../../docs/guides/*.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(data), "\n```yaml agent\n")
		for _, block := range blocks[1:] {
			example, _, _ := strings.Cut(block, "\n```\n")
			file := filepath.Join(t.TempDir(), "agent.yaml")
			write(t, file, example)
			if a, findings := LoadAgent(file); a == nil || len(findings) > 0 {
				t.Errorf("%s:\n%s", page, text(findings))
			}
			found++
		}
	}
	if found == 0 {
		t.Error("no guide shows an agent's file")
	}
}
