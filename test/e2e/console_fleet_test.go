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
	watchBegin   = time.Minute      // likewise, when all have just come
	watchRush    = 15 * time.Second // likewise, in a rush
	mostPaint    = time.Second
	mostBrowser  = 0.10 // of a processor
	mostControl  = 0.05
	mostAtTimes  = 0.07 // in the beginning, and in a rush: 0.05 of one that is not shared with other tests
	quietSeconds = 5    // until what follows the beginning is over too
	rushSeconds  = 3    // until a rush is all that the last seconds know
)

// A crowd of 500 services and 10,000 endpoints, of which 100 warm up, is looked at by fifty, one of them a browser: its page is
// there within a second, and neither it nor control takes more of a processor than they may: control in the minute after all of
// them came at once, at rest, and in a rush. At its end everybody is still there, and every request is counted.
func TestConsoleOfACrowd(t *testing.T) {
	b := browse(t)
	c := gather(t)
	ofControl := func() []int { return []int{c.control.Process.Pid} }
	begins := share(t, watchBegin, ofControl)
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
	beginPart := begins()               // nobody asks in the meantime: that would cost, too
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
	inBrowser := share(t, watchFor, func() []int { return processes(t, b.PID()) })
	inControl := share(t, watchFor, ofControl)
	browserPart, controlPart := inBrowser(), inControl()
	if heard := seen.Load() - before; heard < (viewers-1)*int64(watchFor/time.Second)/2 {
		t.Errorf("the other viewers have heard %d messages in %v: who looks at nothing costs nothing", heard, watchFor)
	}
	c.rate.Store(crowdRush)
	waitSeconds(t, rushSeconds)
	rushPart := share(t, watchRush, ofControl)()
	t.Logf("%d services, %d endpoints, %d viewers: first paint %v; of a processor, browser %.1f %%, control %.1f %%, in its first minute %.1f %%, at %d requests a second %.1f %%",
		crowdServices, crowdServices*crowdEach, viewers, least, 100*browserPart, 100*controlPart, 100*beginPart, crowdRush, 100*rushPart)
	for _, part := range []struct {
		who       string
		got, most float64
	}{
		{"the browser", browserPart, mostBrowser},
		{"control", controlPart, mostControl},
		{"control, after so many came at once,", beginPart, mostAtTimes},
		{"control, in a rush,", rushPart, mostAtTimes},
	} {
		if part.got > part.most {
			t.Errorf("%s takes %.3f of a processor, want %.2f", part.who, part.got, part.most)
		}
	}
	c.rate.Store(0)
	eventually(t, soon, func() string {
		all, err := console[struct {
			Outside counted `json:"outside"`
		}](t, "overview")
		if want := c.total.Load(); err == nil && all.Outside.Requests != want {
			return fmt.Sprintf("%d requests counted of %d", all.Outside.Requests, want)
		}
		return missing(t)
	})
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

// share begins to look at what part of a processor some processes take. The function that it returns ends that, after so long.
func share(t *testing.T, during time.Duration, of func() []int) (part func() float64) {
	t.Helper()
	ticks, at := spent(t, of()), time.Now()
	return func() float64 {
		waitSeconds(t, int((during - time.Since(at)).Seconds()))
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
