package control

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// A seat is where somebody listens, as what.
type seat struct {
	at netip.AddrPort
	as string
}

// A stranger is a registration that names no incarnation of ours: an application has made it itself, or its proxy passes
// it on untouched. Its incarnation is what the registry knows of it.
type stranger struct {
	*fleet.Instance

	registry string
	seats    []seat
}

// An alias is who a stranger is.
type alias struct {
	id    string
	ours  bool // an agent, a runner or configuration has given the incarnation
	stale bool // the same registry has a newer one in its seat: it counts for nothing
}

// who is an incarnation as it counts here.
func (w *world) who(incarnation string) string {
	if a, ok := w.aliases[incarnation]; ok {
		return a.id
	}
	return incarnation
}

// known is an entry of a registry as it counts here; false says that it does not.
func (w *world) known(in *fleet.Instance) (*fleet.Instance, bool) {
	a, ok := w.aliases[in.Incarnation]
	if !ok || !in.Foreign {
		return in, true
	}
	same := *in
	same.Incarnation, same.Foreign = a.id, !a.ours
	return &same, !a.stale
}

// process is the first incarnation of a process: one that registers in several services is INC in the first of them, and
// INC@SERVICE in the others.
func process(incarnation string) string {
	first, _, _ := strings.Cut(incarnation, "@")
	return first
}

// seats are where an instance listens. Of Dubbo several groups and versions of a service share a port.
func seats(in *fleet.Instance) []seat {
	as := in.Labels["app"]
	if in.Labels["interface"] != "" {
		as = strings.Join([]string{as, in.Labels["group"], in.Labels["version"]}, "\x00")
	}
	list := make([]seat, 0, len(in.Ports))
	for _, port := range in.Ports {
		list = append(list, seat{addrPort(in.Address.Unmap(), port), as})
	}
	slices.SortFunc(list, func(a, b seat) int { return a.at.Compare(b.at) })
	return slices.Compact(list)
}

// identify finds out who strangers are: the instance of ours in their seat, or the stranger that another registry has
// there. Who was found to be somebody stays that for as long as it is registered, and nobody else is in its seat.
func (w *world) identify(now time.Time) {
	strangers := w.strangers()
	if len(strangers) == 0 {
		w.aliases, w.meant = nil, nil
		return
	}
	next, meant := map[string]alias{}, map[string]bool{}
	newest := w.newest(strangers)
	for i := range strangers {
		s := &strangers[i]
		if by := s.superseded(newest); by != "" {
			w.retire(s, by, now)
			next[s.Incarnation] = alias{id: s.Incarnation, stale: true}
		}
	}
	ours, taken := w.seated()
	for i := range strangers {
		s := &strangers[i]
		if next[s.Incarnation].stale {
			continue
		}
		before, was := w.aliases[s.Incarnation]
		a := s.identity(before, was && !before.stale && !next[before.id].stale, ours, taken)
		if a.id != s.Incarnation {
			next[s.Incarnation] = a
			w.adopt(s.Incarnation, a.id)
		}
		meant[a.id] = true
		for _, at := range s.seats {
			if by, sits := taken[at]; !sits || !by.has { // nobody now, whoever was a moment ago
				taken[at] = sitter{a.id, s.registry, true}
			}
		}
	}
	w.aliases, w.meant = next, meant
}

// strangers lists them, those first whom control knows.
func (w *world) strangers() []stranger {
	var list []stranger
	for name, c := range w.registries {
		for i := range c.list {
			if in := &c.list[i]; in.Foreign && !w.reserved(in.Incarnation) {
				list = append(list, stranger{in, name, seats(in)})
			}
		}
	}
	news := func(s *stranger) int {
		if w.lives[w.who(s.Incarnation)] != nil {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b stranger) int {
		return cmp.Or(cmp.Compare(news(&a), news(&b)), strings.Compare(a.Incarnation, b.Incarnation), strings.Compare(a.registry, b.registry))
	})
	return list
}

// A sitter is the stranger in a seat, and the registry that has it there, or had it a moment ago.
type sitter struct {
	id, registry string
	has          bool
}

// seated is who listens where and is no stranger in a registry: ours, in the order in which they count, and strangers of a
// moment ago.
func (w *world) seated() (ours map[netip.AddrPort][]*fleet.Instance, taken map[seat]sitter) {
	ours, taken = map[netip.AddrPort][]*fleet.Instance{}, map[seat]sitter{}
	for _, c := range w.said() {
		switch {
		case !c.foreign():
			for _, port := range c.Ports {
				at := addrPort(c.Address.Unmap(), port)
				ours[at] = append(ours[at], c.Instance)
			}
		case c.rank != byRegistry:
			for _, at := range seats(c.Instance) {
				taken[at] = sitter{id: c.Incarnation, registry: c.registry()}
			}
		}
	}
	for _, list := range ours {
		slices.SortStableFunc(list, func(a, b *fleet.Instance) int {
			return cmp.Or(cmp.Compare(going(a), going(b)), strings.Compare(a.Incarnation, b.Incarnation))
		})
	}
	return ours, taken
}

func going(in *fleet.Instance) int {
	if in.Leaving {
		return 1
	}
	return 0
}

// A listing is one seat as one registry has it.
type listing struct {
	seat

	registry string
}

// newest is the stranger that registered last in each seat of each registry. Nobody else can listen there: others are
// what is left of processes that were killed, until their sessions have run out.
func (w *world) newest(strangers []stranger) map[listing]*stranger {
	last := make(map[listing]*stranger, len(strangers))
	for i := range strangers {
		s := &strangers[i]
		for _, at := range s.seats {
			l := listing{at, s.registry}
			if last[l] == nil || w.later(s, last[l]) {
				last[l] = s
			}
		}
	}
	return last
}

// later says whether s came after other: by what they say of their start, else by which of them control has not seen yet.
func (w *world) later(s, other *stranger) bool {
	if a, b := w.aliases[s.Incarnation].stale, w.aliases[other.Incarnation].stale; a != b {
		return b
	}
	if a, b := s.Published, other.Published; a != nil && b != nil && !a.Started.Equal(b.Started) {
		return a.Started.After(b.Started)
	}
	return w.lives[w.who(s.Incarnation)] == nil && w.lives[w.who(other.Incarnation)] != nil
}

// superseded is who has come into its seat after it; "" is nobody.
func (s *stranger) superseded(newest map[listing]*stranger) string {
	for _, at := range s.seats {
		if last := newest[listing{at, s.registry}]; last.Incarnation != s.Incarnation {
			return last.Incarnation
		}
	}
	return ""
}

// retire takes that somebody else listens where a stranger did.
func (w *world) retire(s *stranger, by string, now time.Time) {
	if w.aliases[s.Incarnation].stale {
		return
	}
	w.tell(fleet.Event{
		Kind: "registration.superseded", From: s.registry, Endpoint: s.Name, Incarnation: s.Incarnation, Reason: by + " is registered at its address now",
	}, now)
}

// identity is who a stranger is; it goes on to be who it was before if it was.
func (s *stranger) identity(before alias, was bool, ours map[netip.AddrPort][]*fleet.Instance, taken map[seat]sitter) alias {
	for _, at := range s.seats {
		list := ours[at.at]
		if len(list) == 0 {
			continue
		}
		if was && slices.ContainsFunc(list, func(in *fleet.Instance) bool { return process(in.Incarnation) == process(before.id) }) {
			return before
		}
		return alias{id: service(s, list), ours: true}
	}
	elsewhere := alias{id: s.Incarnation}
	for _, at := range s.seats {
		by, sits := taken[at]
		switch {
		case !sits || by.registry == s.registry: // in one registry it would have its incarnation
		case by.has:
			return alias{id: by.id}
		default:
			elsewhere.id = by.id
		}
	}
	if was {
		return before
	}
	return elsewhere
}

// service is the incarnation of those that listen at a stranger's address which is of its service; there may be none yet.
func service(s *stranger, list []*fleet.Instance) string {
	for _, in := range list {
		if in.Labels["app"] == s.Labels["app"] || configured(*in) {
			return in.Incarnation
		}
	}
	return fmt.Sprintf("%s@%s", process(list[0].Incarnation), s.Labels["app"])
}

// adopt makes what control knows of a stranger what it knows of who that is, where it knew nothing.
func (w *world) adopt(stranger, id string) {
	if l := w.lives[stranger]; l != nil && w.lives[id] == nil {
		w.lives[id] = l
		delete(w.lives, stranger)
	}
	if at, told := w.completed[stranger]; told {
		w.completed[id] = at
	}
}
