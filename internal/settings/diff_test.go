package settings

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDifferencesReadLikeThoseOfDiff(t *testing.T) {
	before, after := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n16\n", "1\n2\nthree\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n14\n15\n15.5\n16"
	const want = `--- a.yaml
+++ a.yaml
@@ -11,6 +11,6 @@
 1
 2
-3
+three
 4
 5
 6
@@ -23,4 +23,5 @@
 13
 14
 15
-16
+15.5
+16
\ No newline at end of file
`
	if got := unified("a.yaml", "a.yaml", before, after, 11); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := unified("/dev/null", "a.yaml", "", "x\n", 1); got != "--- /dev/null\n+++ a.yaml\n@@ -0,0 +1 @@\n+x\n" {
		t.Errorf("a new file:\n%s", got)
	}
	if got := unified("a", "a", before, before, 1); got != "" {
		t.Errorf("nothing:\n%s", got)
	}
}

// TestDifferencesCanBeApplied patches what was with the difference, as patch does, and gets what is.
func TestDifferencesCanBeApplied(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n", "-d\n", "@@ x\n"}), 0, 40)
		before, after := strings.Join(lines.Draw(t, "before"), ""), strings.Join(lines.Draw(t, "after"), "")
		if got := patched(t, before, unified("x", "x", before, after, 1)); got != after {
			t.Fatalf("got %q, want %q by\n%s", got, after, unified("x", "x", before, after, 1))
		}
	})
}

func patched(t *rapid.T, text, diff string) string {
	if diff == "" {
		return text
	}
	old := strings.SplitAfter(text, "\n")
	var out strings.Builder
	at := 0
	for i, line := range strings.SplitAfter(strings.TrimSuffix(diff, "\n"), "\n") {
		var from, lines int
		switch {
		case i < 2: // names
		case strings.HasPrefix(line, "@@ -"):
			span, _, _ := strings.Cut(line[4:], " ")
			lines = 1
			if _, err := fmt.Sscanf(strings.ReplaceAll(span, ",", " "), "%d %d", &from, &lines); err != nil && lines != 1 {
				t.Fatal(err)
			}
			if lines > 0 {
				from--
			}
			for ; at < from; at++ {
				out.WriteString(old[at])
			}
		case line[0] == '+':
			out.WriteString(strings.TrimSuffix(line[1:], "\n") + "\n")
		default:
			if got := strings.TrimSuffix(old[at], "\n"); got != strings.TrimSuffix(line[1:], "\n") {
				t.Fatalf("line %d is %q, and the difference has %q", at+1, got, line)
			}
			if line[0] == ' ' {
				out.WriteString(old[at])
			}
			at++
		}
	}
	return out.String() + strings.Join(old[at:], "")
}

// TestTextsWithoutALineInCommonAreCompared goes beyond what is compared line by line.
func TestTextsWithoutALineInCommonAreCompared(t *testing.T) {
	before, after := strings.Repeat("a\nx\n", 3000), strings.Repeat("b\nx\n", 3000)
	got := compare(strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n"))
	if minus, plus := count(got, '-'), count(got, '+'); minus != 6001 || plus != 6001 {
		t.Errorf("%d lines go, %d come", minus, plus)
	}
}
