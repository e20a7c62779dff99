package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A table writes rows in columns. Rows may come later, one by one, while something is watched: a column is as
// wide as the widest cell until then.
type table struct {
	out    io.Writer
	widths []int
}

// write writes rows. An empty cell is a dash, so that columns can be counted by scripts.
func (t *table) write(rows ...[]string) error {
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.ReplaceAll(legible(cell), "\n", string(unicode.ReplacementChar))
			if i == len(t.widths) {
				t.widths = append(t.widths, 1)
			}
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			fmt.Fprintf(&line, "%-*s   ", t.widths[i], cell) // counts runes, as widths do
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if _, err := io.WriteString(t.out, text.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// legible is text of others for a terminal, which would do as told by what cannot be seen in it. Lines stay lines.
func legible(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
