package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"crossfade.dev/test/bench/chart"
)

// widths parses the document and returns the widths of its bars by class.
func widths(t *testing.T, svg string) map[string][]int {
	t.Helper()
	all := map[string][]int{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, svg)
		}
		element, ok := token.(xml.StartElement)
		if !ok || element.Name.Local != "rect" {
			continue
		}
		attr := map[string]string{}
		for _, a := range element.Attr {
			attr[a.Name.Local] = a.Value
		}
		width, err := strconv.Atoi(attr["width"])
		if err != nil {
			t.Fatal(err)
		}
		all[attr["class"]] = append(all[attr["class"]], width)
	}
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	got := widths(t, chart.Bars("cost", []chart.Group{
		{Title: "one", Bars: []chart.Bar{{Label: "crossfade", Value: 5, Ours: true}, {Label: "nginx", Value: 10}}},
		{Title: "two", Bars: []chart.Bar{{Label: "nginx", Value: 1000, Behind: 2000}}},
	}))
	full := got["bar"][0]
	if got["ours"][0]*2 != full {
		t.Errorf("5 is %d pixels, 10 is %d", got["ours"][0], full)
	}
	if got["behind"][0] != full || got["bar"][1]*2 != full {
		t.Errorf("a group has not its own scale: 2000 is %d pixels and 1000 is %d, want %d and half of it", got["behind"][0], got["bar"][1], full)
	}
}

func TestTextIsEscaped(t *testing.T) {
	svg := chart.Bars("a < b & c", []chart.Group{{Title: "<script>", Bars: []chart.Bar{{Label: `"x"`, Value: 0, Text: "<1"}}}})
	widths(t, svg)
	if strings.Contains(svg, "<script>") || !strings.Contains(svg, "a &lt; b &amp; c") {
		t.Errorf("text is not escaped:\n%s", svg)
	}
}

func TestItIsReadableOnDarkPages(t *testing.T) {
	if svg := chart.Bars("t", nil); !strings.Contains(svg, "prefers-color-scheme:dark") {
		t.Errorf("there is one colour scheme only:\n%s", svg)
	}
}

func TestZeroIsAMark(t *testing.T) {
	svg := chart.Bars("t", []chart.Group{{Bars: []chart.Bar{{Value: 0}, {Value: 0}}}})
	for class, all := range widths(t, svg) {
		for _, w := range all {
			if w != 1 {
				t.Errorf("%s: zero is %d pixels wide, want 1, a mark", class, w)
			}
		}
	}
}
