package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// many is a configuration of n VirtualServices with 20 routes each, for n hosts of one gateway, in n files.
func many(n int) []File {
	files := []File{{Name: "base.yaml", Data: []byte(service("a", "default", 80) + service("b", "default", 80) + gatewayOn("front", 80, `"*"`))}}
	for i := range n {
		var text strings.Builder
		fmt.Fprintf(&text, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: shop-%d\nspec:\n  hosts:\n  - shop-%d.example.com\n  gateways:\n  - front\n  http:\n", i, i)
		for j := range 20 {
			fmt.Fprintf(&text, "  - name: route-%d\n    match:\n    - uri:\n        prefix: /api/v%d/\n      headers:\n        end-user:\n          exact: user-%d\n", j, j, j)
			text.WriteString("    route:\n    - destination:\n        host: a\n      weight: 90\n    - destination:\n        host: b\n      weight: 10\n    timeout: 5s\n")
		}
		files = append(files, File{Name: fmt.Sprintf("shop-%d.yaml", i), Data: []byte(text.String())})
	}
	return files
}

// BenchmarkThousandVirtualServices reads 1,000 VirtualServices with 20 routes each on one gateway. On one core it is
// to stay below two seconds.
func BenchmarkThousandVirtualServices(b *testing.B) {
	files := many(1000)
	before := userTime(b)
	for b.Loop() {
		if d, findings := Parse(files, options()); d == nil {
			b.Fatal(text(findings))
		}
	}
	b.ReportMetric((userTime(b)-before).Seconds()/float64(b.N), "user-s/op")
}

// userTime is what this process has spent outside the kernel, on all of its threads.
func userTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano())
}

// TestTheCostOfLoadingIsLinear counts what loading allocates, which follows the time it takes and is the same everywhere.
func TestTheCostOfLoadingIsLinear(t *testing.T) {
	cost := func(n int) float64 {
		files := many(n)
		return testing.AllocsPerRun(1, func() {
			if d, findings := Parse(files, options()); d == nil {
				t.Fatal(text(findings))
			}
		})
	}
	few, more := cost(20), cost(80)
	if ratio := more / few; ratio > 4.4 {
		t.Errorf("4 times the VirtualServices cost %.1f times as much", ratio)
	}
	if perRoute := more / (80 * 20); perRoute > 700 {
		t.Errorf("a route costs %.0f allocations, want 700 at most", perRoute)
	}
}

// TestReloadReadsOnlyWhatChanged counts how many files are read and parsed.
func TestReloadReadsOnlyWhatChanged(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-time.Hour)
	put := func(f File, at time.Time) {
		write(t, filepath.Join(dir, f.Name), string(f.Data))
		if err := os.Chtimes(filepath.Join(dir, f.Name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	files := many(30)
	for _, f := range files {
		put(f, long)
	}
	l := newLoader(options())
	look := func(reads, parses int, what string) *fleet.Desired {
		t.Helper()
		l.reads, l.parses = 0, 0
		l.look(dir)
		d, findings := l.build()
		if d == nil {
			t.Fatal(text(findings))
		}
		if l.reads != reads || l.parses != parses {
			t.Errorf("%s: %d files read and %d parsed, want %d and %d", what, l.reads, l.parses, reads, parses)
		}
		return d
	}
	first := look(31, 31, "at first")
	if again := look(0, 0, "nothing changed"); again.Digest != first.Digest {
		t.Errorf("the digest changed from %s to %s", first.Digest, again.Digest)
	}
	changed := File{files[7].Name, []byte(strings.ReplaceAll(string(files[7].Data), "weight: 90", "weight: 80"))}
	put(changed, long.Add(time.Minute))
	second := look(1, 1, "one changed")
	if second.Digest == first.Digest {
		t.Error("the digest is that of the old files")
	}
	fresh, findings := Load(dir, options())
	if diff := cmp.Diff(fresh, second); diff != "" {
		t.Errorf("a reload differs from a load (-want +got):\n%s%s", diff, text(findings))
	}
	put(changed, long.Add(2*time.Minute))
	look(1, 0, "one touched")
	put(changed, time.Now())
	look(1, 0, "one touched just now")
	look(1, 0, "a file that young is read again, for it may change within one tick of its clock")
	if err := os.Remove(filepath.Join(dir, files[9].Name)); err != nil {
		t.Fatal(err)
	}
	put(File{files[7].Name, files[7].Data}, long)
	look(1, 1, "one removed, one put back")
}
