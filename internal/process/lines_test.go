package process

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"one", []string{"a\n"}, []string{"p | a\n"}},
		{"in pieces", []string{"a", "b\nc", "d\n"}, []string{"p | ab\n", "p | cd\n"}},
		{"no end", []string{"a\nb"}, []string{"p | a\n", "p | b\n"}},
		{"empty lines stay", []string{"\n\n"}, []string{"p | \n", "p | \n"}},
		{"just fits", []string{long, "\n"}, []string{"p | " + long + "\n"}},
		{"too long by one", []string{long, "y\n"}, []string{"p | " + long + "\n", "p | y\n"}},
		{"far too long", []string{long + long + "z"}, []string{"p | " + long + "\n", "p | " + long + "\n", "p | z\n"}},
		{"nothing", []string{""}, nil},
	} {
		out := make(transcript, 64)
		l := newLines(out, "p")
		for _, w := range tt.writes {
			if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("%s: got %d, %v, want %d", tt.name, n, err, len(w))
			}
		}
		l.flush()
		close(out)
		var got []string
		for line := range out {
			got = append(got, line)
		}
		if strings.Join(got, "") != strings.Join(tt.want, "") || len(got) != len(tt.want) {
			t.Errorf("%s: got %.60q, want %.60q", tt.name, got, tt.want)
		}
	}
}

// However output is cut into writes, the same lines come out, and nothing is lost.
func TestLinesDoNotDependOnTheWrites(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var text []byte
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, 2*maxLine+2), 0, 6).Draw(rt, "lengths") {
			text = append(append(text, bytes.Repeat([]byte{'a'}, n)...), '\n')
		}
		var whole, cut bytes.Buffer
		l := newLines(&whole, "")
		_, _ = l.Write(text)
		l.flush()
		l = newLines(&cut, "")
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "cut")
			_, _ = l.Write(rest[:n])
			rest = rest[n:]
		}
		l.flush()
		if !bytes.Equal(whole.Bytes(), cut.Bytes()) {
			rt.Fatalf("got %d bytes in pieces, want the %d of one write", cut.Len(), whole.Len())
		}
		if got, want := bytes.Count(cut.Bytes(), []byte{'a'}), bytes.Count(text, []byte{'a'}); got != want {
			rt.Fatalf("got %d letters, want %d", got, want)
		}
		for line := range bytes.Lines(cut.Bytes()) {
			if len(line) > maxLine+1 {
				rt.Fatalf("got a line of %d bytes, want at most %d", len(line)-1, maxLine)
			}
		}
	})
}
