package control

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// storeOrigin is the kind of origin that a Lifecycle has which people have put into the store.
const storeOrigin = "store"

// Lifecycles takes all that people have put into the store. One that configuration has, too, is not in force: files win.
func (c *Control) Lifecycles(ctx context.Context, stored []fleet.Lifecycle) error {
	return c.do(ctx, func(w *world, _ time.Time) {
		w.stored = slices.Clone(stored)
		for i := range w.stored {
			w.stored[i].Origin = fleet.Origin{Kind: storeOrigin, Name: key(stored[i].Namespace, stored[i].Name)}
		}
	})
}

// recallLifecycles takes from the last snapshot what configuration and the store said.
func (w *world) recallLifecycles(last []fleet.Lifecycle) {
	for _, l := range last {
		if l.Origin.Kind == storeOrigin && l.Origin.File == "" {
			w.stored = append(w.stored, l)
		} else {
			w.desired.Lifecycles = append(w.desired.Lifecycles, l)
		}
	}
}

// lifecycles is those of configuration and, where they have other names, of the store.
func (w *world) lifecycles(now time.Time) []fleet.Lifecycle {
	all := slices.Clone(w.desired.Lifecycles)
	files := map[string]fleet.Origin{}
	for i := range all {
		files[key(all[i].Namespace, all[i].Name)] = all[i].Origin
	}
	var overruled []string
	for _, l := range w.stored {
		k := key(l.Namespace, l.Name)
		if file, both := files[k]; both {
			overruled = append(overruled, "Lifecycle "+k+" is in "+cmp.Or(file.File, "the configuration")+" and in the store; the file's is in force, delete one of them")
			continue
		}
		all = append(all, l)
	}
	slices.Sort(overruled)
	for _, reason := range overruled {
		if !slices.Contains(w.overruled, reason) {
			w.tell(fleet.Event{Kind: "config.warning", Reason: reason}, now)
		}
	}
	w.overruled = overruled
	slices.SortStableFunc(all, func(a, b fleet.Lifecycle) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return all
}
