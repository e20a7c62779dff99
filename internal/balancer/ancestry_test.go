package balancer

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// Whoever was there before is found, wherever it stands now and whatever came or left around it, and has one heir.
func TestAncestryFindsEverybody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *Balancer {
			numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 40, rapid.ID).Draw(t, label)
			if rapid.Bool().Draw(t, label+" in order") {
				slices.Sort(numbers)
			}
			b := &Balancer{}
			for _, n := range numbers {
				b.endpoints = append(b.endpoints, &fleet.Endpoint{Incarnation: strconv.Itoa(n)})
			}
			return b
		}
		before, after := draw("before"), draw("after")
		for i, got := range after.ancestry(before) {
			want := slices.IndexFunc(before.endpoints, func(e *fleet.Endpoint) bool { return e.Incarnation == after.endpoints[i].Incarnation })
			if got != want {
				t.Fatalf("%s was %d, want %d", after.endpoints[i].Incarnation, got, want)
			}
		}
	})
}
