package control

import (
	"fmt"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// A loss is a registration that vanished without a leave: its lease ran out, since its agent cannot reach the
// registry, or since it is dead. The instance stays for keptLost, unless its active check fails.
type loss struct {
	last     fleet.Instance
	since    time.Time
	registry string
	only     bool // it stays because its service would have nobody, and no longer than that is so
}

// vanish takes that a registry has these no more, nor any other. Whoever has an agent says that it leaves before it goes:
// it is lost, unless somebody else has its port, and so is it if it is not known whether the registry forgot it. A stranger
// that its registry forgets while all is well was taken out, or its process or its session is over: nothing is sent to it
// any more.
func (w *world) vanish(gone []*fleet.Instance, c *catalogue, name string, now time.Time) {
	if len(gone) == 0 {
		return
	}
	successors := taken(c)
	var bereft map[string]bool
	if slices.ContainsFunc(gone, func(in *fleet.Instance) bool { return in.Foreign }) {
		bereft = w.bereft(incarnations(gone))
	}
	for _, in := range gone {
		switch {
		case !w.offers(in):
		case !in.Foreign && slices.ContainsFunc(seats(in), func(at seat) bool { return successors[at] }):
			w.ends[in.Incarnation] = "another process is registered at its address"
		case !in.Foreign:
			w.lose(in, name, "it did not say that it leaves", now)
		case c.away || !c.back.IsZero() && now.Sub(c.back) < settling:
			w.lose(in, name, name+" was away a moment ago", now)
		case bereft[in.Incarnation]:
			w.lose(in, name, "its service has nobody else", now)
			w.lost[in.Incarnation].only = true
		case w.aliases[in.Incarnation].stale:
			w.ends[in.Incarnation] = "another process is registered at its address"
		default:
			w.ends[in.Incarnation] = name + " has it no more"
		}
	}
}

// taken are the ports that those have whom a registry lists: of those only one process listens at each.
func taken(c *catalogue) map[seat]bool {
	all := map[seat]bool{}
	for i := range c.list {
		for _, at := range seats(&c.list[i]) {
			all[at] = true
		}
	}
	return all
}

func incarnations(list []*fleet.Instance) map[string]bool {
	all := make(map[string]bool, len(list))
	for _, in := range list {
		all[in.Incarnation] = true
	}
	return all
}

// offers says whether requests may be sent to an instance that does not leave.
func (w *world) offers(in *fleet.Instance) bool {
	l := w.lives[in.Incarnation]
	return l != nil && l.Stage.Offered() && !in.Leaving && !w.died(in.Incarnation)
}

// lose keeps an instance that has vanished, for a while.
func (w *world) lose(in *fleet.Instance, name, why string, now time.Time) {
	w.lost[in.Incarnation] = &loss{last: *in, since: now, registry: name}
	w.tell(fleet.Event{
		Kind: "registration.lost", Endpoint: in.Name, Incarnation: in.Incarnation,
		Reason: fmt.Sprintf("%s has it no more, and %s; it stays for %v while its check passes", name, why, keptLost),
	}, now)
}

// release lets those go who were kept because their services had nobody else, and now have.
func (w *world) release() {
	kept := map[string]bool{}
	for incarnation, l := range w.lost {
		if l.only {
			kept[incarnation] = true
		}
	}
	if len(kept) == 0 {
		return
	}
	for incarnation, still := range w.bereft(kept) {
		if !still {
			w.ends[incarnation] = w.lost[incarnation].registry + " has it no more, and its service has others"
			delete(w.lost, incarnation)
		}
	}
}

func (w *world) regain(l *loss, reason string, now time.Time) {
	delete(w.lost, l.last.Incarnation)
	w.tell(fleet.Event{
		Kind: "registration.regained", Endpoint: l.last.Name, Incarnation: l.last.Incarnation,
		Reason: fmt.Sprintf("%s, after %v", reason, now.Sub(l.since).Round(time.Millisecond)),
	}, now)
}

// bereft are those of an order of departures without whom a service has nobody that requests may be sent to.
func (w *world) bereft(gone map[string]bool) map[string]bool {
	last := map[string]bool{}
	for i := range w.view.Services {
		var mine []string
		others := false
		for j := range w.view.Services[i].Endpoints {
			e := &w.view.Services[i].Endpoints[j]
			switch {
			case !e.Stage.Offered(), w.ends[e.Incarnation] != "":
			case gone[e.Incarnation]:
				mine = append(mine, e.Incarnation)
			default:
				others = true
			}
		}
		for _, incarnation := range mine {
			last[incarnation] = last[incarnation] || !others
		}
	}
	return last
}
