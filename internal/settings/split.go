package settings

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A span is one document's part of a file: from its first line behind a marker, comments included, to the next marker.
type span struct {
	from, to int  // bytes of the file
	line     int  // of its first byte, from 1
	inline   bool // its first line begins on the marker's own: "--- {kind: Lifecycle}"
}

// split parts a file into its documents; those of nothing but comments are left out. A line that begins with "---" or
// "..." parts documents wherever it stands: YAML allows it inside of no value.
func split(text string) []span {
	var spans []span
	next := span{line: 1}
	if strings.HasPrefix(text, byteOrderMark) {
		next.from = len(byteOrderMark)
	}
	end := func(at int) {
		if next.to = at; says(text[next.from:next.to]) {
			spans = append(spans, next)
		}
	}
	number, at := 0, 0
	for line := range strings.Lines(text) {
		number++
		if isMarker(strings.TrimPrefix(line, byteOrderMark)) {
			end(at)
			next = span{from: at + len(line), line: number + 1}
			if rest := strings.TrimLeft(strings.TrimPrefix(line, "---"), " \t"); line[0] == '-' && says(rest) {
				next = span{from: at + len(line) - len(rest), line: number, inline: true}
			}
		}
		at += len(line)
	}
	end(len(text))
	return spans
}

const byteOrderMark = "\ufeff"

// isMarker says whether a line parts two documents.
func isMarker(line string) bool {
	for _, marker := range []string{"---", "..."} {
		if rest, ok := strings.CutPrefix(line, marker); ok && (rest == "" || strings.ContainsRune(" \t\r\n", rune(rest[0]))) {
			return true
		}
	}
	return false
}

// says tells whether text has more than blank lines, comments and directives.
func says(text string) bool {
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && trimmed[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// root parses one document. Nil is one that says nothing.
func root(text string) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, errSeveral
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

var errSeveral = errors.New("there are several documents; send one at a time")

// entry returns a mapping's key and its value; nil where it has none.
func entry(mapping *yaml.Node, key string) (name, value *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// at returns what stands at a path below a node; nil where nothing does.
func at(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		_, n = entry(n, key)
	}
	return n
}

// scalar returns the string at a path below a node; "" where none is.
func scalar(n *yaml.Node, path ...string) string {
	n = at(n, path...)
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// scalarOf is scalar of a document's text; "" where that cannot be read.
func scalarOf(text string, path ...string) string {
	n, err := root(text)
	if err != nil {
		return ""
	}
	return scalar(n, path...)
}
