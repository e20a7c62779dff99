package file

import (
	"errors"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/registry/registrytest"
)

func open(t *testing.T, url string) *Dir {
	t.Helper()
	d, err := Open(url)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectory(t *testing.T) {
	registrytest.Run(t, world)
}

func world(t *testing.T) registrytest.World {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deep", "registry")
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	return registrytest.World{
		Dial: func() registrytest.Client { return open(t, "file://"+path+"?ttl=3s") },
		// What is mounted there is gone, and a file is in its place.
		Stop:  func() { do(os.Rename(path, path+".away"), os.WriteFile(path, nil, 0o600)) },
		Start: func() { do(os.Remove(path), os.Rename(path+".away", path)) },
		Key:   func(incarnation string) string { return url.PathEscape(incarnation) + suffix },
		Lose:  func(key string) { do(os.Remove(filepath.Join(path, key))) },
		Write: func(key, data string) { do(os.WriteFile(filepath.Join(path, key), []byte(data), 0o600)) },
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"file://":               "want file://DIR",
		"etcd:///x":             "want file://DIR",
		"file:///x?ttl=1ns":     `ttl "1ns"`,
		"file:///x?ttl=soon":    "soon",
		"file:///x?prefix=none": `no "prefix"`,
	} {
		if _, err := Open(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", raw, err, want)
		}
	}
	if d := open(t, "file://some/dir"); d.path != "some/dir" || d.ttl != 10*time.Second {
		t.Errorf("file://some/dir is %s, %v", d.path, d.ttl)
	}
}

// TestAClockThatIsSet looks at a directory by hand, on a clock that jumps: who is alive stays listed.
func TestAClockThatIsSet(t *testing.T) {
	d := open(t, "file://"+t.TempDir()+"?ttl=10s")
	in := fleet.Instance{Incarnation: "a/1", Namespace: "default", Address: netip.MustParseAddr("127.1.0.1"), Ready: true, Weight: 1}
	if err := d.Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	listed := func(w *watch) []string {
		t.Helper()
		if _, err := w.look(now); err != nil {
			t.Fatal(err)
		}
		var r registry.Reader
		var names []string
		for _, in := range r.List(w.list()).Instances {
			names = append(names, in.Incarnation)
		}
		return names
	}
	set := func(wall time.Time) {
		t.Helper()
		if err := os.Chtimes(d.name("a/1"), wall, wall); err != nil {
			t.Fatal(err)
		}
	}
	here := []string{"a/1"}
	w := &watch{dir: d, seen: map[string]*seen{}}
	if got := listed(w); !slices.Equal(got, here) {
		t.Fatalf("listed %v, want %v", got, here)
	}
	for _, wall := range []time.Duration{-time.Hour, time.Hour, -24 * time.Hour} { // its agent's clock, while it touches the file
		now = now.Add(9 * time.Second)
		set(now.Add(wall))
		if got := listed(w); !slices.Equal(got, here) {
			t.Errorf("with a clock at %v: listed %v, want %v", wall, got, here)
		}
	}
	if got := listed(&watch{dir: d, seen: map[string]*seen{}}); got != nil {
		t.Errorf("somebody new lists %v, whose time was a day ago", got)
	}
	now = now.Add(9 * time.Second)
	if got := listed(w); !slices.Equal(got, here) {
		t.Errorf("listed %v 9 s after it was touched, want %v", got, here)
	}
	now = now.Add(2 * time.Second)
	if got := listed(w); got != nil {
		t.Errorf("listed %v 11 s after it was touched", got)
	}
	if _, err := os.Stat(d.name("a/1")); err == nil {
		t.Error("the file of who died was left")
	}
}

// TestWhoMayOnlyRead follows a directory in which nobody lets it remove the dead: they are gone from the list all the same.
func TestWhoMayOnlyRead(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("the superuser may remove everything")
	}
	path := t.TempDir()
	t.Cleanup(func() { _ = os.Chmod(path, 0o700) }) //nolint:gosec // so that it can be cleared away
	d := open(t, "file://"+path+"?ttl=10s")
	for _, incarnation := range []string{"dead", "alive"} {
		if err := d.Put(t.Context(), fleet.Instance{Incarnation: incarnation, Address: netip.MustParseAddr("127.1.0.1")}); err != nil {
			t.Fatal(err)
		}
	}
	w, now := &watch{dir: d, seen: map[string]*seen{}}, time.Now()
	for _, later := range []time.Duration{0, 9 * time.Second, 11 * time.Second, 12 * time.Second} {
		err := errors.Join(os.Chmod(path, 0o700), os.Chtimes(d.name("alive"), now.Add(later), now.Add(later)), os.Chmod(path, 0o500)) //nolint:gosec // to read a directory takes that
		if _, failed := w.look(now.Add(later)); err != nil || failed != nil {
			t.Fatalf("after %v: %v, %v", later, err, failed)
		}
	}
	if got := w.list(); len(got) != 1 || got["alive"+suffix] == nil {
		t.Errorf("listed: %q", got)
	}
}

// TestNobodyReadsHalf: files that are being written are not looked at, and no name leaves the directory.
func TestNobodyReadsHalf(t *testing.T) {
	path := t.TempDir()
	d := open(t, "file://"+path)
	if err := os.WriteFile(filepath.Join(path, ".new-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := fleet.Instance{Incarnation: "../../outside", Ready: true, Address: netip.MustParseAddr("127.1.0.1")}
	if err := d.Put(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	w := &watch{dir: d, seen: map[string]*seen{}}
	if _, err := w.look(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := len(w.list()); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
	if err := d.Remove(t.Context(), in.Incarnation); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(path); err != nil || len(files) != 1 {
		t.Errorf("left: %v, %v", files, err)
	}
}
