package warmer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// progress is that of a warm-up of 30 s which converges after 12.
func progress() []Progress {
	var all []Progress
	for i := range 25 {
		settled := 0.0
		if i > 18 {
			settled = float64(i-18) / patience
		}
		all = append(all, Progress{
			Sent: 100 * i, Concurrency: 4, Elapsed: time.Duration(i) * tick, First: ms(81), Last: ms(81 - 3*float64(i)),
			Settled: settled, Time: fleet.DefaultRequestTime,
		})
	}
	return all
}

func TestLinesWhereNobodyLooks(t *testing.T) {
	var out strings.Builder
	b := NewBar(&out, false)
	for _, p := range progress() {
		b.Progress(p)
	}
	b.End(Result{Ending: Converged, Sent: 2400, Took: 12 * time.Second, First: ms(81), Last: ms(9), Concurrency: 4})
	want := `warm-up: 1000 sent, 4 at once, median 81ms → 51ms, 5s of at most 30s
warm-up: 2000 sent, 4 at once, median 81ms → 21ms, 10s of at most 30s
warm-up: converged after 12s: 2400 sent, 4 at once, median 81ms → 9ms
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBarGrows(t *testing.T) {
	var out strings.Builder
	b := NewBar(&out, true)
	before := 0
	for _, p := range progress() {
		out.Reset()
		b.Progress(p)
		line, redraws := strings.CutPrefix(out.String(), "\r\x1b[K")
		full := strings.Count(line, "=")
		if !redraws || strings.Contains(line, "\n") || full < before || !strings.HasSuffix(line, "] "+p.String()) {
			t.Fatalf("drew %q after a bar of %d", out.String(), before)
		}
		if open := strings.Index(line, "]") - strings.Index(line, "["); open != barWidth+1 {
			t.Fatalf("a bar of %d, want %d: %q", open-1, barWidth, line)
		}
		before = full
	}
	if before != barWidth {
		t.Errorf("full to %d in the end, want %d", before, barWidth)
	}
	out.Reset()
	b.End(Result{Ending: Converged})
	if got := out.String(); !strings.HasPrefix(got, "\r\x1b[Kwarm-up: converged") || !strings.HasSuffix(got, "\n") {
		t.Errorf("ended with %q", got)
	}
	out.Reset()
	b.End(Result{})
	if out.Len() > 0 {
		t.Errorf("said %q about nothing", out.String())
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if Terminal(f) {
		t.Error("a file is taken for a terminal")
	}
}
