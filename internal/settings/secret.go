package settings

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What tells a secret: text of a Secret or a private key, where it cannot be read as YAML, too; names of what is hardly for a
// page; and texts that have one in them: a URL with a password, "--token=…".
var (
	secretTable     = regexp.MustCompile(`(?i)kind["']?\s*:\s*["']?Secret\b|PRIVATE KEY-----`)
	editedTable     = regexp.MustCompile(`(?m)^kind: *(` + strings.Join(writableTable, "|") + `)\b`)
	secretNameTable = regexp.MustCompile(`(?i)passw|secret|token|credential|api[-_]?key|private[-_]?key`)
	secretTextTable = regexp.MustCompile(`(?i)://[^\s/@:]*:[^\s/@]+@|(passw|secret|token|credential|api[-_]?key)[\w-]*\\?["']?\s*[=:]\s*\S|\bBearer\s+\S`)
	referenceTable  = regexp.MustCompile(`(?i)(names?|files?|path|ref|kind)$`)        // a secret's name is none
	bearingTable    = regexp.MustCompile(`(?i)authorization|jwt|signature|csrf|xsrf`) // names of headers, beside those of secrets
)

// plainHeaderTable are headers that have no credentials.
var plainHeaderTable = []string{"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "host", "te", "user-agent"}

// mask stands for a value that is not shown.
const mask = `"(hidden)"`

// secret says whether a document holds what must not be shown at all: a Secret, by itself or in a list, or a private key.
// One that cannot be read is taken for one where it speaks of what a secret may be called, and is of no kind that is edited
// here.
func secret(text string, n *yaml.Node) bool {
	if n == nil {
		return secretTable.MatchString(text) || secretNameTable.MatchString(text) && !editedTable.MatchString(text)
	}
	return secretTable.MatchString(text) || holdsSecret(n, 0)
}

func holdsSecret(n *yaml.Node, depth int) bool {
	const most = 100
	if depth > most || n.Kind == yaml.MappingNode && scalar(n, "kind") == "Secret" {
		return true
	}
	return slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return holdsSecret(c, depth+1) })
}

// masked is a text without some values of it; it is not unusual, or they would not be where they are looked for. It says with false that one is written so that it cannot be taken out.
func masked(text string, values []*yaml.Node) (string, bool) {
	if len(values) == 0 {
		return text, true
	}
	slices.SortFunc(values, func(a, b *yaml.Node) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	e := edit{text: text}
	for _, value := range slices.Backward(slices.Compact(values)) { // from the end: the places of those before stay
		from, err := e.offset(value)
		if err != nil {
			return "", false
		}
		to, err := e.scalarEnd(value, from)
		if err != nil || value.Style&yaml.TaggedStyle != 0 {
			return "", false
		}
		e.text = e.text[:from] + mask + e.text[to:]
	}
	return e.text, true
}

// secretValues finds the values of {name: PASSWORD, value: …}, of "password: …", of "--password …", and texts that have a secret
// in them. It is for documents that are not edited here: what is would be written with the masks in it.
func secretValues(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	var list []*yaml.Node
	if n.Kind == yaml.ScalarNode && secretTextTable.MatchString(n.Value) {
		list = append(list, n)
	}
	if _, value := entry(n, "value"); value != nil && secretNameTable.MatchString(scalar(n, "name")) {
		list = append(list, scalars(value)...)
	}
	for i, c := range n.Content {
		if i > 0 && named(n, i) {
			list = append(list, scalars(c)...)
		}
		list = append(list, secretValues(c)...)
	}
	return list
}

// named says whether what stands at i is a secret by what stands before it: its key, or the argument that it is the value of.
func named(n *yaml.Node, i int) bool {
	before, value := n.Content[i-1], n.Content[i]
	if n.Kind == yaml.MappingNode {
		return i%2 == 1 && value.Kind == yaml.ScalarNode && value.ShortTag() != "!!bool" && itself(secretNameTable, before.Value)
	}
	return strings.HasPrefix(before.Value, "-") && itself(secretNameTable, before.Value)
}

// itself says whether a name is that of a secret itself, and not of where one lies.
func itself(table *regexp.Regexp, name string) bool {
	return table.MatchString(name) && !referenceTable.MatchString(name) && !strings.ContainsAny(name, "= ")
}

// scalars are all values below a node that say something; an alias is one.
func scalars(n *yaml.Node) []*yaml.Node {
	if len(n.Content) == 0 {
		if n.Kind == yaml.ScalarNode && strings.TrimSpace(n.Value) == "" || n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
			return nil
		}
		return []*yaml.Node{n}
	}
	var list []*yaml.Node
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			list = append(list, scalars(c)...)
		}
	}
	return list
}

// credentials finds what only those may see who may change it: headers, bodies and queries of requests that are sent to instances,
// and what routes say about headers that carry credentials.
func credentials(n *yaml.Node) []*yaml.Node {
	if n == nil {
		return nil
	}
	var list []*yaml.Node
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch key, value := n.Content[i].Value, n.Content[i+1]; {
			case key == "requests" && value.Kind != yaml.MappingNode:
				for _, r := range value.Content {
					list = append(list, requestValues(r)...)
				}
				continue
			case key != "httpCookie" && (itself(secretNameTable, key) || itself(bearingTable, key)):
				list = append(list, scalars(value)...)
				continue
			}
			list = append(list, credentials(n.Content[i+1])...)
		}
		return list
	}
	for _, c := range n.Content {
		list = append(list, credentials(c)...)
	}
	return list
}

// requestValues are what may be a credential of one warm-up request.
func requestValues(n *yaml.Node) []*yaml.Node {
	var list []*yaml.Node
	if n.Kind != yaml.MappingNode { // written elsewhere
		return []*yaml.Node{n}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch key, value := n.Content[i].Value, n.Content[i+1]; {
		case key == "body", key == "bodyBase64", key == "<<", key == "path" && strings.Contains(value.Value, "?"), value.Kind == yaml.AliasNode:
			list = append(list, scalars(value)...)
		case key == "headers":
			for j := 0; j+1 < len(value.Content); j += 2 {
				if !slices.Contains(plainHeaderTable, strings.ToLower(value.Content[j].Value)) {
					list = append(list, scalars(value.Content[j+1])...)
				}
			}
		}
	}
	return list
}
