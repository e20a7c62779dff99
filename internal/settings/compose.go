package settings

import (
	"slices"
	"strings"
)

// A draft is what is to become of one document.
type draft struct {
	was    *document // as it is; nil: a new one
	text   string    // what it is to say
	remove bool      // it is to go
	file   string    // where a new one is to stand, relative to the directory
	source string    // "" is a draft that leaves everything as it is
}

// same says whether a draft leaves everything as it is.
func (d *draft) same() bool { return d.was != nil && !d.remove && d.was.text == d.text }

// composed is a file with a draft in it.
type composed struct {
	fileChange

	line, lines int // of the document in it; lines is 0 where it has gone
}

// compose makes the text of the draft's file.
func (e *Editor) compose(s *shelf, d *draft) composed {
	c := composed{fileChange: fileChange{rel: d.file}}
	if d.was != nil {
		c.rel = d.was.File
	}
	file, there := s.files[c.rel]
	if there {
		c.base = &file
	}
	var data string
	switch {
	case d.remove:
		data = without(file, d.was.span)
		if len(split(data)) == 0 && !e.oneFile() {
			return c
		}
		c.line = d.was.Line
	case d.was != nil:
		data, c.line = replaced(file, d.was.span, d.text)
	default:
		data, c.line = appended(file, d.text)
	}
	if c.data = &data; !d.remove {
		c.lines = strings.Count(strings.TrimSuffix(d.text, "\n"), "\n") + 1
	}
	return c
}

// replaced puts text in the place of a document. The file's other bytes stay.
func replaced(file string, at span, text string) (data string, line int) {
	line = at.line
	if at.inline {
		text, line = newline(file)+text, line+1
	}
	return file[:at.from] + text + file[at.to:], line
}

// appended puts a document behind all others.
func appended(file, text string) (data string, line int) {
	end := newline(file)
	if file != "" && !strings.HasSuffix(file, "\n") {
		file += end
	}
	if len(split(file)) > 0 {
		file += "---" + end
	}
	return file + text, strings.Count(file, "\n") + 1
}

// without takes a document away, with the marker before it, or behind it where it is the first.
func without(file string, at span) string {
	before := strings.TrimSuffix(file[:at.from], "\n")
	if i := strings.LastIndexByte(before, '\n') + 1; isMarker(file[i:]) {
		return file[:i] + file[at.to:]
	}
	rest := file[at.to:]
	for line := range strings.Lines(rest) {
		if isMarker(line) && !says(strings.TrimPrefix(line, "---")) {
			rest = rest[len(line):]
		}
		break
	}
	return file[:at.from] + rest
}

// newline is how a file's lines end.
func newline(file string) string {
	if strings.Contains(file, "\r\n") {
		return "\r\n"
	}
	return "\n"
}

// normal is a document's text as it is written into a file: without a marker before it, with the file's ends of lines,
// and with one at its end.
func normal(text, file string) string {
	text = strings.ReplaceAll(strings.TrimPrefix(text, byteOrderMark), "\r\n", "\n")
	if spans := split(text); len(spans) == 1 && slices.Contains([]string{"", "---"}, strings.TrimSpace(text[:spans[0].from])) && spans[0].to == len(text) {
		text = text[spans[0].from:]
	}
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if newline(file) == "\r\n" {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}
