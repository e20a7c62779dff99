//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// mixedYAML gives each service another way of balancing than the example's reviews, which take turns, and adds one
// whose requests are open for long, and one of gRPC.
const mixedYAML = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: productpage}
spec:
  host: productpage
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 2s, aggression: 2}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: details}
spec:
  host: details
  trafficPolicy: {loadBalancer: {simple: RANDOM, warmup: {duration: 2s, minimumPercent: 1}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec:
  host: ratings
  trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}}, warmup: {duration: 2s}}}
---
apiVersion: v1
kind: Service
metadata: {name: slow}
spec:
  selector: {app: slow}
  ports: [{name: http, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: slow}
spec:
  selector: {matchLabels: {app: slow}}
  template:
    metadata: {labels: {app: slow}}
    spec:
      containers:
        - name: slow
          command: [bookinfo, details, --latency, 1s, --listen, "$(HOST):$(PORT)"]
          ports: [{containerPort: 9080}]
          readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  selector: {app: echo}
  ports: [{name: grpc, port: 9080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
        - name: echo
          command: [grpc-echo, --latency, 20ms, --listen, "$(HOST):$(PORT)"]
          ports: [{containerPort: 9080}]
          readinessProbe: {grpc: {port: 9080}, periodSeconds: 1}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 2s}}}
`

// simpleAndWindow are the lines of the example that say how reviews is balanced, and its window.
var simpleAndWindow = regexp.MustCompile(`(?m)^( *simple: ).*\n( *warmupDurationSecs: ).*$`)

// reloadMidRamp gives reviews another algorithm and another window while v2 is in the middle of its warm-up, which
// takes nothing from it.
func (c *chaos) reloadMidRamp() {
	c.t.Helper()
	old := c.settled("reviews-v2", c.replicas())
	saved(c.t, "config.applied", func() { c.m.setWindow(c.t, 6*time.Second) })
	cli(c.t, "rollout", "restart", "deployment/reviews-v2")
	before := c.newcomer("reviews-v2", old)
	algorithms := []string{"ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"}
	next := algorithms[c.rng.IntN(len(algorithms))]
	saved(c.t, "config.applied", func() {
		c.m.rewriteIn(c.t, "reviews.yaml", simpleAndWindow, "${1}"+next+"\n${2}3s")
	})
	all, err := endpointsOf(c.t, "reviews-v2")
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(e endpoint) bool { return e.Incarnation == before.Incarnation })
	if i < 0 || all[i].Ramp.Share < before.Ramp.Share {
		c.t.Errorf("with %s and another window %s went from a share of %.3f to %+v", next, before.Name, before.Ramp.Share, all)
	}
	c.settled("reviews-v2", len(old), old...)
}

// newcomer waits for an endpoint of a Deployment that is between a fifth and a half of its share.
func (c *chaos) newcomer(deployment string, old []endpoint) (found endpoint) {
	c.t.Helper()
	eventually(c.t, soon, func() string {
		all, err := endpointsOf(c.t, deployment)
		if err != nil {
			return err.Error()
		}
		for _, e := range all {
			if e.Stage == "Warming" && e.Ramp.Share > 0.2 && e.Ramp.Share < 0.5 && !slices.ContainsFunc(old, func(o endpoint) bool { return o.Incarnation == e.Incarnation }) {
				found = e
				return ""
			}
		}
		return fmt.Sprintf("a newcomer of %s in the middle of its warm-up: %+v", deployment, all)
	})
	return found
}

// killControlInDrain kills control while an instance that leaves has requests open, and sees that each of them is
// answered: who was leaving is still waited for.
func (c *chaos) killControlInDrain() {
	c.t.Helper()
	c.settled("slow", 2)
	const requests = 30
	slow := beginLoad(c.t, 10, "--requests", strconv.Itoa(requests), "-H", "Host: slow", "--endpoint-header", "x-bookinfo-instance", "http://"+meshPort+"/details/0")
	slow.seconds(c.t, 1) // some are open to both
	scale(c.t, "slow", 1)
	leaving := c.draining("slow")
	at := time.Now()
	c.m.killed(c.t, c.m.control(c.t), isControl)
	c.controlReady()
	c.settled("slow", 1)
	account, shots := slow.end(c.t)
	if account.Sent != requests || account.OK != requests {
		c.t.Errorf("with control killed in mid-drain, of %d requests %d were sent and %d answered: %+v", requests, account.Sent, account.OK, lost(shots))
	}
	if !slices.ContainsFunc(shots, func(s shot) bool { return s.Endpoint == leaving.Name && slow.zero.Add(s.Ended).After(at) }) {
		c.t.Errorf("invalid run: nothing was open to %s any more when control was killed", leaving.Name)
	}
	scale(c.t, "slow", 2)
	c.settled("slow", 2)
}

// moveWarmup takes a warm endpoint back to the beginning of its warm-up, and on again by hand.
func (c *chaos) moveWarmup() {
	c.t.Helper()
	e := c.victim()
	for _, step := range []struct {
		move  string
		there func(e endpoint) bool
	}{
		{"restart", func(e endpoint) bool { return e.Stage == "Warming" && e.Ramp.Share < 1 }},
		{"pause", func(e endpoint) bool { return e.Paused || e.Stage == "Serving" }}, // it may have been quicker
		{"resume", func(e endpoint) bool { return !e.Paused }},
		{"skip", func(e endpoint) bool { return e.Stage == "Serving" && e.Ramp.Share == 1 }},
	} {
		_, err := try(c.t, "warmup", step.move, e.Name)
		if now := c.look(e); err != nil && now.Stage != "Serving" {
			c.t.Errorf("warmup %s %s: %v", step.move, e.Name, err)
		}
		eventually(c.t, soon, func() string {
			if now := c.look(e); !step.there(now) {
				return fmt.Sprintf("warmup %s of %s to be in force: %+v", step.move, e.Name, now)
			}
			return ""
		})
	}
	c.settled(deploymentOf(e), 2)
}

// weigh takes all new requests away from an endpoint, and gives them back.
func (c *chaos) weigh() {
	c.t.Helper()
	e := c.victim()
	for _, factor := range []float64{0, 1} {
		cli(c.t, "weight", e.Name, strconv.FormatFloat(factor, 'g', -1, 64))
		eventually(c.t, soon, func() string {
			if now := c.look(e); now.factor() != factor {
				return fmt.Sprintf("weight %v of %s: %+v", factor, e.Name, now)
			}
			return ""
		})
	}
	c.settled(deploymentOf(e), 2)
}

// look returns an endpoint as it is now.
func (c *chaos) look(e endpoint) endpoint {
	c.t.Helper()
	all, err := endpointsOf(c.t, deploymentOf(e))
	i := slices.IndexFunc(all, func(now endpoint) bool { return now.Incarnation == e.Incarnation })
	if err != nil || i < 0 {
		c.t.Fatalf("%s is not there any more: %+v, %v", e.Name, all, err)
	}
	return all[i]
}

// draining waits for the endpoint of a Deployment that leaves.
func (c *chaos) draining(deployment string) (leaving endpoint) {
	c.t.Helper()
	eventually(c.t, soon, func() string {
		all, err := endpointsOf(c.t, deployment)
		if err != nil {
			return err.Error()
		}
		i := slices.IndexFunc(all, func(e endpoint) bool { return e.Stage == "Draining" })
		if i < 0 {
			return fmt.Sprintf("an endpoint of %s that is Draining: %+v", deployment, all)
		}
		leaving = all[i]
		return ""
	})
	return leaving
}

func (c *chaos) controlReady() {
	c.t.Helper()
	eventually(c.t, soon, func() string {
		if c.m.status(c.t, "http://"+controlAdmin+"/ready") != http.StatusOK {
			return "control's /ready"
		}
		return ""
	})
}
