//go:build integration

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// operatedYAML is a service for people to act on, beside those of examples/warmups.
const operatedYAML = `
apiVersion: v1
kind: Service
metadata: {name: operated}
spec:
  selector: {app: operated}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: operated}
spec:
  selector: {matchLabels: {app: operated}}
  template:
    metadata: {labels: {app: operated}}
    spec:
      containers:
        - name: operated
          command: [bookinfo, details, --latency, 20ms, --listen, "$(HOST):$(PORT)"]
          ports: [{containerPort: 9080}]
          readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: operated}
spec:
  host: operated
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 10s}}}
`

const operatedRate = 60 // requests a second

// tick is how far apart control's and a gateway's idea of a share may be: a hundredth of the window.
const tick = 0.01

// An act is what somebody does to a newcomer, and how the gateway shows that it is in force.
type act struct {
	command  string // the endpoint's name stands for %s
	inForce  func(e endpoint) bool
	verdict  func(before, first, last endpoint) bool // of what the gateway showed before, at first and at last
	expected string
}

// acts are everything that people can do to a warm-up, in the order of a busy day.
func acts() []act {
	return []act{
		{
			"warmup pause %s", func(e endpoint) bool { return e.Paused },
			func(before, first, last endpoint) bool {
				return first.Ramp.Share > before.Ramp.Share-tick && first.Ramp.Share < 1 && last.Ramp.Share == first.Ramp.Share
			}, "the share that it had, all the time",
		},
		{
			"warmup resume %s", func(e endpoint) bool { return !e.Paused },
			func(before, first, last endpoint) bool {
				return first.Ramp.Share > before.Ramp.Share-tick && last.Ramp.Share > first.Ramp.Share && last.Ramp.Share < 1
			}, "a share that grows on from where it was",
		},
		{
			"warmup skip %s", func(e endpoint) bool { return e.Ramp.Share == 1 },
			func(_, _, last endpoint) bool { return last.Ramp.Share == 1 }, "its full share",
		},
		{
			"weight %s 0.5", func(e endpoint) bool { return e.factor() == 0.5 },
			func(_, _, last endpoint) bool { return last.factor() == 0.5 && last.Ramp.Share == 1 }, "half of its weight",
		},
		{
			"weight %s 1", func(e endpoint) bool { return e.factor() == 1 },
			func(_, _, last endpoint) bool { return last.factor() == 1 && last.Ramp.Share == 1 }, "all of its weight",
		},
		{
			"weight %s 0", func(e endpoint) bool { return e.factor() == 0 },
			func(_, _, last endpoint) bool { return last.factor() == 0 }, "nothing",
		},
		{
			"weight %s 1", func(e endpoint) bool { return e.factor() == 1 && e.Ramp.Share > 0 },
			func(_, first, last endpoint) bool {
				return first.Ramp.Share > 0.4 && first.Ramp.Share < 1 && last.Ramp.Share > first.Ramp.Share
			}, "about half of its share, and more with time: it comes back from maintenance",
		},
		{
			"warmup restart %s", func(e endpoint) bool { return e.Ramp.Reason == "manual" },
			func(_, first, last endpoint) bool {
				return last.Ramp.Share > first.Ramp.Share
			}, "a share that grows from the minimum",
		},
	}
}

// A watched act is one that was in force for a while.
type watchedAct struct {
	act
	from, to            time.Time
	before, first, last endpoint
}

// people does all of acts to a newcomer of the service operated, under load, and sees that traffic follows.
func people(t *testing.T) {
	t.Helper()
	old := await(t, "operated", "Warming", "Serving")
	if _, err := try(t, "warmup", "skip", old.Name); err != nil {
		t.Log(err) // it has been quicker; otherwise it is waited for
	}
	await(t, "operated", "Serving")
	load := beginLoad(t, operatedRate, "--poisson", "--endpoint-header", "x-bookinfo-instance", "-H", "Host: operated", "http://"+meshPort+"/details/0")
	load.seconds(t, 1)
	scale(t, "operated", 2)
	newcomer := anotherThan(t, old)
	eventually(t, soon, func() string { // it has left the minimum behind
		if e := newcomer(); e.Ramp.Share < 0.15 {
			return fmt.Sprintf("a share of 0.15: %+v", e)
		}
		return ""
	})

	var done []watchedAct
	for _, a := range acts() {
		w := watchedAct{act: a, before: newcomer()}
		cli(t, strings.Fields(fmt.Sprintf(a.command, w.before.Name))...)
		eventually(t, soon, func() string {
			if w.first = newcomer(); !a.inForce(w.first) {
				return fmt.Sprintf("%s to be in force: %+v", a.command, w.first)
			}
			return ""
		})
		w.from = time.Now()
		load.seconds(t, 2)
		w.to, w.last = time.Now(), newcomer()
		done = append(done, w)
	}
	account, shots := load.stop(t)
	if n := len(lost(shots)); n > 0 {
		t.Errorf("%d requests lost of %d, want none: people ask for nothing that costs a request", n, account.Sent)
	}
	var table strings.Builder
	table.WriteString("| after | requests | newcomer got | expected | z |\n|---|---|---|---|---|\n")
	for _, w := range done {
		w.judge(t, &table, load.zero, shots)
	}
	t.Logf("%d requests a second\n%s", operatedRate, table.String())
}

// anotherThan waits for the second endpoint of old's Deployment, and returns how it looks now, whenever it is asked.
func anotherThan(t *testing.T, old endpoint) func() endpoint {
	t.Helper()
	look := func() (found endpoint) {
		eventually(t, soon, func() string {
			all, err := endpointsOf(t, deploymentOf(old))
			i := slices.IndexFunc(all, func(e endpoint) bool {
				return e.Incarnation != old.Incarnation && (e.Stage == "Warming" || e.Stage == "Serving")
			})
			if err != nil || i < 0 {
				return fmt.Sprintf("another endpoint than %s: %+v, %v", old.Name, all, err)
			}
			found = all[i]
			return ""
		})
		return found
	}
	look()
	return look
}

// judge compares the traffic while an act was in force with what the gateway showed at its beginning and its end,
// and this with what the act is for.
func (w *watchedAct) judge(t *testing.T, table *strings.Builder, zero time.Time, shots []shot) {
	t.Helper()
	if !w.verdict(w.before, w.first, w.last) {
		t.Errorf("%s: the newcomer went from %+v to %+v, then %+v; want %s", w.command, w.before, w.first, w.last, w.expected)
	}
	p := part{}
	for _, s := range shots {
		at := zero.Add(s.Sent)
		if at.Before(w.from.Add(skew/10)) || at.After(w.to) {
			continue
		}
		p.sent++
		through := float64(at.Sub(w.from)) / float64(w.to.Sub(w.from))
		due := (1-through)*w.first.due() + through*w.last.due()
		p.expected += due
		p.variance += due * (1 - due)
		if s.Endpoint == w.first.Name {
			p.got++
		}
	}
	fmt.Fprintf(table, "| %s | %d | %d | %.1f | %+.2f |\n", fmt.Sprintf(w.command, w.first.Name), p.sent, p.got, p.expected, p.z())
	if planned := w.to.Sub(w.from).Seconds() * operatedRate; float64(p.sent) < planned/2 {
		t.Errorf("invalid run: %d requests while %s was in force, want about %.0f", p.sent, w.command, planned)
	}
	if r := (recipe{low: 0.88, high: 1.2}); !r.allowed(p) { // of two choices; nothing is nothing
		t.Errorf("%s: the newcomer got %d of %d requests, want %.1f", w.command, p.got, p.sent, p.expected)
	}
}

// due is the newcomer's part beside one other that is warm.
func (e endpoint) due() float64 {
	effective := e.Ramp.Share * e.factor()
	return effective / (1 + effective)
}

func (e endpoint) factor() float64 {
	if e.Factor == nil {
		return 1
	}
	return *e.Factor
}
