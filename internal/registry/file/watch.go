package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"crossfade.dev/internal/registry"
)

// lookEvery is how often a directory is looked at. Changes are not waited for: that somebody no longer touches a file is
// none.
const lookEvery = 200 * time.Millisecond

// Watch follows the instances, see [registry.Source]. It ends with nil when ctx does. Files whose agent has not touched
// them for the time to live count no more, and are removed where that is allowed.
func (d *Dir) Watch(ctx context.Context, apply func(registry.List), away func(error)) error {
	var reader registry.Reader
	w := watch{dir: d, seen: map[string]*seen{}}
	gone, told := false, false
	for {
		changed, err := w.look(time.Now())
		switch {
		case err != nil && !gone:
			gone = true
			away(fmt.Errorf("follow %s: %w: %w", d.path, registry.ErrAway, err))
		case err == nil && (changed || gone || !told):
			apply(reader.List(w.list()))
			told = true
			if gone {
				gone = false
				away(nil)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(lookEvery, d.ttl/4)):
		}
	}
}

// A watch is what one Watch knows of a directory.
type watch struct {
	dir  *Dir
	seen map[string]*seen // by name
}

// seen is a file as it was last.
type seen struct {
	info  fs.FileInfo
	data  []byte
	fresh time.Time // when it was found to have changed, by our own clock
	dead  bool      // nobody touches it any more
}

// look looks at the directory, and says whether the list has changed.
func (w *watch) look(now time.Time) (bool, error) {
	w.dir.mu.Lock()
	err := w.dir.make()
	w.dir.mu.Unlock()
	if err != nil {
		return false, err
	}
	files, err := os.ReadDir(w.dir.path)
	if err != nil {
		return false, err
	}
	changed := false
	there := map[string]bool{}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), ".") || !strings.HasSuffix(f.Name(), suffix) {
			continue
		}
		is, err := w.one(f.Name(), now)
		if errors.Is(err, fs.ErrNotExist) { // just now
			continue
		}
		if err != nil {
			return false, err
		}
		there[f.Name()] = true
		changed = changed || is
	}
	for name, s := range w.seen {
		if !there[name] {
			changed = changed || !s.dead
			delete(w.seen, name)
		}
	}
	return changed, nil
}

// one looks at a file, and says whether its entry is another one than before.
func (w *watch) one(name string, now time.Time) (bool, error) {
	path := filepath.Join(w.dir.path, name)
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	s := w.seen[name]
	if s == nil {
		// Nobody knows for how long it has not been touched. If its time is long ago, by whichever clock, it has to
		// be touched to count.
		s = &seen{fresh: now, dead: now.Sub(info.ModTime()) > w.dir.ttl}
		w.seen[name] = s
		if s.dead {
			s.info = info
			return false, nil
		}
	}
	if s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime()) {
		if now.Sub(s.fresh) <= w.dir.ttl {
			return false, nil
		}
		was := s.dead
		s.dead, s.data = true, nil
		_ = os.Remove(path) // somebody else may have done so, or must: it counts no more
		return !was, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	same := !s.dead && s.info != nil && string(s.data) == string(data)
	s.info, s.data, s.fresh, s.dead = info, data, now, false
	return !same, nil
}

// list returns the entries of those that live, by the names of their files.
func (w *watch) list() map[string][]byte {
	entries := make(map[string][]byte, len(w.seen))
	for name, s := range maps.All(w.seen) {
		if !s.dead {
			entries[name] = s.data
		}
	}
	return entries
}
