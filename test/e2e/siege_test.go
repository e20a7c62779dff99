//go:build integration

package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An assault is a crew and what is expected of the gateway under it.
type assault struct {
	order
	most   int            // bytes of memory that each client may cost the gateway
	end    string         // how each client must end; "" where that is not known
	stays  bool           // its clients leave when they are told to, not by themselves
	cut    string         // but not before the gateway has had enough of all of them, by this counter
	counts map[string]int // how much the gateway's counters rise at least
}

// A siege is a gateway under attack, watched from outside.
type siege struct {
	t       *testing.T
	gateway int // process
	peak    atomic.Int64
	resting struct{ memory, descriptors int }
	allowed int // bytes that memory may have grown by: what was needed once is kept for some minutes
	phases  []phase
}

// A phase is what went on for some time.
type phase struct {
	name     string
	from, to time.Time
}

const (
	bystanders = 100 // requests a second of the load that has nothing to do with it
	// slack is memory that the gateway may take whatever comes: garbage that has not been collected yet.
	slack = 24 << 20
	// listener and the counters of a service, by their names in /stats.
	listener = "http.http-80."
)

// TestSiege puts a gateway under every attack that costs the attacker little, one after the other or all at once, and
// looks at what it costs the gateway and the others: memory within a bound, descriptors that come back, no request of
// the others lost, and counters that say what was done.
func TestSiege(t *testing.T) {
	launched := launch(t, "bookinfo", func(m *mesh) {
		files, err := filepath.Glob(filepath.Join(m.dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		m.write(t, "siege.yaml", siegeYAML())
	})
	s := &siege{t: t, gateway: launched.gateway(t).pid}
	if tally := send(t, order{Kind: "camp"}).next(t); len(tally) > 0 {
		t.Fatalf("the endpoints: %v", tally)
	}
	eventually(t, soon, func() string {
		if status := launched.status(t, "http://"+ingress+"/calm/1"); status != http.StatusOK {
			return "calm answers " + http.StatusText(status)
		}
		return ""
	})
	s.watch()
	load := beginLoad(t, bystanders, "http://"+ingress+"/calm/1000")
	began := time.Now()
	load.seconds(t, 2)
	s.phases = append(s.phases, phase{"at rest", began, time.Now()})
	s.resting.memory, s.resting.descriptors = s.memory(), s.spare()
	t.Logf("at rest: %d KB, %d descriptors beside those of connections", s.resting.memory>>10, s.resting.descriptors)

	if full() {
		s.fullSize()
	} else {
		s.smallSize()
	}
	account, shots := load.stop(t)
	if n := len(lost(shots)); n > 0 {
		t.Errorf("of the others' %d requests %d were lost, want none", account.Sent, n)
	}
	if account.Unsent > account.Sent/20 { // besiegers and load share the machine
		t.Errorf("invalid run: %d of the others' requests were not sent beside %d that were", account.Unsent, account.Sent)
	}
	s.others(load, shots)
}

func (s *siege) smallSize() {
	const some, few = 300, 40
	s.phase("bodies of 64 MB", transfers(64<<20)...)
	s.phase("idle", idlers(1000))
	s.phase("all at once", slow(some, some, few)...)
}

func (s *siege) fullSize() {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		s.t.Fatal(err)
	}
	room := int(limit.Max)*3/4 - 500 // beyond it the gateway refuses
	s.phase("bodies of 1 GB", transfers(1<<30)...)
	s.phase("idle", idlers(min(20_000, room)))
	for _, a := range slow(10_000, min(4000, room/3), 300) {
		if a.Kind == "never read" { // there is time to wait for the end of the gateway's patience
			a.cut, a.end = listener+"downstream_rq_rx_reset", "cut"
		}
		s.phase(a.Kind+" "+a.Path, a)
	}
	s.phase("stalled bodies", assault{
		order: order{Kind: "slow bodies", N: 500, From: "127.9.0.20", Path: "/patient/", Pace: time.Hour},
		most:  64 << 10, end: "408", counts: map[string]int{listener + "downstream_rq_4xx": 500},
	})
	s.phase("all at once", slow(min(6000, room/3), min(2000, room/8), 300)...)
}

// transfers are bodies both ways.
func transfers(size int64) []assault {
	const atOnce = 2
	path := fmt.Sprintf("/big/%d", size)
	return []assault{
		{order: order{Kind: "download", N: atOnce, From: "127.9.0.1", Path: path, Size: size}, end: "whole"},
		{order: order{Kind: "upload", N: atOnce, From: "127.9.0.2", Path: path, Size: size}, end: "whole"},
	}
}

func idlers(n int) assault {
	return assault{
		order: order{Kind: "idle", N: n, From: "127.9.0.3", Path: "/calm/100"},
		most:  8 << 10, end: "answered again", stays: true, counts: map[string]int{listener + "downstream_rq_2xx": 2 * n},
	}
}

// slow are clients and endpoints that keep the gateway waiting, and clients that come and go.
func slow(heads, bodies, few int) []assault {
	const second = time.Second
	return []assault{
		{
			order: order{Kind: "flicker", N: 10 * few, From: "127.9.0.4", Path: "/calm/10000"},
			end:   "left", counts: map[string]int{listener + "downstream_cx_total": 10 * few},
		},
		{
			order: order{Kind: "pipelines", N: few / 4, From: "127.9.0.5", Path: "/calm/1000"},
			most:  64 << 10, end: "answered", stays: true,
		},
		{
			order: order{Kind: "never read", N: few, From: "127.9.0.6", Path: "/patient/64000000"},
			most:  64 << 10, stays: true,
		},
		{
			order: order{Kind: "ask", N: few, From: "127.9.0.7", Path: "/deaf/", Size: 64 << 20},
			most:  128 << 10, end: "504",
		},
		{
			order: order{Kind: "ask", N: few, From: "127.9.0.8", Path: "/silent/"},
			most:  64 << 10, end: "504", counts: map[string]int{service("silent") + "upstream_rq_timeout": few},
		},
		{
			order: order{Kind: "slow bodies", N: bodies, From: "127.9.0.9", Path: "/slow/", Pace: second},
			most:  40 << 10, end: "504",
		},
		{
			order: order{Kind: "slow heads", N: heads, From: "127.9.0.10", Path: "/calm/1", Pace: second},
			most:  24 << 10, end: "408", counts: map[string]int{listener + "downstream_rq_4xx": heads},
		},
	}
}

// service is the prefix of a service's counters.
func service(name string) string { return fmt.Sprintf("cluster.outbound|%d||%s.camp.", campPort, name) }

// phase has crews at work side by side, and looks at what has come of it.
func (s *siege) phase(name string, assaults ...assault) {
	s.t.Helper()
	p := phase{name: name, from: time.Now()}
	before := s.stats()
	s.peak.Store(0)
	var parties []*party
	for _, a := range assaults {
		parties = append(parties, send(s.t, a.order))
	}
	allowed := slack
	for i, a := range assaults {
		if tally := parties[i].next(s.t); len(tally) > 0 && a.stays {
			s.t.Errorf("%s: %s: before it began: %v", name, a.Kind, tally)
		}
		allowed += a.N * a.most
	}
	s.allowed = max(s.allowed, allowed)
	for i, a := range assaults {
		if !a.stays {
			s.ended(name, a, parties[i].next(s.t))
		}
		if a.cut != "" {
			eventually(s.t, 2*late, func() string {
				if n := s.stats()[a.cut] - before[a.cut]; n < a.N {
					return fmt.Sprintf("%s: %d of %d cut", name, n, a.N)
				}
				return ""
			})
		}
	}
	p.to = time.Now()
	grown := int(s.peak.Load()) - s.resting.memory

	s.t.Logf("%s: memory grew by %d KB at its peak; %v", name, grown>>10, p.to.Sub(p.from).Round(time.Millisecond))
	if grown > s.allowed {
		s.t.Errorf("%s: memory grew by %d KB, want at most %d", name, grown>>10, s.allowed>>10)
	}
	for i, a := range assaults {
		if a.stays {
			s.ended(name, a, parties[i].end(s.t))
		}
	}
	s.phases = append(s.phases, p)
	s.settled(name)
	after := s.stats()
	for _, a := range assaults {
		for counter, rise := range a.counts {
			if got := after[counter] - before[counter]; got < rise {
				s.t.Errorf("%s: %s rose by %d, want %d at least", name, counter, got, rise)
			}
		}
	}
}

// ended looks at how the clients of a crew have ended.
func (s *siege) ended(name string, a assault, tally map[string]int) {
	s.t.Helper()
	s.t.Logf("%s: %d × %s %s: %v", name, a.N, a.Kind, a.Path, tally)
	for end, n := range tally {
		if strings.HasPrefix(end, "lost: ") || a.end != "" && end != a.end {
			s.t.Errorf("%s: %d of %s %s ended with %s", name, n, a.Kind, a.Path, end)
		}
	}
	if a.end != "" && tally[a.end] < a.N {
		s.t.Errorf("%s: %d of %s %s ended with %s, want %d", name, tally[a.end], a.Kind, a.Path, a.end, a.N)
	}
}

// deserted says whether the others' connections are the only ones.
func (s *siege) deserted() (waiting string) {
	const theirs = 50 // at most
	if n := s.stats()[listener+"downstream_cx_active"]; n > theirs {
		return fmt.Sprintf("%d connections to go", n-theirs)
	}
	return ""
}

// settled waits until no connection but the others' is left, and no descriptor either.
func (s *siege) settled(name string) {
	s.t.Helper()
	const passing = 8 // of the admin API, of the feed and of files, at any moment
	eventually(s.t, late, func() string {
		if waiting := s.deserted(); waiting != "" {
			return name + ": " + waiting
		}
		if n := s.spare(); n > s.resting.descriptors+passing {
			return fmt.Sprintf("%s: %d descriptors beside those of connections; at rest there were %d", name, n, s.resting.descriptors)
		}
		return ""
	})
}

// watch notes the gateway's memory until the test ends.
func (s *siege) watch() {
	tick := time.NewTicker(20 * time.Millisecond)
	done := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-tick.C:
				if now := int64(s.memory()); now > s.peak.Load() {
					s.peak.Store(now)
				}
			case <-done:
				return
			}
		}
	}()
	s.t.Cleanup(func() {
		tick.Stop()
		close(done)
		<-over
	})
}

// memory is the gateway's resident set in bytes, 0 when it is gone.
func (s *siege) memory() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.gateway))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text)) // size resident …, in pages
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}

// spare is how many descriptors the gateway has beside those of clients' and endpoints' connections.
func (s *siege) spare() int {
	s.t.Helper()
	dir, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.gateway))
	if err != nil {
		s.t.Fatal(err)
	}
	stats := s.stats()
	connections := stats[listener+"downstream_cx_active"]
	for name, n := range stats {
		if strings.Contains(name, ".endpoint.") && strings.HasSuffix(name, ".upstream_cx_active") {
			connections += n
		}
	}
	return len(dir) - connections
}

// stats are the gateway's counters.
func (s *siege) stats() map[string]int {
	s.t.Helper()
	stats := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(ask(s.t, http.MethodGet, "http://"+gatewayAdmin+"/stats")))
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		if value, err := strconv.Atoi(text); err == nil { // histograms are not numbers
			stats[name] = value
		}
	}
	return stats
}

// others says what the others have noticed. It is told, not judged: a machine that is busy with attackers has less
// time for everybody.
func (s *siege) others(l *load, shots []shot) {
	s.t.Helper()
	for _, p := range s.phases {
		var took []time.Duration
		for _, shot := range shots {
			if at := l.zero.Add(shot.Sent); at.After(p.from) && at.Before(p.to) {
				took = append(took, shot.Ended-shot.Sent)
			}
		}
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		s.t.Logf("others, %s: %d requests, p50 %v, p99 %v", p.name, len(took), took[len(took)/2], took[len(took)*99/100])
	}
}
