//go:build integration

package e2e

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A shot is one request of a load: when it was under way, counted from the start of the load, and how it ended.
type shot struct {
	Number   uint64        `json:"request"`
	Sent     time.Duration `json:"sent_ns"`
	Ended    time.Duration `json:"ended_ns"`
	Outcome  string        `json:"outcome"`
	Status   int           `json:"status"`
	Endpoint string        `json:"endpoint"`
}

// An account is what `crossfade load` says at its end.
type account struct {
	Sent        uint64            `json:"sent"`
	OK          uint64            `json:"ok"`
	LostTotal   uint64            `json:"lost_total"`
	Lost        map[string]uint64 `json:"lost"`
	Abandoned   uint64            `json:"abandoned"`
	Unsent      uint64            `json:"unsent"`
	Late        uint64            `json:"late"`
	Interrupted bool              `json:"interrupted"`
	Elapsed     time.Duration     `json:"elapsed_ns"`
}

// A load is a running `crossfade load`.
type load struct {
	cmd      *exec.Cmd
	trace    string
	output   transcript
	progress progress
	zero     time.Time // what shots count from, as well as it can be seen from here; better after stop
}

// progress is what a load says after each of its seconds, and what that shows of its clock.
type progress struct {
	transcript
	mu      sync.Mutex
	seconds int
	zero    time.Time
}

// Write notes the lines. A line comes when its second is over, or later: the earliest tells when the load began.
func (p *progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	p.seconds += bytes.Count(text, []byte("\n"))
	began := time.Now().Add(-time.Duration(p.seconds) * time.Second)
	if p.zero.IsZero() || began.Before(p.zero) {
		p.zero = began
	}
	p.mu.Unlock()
	return p.transcript.Write(text)
}

func (p *progress) now() (seconds int, zero time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seconds, p.zero
}

// startLoad sends requests to the page at a fixed rate, whatever comes back, until stop.
func startLoad(t *testing.T, rate int) *load {
	t.Helper()
	l := beginLoad(t, rate, page)
	l.seconds(t, 1)
	_, l.zero = l.progress.now()
	return l
}

// beginLoad is startLoad to any URLs in turn, with flags of its own, and without waiting for the first second.
func beginLoad(t *testing.T, rate int, args ...string) *load {
	t.Helper()
	l := &load{trace: filepath.Join(t.TempDir(), "trace.jsonl")}
	l.cmd = exec.Command(binary(t), append([]string{
		"load", "--rate", strconv.Itoa(rate), "--duration", "20m",
		"--timeout", "20s", "--output", "json", "--trace", l.trace,
	}, args...)...)
	l.cmd.Stdout, l.cmd.Stderr = &l.output, &l.progress
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l.cmd.ProcessState == nil {
			_ = l.cmd.Process.Kill()
			_ = l.cmd.Wait()
		}
	})
	return l
}

// seconds waits until the load has been at work for so many seconds more, by its own progress.
func (l *load) seconds(t *testing.T, more int) {
	t.Helper()
	before, _ := l.progress.now()
	eventually(t, soon, func() string {
		if now, _ := l.progress.now(); now < before+more {
			return fmt.Sprintf("%d seconds of load\n%s", more, l.progress.String())
		}
		return ""
	})
}

// until waits for a second of the load that ends at a time or later.
func (l *load) until(t *testing.T, at time.Time) {
	t.Helper()
	eventually(t, late, func() string {
		if seconds, zero := l.progress.now(); zero.Add(time.Duration(seconds) * time.Second).Before(at) {
			return fmt.Sprintf("load until %v", at)
		}
		return ""
	})
}

// stop ends the load and returns its account and every shot, and sees that the two agree.
func (l *load) stop(t *testing.T) (account, []shot) {
	t.Helper()
	_, l.zero = l.progress.now() // before the line of the second that is cut short
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatalf("interrupt the load: %v\n%s", err, l.progress.String())
	}
	return l.collect(t)
}

// end waits until the load has sent what it was to send, and is otherwise as stop.
func (l *load) end(t *testing.T) (account, []shot) {
	t.Helper()
	_, l.zero = l.progress.now()
	return l.collect(t)
}

// collect waits for the load's last word and reads it.
func (l *load) collect(t *testing.T) (account, []shot) {
	t.Helper()
	var exit *exec.ExitError
	if err := l.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var a account
	if err := json.Unmarshal([]byte(l.output.String()), &a); err != nil {
		t.Fatalf("the load's account: %v\n%s%s", err, l.output.String(), l.progress.String())
	}
	shots := readTrace(t, l.trace)
	byOutcome := map[string]uint64{}
	for _, s := range shots {
		byOutcome[s.Outcome]++
	}
	if uint64(len(shots)) != a.Sent || byOutcome["ok"] != a.OK {
		t.Errorf("the trace has %d shots, %d of them ok; the account says %d and %d", len(shots), byOutcome["ok"], a.Sent, a.OK)
	}
	if a.Sent != a.OK+a.LostTotal+a.Abandoned {
		t.Errorf("sent %d ≠ ok %d + lost %d + abandoned %d", a.Sent, a.OK, a.LostTotal, a.Abandoned)
	}
	for kind, n := range a.Lost {
		if byOutcome[kind] != n {
			t.Errorf("the trace has %d lost by %s, the account says %d", byOutcome[kind], kind, n)
		}
	}
	return a, shots
}

func readTrace(t *testing.T, path string) []shot {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var shots []shot
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var s shot
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("trace: %v: %s", err, lines.Text())
		}
		shots = append(shots, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return shots
}

// lost returns the shots that the client saw fail.
func lost(shots []shot) []shot {
	var failed []shot
	for _, s := range shots {
		if s.Outcome != "ok" && s.Outcome != "abandoned" {
			failed = append(failed, s)
		}
	}
	return failed
}

// hey runs the real hey and returns the moment of each request, counted from hey's start. Anything but 200 fails
// the test.
func hey(t *testing.T, args ...string) (began time.Time, offsets []time.Duration) {
	t.Helper()
	need(t, "hey")
	cmd := exec.CommandContext(bounded(t), "hey", append(args, "-o", "csv", page)...)
	began = time.Now()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	rows := csv.NewReader(strings.NewReader(string(out)))
	header, err := rows.Read()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	column := map[string]int{}
	for i, name := range header {
		column[name] = i
	}
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return began, offsets
		}
		if err != nil {
			t.Fatalf("%s: %v", cmd, err)
		}
		if status := row[column["status-code"]]; status != "200" {
			t.Fatalf("%s: got status %s, want 200", cmd, status)
		}
		seconds, err := strconv.ParseFloat(row[column["offset"]], 64)
		if err != nil {
			t.Fatalf("%s: offset: %v", cmd, err)
		}
		offsets = append(offsets, time.Duration(seconds*float64(time.Second)))
	}
}
