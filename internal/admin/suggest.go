package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const maxSuggestions = 3

// Suggest returns the few of names that name was perhaps meant to be, the nearest first: those with at most a
// third of its letters wrong, and those that one of the two begins.
func Suggest(name string, names []string) []string {
	type candidate struct {
		name string
		far  int
	}
	var near []candidate
	name = strings.ToLower(name)
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		lower := strings.ToLower(n)
		far := distance(name, lower)
		begins := lower != "" && (strings.HasPrefix(lower, name) || strings.HasPrefix(name, lower))
		if n != "" && (begins || far <= max(1, len(name)/3)) {
			near = append(near, candidate{n, far})
		}
	}
	slices.SortStableFunc(near, func(x, y candidate) int { return cmp.Compare(x.far, y.far) })
	var found []string
	for _, c := range near[:min(len(near), maxSuggestions)] {
		found = append(found, c.name)
	}
	return found
}

// thereAre lists names, if they are not too many to read: of a service only the shortest, for "reviews" means
// "reviews:9080" as well.
func thereAre(names []string) string {
	const most = 20
	var short []string
	for _, n := range slices.Compact(slices.Sorted(slices.Values(names))) {
		host, _, ported := strings.Cut(n, ":")
		if n != "" && (!ported || !slices.Contains(names, host)) {
			short = append(short, n)
		}
	}
	switch n := len(short); {
	case n == 0:
		return "there are none"
	case n > most:
		return fmt.Sprintf("there are: %s and %d more", strings.Join(short[:most], ", "), n-most)
	}
	return "there are: " + strings.Join(short, ", ")
}

const maxCompared = 64 // bytes; longer names are compared by their beginnings, so that nobody can ask for much work

// distance returns how many bytes must be put in, taken out or changed to make b of a (Levenshtein).
func distance(a, b string) int {
	a, b = a[:min(len(a), maxCompared)], b[:min(len(b), maxCompared)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
