//go:build integration

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/test/browser"
)

const (
	viewers      = 50
	hertz        = 100              // of the kernel's ticks, as /proc counts them
	watchFor     = 20 * time.Second // processors are looked at
	mostPaint    = time.Second
	mostBrowser  = 0.10 // of a processor
	mostControl  = 0.05
	quietSeconds = 30 // until what follows the beginning, its last minute of answers and the like, is over too
)

// A crowd of 500 services and 10,000 endpoints, of which 100 warm up, is looked at by fifty, one of them a browser: its page is
// there within a second, and neither it nor control takes more of a processor than they may.
func TestConsoleOfACrowd(t *testing.T) {
	b := browse(t)
	c := gather(t)
	seen := watch(t, viewers-1, "overview")
	page := view(t, b, browser.Desk(), "/")
	must(t, page.AwaitText("s001:80"))
	least := time.Hour
	for range 5 { // the machine may be busy with something else for some of them
		must(t, page.Open("/"))
		must(t, page.AwaitText("s001:80"))
		painted, err := page.FirstPaint()
		must(t, err)
		least = min(least, painted)
	}
	if least > mostPaint {
		t.Errorf("the first paint comes after %v, want %v", least, mostPaint)
	}
	eventually(t, late, func() string { // that all of them came at once is over
		all, err := console[struct {
			Releases []released `json:"releases"`
		}](t, "releases")
		if err != nil {
			return err.Error()
		}
		run := len(slices.DeleteFunc(all.Releases, func(r released) bool { return r.Verdict != "running" }))
		if run > crowdWarming {
			return fmt.Sprintf("the beginning to be over: %d releases run", run)
		}
		return ""
	})
	waitSeconds(t, quietSeconds)
	before := seen.Load()
	inBrowser := share(t, func() []int { return processes(t, b.PID()) })
	inControl := share(t, func() []int { return []int{c.control.Process.Pid} })
	browserPart, controlPart := inBrowser(), inControl()
	t.Logf("%d services, %d endpoints, %d viewers: first paint %v; of a processor, browser %.1f %%, control %.1f %%",
		crowdServices, crowdServices*crowdEach, viewers, least, 100*browserPart, 100*controlPart)
	if browserPart > mostBrowser {
		t.Errorf("the browser takes %.3f of a processor, want %.2f", browserPart, mostBrowser)
	}
	if controlPart > mostControl {
		t.Errorf("control takes %.3f of a processor, want %.2f", controlPart, mostControl)
	}
	if heard := seen.Load() - before; heard < (viewers-1)*int64(watchFor/time.Second)/2 {
		t.Errorf("the other viewers have heard %d messages in %v: who looks at nothing costs nothing", heard, watchFor)
	}
	wantQuiet(t, page, "the overview of a crowd")
}

// watch has some more look at a topic of the console, and returns how many messages they have heard.
func watch(t *testing.T, n int, topic string) *atomic.Int64 {
	t.Helper()
	var heard atomic.Int64
	var watchers sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(func() { stop(); watchers.Wait() })
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}
	for range n {
		watchers.Go(func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+consoleAddress+"/api/v1/stream?topic="+topic, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("a viewer got %s", resp.Status)
				return
			}
			lines := bufio.NewReaderSize(resp.Body, 1<<16)
			for {
				line, err := lines.ReadSlice('\n')
				if strings.HasPrefix(string(line), "event: ") {
					heard.Add(1)
				}
				if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
					return
				}
			}
		})
	}
	return &heard
}

// share begins to look at what part of a processor some processes take. The function that it returns ends that.
func share(t *testing.T, of func() []int) (part func() float64) {
	t.Helper()
	ticks, at := spent(t, of()), time.Now()
	return func() float64 {
		waitSeconds(t, int((watchFor - time.Since(at)).Seconds()))
		return float64(spent(t, of())-ticks) / hertz / time.Since(at).Seconds()
	}
}

// spent is how many ticks of a processor some processes have taken.
func spent(t *testing.T, pids []int) (ticks int64) {
	t.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		const utime, stime = 11, 12 // after the name
		for _, i := range []int{utime, stime} {
			n, err := strconv.ParseInt(fields[i], 10, 64)
			if err != nil {
				t.Fatal(fmt.Errorf("process %d: %w", pid, err))
			}
			ticks += n
		}
	}
	return ticks
}

// processes are a process and all below it.
func processes(t *testing.T, pid int) []int {
	t.Helper()
	pids := []int{pid}
	for _, p := range descendants(t, pid) {
		pids = append(pids, p.pid)
	}
	return pids
}

// waitSeconds waits until so many seconds have passed: there is nothing else to wait for.
func waitSeconds(t *testing.T, n int) {
	t.Helper()
	select {
	case <-time.After(time.Duration(n) * time.Second):
	case <-t.Context().Done():
	}
}
