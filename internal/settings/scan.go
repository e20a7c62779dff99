package settings

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// scalarEnd returns where a scalar that begins at an offset ends.
func (e *edit) scalarEnd(n *yaml.Node, from int) (int, error) {
	switch {
	case n.Kind != yaml.ScalarNode || n.Anchor != "":
		return 0, errForm
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		return quotesEnd(e.text, from)
	case n.Style == 0 && strings.HasPrefix(e.text[from:], n.Value): // one of several lines does not begin as it reads
		return from + len(n.Value), nil
	}
	return 0, errForm
}

// quotesEnd returns where quotes that begin at an offset end.
func quotesEnd(text string, from int) (int, error) {
	if from >= len(text) || text[from] != '"' && text[from] != '\'' {
		return 0, errForm
	}
	quote := text[from]
	for i := from + 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] != quote:
		case quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1, nil
		}
	}
	return 0, errForm
}

// flowEnd returns where the last stands of what is in the braces or brackets that begin at an offset: there may be comments
// and space between that and their end.
func (e *edit) flowEnd(from int) (last int, err error) {
	depth := 0
	opening := true // a quote may begin here
	for i := from; i < len(e.text); i++ {
		c := e.text[i]
		switch {
		case isSpace(c):
			continue
		case c == '#' && isSpace(e.text[max(0, i-1)]):
			i += len(e.text[i:]) - len(after(e.text[i:], '\n')) - 1
			continue
		case opening && (c == '"' || c == '\''):
			if i, err = quotesEnd(e.text, i); err != nil {
				return 0, err
			}
			i--
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return last, nil
			}
		}
		opening = strings.IndexByte("{[,:?", c) >= 0
		last = i + 1
	}
	return 0, errForm
}

// after is the rest of a text behind a byte; "" where that is not in it.
func after(text string, c byte) string {
	_, rest, _ := strings.Cut(text, string(c))
	return rest
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// blockEntry returns the lines of a block mapping's field, that with the key at index i of its content: from where the
// key's line begins to behind the last line that says something of it.
func (e *edit) blockEntry(mapping *yaml.Node, i int) (from, to int, err error) {
	key := mapping.Content[i]
	at, err := e.offset(key)
	if err != nil {
		return 0, 0, err
	}
	from = strings.LastIndexByte(e.text[:at], '\n') + 1
	if strings.TrimSpace(e.text[from:at]) != "" && i > 0 {
		return 0, 0, errForm // several fields on a line
	}
	stop := len(e.text)
	if i+2 < len(mapping.Content) {
		next, err := e.offset(mapping.Content[i+2])
		if err != nil {
			return 0, 0, err
		}
		stop = strings.LastIndexByte(e.text[:next], '\n') + 1
	}
	return from, e.trimmed(at, stop, key.Column-1, endsInBlock(mapping.Content[i+1])), nil
}

// endsInBlock says whether the last that stands in a value is text of several lines, in which "#" begins no comment.
func endsInBlock(n *yaml.Node) bool {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// trimmed returns where a field whose key stands at an offset, and at an indent, ends before stop: blank lines and
// comments at its end belong to what follows.
func (e *edit) trimmed(at, stop, indent int, inBlock bool) int {
	first := true
	end := at
	for line := range strings.Lines(e.text[at:stop]) {
		text := strings.TrimLeft(line, " ")
		deep := len(line)-len(text) > indent
		switch said := strings.TrimSpace(text); {
		case first:
			end = at + len(line)
		case said == "":
		case said[0] == '#' && (!inBlock || !deep):
		case deep, said == "-", strings.HasPrefix(said, "- "), closes(said):
			end = at + len(line)
		default:
			return end
		}
		first = false
		at += len(line)
	}
	return end
}

// closes says whether a line begins with what ends a value in braces or brackets.
func closes(line string) bool { return line[0] == '}' || line[0] == ']' }
