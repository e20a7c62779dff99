package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"math"
	"os"
	"path/filepath"
	"slices"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// A record is one line in the life of releases, episodes and events. One of its fields is set, but for Episode's Points.
type record struct {
	Events  []fleet.Event    `json:"events,omitempty"`
	Release *release.Release `json:"release,omitempty"` // instead of what was written of it before
	Episode *release.Episode `json:"episode,omitempty"` // likewise, without its points
	ID      string           `json:"id,omitempty"`      // of an episode
	Points  []release.Point  `json:"points,omitempty"`  // that it has besides those before
	Gone    []string         `json:"gone,omitempty"`    // releases and episodes that are not kept any more
}

// Written is what is known of an episode on disk.
type written struct {
	sum  uint64 // of it without its points
	upto int64  // its last point there
}

// lives is the log of them.
type lives struct {
	number  int64
	size    int64
	live    int64 // how long it was when it was written anew
	again   bool  // it is to be written anew
	kept    int64 // the log that the state on disk names
	tidied  int64 // the log that had become the only one when others were removed last
	written map[string]*written
}

// records returns what is to be appended: what has changed, or everything. The history's lock is held.
func (l *lives) records(h *History) ([]byte, error) {
	if l.written == nil {
		l.written, l.again = map[string]*written{}, true
	}
	releases, episodes, recorded := h.recorder.Changed()
	events := h.events.all[len(h.events.all)-h.events.unkept:]
	if l.size > livesBound && l.size > 2*l.live {
		l.again = true
	}
	if l.again {
		l.number++
		l.size = 0
		clear(l.written)
		events = h.events.all
		releases, episodes, recorded = nil, nil, nil
		for _, r := range slices.Backward(h.recorder.Releases()) {
			releases = append(releases, r.ID)
		}
		for _, e := range slices.Backward(h.recorder.Episodes()) {
			episodes = append(episodes, e.ID)
		}
	}
	out := frames{}
	if len(events) > 0 {
		out.add(&record{Events: events})
	}
	h.events.unkept = 0
	for _, id := range releases {
		if r := h.recorder.Release(id); r != nil {
			out.add(&record{Release: r})
		} else {
			out.add(&record{Gone: []string{id}})
		}
	}
	for _, id := range episodes {
		l.episode(&out, id, h.recorder.Episode(id), true)
	}
	for _, id := range recorded {
		l.episode(&out, id, h.recorder.Episode(id), false)
	}
	if l.again {
		l.live = int64(len(out.data))
	}
	return out.data, out.err
}

// episode adds what has changed of one: more than its points, perhaps.
func (l *lives) episode(out *frames, id string, e *release.Episode, more bool) {
	if e == nil {
		delete(l.written, id)
		out.add(&record{Gone: []string{id}})
		return
	}
	w := l.written[id]
	if n := len(e.Points); w != nil && n > 0 && e.Points[n-1].At < w.upto { // the clock was set back
		w = nil
		out.add(&record{Gone: []string{id}})
	}
	if w == nil {
		w, more = &written{upto: math.MinInt64}, true
		l.written[id] = w
	}
	if more {
		bare := *e
		bare.Points = nil
		if sum := out.mark(&record{Episode: &bare}); sum != w.sum {
			w.sum = sum
			out.keep()
		}
	}
	i := len(e.Points)
	for i > 0 && e.Points[i-1].At > w.upto {
		i--
	}
	if i < len(e.Points) {
		w.upto = e.Points[len(e.Points)-1].At
		out.add(&record{ID: id, Points: e.Points[i:]})
	}
}

// Frames are records on their way to a log.
type frames struct {
	data []byte
	next []byte // see mark
	err  error
}

// mark prepares a record and returns a sum of it; keep adds it.
func (f *frames) mark(r *record) uint64 {
	next, err := json.Marshal(r)
	if err != nil {
		f.err = errors.Join(f.err, fmt.Errorf("a record of history: %w", err))
		return 0
	}
	f.next = next
	return crc64.Checksum(next, crc64.MakeTable(crc64.ECMA))
}

func (f *frames) keep() { f.data = appendFrame(f.data, f.next) }

func (f *frames) add(r *record) {
	if f.mark(r); f.err == nil {
		f.keep()
	}
}

// write appends to the log on disk.
func (l *lives) write(dir string, data []byte) error {
	if len(data) == 0 && !l.again {
		return nil
	}
	if err := extend(filepath.Join(dir, livesFile(l.number)), l.size, data); err != nil {
		return err
	}
	l.size += int64(len(data))
	l.again = false
	return nil
}

// sweep removes every log but the one that the state on disk names: those before it, and those that were begun for a state
// that could not be written.
func (l *lives) sweep(k *keeper) {
	for n, path := range k.numbered("lives-") {
		if n != l.kept {
			_ = os.Remove(path) // what stays is tried again with the next, and does no harm
		}
	}
}

// A reading is what a log of lives has come to.
type reading struct {
	events   []fleet.Event
	releases map[string]*release.Release
	episodes map[string]*release.Episode
	order    []string // ids of both, as they came first
}

func newReading() *reading {
	return &reading{releases: map[string]*release.Release{}, episodes: map[string]*release.Episode{}}
}

func (r *reading) take(data []byte) error {
	var next record
	if err := json.Unmarshal(data, &next); err != nil {
		return err
	}
	r.events = append(r.events, next.Events...)
	for _, id := range next.Gone {
		delete(r.releases, id)
		delete(r.episodes, id)
	}
	if rel := next.Release; rel != nil {
		if r.releases[rel.ID] == nil {
			r.order = append(r.order, rel.ID)
		}
		r.releases[rel.ID] = rel
	}
	if e := next.Episode; e != nil {
		if was := r.episodes[e.ID]; was != nil {
			e.Points = was.Points
		} else {
			r.order = append(r.order, e.ID)
		}
		r.episodes[e.ID] = e
	}
	if e := r.episodes[next.ID]; e != nil {
		e.Points = append(e.Points, next.Points...)
	}
	return nil
}

// allReleases returns what is kept, the oldest first.
func (r *reading) allReleases() []release.Release { return inOrder(r.order, r.releases) }

// allEpisodes likewise.
func (r *reading) allEpisodes() []release.Episode { return inOrder(r.order, r.episodes) }

func inOrder[T any](order []string, all map[string]*T) []T {
	list := make([]T, 0, len(all))
	for _, id := range order {
		if v := all[id]; v != nil {
			list = append(list, *v)
			delete(all, id) // one that went and came again stands there twice
		}
	}
	return list
}
