package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// An applied is one outcome that the watcher handed on.
type applied struct {
	desired  *fleet.Desired
	findings []Finding
}

// watch runs a watcher until the test ends; every outcome arrives in the channel.
func watch(t *testing.T, w Watcher) <-chan applied {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	out, done := make(chan applied, 100), make(chan error)
	go func() {
		done <- w.Run(ctx, func(d *fleet.Desired, f []Finding) { out <- applied{d, f} })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return out
}

// await takes outcomes until one has just these services, in words: "a b", or "broken".
func await(t *testing.T, out <-chan applied, want string) {
	t.Helper()
	patience := time.After(30 * time.Second) // only a failing test waits this long
	var seen []string
	for {
		select {
		case a := <-out:
			got := "broken"
			if a.desired != nil {
				var names []string
				for _, s := range a.desired.Services {
					names = append(names, s.Host)
				}
				got = strings.Join(names, " ")
			} else if !HasErrors(a.findings) {
				t.Errorf("nothing to apply, and no error: %s", text(a.findings))
			}
			if got == want {
				return
			}
			seen = append(seen, got)
		case <-patience:
			t.Fatalf("waited for %q, saw %q", want, seen)
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func a(name string) string { return service(name, "default", 80) }

// quick looks often, and cannot lean on polling: its next poll is in an hour.
func quick(dir string) Watcher {
	return Watcher{Dir: dir, Options: options(), Settle: time.Millisecond, Poll: time.Hour}
}

func TestWatcherAppliesEveryChange(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), a("a"))
	out := watch(t, quick(dir))
	await(t, out, "a")
	write(t, filepath.Join(dir, "b.yaml"), a("b"))
	await(t, out, "a b")
	write(t, filepath.Join(dir, "b.yaml"), "kind: [")
	await(t, out, "broken")
	write(t, filepath.Join(dir, "b.yaml"), a("c"))
	await(t, out, "a c")
	if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
		t.Fatal(err)
	}
	await(t, out, "a")
}

func TestWatcherSeesNewDirectories(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), a("a"))
	out := watch(t, quick(dir))
	await(t, out, "a")
	write(t, filepath.Join(dir, "more", "b.yaml"), a("b"))
	await(t, out, "a b")
	write(t, filepath.Join(dir, "more", "b.yaml"), a("c"))
	await(t, out, "a c")
}

// Editors write a new file and rename it over the old one.
func TestWatcherFollowsRenames(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write(t, file, a("a"))
	out := watch(t, quick(file)) // also where only one file is watched
	await(t, out, "a")
	for _, name := range []string{"b", "c"} {
		write(t, filepath.Join(dir, ".a.swp"), a(name))
		if err := os.Rename(filepath.Join(dir, ".a.swp"), file); err != nil {
			t.Fatal(err)
		}
		await(t, out, name)
	}
}

// Kubernetes mounts a ConfigMap as links through a link that it swaps.
func TestWatcherFollowsSwappedLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "..1", "a.yaml"), a("a"))
	write(t, filepath.Join(dir, "..2", "a.yaml"), a("b"))
	link := func(old, name string) {
		t.Helper()
		if err := os.Symlink(old, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link("..data/a.yaml", "a.yaml")
	out := watch(t, quick(dir))
	await(t, out, "a")
	link("..2", "..data_tmp")
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	await(t, out, "b")
}

// A directory that is itself a link announces nothing when the link is swapped: polling sees it.
func TestWatcherPolls(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "1", "a.yaml"), a("a"))
	write(t, filepath.Join(dir, "2", "a.yaml"), a("b"))
	current := filepath.Join(dir, "current")
	if err := os.Symlink("1", current); err != nil {
		t.Fatal(err)
	}
	w := quick(current)
	w.Poll = time.Millisecond
	out := watch(t, w)
	await(t, out, "a")
	if err := os.Symlink("2", current+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(current+".new", current); err != nil {
		t.Fatal(err)
	}
	await(t, out, "b")
}

func TestWatcherStartsBeforeItsDirectoryIsThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	w := quick(dir)
	w.Poll = time.Millisecond
	out := watch(t, w)
	await(t, out, "broken")
	write(t, filepath.Join(dir, "a.yaml"), a("a"))
	await(t, out, "a")
}

func TestLookerHandsOnWhatIsReadAlikeTwiceAndOnlyOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	write(t, file, a("a"))
	l := looker{loader: newLoader(options())}
	step := func(what string, want bool) {
		t.Helper()
		if got := l.look(dir); got != want {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	step("first look", true)
	step("nothing changed", false)
	write(t, file, "")
	step("an editor is writing", false)
	write(t, file, a("b"))
	step("it has written", false)
	step("it stays so", true)
	step("nothing changed", false)
	write(t, file, "")
	step("an editor is writing again", false)
	write(t, file, a("b"))
	step("what it wrote is what was there", false)
	step("nothing changed", false)
	if l.pending {
		t.Error("the looker waits for something")
	}
}

func TestReadDirNamesWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sub", "a.YML"), a("a"))
	write(t, filepath.Join(dir, "notes.txt"), "not configuration")
	write(t, filepath.Join(dir, ".hidden", "b.yaml"), "kind: [")
	write(t, filepath.Join(dir, "large.json"), strings.Repeat(" ", maxFile+1))
	for name, old := range map[string]string{"gone.yaml": "nowhere", "dir": "sub"} {
		if err := os.Symlink(old, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoader(options())
	l.look(dir)
	files, findings := l.files, l.findings
	if len(files) != 1 || files[0].name != filepath.Join(dir, "sub", "a.YML") {
		t.Errorf("got %d files, want sub/a.YML only", len(files))
	}
	got := strings.ReplaceAll(text(tidy(findings)), dir+"/", "")
	want := `dir: warning: a symbolic link to a directory is not followed
gone.yaml: error: cannot be read: no such file or directory
large.json: error: cannot be read: it has 4194305 bytes; more than 4194304 are not read
`
	if got != want {
		t.Errorf("got findings:\n%swant:\n%s", got, want)
	}
	if findings := lookAt(t.TempDir()); !strings.Contains(text(findings), "there is no .yaml, .yml, .json file here") {
		t.Errorf("an empty directory: %s", text(findings))
	}
	if findings := lookAt(os.DevNull); !strings.Contains(text(findings), "it is no regular file") {
		t.Errorf("a device: %s", text(findings))
	}
}

// lookAt returns what comes up when the files of a path are read.
func lookAt(path string) []Finding {
	l := newLoader(options())
	l.look(path)
	return l.findings
}
