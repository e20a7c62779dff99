package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	watchEvery   = 250 * time.Millisecond // how often a stream looks for changes
	watchTimeout = 10 * time.Second       // a client that takes no line for so long is cut off; it may come back
	maxWatchers  = 32
)

// A stream says what is watched.
type stream[T any] struct {
	list func(World) []T
	key  func(T) string // names an item
	sign func(T) any    // what of it counts as a change; nil: an item never changes
	gone func(T) T      // marks an item that is no more; nil: that is not worth a line
}

// watch answers with one line of JSON for every item there is, then with one for every item that comes, changes
// or goes, until the client leaves or the program ends. It looks at whole worlds, so that a slow client skips
// what was overtaken and never misses what is.
func watch[T any](a *api, w http.ResponseWriter, r *http.Request, s stream[T]) {
	if a.watchers.Add(1) > maxWatchers {
		a.watchers.Add(-1)
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("%d streams are open already", maxWatchers))
		return
	}
	defer a.watchers.Add(-1)
	control := http.NewResponseController(w)
	// A stream outlives the deadlines of an ordinary answer: reading ends when the client leaves.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var seen map[string]item[T]
	for {
		var lines []T
		seen, lines = s.changes(seen, s.list(a.world()))
		if err := writeLines(w, control, lines); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// An item is what was last sent of something.
type item[T any] struct {
	value T
	sign  string
}

// changes returns what the items are now, and those of them that a client who has seen must be told.
func (s stream[T]) changes(seen map[string]item[T], items []T) (next map[string]item[T], tell []T) {
	next = make(map[string]item[T], len(items))
	for _, value := range items {
		key := s.key(value)
		if _, twice := next[key]; twice {
			continue
		}
		now := item[T]{value: value}
		if s.sign != nil {
			now.sign = fingerprint(s.sign(value))
		}
		next[key] = now
		if last, known := seen[key]; !known || last.sign != now.sign {
			tell = append(tell, value)
		}
	}
	if s.gone == nil {
		return next, tell
	}
	for key, last := range seen {
		if _, still := next[key]; !still {
			tell = append(tell, s.gone(last.value))
		}
	}
	return next, tell
}

// fingerprint writes a value so that two of the same content are equal.
func fingerprint(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// writeLines sends one line for each value. The first call sends the head even when there is none.
func writeLines[T any](w http.ResponseWriter, control *http.ResponseController, values []T) error {
	if err := control.SetWriteDeadline(time.Now().Add(watchTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("stream: %w", err)
	}
	encoder := newEncoder(w)
	for _, value := range values {
		if err := encoder.Encode(value); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
	}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}
