package settings

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

func TestDocumentsAreParted(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
		line []int
	}{
		"one":                 {"a: 1\n", []string{"a: 1\n"}, []int{1}},
		"comments alone":      {"# a\n---\n# b\n", nil, nil},
		"two":                 {"# x\na: 1\n---\nb: 2\n", []string{"# x\na: 1\n", "b: 2\n"}, []int{1, 4}},
		"markers around":      {"---\na: 1\n---\n---\nb: 2\n...\n", []string{"a: 1\n", "b: 2\n"}, []int{2, 5}},
		"on a marker's line":  {"--- {a: 1}\n--- # two\nb: 2\n", []string{"{a: 1}\n", "b: 2\n"}, []int{1, 3}},
		"like a marker":       {"a: |\n  ---\n---x: 1\n", []string{"a: |\n  ---\n---x: 1\n"}, []int{1}},
		"a directive":         {"%YAML 1.2\n---\na: 1\n", []string{"a: 1\n"}, []int{3}},
		"CRLF":                {"a: 1\r\n---\r\nb: 2\r\n", []string{"a: 1\r\n", "b: 2\r\n"}, []int{1, 3}},
		"a mark of its order": {"\ufeffa: 1\n---\nb: 2", []string{"a: 1\n", "b: 2"}, []int{1, 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			var lines []int
			for _, at := range split(test.text) {
				got, lines = append(got, test.text[at.from:at.to]), append(lines, at.line)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.line, lines); diff != "" {
				t.Error("lines:", diff)
			}
		})
	}
}

// FuzzSplit holds the documents that are parted by lines against those that the parser finds.
func FuzzSplit(f *testing.F) {
	for _, text := range []string{"a: 1\n---\nb: |\n  ---\n", "--- 1\n--- [2]\n...\n---\n", "%YAML 1.1\n---\na: 1\n", "'a\n--- b'\n", "\ufeffa: 1", "# x\n--- # y\n\n--- !!map {}\n", "---\ta\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if unusual(text) || strings.Contains(text, "%") {
			t.Skip("ends of lines that only YAML knows, and directives, which hold for a document that they are not in")
		}
		decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
		var want []any
		for {
			var v any
			err := decoder.Decode(&v)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Skip("not YAML")
			}
			if v != nil {
				want = append(want, v)
			}
		}
		var got []any
		for _, at := range split(text) {
			if at.inline {
				t.Skip("it goes on in columns that its marker's line set")
			}
			n, err := root(text[at.from:at.to])
			if err != nil {
				t.Fatalf("part %q of %q: %v", text[at.from:at.to], text, err)
			}
			var v any
			if n != nil {
				if err := n.Decode(&v); err != nil {
					t.Skip("not to be decoded")
				}
			}
			if v != nil {
				got = append(got, v)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	})
}

// TestFilesTakeDocuments adds, replaces and removes documents: every other one stays as it was, to the byte.
func TestFilesTakeDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"# c\na: 1\n", "a: 1", "b:\n  - x\n\n", "c: |+\n  x\n\n", "{d: 1}\n"})
		text := rapid.SampledFrom([]string{"", "---\n", "# head\n---\n", "\n"}).Draw(t, "head")
		for i := range rapid.IntRange(0, 3).Draw(t, "documents") {
			if i > 0 {
				text = strings.TrimSuffix(text, "\n") + rapid.SampledFrom([]string{"\n---\n", "\n--- # x\n", "\n...\n---\n"}).Draw(t, "marker")
			}
			text += piece.Draw(t, "document")
		}
		of := func(text string) (all []string) {
			for _, at := range split(text) {
				all = append(all, strings.Trim(text[at.from:at.to], "\n"))
			}
			return all
		}
		before := of(text)
		next, line := appended(text, "new: 1\n")
		if diff := cmp.Diff(append(append([]string{}, before...), "new: 1"), of(next)); diff != "" {
			t.Fatalf("added to %q: %s", text, diff)
		}
		if got := split(next)[len(before)].line; len(before) > 0 && got != line {
			t.Fatalf("added to %q at line %d, said %d", text, got, line)
		}
		if len(before) == 0 {
			return
		}
		i := rapid.IntRange(0, len(before)-1).Draw(t, "which")
		next, _ = replaced(text, split(text)[i], "new: 1\n")
		want := append([]string{}, before...)
		want[i] = "new: 1"
		if diff := cmp.Diff(want, of(next)); diff != "" {
			t.Fatalf("replaced in %q: %s", text, diff)
		}
		want = append(append([]string{}, before[:i]...), before[i+1:]...)
		if diff := cmp.Diff(want, append([]string{}, of(without(text, split(text)[i]))...)); diff != "" {
			t.Fatalf("removed %d from %q: %q: %s", i, text, without(text, split(text)[i]), diff)
		}
	})
}
