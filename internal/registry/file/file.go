// Package file keeps instances in a directory: a file per incarnation, which its agent touches while it lives. It is for
// trying, and for machines on which nothing else runs.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// Scheme is that of the URLs that Open understands.
const Scheme = "file"

const (
	suffix     = ".json"
	defaultTTL = 10 * time.Second
	minTTL     = 100 * time.Millisecond
)

var errStale = errors.New("what is read back is not what was put")

// A Dir is a directory of instances: a registry.Registrar and a registry.Source. Its methods may be called from any
// goroutine.
type Dir struct {
	path string
	ttl  time.Duration

	mu      sync.Mutex
	made    bool              // the directory was there: from then on, one that is not is away
	entries map[string][]byte // what is to be published, by incarnation
}

var (
	_ registry.Registrar = (*Dir)(nil)
	_ registry.Source    = (*Dir)(nil)
)

// Open returns the directory of a URL: file:///PATH or file://PATH, and after it ?ttl=10s, the same for all who use it.
// The directory is made when it is first needed.
func Open(rawURL string) (*Dir, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(rawURL, Scheme+"://"), "?")
	d := &Dir{path: filepath.Clean(path), ttl: defaultTTL, entries: map[string][]byte{}}
	values, err := url.ParseQuery(query)
	switch {
	case !strings.HasPrefix(rawURL, Scheme+"://") || path == "":
		err = errors.New("want file://DIR")
	case err == nil && values.Has("ttl"):
		d.ttl, err = registry.ParseTTL(values.Get("ttl"), minTTL)
	}
	for name := range values {
		if err == nil && name != "ttl" {
			err = fmt.Errorf("there is no %q: there is ttl", name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", rawURL, err)
	}
	return d, nil
}

// name is that of an incarnation's file: in the directory, and not hidden.
func (d *Dir) name(incarnation string) string {
	name := url.PathEscape(incarnation)
	if rest, hidden := strings.CutPrefix(name, "."); hidden {
		name = "%2E" + rest
	}
	return filepath.Join(d.path, name+suffix)
}

// Put publishes an instance, see [registry.Registrar]. One that failed is still to be published: Run goes on trying,
// until Remove.
func (d *Dir) Put(_ context.Context, in fleet.Instance) error {
	data, err := registry.Encode(in)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[in.Incarnation] = data
	if err := d.write(in.Incarnation, data); err != nil {
		return fmt.Errorf("publish %s: %w: %w", in.Incarnation, registry.ErrAway, err)
	}
	return nil
}

// write writes an incarnation's file, whole or not at all, and reads it back. The directory is locked.
func (d *Dir) write(incarnation string, data []byte) error {
	if err := d.make(); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.path, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = touch(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), d.name(incarnation))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	got, err := os.ReadFile(d.name(incarnation))
	if err == nil && !bytes.Equal(got, data) {
		err = errStale
	}
	return err
}

// make makes the directory, once. It is locked.
func (d *Dir) make() error {
	if d.made {
		_, err := os.Stat(d.path)
		return err
	}
	err := os.MkdirAll(d.path, 0o700)
	d.made = err == nil
	return err
}

// touch says that who published a file lives. The time is only there to be another one than before.
func touch(name string) error {
	now := time.Now()
	return os.Chtimes(name, now, now)
}

// Remove takes an incarnation away, see [registry.Registrar]. From when it is called Run does not publish it any more.
func (d *Dir) Remove(_ context.Context, incarnation string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.entries, incarnation)
	err := d.make()
	if err == nil {
		err = os.Remove(d.name(incarnation))
	}
	if errors.Is(err, fs.ErrNotExist) && d.there() {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w: %w", incarnation, registry.ErrAway, err)
	}
	return nil
}

// there says whether the directory is.
func (d *Dir) there() bool {
	info, err := os.Stat(d.path)
	return err == nil && info.IsDir()
}

// Run touches what was put three times in its time, see [registry.Registrar].
func (d *Dir) Run(ctx context.Context, told func(error)) error {
	return registry.Keep(ctx, d.path, d.ttl, nil, func(context.Context) error { return d.keep() }, told)
}

// keep touches everything that is to be published, and writes again what is not there as it should be.
func (d *Dir) keep() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for incarnation, data := range d.entries {
		got, err := os.ReadFile(d.name(incarnation))
		if err == nil && bytes.Equal(got, data) {
			err = touch(d.name(incarnation))
		} else {
			err = d.write(incarnation, data)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
