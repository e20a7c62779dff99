package supervisor

import (
	"cmp"
	"slices"
)

// A phase is how far a replica is in its life.
type phase uint8

const (
	starting phase = iota // it has not been ready yet
	serving               // it has been ready, and was not told to leave
	leaving               // it was told to leave
)

// A member is what a plan sees of one replica of a group.
type member struct {
	index   int
	phase   phase
	current bool // it is of the revision that is wanted
	late    bool // it has not been ready for longer than anybody takes
}

// plan says what to do next so that a group comes to have wanted replicas, all of the revision that is wanted: so
// many to start, and those who are to leave, by index.
//
// Whoever serves goes on until somebody else does: a step never leaves fewer that serve than are wanted, if there were
// as many. And there are at most wanted+1 of those who serve, or soon will: a revision replaces another one by one.
// A replica of a revision that was overtaken before it was ready leaves at once: nobody needs it any more. One that is
// late leaves as well, to be tried again, but only where others serve: it may serve a part of what it should.
//
// Scaling in, those leave who are not ready yet, then those of the highest index.
func plan(wanted int, have []member) (start int, leave []int) {
	var old, young, current []member // serving and not current, starting and current, serving and current
	served := slices.ContainsFunc(have, func(m member) bool { return m.phase == serving })
	for _, m := range have {
		switch {
		case m.phase == leaving:
		case m.phase == starting && (!m.current || m.late && served):
			leave = append(leave, m.index)
		case m.phase == starting:
			young = append(young, m)
		case m.current:
			current = append(current, m)
		default:
			old = append(old, m)
		}
	}
	shrink := func(from *[]member, n int) {
		slices.SortFunc(*from, func(x, y member) int { return cmp.Compare(x.index, y.index) })
		keep := len(*from) - min(max(0, n), len(*from))
		for _, m := range (*from)[keep:] {
			leave = append(leave, m.index)
		}
		*from = (*from)[:keep]
	}
	shrink(&young, len(young)+len(current)-wanted)
	shrink(&current, len(current)-wanted)
	shrink(&old, len(old)+len(current)-wanted)
	live := len(old) + len(young) + len(current)
	shrink(&young, live-wanted-1)
	live = len(old) + len(young) + len(current)
	return max(0, min(wanted-len(young)-len(current), wanted+1-live)), leave
}
