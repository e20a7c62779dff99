package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

const (
	// keptLost is how long an instance stays whose registration has vanished without a leave.
	keptLost = time.Minute
	// awaiting is how long a control that knows nothing waits for the first list of its registries.
	awaiting = 10 * time.Second
	// settling is how long after a registry is back strangers may still be missing from it: their clients have to hear that
	// their connections are gone, and to register again.
	settling = 30 * time.Second
	// unreadTold is how many entries that are no instances are told of at a time.
	unreadTold = 10
)

// A catalogue is what one registry lists. The last list holds while the registry is away.
type catalogue struct {
	list   []fleet.Instance // sorted by incarnation
	away   bool
	back   time.Time         // when it was away last
	unread map[string]string // why, by key
}

// A former is what is known of an incarnation's life before control saw it.
type former struct {
	offered time.Time
	why     string
	hearsay bool // the instance says so itself
	learnt  time.Time
}

// Registries says what control has of the registries that it follows, sorted by name.
func (c *Control) Registries() []fleet.RegistryState { return slices.Clone(c.latest().registries) }

// states is what there is of each registry, sorted by name.
func (w *world) states() []fleet.RegistryState {
	list := make([]fleet.RegistryState, 0, len(w.registries))
	for _, name := range slices.Sorted(maps.Keys(w.registries)) {
		c := w.registries[name]
		s := fleet.RegistryState{Name: name, Away: c.away, Instances: len(c.list), Unread: len(c.unread)}
		for i := range c.list {
			if c.list[i].Foreign {
				s.Foreign++
			}
		}
		for _, l := range w.lost {
			if l.registry == name {
				s.Lost++
			}
		}
		list = append(list, s)
	}
	return list
}

// Registered takes everything that a registry lists.
func (c *Control) Registered(ctx context.Context, name string, l registry.List) error {
	return c.do(ctx, func(w *world, now time.Time) { w.registered(name, l, now) })
}

// RegistryAway takes that a registry cannot be reached, or with nil that it can again.
func (c *Control) RegistryAway(ctx context.Context, name string, err error) error {
	return c.do(ctx, func(w *world, now time.Time) { w.registryAway(name, err, now) })
}

func (w *world) catalogue(name string) *catalogue {
	c := w.registries[name]
	if c == nil {
		c = &catalogue{}
		w.registries[name] = c
	}
	return c
}

func (w *world) registryAway(name string, err error, now time.Time) {
	c := w.catalogue(name)
	switch {
	case err != nil && !c.away:
		w.tell(fleet.Event{Kind: "registry.away", Endpoint: name, Reason: err.Error()}, now)
	case err == nil && c.away:
		w.tell(fleet.Event{Kind: "registry.back", Endpoint: name}, now)
	}
	if c.away {
		c.back = now
	}
	c.away = err != nil
}

func (w *world) registered(name string, l registry.List, now time.Time) {
	delete(w.awaited, name)
	c := w.catalogue(name)
	before := w.entries(c)
	c.list = listed(l.Instances)
	w.identify(now)
	for _, in := range w.entries(c) {
		if in.Ready {
			w.complete(in, name, l.First, now)
		}
		if lost := w.lost[in.Incarnation]; lost != nil {
			w.regain(lost, name+" lists it again", now)
		}
		if l.First {
			w.find(in, name, now)
		}
		delete(w.restored, in.Incarnation)
	}
	before = slices.DeleteFunc(before, func(in *fleet.Instance) bool { return w.lists(in.Incarnation) })
	w.vanish(before, c, name, now)
	w.unread(c, name, l.Unread, now)
}

// entries are what a registry lists, as it counts here.
func (w *world) entries(c *catalogue) []*fleet.Instance {
	list := make([]*fleet.Instance, 0, len(c.list))
	for i := range c.list {
		if in, counts := w.known(&c.list[i]); counts {
			list = append(list, in)
		}
	}
	return list
}

// complete tells that an instance is registered, when a registry lists it for the first time: before what follows from
// that is told, while its agent is still reading it back. Of one that was there before there is nothing to tell.
func (w *world) complete(in *fleet.Instance, name string, before bool, now time.Time) {
	if _, told := w.completed[in.Incarnation]; !told && !before {
		w.tell(fleet.Event{
			Kind: registrationCompleted, From: name, Endpoint: in.Name, Incarnation: in.Incarnation, Reason: name + " lists it",
		}, now)
	}
	w.completed[in.Incarnation] = now
}

// listed is a registry's list as it counts here: none of it is configuration.
func listed(list []fleet.Instance) []fleet.Instance {
	out := slices.DeleteFunc(slices.Clone(list), func(in fleet.Instance) bool { return in.Incarnation == "" })
	for i := range out {
		out[i].Origin = fleet.Origin{}
	}
	slices.SortStableFunc(out, func(a, b fleet.Instance) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return slices.CompactFunc(out, func(a, b fleet.Instance) bool { return a.Incarnation == b.Incarnation })
}

// lists says whether any registry has an incarnation, or a stranger that is it.
func (w *world) lists(incarnation string) bool { return w.meant[incarnation] || w.names(incarnation) }

// names says whether an entry of any registry names an incarnation.
func (w *world) names(incarnation string) bool {
	if _, other := w.aliases[incarnation]; other { // it is somebody else, or counts for nothing
		return false
	}
	for _, c := range w.registries {
		_, found := slices.BinarySearchFunc(c.list, incarnation, func(in fleet.Instance, want string) int {
			return strings.Compare(in.Incarnation, want)
		})
		if found {
			return true
		}
	}
	return false
}

// find notes how old an instance says that it is, which was registered before anybody looked, and of which nothing is
// remembered.
func (w *world) find(in *fleet.Instance, name string, now time.Time) {
	_, past := w.past[in.Incarnation]
	_, known := w.former[in.Incarnation]
	_, restored := w.restored[in.Incarnation]
	if past || known || restored || w.lives[in.Incarnation] != nil || in.Published == nil {
		return
	}
	age := publishedAge(in.Published, now)
	w.former[in.Incarnation] = former{
		offered: now.Add(-age), hearsay: true, learnt: now,
		why: fmt.Sprintf("in %s before control looked, for %v as it says", name, age.Round(time.Millisecond)),
	}
}

// publishedAge is how long an instance has been offered by its own word. The moments in it are by its machine's clock,
// which may differ from ours: nothing that both have to do with makes the age less than it was when it registered, or
// more than there was of it from its start.
func publishedAge(p *fleet.Published, now time.Time) time.Duration {
	since := max(0, now.Sub(p.Registered))
	age := later(max(0, p.Age), since)
	if p.Started.IsZero() {
		return age
	}
	return min(age, later(max(0, p.Registered.Sub(p.Started)), since))
}

// later is two durations that are not negative one after the other, at most the greatest.
func later(a, b time.Duration) time.Duration {
	if sum := a + b; sum >= 0 {
		return sum
	}
	return 1<<63 - 1
}

// forgetRegistrations drops what has been lost for too long, and what was kept for a while.
func (w *world) forgetRegistrations(now time.Time) {
	w.release()
	for incarnation, l := range w.lost {
		if now.Sub(l.since) >= keptLost {
			delete(w.lost, incarnation)
			w.ends[incarnation] = fmt.Sprintf("%s has not had it for %v", l.registry, keptLost)
		}
	}
	for incarnation, at := range w.dead {
		if now.Sub(at) > memory && !w.names(incarnation) {
			delete(w.dead, incarnation)
		}
	}
	for incarnation, f := range w.former {
		if now.Sub(f.learnt) > memory {
			delete(w.former, incarnation)
		}
	}
	for name, since := range w.awaited {
		if now.Sub(since) > awaiting {
			delete(w.awaited, name)
			w.tell(fleet.Event{Kind: "registry.away", Endpoint: name, Reason: fmt.Sprintf("it has sent nothing in %v; control begins without it", awaiting)}, now)
			w.catalogue(name).away = true
		}
	}
}

// forgetTold drops what was kept so that events about those who have gone say all that there is to say.
func (w *world) forgetTold(now time.Time) {
	for incarnation, at := range w.completed {
		if now.Sub(at) > memory && w.lives[incarnation] == nil {
			delete(w.completed, incarnation)
		}
	}
	for incarnation, p := range w.placed {
		if now.Sub(p.at) > memory && w.lives[incarnation] == nil {
			delete(w.placed, incarnation)
		}
	}
}

// registriesAway says whether a registry that may know more cannot be asked.
func (w *world) registriesAway() bool {
	for _, c := range w.registries {
		if c.away {
			return true
		}
	}
	return len(w.awaited) > 0
}

// unread tells of entries that are no instances, each time that something new is wrong with one.
func (w *world) unread(c *catalogue, name string, entries []registry.Unread, now time.Time) {
	next := make(map[string]string, len(entries))
	for _, e := range entries {
		next[e.Key] = e.Err.Error()
	}
	told := 0
	for _, key := range slices.Sorted(maps.Keys(next)) {
		if c.unread[key] == next[key] {
			continue
		}
		if told++; told <= unreadTold {
			w.tell(fleet.Event{Kind: "registry.unread", Endpoint: name, Reason: key + ": " + next[key]}, now)
		}
	}
	if more := told - unreadTold; more > 0 {
		w.tell(fleet.Event{Kind: "registry.unread", Endpoint: name, Reason: fmt.Sprintf("%d more entries", more)}, now)
	}
	c.unread = next
}

// doubted lists the incarnations for which, of all that is known of them, their active check alone vouches: lost
// registrations, and agents that went away and are in no registry.
func (w *world) doubted() map[string]bool {
	var list map[string]bool
	doubt := func(incarnation string) {
		if list == nil {
			list = map[string]bool{}
		}
		list[incarnation] = true
	}
	for incarnation := range w.lost {
		doubt(incarnation)
	}
	for _, f := range w.followers {
		if in := f.vouched(); in != nil && f.away && !w.lists(in.Incarnation) {
			doubt(in.Incarnation)
		}
	}
	return list
}

// giveUp ends an incarnation that was doubted and does not pass its check.
func (w *world) giveUp(incarnation, reason string) {
	if l := w.lost[incarnation]; l != nil {
		delete(w.lost, incarnation)
		w.ends[incarnation] = fmt.Sprintf("%s has it no more, and its check fails: %s", l.registry, reason)
	}
	f := w.followers[agentID(incarnation)]
	if in := f.vouched(); in != nil && f.away && !w.lists(incarnation) {
		delete(w.followers, agentID(incarnation))
		w.ends[incarnation] = cmp.Or(w.ends[incarnation], "its agent is away, and its check fails: "+reason)
	}
}
