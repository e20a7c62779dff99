//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A scaleOut is what the clients of one service of examples/coldjvm saw while it went from one instance to two.
type scaleOut struct {
	service   string
	sent      int           // requests in the window that is looked at
	lost      int           // in all
	p99, p999 time.Duration // of the window
	tail      float64       // the newcomer's p99 in the window, of the other's
	cold      float64       // what the newcomer's first answers took, of what the other's took meanwhile: medians
	full      time.Duration // from the command to the newcomer's full share
}

// TestColdJVM scales services out under load whose program is slow when it is new. Without crossfade's help, clients are
// what warms it, and they feel it; with warm-up requests and a warm-up by share they do not. Nothing is lost either way.
func TestColdJVM(t *testing.T) {
	need(t, "javac")
	services, window := []string{"plain", "both"}, 6*time.Second
	if full() {
		services, window = []string{"plain", "share", "requests", "both"}, 20*time.Second
	}
	m := launch(t, "coldjvm", func(m *mesh) {
		m.rewriteIn(t, "lifecycles.yaml", regexp.MustCompile("duration: 20s"), fmt.Sprintf("duration: %gs", window.Seconds()))
		m.rewriteIn(t, "shop.yaml", regexp.MustCompile("periodSeconds: 1"), "$0, timeoutSeconds: 10") // on a busy machine, too
		if !full() {                                                                                  // the others would only cost time
			m.rewriteIn(t, "shop.yaml", regexp.MustCompile(`(name: (?:share|requests)\nspec:\n  replicas: )1`), "${1}0")
		}
	})
	for _, s := range services {
		await(t, s, "Serving")
		m.answers(t, s)
		m.warmOld(t, s)
	}
	seen := map[string]scaleOut{}
	var table strings.Builder
	for _, s := range services {
		seen[s] = m.scaleOut(t, s, window)
		fmt.Fprintf(&table, "| `%s` | %s |\n", s, seen[s])
	}
	t.Logf("| service | lost | p99 | p99.9 | p99, new ÷ old | first answers, new ÷ old | command to full share |\n%s", table.String())
	for _, s := range services {
		if seen[s].lost != 0 {
			t.Errorf("%s lost %d requests, want none", s, seen[s].lost)
		}
	}
	plain, both := seen["plain"], seen["both"]
	if plain.cold < 2 {
		t.Errorf("without a warm-up the newcomer's first answers took %.1f times as long as the other's: there is nothing to warm, so that the test shows nothing", plain.cold)
	}
	if both.cold > 0.7*plain.cold {
		t.Errorf("warmed up, the newcomer's first answers took %.1f times as long as the other's; %.1f without", both.cold, plain.cold)
	}
}

// coldURLs are those of a service of examples/coldjvm in turn, quotes and books; requests.yaml has the same books.
func coldURLs(service string) []string {
	var urls []string
	for i := range 20 {
		n := strconv.Itoa(i + 1)
		urls = append(urls, "http://"+ingress+"/"+service+"/quote/"+n, "http://"+ingress+"/"+service+"/book/"+n)
	}
	return urls
}

func (m *mesh) answers(t *testing.T, service string) {
	t.Helper()
	eventually(t, soon, func() string {
		if status := m.status(t, coldURLs(service)[0]); status != http.StatusOK {
			return fmt.Sprintf("%s answers %d", service, status)
		}
		return ""
	})
}

// warmOld sends the only instance of a service enough requests for it to be compiled.
func (m *mesh) warmOld(t *testing.T, service string) {
	t.Helper()
	cli(t, append([]string{"load", "--quiet", "--requests", "2000", "--connections", "2", "--timeout", "20s"}, coldURLs(service)...)...)
}

// scaleOut scales a service to two instances under load, and looks at the window from the newcomer's first answer on.
func (m *mesh) scaleOut(t *testing.T, service string, window time.Duration) scaleOut {
	t.Helper()
	const rate, first = 200, 30
	old := await(t, service, "Serving")
	l := beginLoad(t, rate, append([]string{"--poisson", "--connections", "200", "--endpoint-header", "x-coldjvm-instance"}, coldURLs(service)...)...)
	l.seconds(t, 2)
	began := time.Now()
	scale(t, service, 2)
	awaitAll(t, service, 2, func(e endpoint) bool { return e.Stage == "Serving" })
	out := scaleOut{service: service, full: time.Since(began)}
	l.until(t, time.Now().Add(window))
	_, shots := l.stop(t)
	scale(t, service, 1) // the machine is the next service's
	awaitAll(t, service, 1, func(e endpoint) bool { return e.Stage == "Serving" })

	out.lost = len(lost(shots))
	slices.SortFunc(shots, func(a, b shot) int { return int(a.Sent - b.Sent) })
	one := shots[0].Endpoint // before the command there is only one
	isNew := func(s shot) bool { return s.Endpoint != "" && s.Endpoint != one }
	at := slices.IndexFunc(shots, isNew)
	if at < 0 {
		t.Fatalf("%s: the newcomer beside %s answered nothing", service, old.Name)
	}
	from := shots[at].Sent
	var newcomer, other []time.Duration // in the window, in the order of sending
	for _, s := range shots[at:] {
		switch {
		case s.Sent-from > window:
		case isNew(s):
			newcomer = append(newcomer, s.Ended-s.Sent)
		default:
			other = append(other, s.Ended-s.Sent)
		}
	}
	if len(newcomer) < first || len(other) < first {
		t.Fatalf("%s: the newcomer answered %d requests, the other %d, want %d of both", service, len(newcomer), len(other), first)
	}
	out.cold = quotient(newcomer[:first], other[:first], 0.5)
	out.tail = quotient(newcomer, other, 0.99)
	all := slices.Concat(newcomer, other)
	out.sent, out.p99, out.p999 = len(all), centile(all, 0.99), centile(all, 0.999)
	return out
}

func (s scaleOut) String() string {
	return fmt.Sprintf("%d of %d | %.0f ms | %.0f ms | %.1f | %.1f | %.1f s", s.lost, s.sent,
		s.p99.Seconds()*1e3, s.p999.Seconds()*1e3, s.tail, s.cold, s.full.Seconds())
}

// quotient is how much longer one took than the other, by what that part of each took at most.
func quotient(one, other []time.Duration, part float64) float64 {
	return float64(centile(one, part)) / float64(max(1, centile(other, part)))
}

// centile returns what that part of all took at most.
func centile(all []time.Duration, part float64) time.Duration {
	took := slices.Sorted(slices.Values(all))
	return took[int(part*float64(len(took)-1))]
}
