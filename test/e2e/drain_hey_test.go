//go:build integration

package e2e

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seedGateways is how many gateways the seed's experiment begins with.
const seedGateways = 10

// A heyRun is the real hey, once: 50,000 requests on connections of their own, 200 at a time, or fewer.
type heyRun struct {
	sent     int
	statuses map[string]int
	began    time.Time
	offsets  []time.Duration // of each that was answered, from began
}

// heySize is how many requests it makes, how many at a time, and how many of them must fall within a second of each
// moment at which a gateway stops accepting, so that it can be said to have been tried.
func heySize() (n, c, near int) {
	if full() {
		return 50_000, 200, 1000
	}
	return 5000, 50, 100
}

// heyOnce runs it. Its table has a row for each answer and none for an error.
func heyOnce(t *testing.T, url string) (*heyRun, error) {
	t.Helper()
	n, c, _ := heySize()
	cmd := exec.CommandContext(t.Context(), "hey", "-c", strconv.Itoa(c), "-n", strconv.Itoa(n), "-disable-keepalive", "-o", "csv", url)
	run := &heyRun{sent: n, statuses: map[string]int{}, began: time.Now()}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	rows := csv.NewReader(strings.NewReader(string(out)))
	rows.ReuseRecord = true
	column := map[string]int{}
	for first := true; ; first = false {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF):
			return run, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", cmd, err)
		case first:
			for i, name := range row {
				column[strings.Clone(name)] = i
			}
			continue
		}
		seconds, err := strconv.ParseFloat(row[column["offset"]], 64)
		if err != nil {
			return nil, fmt.Errorf("%s: offset: %w", cmd, err)
		}
		run.statuses["["+row[column["status-code"]]+"]"]++
		run.offsets = append(run.offsets, time.Duration(seconds*float64(time.Second)))
	}
}

// near is how many of its requests fell within a second of a moment.
func (r *heyRun) near(at time.Time) (n int) {
	for _, offset := range r.offsets {
		if apart := r.began.Add(offset).Sub(at); apart.Abs() <= time.Second {
			n++
		}
	}
	return n
}

// heyWhile runs hey again and again while something is done, which begins when the first is under way.
func heyWhile(t *testing.T, url string, underWay, do func()) (all []*heyRun) {
	t.Helper()
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			r, err := heyOnce(t, url)
			if err != nil {
				ended <- err
				return
			}
			all = append(all, r)
			select {
			case <-over:
				ended <- nil
				return
			default:
			}
		}
	}()
	underWay()
	do()
	close(over)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return all
}

// accountOf sums them up as hey does.
func accountOf(runs []*heyRun) *drainAccount {
	a := newDrainAccount()
	for _, r := range runs {
		a.sent += uint64(r.sent)
		for status, n := range r.statuses {
			if status == "[200]" {
				a.ok["http/1.1"] += uint64(n)
			} else {
				a.lost[status] += uint64(n)
			}
		}
		if n := r.sent - len(r.offsets); n > 0 {
			a.lost["error distribution"] += uint64(n)
		}
	}
	return a
}

// seed is the experiment of the page that this began with: ten gateways become one under hey.
func (w *drainWorld) seed(t *testing.T) {
	valid := 0
	for range 2 * rounds(1, 20) { // of which half may be invalid
		if w.scaleIn(t) {
			valid++
		}
		if valid == rounds(1, 20) || t.Failed() {
			break
		}
	}
	if valid < rounds(1, 20) && !t.Failed() {
		t.Errorf("invalid run: only %d of %d scale-ins had enough requests near every stop", valid, 2*rounds(1, 20))
	}
}

// scaleIn is the experiment once. It says whether enough requests fell near the moments that matter.
func (w *drainWorld) scaleIn(t *testing.T) (valid bool) {
	t.Helper()
	w.scaleGateways(t, seedGateways)
	all := w.awaitReplicas(t, seedGateways)
	now := time.Now()
	runs := heyWhile(t, "http://"+ingress+"/", w.underWay(t), func() {
		w.scaleGateways(t, 1)
		w.awaitReplicas(t, 1)
		w.awaitLeft(t, now, len(all)-1)
	})
	a := accountOf(runs)
	reports := w.left(now)
	_, _, want := heySize()
	least := -1
	for _, r := range reports {
		n := 0
		for _, run := range runs {
			n += run.near(r.stopped())
		}
		if least < 0 || n < least {
			least = n
		}
		if r.Cut > 0 {
			t.Errorf("%s says that it cut %d requests, want none", r.ID, r.Cut)
		}
	}
	t.Logf("scale-in %d → 1 under hey, %d times: %s; %d at least within 1 s of each of %d stops", seedGateways, len(runs), a, least, len(reports))
	if a.losses() > 0 || len(reports) != seedGateways-1 {
		t.Errorf("hey saw %v of %d, want only [200]; %d drain reports, want %d", a.lost, a.sent, len(reports), seedGateways-1)
	}
	return least >= want
}

// noticed is after what time the balancer of the control knows who is gone: others look every few seconds.
const noticed = 100 * time.Millisecond

// TestDrainControlSeed is the control of the seed's experiment: as many gateways, each with sockets of its own, behind a
// balancer of connections that notices soon who is gone. Nine of them end without a drain.
func TestDrainControlSeed(t *testing.T) {
	need(t, "hey")
	w := launchDrain(t, 1)
	feed := w.awaitReplicas(t, 1)[0].after("--feed")
	started := 0
	mustLose(t, "a scale-in without a drain", func(t *testing.T) *drainAccount {
		t.Helper()
		var addresses []string
		var plain []proc
		for range seedGateways {
			started++
			p, address := w.plainGateway(t, started, feed)
			plain, addresses = append(plain, p), append(addresses, address)
		}
		spreader := &relay{to: addresses}
		url := "http://" + spreader.begin(t) + "/"
		a := accountOf(heyWhile(t, url, w.underWay(t), func() {
			for _, p := range plain[1:] {
				kill(t, p)
			}
			<-time.After(noticed)
			spreader.keep(addresses[0])
		}))
		kill(t, plain[0])
		return a
	})
}

// plainGateway starts a gateway with an address of its own.
func (w *drainWorld) plainGateway(t *testing.T, number int, feed string) (p proc, address string) {
	t.Helper()
	ip := fmt.Sprintf("127.0.6.%d", number)
	said := &transcript{}
	cmd := exec.Command(binary(t), "gateway", "--id", fmt.Sprintf("plain-%d", number), "--feed", feed, "--address", ip,
		"--admin", ip+":15000", "--state", t.TempDir(), "--log-level", "ERROR")
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, soon, func() string {
		if status := w.status(t, "http://"+ip+":8080/get"); status != 200 {
			return fmt.Sprintf("%s to serve, got status %d\n%s", cmd, status, said)
		}
		return ""
	})
	return proc{pid: cmd.Process.Pid, args: cmd.Args}, ip + ":8080"
}
