package dns

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A watch runs a Watcher inside a bubble and keeps what it reported.
type watch struct {
	*Watcher
	t       *testing.T // the bubble's
	zone    *zone
	reports chan []Result
	results []Result // of the latest pass
	start   time.Time
}

func watched(t *testing.T, body func(w *watch)) {
	t.Helper()
	watchedBy(t, func(*Watcher) {}, body)
}

func watchedBy(t *testing.T, prepare func(*Watcher), body func(w *watch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		w := &watch{Watcher: &Watcher{Resolver: z.resolver()}, t: t, zone: z, reports: make(chan []Result, 1<<13), start: time.Now()}
		prepare(w.Watcher)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx, func(r []Result) { w.reports <- r }) }()
		body(w)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	})
}

// pass lets time go by and returns what was reported since the last pass, in words.
func (w *watch) pass(d time.Duration) []string {
	w.results = nil
	time.Sleep(d)
	synctest.Wait()
	for len(w.reports) > 0 {
		w.results = append(w.results, <-w.reports...)
	}
	// Several lookups that end at one moment may be reported in one call or in two.
	slices.SortStableFunc(w.results, func(a, b Result) int { return a.Query.compare(b.Query) })
	var all []string
	for _, r := range w.results {
		words := []string{r.Name}
		for _, a := range r.Addresses {
			words = append(words, a.String())
		}
		if r.Reason != "" {
			words = append(words, "("+string(r.Reason)+")")
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

func (w *watch) want(after time.Duration, want ...string) {
	w.t.Helper()
	if got := w.pass(after); !slices.Equal(got, want) {
		w.t.Fatalf("by %v reported %q, want %q", time.Since(w.start), got, want)
	}
}

// lookups is how often the zone was asked for the A records of a.
func (w *watch) lookups() int {
	n := 0
	for _, line := range w.zone.log() {
		if strings.HasSuffix(line, " a. A") {
			n++
		}
	}
	return n
}

func names(all ...string) []Query {
	var queries []Query
	for _, name := range all {
		queries = append(queries, Query{Name: name})
	}
	return queries
}

func answers(ttl time.Duration, texts ...string) says {
	return says{addrs: addrs(texts...), ttl: ttl}
}

func TestLooksAgainWhenTheTTLIsOver(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", answers(100*time.Second, "10.0.0.2", "10.0.0.1"))
		w.Set(names("a."))
		w.want(0, "a. 10.0.0.1 10.0.0.2")
		if got := w.results[0]; got.TTL != 100*time.Second || got.Err != nil || !got.When.Equal(w.start) {
			t.Errorf("got %+v, want a TTL of 100 s, no error, now", got)
		}
		w.zone.set("a.", answers(100*time.Second, "10.0.0.3"))
		w.want(89 * time.Second) // a tenth too early for anything
		if n := w.lookups(); n != 1 {
			t.Errorf("%d lookups in 89 s, want 1", n)
		}
		w.want(22*time.Second, "a. 10.0.0.3")
		w.want(889 * time.Second) // the same again is no news
		if n := w.lookups(); n < 10 || n > 12 {
			t.Errorf("%d lookups in 1000 s, want about 11", n)
		}
	})
}

func TestFailureKeepsAddresses(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.Set(names("a."))
		w.want(0, "a. 10.0.0.1")
		w.zone.set("a.", says{code: dnsmessage.RCodeServerFailure})
		w.want(12*time.Second, "a. 10.0.0.1 (the servers fail)")
		before := w.lookups()
		w.want(time.Hour)
		// Two attempts each: after 1, 2, 4, … 32 s, then every minute.
		if n := (w.lookups() - before) / 2; n < 56 || n > 74 {
			t.Errorf("%d lookups in an hour of failure, want about 65", n)
		}
		w.zone.set("a.", says{silent: true})
		w.want(2*time.Minute, "a. 10.0.0.1 (the servers are silent)")
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.want(2*time.Minute, "a. 10.0.0.1")
		w.zone.set("a.", answers(10*time.Second, "10.0.0.9"))
		w.want(12*time.Second, "a. 10.0.0.9")
	})
}

func TestFirstRetriesComeSoon(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", says{code: dnsmessage.RCodeRefused})
		w.Set(names("a."))
		w.want(0, "a. (the servers fail)")
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.want(1200*time.Millisecond, "a. 10.0.0.1")
	})
}

func TestDenialIsHeldForTheGrace(t *testing.T) {
	for _, denial := range []says{
		{code: dnsmessage.RCodeNameError, denied: true, ttl: 10 * time.Second},
		{denied: true, ttl: time.Hour},
	} {
		watched(t, func(w *watch) {
			reason := NoAddress
			if denial.code != 0 {
				reason = NoName
			}
			w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
			w.Set(names("a."))
			w.want(0, "a. 10.0.0.1")
			w.zone.set("a.", denial)
			w.want(11*time.Second, fmt.Sprintf("a. 10.0.0.1 (%s)", reason))
			w.want(27 * time.Second)
			w.want(5*time.Second, fmt.Sprintf("a. (%s)", reason))
			if got := w.results[0]; got.TTL != 0 || got.Addresses != nil {
				t.Errorf("got %+v, want neither addresses nor a TTL", got)
			}
			w.want(2 * time.Hour)
			w.zone.set("a.", answers(10*time.Second, "10.0.0.2"))
			w.want(2*time.Hour, "a. 10.0.0.2")
		})
	}
}

// The grace is over while the servers fail: nobody confirms the denial, so the addresses stay.
func TestGraceNeedsADenialAtItsEnd(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.Set(names("a."))
		w.want(0, "a. 10.0.0.1")
		w.zone.set("a.", says{code: dnsmessage.RCodeNameError, ttl: 10 * time.Second})
		w.want(11*time.Second, "a. 10.0.0.1 (no such name)")
		w.zone.set("a.", says{code: dnsmessage.RCodeServerFailure})
		w.want(10*time.Minute, "a. 10.0.0.1 (the servers fail)")
		w.zone.set("a.", says{code: dnsmessage.RCodeNameError, ttl: 10 * time.Second})
		w.want(2*time.Minute, "a. (no such name)")
	})
}

func TestDenialOfANewNameIsToldAtOnce(t *testing.T) {
	watched(t, func(w *watch) {
		w.Set(names("a."))
		w.want(0, "a. (no such name)")
	})
}

func TestMissingFamilyIsHeld(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a. A", answers(10*time.Second, "10.0.0.1"))
		w.zone.set("a. AAAA", answers(10*time.Second, "fd00::1"))
		w.Set(names("a."))
		w.want(0, "a. 10.0.0.1 fd00::1")
		w.zone.set("a. A", answers(10*time.Second, "10.0.0.2"))
		w.zone.set("a. AAAA", says{silent: true})
		w.want(12*time.Second, "a. 10.0.0.2 fd00::1 (the servers are silent)")
		w.want(time.Hour)
		w.zone.set("a. AAAA", says{denied: true})
		w.want(12*time.Second, "a. 10.0.0.2")
	})
}

func TestFirstOfTheNewestAnswer(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", answers(10*time.Second, "10.0.0.2", "10.0.0.1"))
		w.Set([]Query{{Name: "a.", First: true}, {Name: "a."}})
		w.want(0, "a. 10.0.0.1 10.0.0.2", "a. 10.0.0.2")
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1", "10.0.0.2"))
		w.want(12*time.Second, "a. 10.0.0.1")
		if got := w.results[0]; !got.First {
			t.Errorf("got %+v, want news for First only: the others are the same set", got)
		}
	})
}

func TestSetLatestWins(t *testing.T) {
	watched(t, func(w *watch) {
		for _, name := range []string{"a.", "b.", "c."} {
			w.zone.set(name, answers(10*time.Second, "10.0.0.1"))
		}
		w.Set(names("a."))
		w.Set(names("b.", "a.", "b."))
		w.want(0, "a. 10.0.0.1", "b. 10.0.0.1")
		w.Set(names("c.", "b."))
		w.want(0, "c. 10.0.0.1")
		before := w.lookups()
		w.want(time.Minute)
		if w.lookups() != before {
			t.Error("a. is still looked up, want it forgotten")
		}
		w.zone.set("a.", says{silent: true})
		w.Set(names("a."))
		w.want(time.Second)
		w.Set(nil) // ends the lookup under way
		w.want(time.Hour)
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.Set(names("a."))
		w.want(0, "a. 10.0.0.1")
	})
}

func TestKnownIsHeldUntilAnAnswer(t *testing.T) {
	prepare := func(w *Watcher) {
		w.Known = []Result{
			{Query: Query{Name: "a."}, Addresses: addrs("10.0.0.1")},
			{Query: Query{Name: "gone."}, Addresses: addrs("10.0.0.2")},
		}
	}
	watchedBy(t, prepare, func(w *watch) {
		w.zone.set("a.", says{code: dnsmessage.RCodeServerFailure})
		w.Set(names("a.", "gone."))
		w.want(0, "a. 10.0.0.1 (the servers fail)", "gone. 10.0.0.2 (no such name)")
		w.want(40*time.Second, "gone. (no such name)")
		w.zone.set("a.", answers(10*time.Second, "10.0.0.3"))
		w.want(time.Minute, "a. 10.0.0.3")
		w.zone.set("a.", says{code: dnsmessage.RCodeServerFailure})
		w.Set(nil)
		w.want(0)
		w.Set(names("a."))
		w.want(0, "a. (the servers fail)") // what was known when Run began is not known for ever
	})
}

func TestHostsFileChanges(t *testing.T) {
	path := file(t, "10.0.0.1 a.example\n")
	prepare := func(w *Watcher) { w.Resolver.HostsFile = path }
	watchedBy(t, prepare, func(w *watch) {
		w.zone.set("b.example.", answers(time.Hour, "10.0.0.2"))
		w.Set(names("a.example", "b.example"))
		w.want(0, "a.example 10.0.0.1", "b.example 10.0.0.2")
		rewrite(t, path, "10.0.0.9 a.example B.example\n")
		w.want(6*time.Second, "a.example 10.0.0.9", "b.example 10.0.0.9")
		rewrite(t, path, "10.0.0.9 a.example\n")
		w.want(6*time.Second, "b.example 10.0.0.2")
	})
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestResolvConfChanges(t *testing.T) {
	path := file(t, "nameserver 10.0.0.1\n")
	prepare := func(w *Watcher) { w.Resolver.Servers, w.Resolver.ResolvConf = nil, path }
	watchedBy(t, prepare, func(w *watch) {
		w.zone.set("@10.0.0.2", answers(time.Hour, "10.0.0.7"))
		w.zone.set("@10.0.0.1", says{code: dnsmessage.RCodeNameError, denied: true, ttl: time.Hour})
		w.Set(names("a."))
		w.want(time.Minute, "a. (no such name)")
		rewrite(t, path, "nameserver 10.0.0.2\n")
		w.want(6*time.Second, "a. 10.0.0.7")
	})
}

// Thousands of names, a bound on the lookups at once, and all of them current.
func TestThousandsOfNames(t *testing.T) {
	const n = 3000
	prepare := func(w *Watcher) { w.Concurrency, w.Resolver.Network = 10, "ip4" }
	watchedBy(t, prepare, func(w *watch) {
		var all []Query
		for i := range n {
			name := fmt.Sprintf("n%d.", i)
			all = append(all, Query{Name: name})
			w.zone.set(name, says{addrs: addrs("10.0.0.1"), ttl: time.Minute, after: 10 * time.Millisecond})
		}
		w.Set(all)
		if got := len(w.pass(n / 10 * 10 * time.Millisecond)); got != n {
			t.Errorf("%d names reported in 3 s, want %d: 10 at once take 10 ms each", got, n)
		}
		w.want(time.Minute + 9*time.Second)
		if got := len(w.zone.log()); got < 2*n || got > 3*n {
			t.Errorf("%d lookups, want each of %d names looked up again", got, n)
		}
		if w.zone.most != 10 {
			t.Errorf("%d lookups at once, want 10", w.zone.most)
		}
	})
}

// Names whose servers are silent take half of the lookups at most, so the others keep their time.
func TestSilentNamesStarveNobody(t *testing.T) {
	prepare := func(w *Watcher) { w.Concurrency, w.Resolver.Network = 4, "ip4" }
	watchedBy(t, prepare, func(w *watch) {
		var all []Query
		add := func(name string, s says) {
			w.zone.set(name, s)
			all = append(all, Query{Name: name})
		}
		for i := range 100 {
			add(fmt.Sprintf("silent%d.", i), says{silent: true})
		}
		for i := range 4 { // enough to keep the other half busy most of the time
			add(fmt.Sprintf("slow%d.", i), says{addrs: addrs("10.0.0.1"), ttl: 5 * time.Second, after: 2 * time.Second})
		}
		w.zone.set("a.", answers(10*time.Second, "10.0.0.1"))
		w.Set(append(all, Query{Name: "a."}))
		w.pass(10 * time.Minute) // everybody failed once
		for i := range 10 {
			w.zone.set("a.", answers(10*time.Second, fmt.Sprintf("10.0.1.%d", i)))
			w.want(20*time.Second, fmt.Sprintf("a. 10.0.1.%d", i))
		}
		if w.zone.most != 4 {
			t.Errorf("%d lookups at once, want 4", w.zone.most)
		}
	})
}

// What was done is undone: the goroutines of a Run that ends in the middle of its lookups end with it.
func TestRunEndsItsLookups(t *testing.T) {
	watched(t, func(w *watch) {
		w.zone.set("a.", says{silent: true})
		w.zone.set("b.", says{silent: true})
		w.Set(names("a.", "b."))
		w.want(0)
	})
}

func TestSetBeforeAndWithoutRun(t *testing.T) {
	w := &Watcher{Resolver: &Resolver{}}
	for range 3 {
		w.Set(names("a."))
	}
	if got := w.latest(); len(got) != 1 {
		t.Errorf("wanted %v, want a. once", got)
	}
}
