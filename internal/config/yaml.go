package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds what is parsed: larger files are not configuration that people wrote.
const maxFile = 4 << 20

// A place is a position in a file, from 1.
type place struct{ line, column int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// documents parses a file into the root nodes of its documents, empty ones left out. A document that is not
// YAML ends the file: what follows it cannot be told apart.
func documents(f File) ([]*yaml.Node, []Finding) {
	if len(f.Data) > maxFile {
		return nil, []Finding{{
			File: f.Name, Rule: Unreadable,
			Message: fmt.Sprintf("the file has %d bytes; more than %d are not read", len(f.Data), maxFile),
		}}
	}
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(f.Data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			return roots, []Finding{syntaxFinding(f, err)}
		}
		if len(doc.Content) == 1 && doc.Content[0].ShortTag() != "!!null" {
			roots = append(roots, doc.Content[0])
		}
	}
}

// yamlError takes the parser's messages apart: "yaml: line 3: did not find expected key".
var yamlErrorTable = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(?:column \d+: )?(.*)$`)

func syntaxFinding(f File, err error) Finding {
	finding := Finding{File: f.Name, Rule: Syntax, Message: "not YAML: " + err.Error()}
	if m := yamlErrorTable.FindStringSubmatch(err.Error()); m != nil {
		finding.Message = "not YAML: " + m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			if strings.HasPrefix(m[2], "did not find expected") {
				n++ // these count lines from 0
			}
			finding.Line, finding.Column = n, 1
		}
	}
	// The parser says "found character that cannot start any token", and may be a line off.
	lines := bytes.Split(f.Data, []byte("\n"))
	for i := max(0, finding.Line-2); i < min(finding.Line+1, len(lines)); i++ {
		if indent := indentation(lines[i]); strings.Contains(indent, "\t") {
			finding.Line, finding.Column = i+1, strings.Index(indent, "\t")+1
			finding.Message = "not YAML: a tab in the indentation; indent with spaces"
			break
		}
	}
	return finding
}

func indentation(line []byte) string {
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}
