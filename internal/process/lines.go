package process

import (
	"bytes"
	"io"
)

// maxLine is the longest piece of a line that is held back for its end, in bytes. A longer line comes out as
// several.
const maxLine = 16 << 10

// lines writes what it gets to w line by line, each with a prefix and in one call, so that the outputs of
// several children do not mix within a line. A nil *lines discards. It never fails: a child does not end
// because nobody can see its output.
type lines struct {
	w      io.Writer
	prefix string
	buf    []byte // the prefix, then the beginning of a line whose end has not come
}

func newLines(w io.Writer, name string) *lines {
	if w == nil {
		return nil
	}
	l := &lines{w: w}
	if name != "" {
		l.prefix = name + " | "
	}
	l.buf = append(l.buf, l.prefix...)
	return l
}

// Write takes the next part of the output. It is called by one goroutine.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		room := maxLine - (len(l.buf) - len(l.prefix))
		window := rest[:min(room+1, len(rest))] // the end of a line that just fits stands behind the room
		if end := bytes.IndexByte(window, '\n'); end >= 0 {
			l.buf = append(l.buf, rest[:end]...)
			rest = rest[end+1:]
			l.emit()
			continue
		}
		room = min(room, len(rest))
		l.buf = append(l.buf, rest[:room]...)
		if rest = rest[room:]; len(rest) > 0 {
			l.emit()
		}
	}
	return len(p), nil
}

// flush writes the last line when the output ended without its end.
func (l *lines) flush() {
	if l != nil && len(l.buf) > len(l.prefix) {
		l.emit()
	}
}

func (l *lines) emit() {
	l.buf = append(l.buf, '\n')
	_, _ = l.w.Write(l.buf) // see lines
	l.buf = append(l.buf[:0], l.prefix...)
}
