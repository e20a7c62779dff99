//go:build integration

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How callers of an instance that leaves behave.
const (
	staleFor    = 30 * time.Second                // a client goes by its list for so long
	staleEvery  = 100 * time.Millisecond          // between its requests, each over a connection of its own
	quietEvery  = 8 * time.Second                 // between the requests of another, over one connection
	longRequest = "/drip?numbytes=20&duration=20" // takes 20 s; one was sent just before
)

// TestAgentsLeave lets two of three instances leave at once, one asked by /offline and one by SIGTERM, while all kinds of
// callers are at them: a gateway, a client that goes by a list that is 30 s old, a quiet one, one with a request of 20 s.
// Then a rollout replaces all that is left. Nobody loses anything.
func TestAgentsLeave(t *testing.T) {
	m := launch(t, "httpbin", func(m *mesh) {
		m.rewriteIn(t, "gateway.yaml", regexp.MustCompile(`replicaCount: 10`), "replicaCount: 1")
		m.rewriteIn(t, "httpbin.yaml", regexp.MustCompile(`serviceAccountName: httpbin`), "$0\n      terminationGracePeriodSeconds: 90")
		m.rewrite(t, toEcho, "$0    - match: [{uri: {prefix: /echo.Echo/}}]\n      route: [{destination: {host: echo}}]\n")
		m.write(t, "echo.yaml", echoYAML)
	})
	await(t, "httpbin", "Serving", "Warming")
	await(t, "echo", "Serving", "Warming")
	scale(t, "httpbin", 3)
	all := awaitAll(t, "httpbin", 3, func(e endpoint) bool { return e.Stage == "Serving" })
	asked, told := all[0], all[1]

	pages := beginLoad(t, 40, "http://"+ingress+"/get")
	longs := beginLoad(t, 2, "--timeout", "60s", "http://"+ingress+longRequest)
	calls := beginLoad(t, 5, bidi(20, grpcIngress)...) // each lasts 2 s
	pages.seconds(t, 1)
	left := map[string]*callers{asked.Name: besideIts(t, asked), told.Name: besideIts(t, told)}
	for _, c := range left {
		c.await(t)
	}

	began := time.Now()
	report := make(chan string, 1)
	go func() { report <- offline(asked) }()
	agent := m.agent(t, told)
	if err := syscall.Kill(agent.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cli(t, "rollout", "restart", "deployment/echo")

	safe := <-report
	t.Logf("%s answered /offline after %v: %s", asked.Name, time.Since(began).Round(time.Second), safe)
	if took := time.Since(began); took < staleFor {
		t.Errorf("it was said to be safe after %v, while a client still went by its old list, want %v at least", took, staleFor)
	}
	eventually(t, late, func() string {
		if syscall.Kill(agent.pid, 0) == nil {
			return agent.String() + " to end"
		}
		return ""
	})
	for name, c := range left {
		c.finish(t, name)
	}
	left[asked.Name].agree(t, safe)

	// The one that was told to stop is followed by another; the one that was asked by /offline runs on, out of service.
	old := awaitAll(t, "httpbin", 2, func(e endpoint) bool { return e.Stage == "Serving" && e.Incarnation != told.Incarnation })
	cli(t, "rollout", "restart", "deployment/httpbin")
	awaitAll(t, "httpbin", 3, func(e endpoint) bool {
		return e.Stage == "Serving" && !slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation })
	})
	for what, l := range map[string]*load{"pages": pages, "requests of 20 s": longs, "calls": calls} {
		account, shots := l.stop(t)
		if n := len(lost(shots)); n > 0 || account.OK == 0 {
			t.Errorf("%s: %d lost of %d, want 0: %v %+v", what, n, account.Sent, account.Lost, lost(shots)[:min(n, 5)])
		}
		t.Logf("%s: %d sent through the gateway, %d lost", what, account.Sent, account.LostTotal)
	}
}

// agent is the agent beside an endpoint's application.
func (m *mesh) agent(t *testing.T, e endpoint) proc {
	t.Helper()
	return m.one(t, "agent of "+e.Name, func(p proc) bool { return p.name() == "crossfade agent" && isBeside(p, e) })
}

// isBeside says whether an agent is that of an endpoint, by its document.
func isBeside(p proc, e endpoint) bool {
	return strings.Contains(p.after("--config"), "/"+e.Name+"-")
}

// offline asks an instance to leave, as a preStop hook does, and returns what it answers when that is safe.
func offline(e endpoint) string {
	client := &http.Client{Timeout: late, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+net.JoinHostPort(e.host(), "54199")+"/offline", "", http.NoBody)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s %v %s", resp.Status, err, body)
	}
	return string(body)
}

// callers are those who call one instance at its own address, past every gateway.
type callers struct {
	stop   chan struct{}
	done   sync.WaitGroup
	stale  atomic.Int64 // answered
	quiet  atomic.Int64
	long   atomic.Int64
	mu     sync.Mutex
	losses []string
}

// besideIts starts them. The stale client goes on for staleFor, the quiet one as long, the long request is one.
func besideIts(t *testing.T, e endpoint) *callers {
	t.Helper()
	c := &callers{stop: make(chan struct{})}
	address := e.Address.String()
	c.done.Go(func() {
		again := time.NewTicker(staleEvery)
		defer again.Stop()
		client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
		for until := time.Now().Add(staleFor + 2*time.Second); time.Now().Before(until); <-again.C {
			c.count(&c.stale, "stale", func() error { return gets(client, address, "/get") })
		}
	})
	c.done.Go(func() {
		again := time.NewTicker(quietEvery)
		defer again.Stop()
		// A connection that is told to close is followed by another, as every client does.
		client := &http.Client{Timeout: soon, Transport: &http.Transport{}}
		for until := time.Now().Add(staleFor); time.Now().Before(until); <-again.C {
			c.count(&c.quiet, "quiet", func() error { return gets(client, address, "/get") })
		}
	})
	c.done.Go(func() {
		client := &http.Client{Timeout: late, Transport: &http.Transport{DisableKeepAlives: true}}
		c.count(&c.long, "long", func() error { return gets(client, address, longRequest) })
	})
	t.Cleanup(c.done.Wait)
	return c
}

func (c *callers) count(good *atomic.Int64, who string, call func() error) {
	began := time.Now()
	err := call()
	if err == nil {
		good.Add(1)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.losses = append(c.losses, fmt.Sprintf("%s, after %v: %v", who, time.Since(began).Round(time.Millisecond), err))
}

func gets(client *http.Client, address, path string) error {
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", resp.Status)
	}
	return nil
}

// await waits until they have begun.
func (c *callers) await(t *testing.T) {
	t.Helper()
	eventually(t, soon, func() string {
		if c.stale.Load() < 3 || c.quiet.Load() < 1 {
			return "callers to begin"
		}
		return ""
	})
}

// finish waits for them and says what they lost.
func (c *callers) finish(t *testing.T, name string) {
	t.Helper()
	c.done.Wait()
	t.Logf("%s, called past the gateway: %d stale, %d quiet, %d of 20 s answered", name, c.stale.Load(), c.quiet.Load(), c.long.Load())
	if len(c.losses) > 0 {
		t.Errorf("%s: %d lost, want 0; the first: %s", name, len(c.losses), strings.Join(c.losses[:min(len(c.losses), 5)], "; "))
	}
	if least := int64(staleFor/staleEvery) / 2; c.stale.Load() < least || c.quiet.Load() < 4 || c.long.Load() != 1 {
		t.Fatalf("invalid run: the stale client had %d answers, the quiet one %d, the long one %d", c.stale.Load(), c.quiet.Load(), c.long.Load())
	}
}

// agree compares the report of an instance that left with what its callers know: nothing was cut, and everything that
// was opened is over.
func (c *callers) agree(t *testing.T, text string) {
	t.Helper()
	var r drainReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("/offline answered %q: %v", text, err)
	}
	http1, ok := r.Protocols["http/1.1"]
	if !ok || r.Cut != 0 {
		t.Fatalf("the report says %+v, want requests of HTTP/1.1 and nothing cut", r)
	}
	if least := uint64(c.stale.Load() + c.quiet.Load() + c.long.Load()); http1.Ever.Completed < least {
		t.Errorf("the report has %d completed, its callers had %d answers and the gateway some", http1.Ever.Completed, least)
	}
	if over := http1.Ever.Completed + http1.Ever.Failed + http1.Ever.Cut + uint64(http1.Ever.Open); over != http1.Ever.Opened || http1.Ever.Open != 0 {
		t.Errorf("the report does not add up: %+v", http1.Ever)
	}
}

// TestKilledInstance kills an instance and its agent under load: what is lost was in flight, and one more for each
// gateway at the most.
func TestKilledInstance(t *testing.T) {
	const gateways = 2
	m := launch(t, "httpbin", func(m *mesh) {
		m.rewriteIn(t, "gateway.yaml", regexp.MustCompile(`replicaCount: 10`), "replicaCount: "+strconv.Itoa(gateways))
	})
	await(t, "httpbin", "Serving", "Warming")
	scale(t, "httpbin", 3)
	all := awaitAll(t, "httpbin", 3, func(e endpoint) bool { return e.Stage == "Serving" })
	l := beginLoad(t, 40, "-X", "POST", "--data", "a=1", "http://"+ingress+"/delay/1") // in flight everywhere; nobody may send them again
	l.seconds(t, 3)
	victim := all[0]
	agent := m.agent(t, victim)
	before := openAt(t, victim)
	kill(t, agent)
	at := time.Now()
	awaitAll(t, "httpbin", 3, func(e endpoint) bool { return e.Stage == "Serving" && e.Incarnation != victim.Incarnation })
	l.seconds(t, 1)
	account, shots := l.stop(t)
	gone := lost(shots)
	t.Logf("kill -9 with about %d in flight: %d of %d lost: %v", before, len(gone), account.Sent, account.Lost)
	const between = 4 // were sent there after it had been asked, and before it was dead
	if most := before + between + gateways; before == 0 || len(gone) > most {
		t.Errorf("%d were lost, want %d at most, and some in flight", len(gone), most)
	}
	for _, s := range gone {
		if sent := l.zero.Add(s.Sent); sent.After(at.Add(time.Second / 2)) {
			t.Errorf("a request sent %v after the kill was lost: %+v", sent.Sub(at), s)
		}
	}
}

// openAt is how many requests an endpoint has open, as its own agent counts.
func openAt(t *testing.T, e endpoint) int {
	t.Helper()
	text := ask(t, http.MethodGet, "http://"+net.JoinHostPort(e.host(), "15000")+"/stats?filter=upstream_rq_active")
	sum := 0
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if _, value, ok := strings.Cut(lines.Text(), ": "); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
				sum += n
			}
		}
	}
	return sum
}
