package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// around is how many lines that stay are shown before and behind those that do not.
	around = 3
	// maxPairs bounds what is spent on finding the lines that two texts have in common; of longer ones, what differs is
	// shown as if it had none.
	maxPairs = 4 << 20
)

// A line of a difference: ' ' stays, '-' goes, '+' comes.
type diffLine struct {
	op   byte
	text string
}

// unified writes the difference of two texts as diff -u does, under the names of both files; "" for texts that are alike.
// The texts begin at a line of their file, from 1.
func unified(from, to, before, after string, line int) string {
	if before == after {
		return ""
	}
	all := compare(slices.Collect(strings.Lines(before)), slices.Collect(strings.Lines(after)))
	shown := make([]bool, len(all))
	for i := range all {
		for j := max(0, i-around); all[i].op != ' ' && j < min(len(all), i+around+1); j++ {
			shown[j] = true
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", from, to)
	oldLine, newLine := line, line
	for i := 0; i < len(all); {
		n := run(shown[i:])
		part := all[i : i+n]
		was, is := count(part, '-'), count(part, '+')
		if shown[i] {
			fmt.Fprintf(&out, "@@ -%s +%s @@\n", lineRange(oldLine, was), lineRange(newLine, is))
			for _, l := range part {
				out.WriteByte(l.op)
				out.WriteString(strings.TrimRight(l.text, "\r\n"))
				out.WriteByte('\n')
				if !strings.HasSuffix(l.text, "\n") {
					out.WriteString("\\ No newline at end of file\n")
				}
			}
		}
		oldLine, newLine, i = oldLine+was, newLine+is, i+n
	}
	return out.String()
}

// run is how many values at the beginning are alike.
func run(values []bool) int {
	n := slices.Index(values, !values[0])
	if n < 0 {
		return len(values)
	}
	return n
}

// count is how many lines there are in the text that op is one side of.
func count(lines []diffLine, op byte) int {
	n := 0
	for _, l := range lines {
		if l.op == ' ' || l.op == op {
			n++
		}
	}
	return n
}

// lineRange writes lines as the head of a hunk has them: an empty range is named by the line before it.
func lineRange(first, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", first-1)
	case 1:
		return strconv.Itoa(first)
	}
	return fmt.Sprintf("%d,%d", first, n)
}

// compare finds the fewest lines that go and come.
func compare(a, b []string) []diffLine {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var all []diffLine
	for _, text := range a[:head] {
		all = append(all, diffLine{' ', text})
	}
	all = append(all, middle(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, text := range a[len(a)-tail:] {
		all = append(all, diffLine{' ', text})
	}
	return all
}

// middle compares by the longest common subsequence: common[i][j] is how many lines a[i:] and b[j:] have in common.
func middle(a, b []string) []diffLine {
	width := len(b) + 1
	var common []int32
	if len(a)*len(b) <= maxPairs {
		common = make([]int32, (len(a)+1)*width)
		for i, x := range slices.Backward(a) {
			for j, y := range slices.Backward(b) {
				if x == y {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	var all []diffLine
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case common != nil && i < len(a) && j < len(b) && a[i] == b[j]:
			all = append(all, diffLine{' ', a[i]})
			i, j = i+1, j+1
		case i < len(a) && (common == nil || j == len(b) || common[(i+1)*width+j] >= common[i*width+j+1]):
			all = append(all, diffLine{'-', a[i]})
			i++
		default:
			all = append(all, diffLine{'+', b[j]})
			j++
		}
	}
	return all
}
