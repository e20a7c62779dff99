//go:build integration

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// httpbin's instances leave soon: callers past the gateway have a moment to hear of it. They call each instance several times a
// second, and a busy machine may hold them up for one.
const soonGone = `apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: httpbin}
spec:
  service: httpbin
  warmup: {duration: 0s}
  drain: {quiet: 3s, callers: 12s, timeout: 20s}
`

// directly is what the console says of a service: all of it, and that part that came past the gateways.
type directly struct {
	Name   string            `json:"name"`
	Ended  map[string]uint64 `json:"ended"`
	Lost   uint64            `json:"lost"`
	Direct map[string]uint64 `json:"direct"`
}

func sumOf(ended map[string]uint64) (n uint64) {
	for _, of := range ended {
		n += of
	}
	return n
}

// httpbinOf is httpbin as the console has it.
func httpbinOf(t *testing.T) (directly, counted) {
	t.Helper()
	all, err := console[struct {
		Outside  counted    `json:"outside"`
		Services []directly `json:"services"`
	}](t, "overview")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(all.Services, func(s directly) bool { return s.Name == "httpbin:8000" })
	if at < 0 {
		t.Fatalf("the console has no httpbin: %+v", all.Services)
	}
	return all.Services[at], all.Outside
}

// launchDirect starts httpbin with one gateway and so many instances.
func launchDirect(t *testing.T, instances int) (*mesh, *chaos) {
	t.Helper()
	m := launch(t, "httpbin", func(m *mesh) {
		m.rewriteIn(t, "gateway.yaml", replicaCount, "replicaCount: 1")
		m.write(t, "lifecycle.yaml", soonGone)
	})
	await(t, "httpbin", "Serving", "Warming")
	c := &chaos{t: t, m: m}
	scale(t, "httpbin", instances)
	c.settled("httpbin", instances)
	return m, c
}

// TestDirectCallersCount has an instance called past the gateway, and through it, while some of it is answered with errors and
// control is killed in the middle: the console counts what the loads count, each request once, and knows which came how.
func TestDirectCallersCount(t *testing.T) {
	m, c := launchDirect(t, 1)
	e := c.settled("httpbin", 1)[0]
	first, outside := httpbinOf(t)
	const seconds = "12s"
	base := "http://" + e.Address.String()
	through := beginLoad(t, 40, "--duration", seconds, "http://"+ingress+"/get")
	spoilt := beginLoad(t, 5, "--duration", seconds, "http://"+ingress+"/status/503")
	direct := beginLoad(t, 50, "--duration", seconds, base+"/get", base+"/get", base+"/status/500")
	direct.seconds(t, 4)
	m.killed(t, m.control(t), isControl)
	c.controlReady()
	a, _ := through.end(t)
	b, _ := spoilt.end(t)
	d, _ := direct.end(t)
	if d.LostTotal == 0 || b.LostTotal == 0 || a.LostTotal > 0 {
		t.Fatalf("invalid run: lost %v directly, %v and %v through the gateway; want some, some and none", d.Lost, b.Lost, a.Lost)
	}
	var got directly
	var in counted
	want := a.Sent + b.Sent + d.Sent
	eventually(t, soon, func() string {
		if got, in = httpbinOf(t); sumOf(got.Ended)-sumOf(first.Ended) < want {
			return fmt.Sprintf("%d requests; got %v", want, got)
		}
		return ""
	})
	t.Logf("through the gateway %d and %d, directly %d, lost %v; the console: %+v", a.Sent, b.Sent, d.Sent, d.Lost, got)
	if served, lost := got.Direct["served"]-first.Direct["served"], got.Direct["5xx"]-first.Direct["5xx"]; served != d.OK || lost != d.LostTotal || sumOf(got.Direct)-sumOf(first.Direct) != d.Sent {
		t.Errorf("past the gateway: the console counted %v after %v; the load sent %d, %d ok, lost %v", got.Direct, first.Direct, d.Sent, d.OK, d.Lost)
	}
	if all, lost := sumOf(got.Ended)-sumOf(first.Ended), got.Lost-first.Lost; all != want || lost != b.LostTotal+d.LostTotal {
		t.Errorf("httpbin: the console counted %d, %d lost; the loads %d, %d", all, lost, want, b.LostTotal+d.LostTotal)
	}
	if n := in.Requests - outside.Requests; n != a.Sent+b.Sent {
		t.Errorf("from outside: the console counted %d, the loads sent %d", n, a.Sent+b.Sent)
	}
}

// A consumer calls instances past the gateway, by a list of its own that follows who is there.
type consumer struct {
	mu     sync.Mutex
	list   []string
	path   string
	ok     uint64
	failed map[string]uint64
	stop   chan struct{}
	done   sync.WaitGroup
}

func consume(t *testing.T, from ...endpoint) *consumer {
	t.Helper()
	c := &consumer{path: "/get", failed: map[string]uint64{}, stop: make(chan struct{})}
	c.follow(from)
	client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true}}
	c.done.Go(func() {
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for i := 0; ; i++ {
			select {
			case <-c.stop:
				return
			case <-again.C:
			}
			c.mu.Lock()
			url := "http://" + c.list[i%len(c.list)] + c.path
			c.mu.Unlock()
			c.note(client.Get(url))
		}
	})
	t.Cleanup(c.end)
	eventually(t, soon, func() string { // whoever was never called waits for nobody when it leaves
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ok < uint64(2*len(from)) {
			return "a consumer to have called each instance"
		}
		return ""
	})
	return c
}

func (c *consumer) note(resp *http.Response, err error) {
	outcome := fmt.Sprint("no answer: ", err)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		outcome = resp.Status
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && resp.StatusCode == http.StatusOK {
		c.ok++
	} else {
		c.failed[outcome]++
	}
}

// follow has the consumer call these from now on.
func (c *consumer) follow(list []endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
	for _, e := range list {
		c.list = append(c.list, e.Address.String())
	}
}

func (c *consumer) ask(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.path = path
}

// lost is how many were not answered as they should have been.
func (c *consumer) lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sumOf(c.failed)
}

func (c *consumer) end() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.done.Wait()
}

// TestVerdictsOfDirectCallers rolls an application over that is called past the gateway, and by nobody else: by a consumer that
// follows who is there, by one that is answered an error, by one that goes on calling who has left, and one whose instance is
// killed together with its agent.
func TestVerdictsOfDirectCallers(t *testing.T) {
	m, c := launchDirect(t, 2)
	rollout := func(during func(old []endpoint)) released {
		t.Helper()
		return c.released(t, "httpbin", func() {
			old := c.settled("httpbin", 2)
			during(old)
			c.settled("httpbin", 2, old...)
		})
	}
	restart := func() { cli(t, "rollout", "restart", "deployment/httpbin") }
	// newest has the consumer call those that stay, as soon as there are some.
	newest := func(who *consumer, old []endpoint) {
		eventually(t, late, func() string {
			all, err := endpointsOf(t, "httpbin")
			all = slices.DeleteFunc(all, func(e endpoint) bool {
				return e.Stage != "Serving" || slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation })
			})
			if err != nil || len(all) == 0 {
				return "somebody new to call"
			}
			who.follow(all)
			return ""
		})
	}

	who := consume(t, c.settled("httpbin", 2)...)
	clean := rollout(func(old []endpoint) {
		restart()
		newest(who, old)
	})
	who.follow(c.settled("httpbin", 2))
	if clean.Verdict != "lossless" || clean.Requests["served"] == 0 || len(who.failed) > 0 {
		t.Errorf("a consumer that follows: got %q (%s), %v; it lost %v", clean.Verdict, clean.Why, clean.Requests, who.failed)
	}

	who.ask("/status/500")
	spoilt := rollout(func(old []endpoint) {
		restart()
		newest(who, old)
		before := who.lost()
		eventually(t, soon, func() string {
			if who.lost() < before+3 {
				return "some to be lost while it runs"
			}
			return ""
		})
		who.ask("/get")
	})
	who.follow(c.settled("httpbin", 2))
	if spoilt.Verdict != "lossy" || spoilt.Requests["5xx"] == 0 {
		t.Errorf("a consumer that was answered 500: got %q (%s), %v; it lost %v", spoilt.Verdict, spoilt.Why, spoilt.Requests, who.failed)
	}

	stubborn := consume(t, c.settled("httpbin", 2)[0])
	deaf := rollout(func(old []endpoint) {
		restart()
		newest(who, old)
	})
	stubborn.end()
	who.follow(c.settled("httpbin", 2))
	turned := stubborn.failed["503 Service Unavailable"] // the others found nobody who listened
	if lost := sumOf(deaf.Requests) - deaf.Requests["served"]; deaf.Verdict != "unproven" && deaf.Verdict != "lossy" || stubborn.lost() == 0 || lost != turned {
		t.Errorf("a consumer that does not hear: got %q (%s), %v; it lost %v", deaf.Verdict, deaf.Why, deaf.Requests, stubborn.failed)
	}

	killed := rollout(func(old []endpoint) {
		restart()
		kill(t, m.agent(t, old[0]))
		newest(who, old)
	})
	if killed.Verdict != "unproven" {
		t.Errorf("an agent was killed that had callers: got %q (%s), %v", killed.Verdict, killed.Why, killed.Requests)
	}
	who.end()
	t.Logf("verdicts: %s | %s | %s | %s", clean.Why, spoilt.Why, deaf.Why, killed.Why)
}
