package config

import (
	"fmt"
	"slices"
	"strings"
)

// nearest returns the one of names that word was most likely meant to be, or "". Ties go to the first in order.
func nearest(word string, names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	best, least := "", len(word)/3+1
	for _, name := range names {
		if d := distance(strings.ToLower(word), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// didYouMean is a hint for a message: the nearest name, else all of a few, else nothing.
func didYouMean(word string, names []string) string {
	const few = 8
	if guess := nearest(word, names); guess != "" {
		return fmt.Sprintf("; did you mean %q?", guess)
	}
	if len(names) > 0 && len(names) <= few {
		names = slices.Clone(names)
		slices.Sort(names)
		return "; there are: " + strings.Join(names, ", ")
	}
	return ""
}

// distance is how many single edits (insertion, deletion, substitution, swap of neighbours) make a into b.
func distance(a, b string) int {
	const longest = 256 // names are shorter; the cost is quadratic
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
