package settings

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// offset returns where a node begins in the text, in bytes.
func (e *edit) offset(n *yaml.Node) (int, error) {
	line, at := 1, 0
	for ; line < n.Line; line++ {
		end := strings.IndexByte(e.text[at:], '\n')
		if end < 0 {
			return 0, errForm
		}
		at += end + 1
	}
	for column := 1; column < n.Column; column++ {
		if at >= len(e.text) || e.text[at] == '\n' {
			return 0, errForm
		}
		_, size := utf8.DecodeRuneInString(e.text[at:])
		at += size
	}
	return at, nil
}

// replace puts a value in the place of a scalar.
func (e *edit) replace(key, old *yaml.Node, value any) (string, error) {
	if old.Kind != yaml.ScalarNode || old.Style&yaml.TaggedStyle != 0 {
		return "", errForm
	}
	if empty(old) && old.Value == "" {
		return e.fill(key, old, value)
	}
	from, err := e.offset(old)
	if err != nil {
		return "", err
	}
	to, err := e.scalarEnd(old, from)
	if err != nil {
		return "", err
	}
	return e.text[:from] + flow(value) + e.text[to:], nil
}

// fill puts a value behind a key that has none.
func (e *edit) fill(key, old *yaml.Node, value any) (string, error) {
	if old.Value != "" { // "~" or "null"
		from, err := e.offset(old)
		if err != nil {
			return "", err
		}
		return e.text[:from] + flow(value) + e.text[from+len(old.Value):], nil
	}
	from, err := e.offset(key)
	if err != nil {
		return "", err
	}
	to, err := e.scalarEnd(key, from)
	if err != nil {
		return "", err
	}
	colon := strings.IndexByte(e.text[to:], ':')
	if colon < 0 || strings.TrimSpace(e.text[to:to+colon]) != "" {
		return "", errForm
	}
	to += colon + 1
	return e.text[:to] + " " + flow(value) + e.text[to:], nil
}

// insert adds a field at the end of a mapping.
func (e *edit) insert(mapping *yaml.Node, key string, value any) (string, error) {
	if mapping.Kind != yaml.MappingNode || mapping.Style&yaml.TaggedStyle != 0 {
		return "", errForm
	}
	if mapping.Style&yaml.FlowStyle != 0 {
		return e.insertFlow(mapping, quoted(key)+": "+flow(value))
	}
	_, to, err := e.blockEntry(mapping, len(mapping.Content)-2)
	if err != nil {
		return "", err
	}
	end, before := e.lineEnding(), ""
	if !strings.HasSuffix(e.text[:to], "\n") {
		before = end
	}
	indent := strings.Repeat(" ", mapping.Content[0].Column-1)
	return e.text[:to] + before + block(indent, e.indentStep(mapping), key, value, end) + e.text[to:], nil
}

// lineEnding is how the text's lines end.
func (e *edit) lineEnding() string {
	if strings.Contains(e.text, "\r\n") {
		return "\r\n"
	}
	return "\n"
}

// indentStep is by how much mappings in a mapping are indented; two spaces where there are none.
func (e *edit) indentStep(mapping *yaml.Node) string {
	for i := 1; i < len(mapping.Content); i += 2 {
		v := mapping.Content[i]
		if v.Kind == yaml.MappingNode && v.Style&yaml.FlowStyle == 0 && v.Column > mapping.Column {
			return strings.Repeat(" ", v.Column-mapping.Column)
		}
	}
	return "  "
}

// insertFlow adds a field before the brace that ends a mapping.
func (e *edit) insertFlow(mapping *yaml.Node, text string) (string, error) {
	from, err := e.offset(mapping)
	if err != nil {
		return "", err
	}
	last, err := e.flowEnd(from)
	if err != nil {
		return "", err
	}
	switch e.text[last-1] {
	case '{':
	case ',':
		text = " " + text
	default:
		text = ", " + text
	}
	return e.text[:last] + text + e.text[last:], nil
}

// cut takes a field of a mapping away, with the lines it stands on.
func (e *edit) cut(mapping *yaml.Node, key string) (string, error) {
	i := 0
	for ; mapping.Content[i].Value != key; i += 2 {
		continue
	}
	if mapping.Style&yaml.FlowStyle != 0 {
		return e.cutFlow(mapping, i)
	}
	from, to, err := e.blockEntry(mapping, i)
	if err != nil {
		return "", err
	}
	return e.text[:from] + e.text[to:], nil
}

// cutFlow takes a field of a mapping in braces away, with the comma before it or behind it.
func (e *edit) cutFlow(mapping *yaml.Node, i int) (string, error) {
	from, err := e.offset(mapping.Content[i])
	if err != nil {
		return "", err
	}
	if i+2 < len(mapping.Content) {
		to, err := e.offset(mapping.Content[i+2])
		if err != nil {
			return "", err
		}
		return e.text[:from] + e.text[to:], nil
	}
	begin, err := e.offset(mapping)
	if err != nil {
		return "", err
	}
	last, err := e.flowEnd(begin)
	if err != nil {
		return "", err
	}
	before := strings.TrimRight(e.text[:from], " \t\r\n")
	before = strings.TrimRight(strings.TrimSuffix(before, ","), " \t\r\n")
	return before + e.text[last:], nil
}
