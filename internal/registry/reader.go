package registry

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"crossfade.dev/internal/fleet"
)

// A Reader makes lists of entries as a registry has them. It reads an entry only when it has changed. The zero value has
// listed nothing; its method is for one goroutine.
type Reader struct {
	known map[string]known // by key; nil before the first list
}

// known is an entry as it was read last.
type known struct {
	data []byte
	in   fleet.Instance
	err  error
}

// List returns what these entries, by key, say. Of two that say the same incarnation the first by key counts, and the
// other is unread. Neither the entries nor the list may be written to afterwards.
func (r *Reader) List(entries map[string][]byte) List {
	l := List{First: r.known == nil}
	read := make(map[string]known, len(entries))
	keys := map[string]string{} // by incarnation
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		k, again := r.known[key]
		if data := entries[key]; !again || !bytes.Equal(k.data, data) {
			k = known{data: data}
			k.in, k.err = Decode(data)
		}
		read[key] = k
		other, twice := keys[k.in.Incarnation]
		switch {
		case k.err != nil:
			l.Unread = append(l.Unread, Unread{Key: key, Err: k.err})
		case twice:
			l.Unread = append(l.Unread, Unread{Key: key, Err: fmt.Errorf("incarnation %s is that of %s already", k.in.Incarnation, other)})
		default:
			keys[k.in.Incarnation] = key
			l.Instances = append(l.Instances, k.in)
		}
	}
	slices.SortFunc(l.Instances, func(a, b fleet.Instance) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	r.known = read
	return l
}
