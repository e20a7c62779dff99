// Package chart draws bars as SVG, readable on light and on dark pages.
package chart

import (
	"fmt"
	"html"
	"strings"
)

// A Bar is one figure.
type Bar struct {
	Label  string
	Value  float64 // 0 or more
	Text   string  // what stands at its end; "" for the value
	Ours   bool    // drawn in the colour of what the chart is about
	Behind float64 // a longer, fainter bar behind it (a p99 behind a p50); 0 for none
}

// A Group is bars that are compared with each other: each group has a scale of its own.
type Group struct {
	Title string
	Bars  []Bar
}

// The measures of a chart, in pixels.
const (
	width  = 760
	left   = 120 // of the labels
	right  = 170 // for the texts
	line   = 24
	thick  = 16
	header = 34
	margin = 12
)

const style = `text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-weight:600;font-size:15px}.group{font-weight:600}
.bar{fill:#8c959f}.behind{fill:#d0d7de}.ours{fill:#0969da}.oursbehind{fill:#b6d7ff}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#7d8590}.behind{fill:#30363d}.ours{fill:#4493f8}.oursbehind{fill:#12407a}}
`

// Bars returns an SVG document with the groups one below the other.
func Bars(title string, groups []Group) string {
	var b strings.Builder
	y := margin + header
	for _, g := range groups {
		y = drawGroup(&b, g, y)
	}
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%[1]d\" height=\"%[2]d\" viewBox=\"0 0 %[1]d %[2]d\" role=\"img\" aria-label=\"%[3]s\">\n"+
		"<title>%[3]s</title>\n<style>%[4]s</style>\n<text class=\"title\" x=\"%[5]d\" y=\"%[6]d\">%[3]s</text>\n%[7]s</svg>\n",
		width, y+margin, html.EscapeString(title), style, margin, margin+15, b.String())
}

// drawGroup draws a group from y on and returns where it ends.
func drawGroup(b *strings.Builder, g Group, y int) int {
	var most float64
	for _, bar := range g.Bars {
		most = max(most, bar.Value, bar.Behind)
	}
	fmt.Fprintf(b, "<text class=\"group\" x=\"%d\" y=\"%d\">%s</text>\n", margin, y+14, html.EscapeString(g.Title))
	y += line
	for _, bar := range g.Bars {
		class := "bar"
		if bar.Ours {
			class = "ours"
		}
		text := bar.Text
		if text == "" {
			text = fmt.Sprintf("%.3g", bar.Value)
		}
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left-8, y+13, html.EscapeString(bar.Label))
		end := left
		if bar.Behind > 0 {
			faint := map[string]string{"bar": "behind", "ours": "oursbehind"}[class]
			end = max(end, drawBar(b, faint, bar.Behind, most, y))
		}
		end = max(end, drawBar(b, class, bar.Value, most, y))
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">%s</text>\n", end+6, y+13, html.EscapeString(text))
		y += line
	}
	return y + line/2
}

// drawBar draws one bar and returns where it ends.
func drawBar(b *strings.Builder, class string, value, most float64, y int) int {
	long := 0
	if most > 0 {
		long = int(value / most * (width - left - right))
	}
	fmt.Fprintf(b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\"/>\n", class, left, y, max(long, 1), thick)
	return left + long
}
