package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
)

// staffed is a world with an endpoint that warms up, and a gateway's replica.
func staffed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, Access{})
	policy := fleet.Policy{Warmup: fleet.Warmup{Window: 10 * time.Minute, Aggression: 1, Minimum: 0.1}}
	err := w.Control.Configure(t.Context(), &fleet.Desired{
		Digest:    "staffed",
		Workloads: []fleet.Workload{{Namespace: "default", Name: "reviews", Replicas: 1}},
		Services: []fleet.Service{{
			Name: "reviews:9080", Host: "reviews", Namespace: "default", Port: 9080, Protocol: "http",
			Pools: []fleet.Pool{{Policy: policy}}, Selector: map[string]string{"app": "reviews"},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Control.Report(t.Context(), fleet.Report{From: "local", Role: "local", Instances: []fleet.Instance{{
		Name: "reviews-1", Namespace: "default", Workload: "reviews", Incarnation: "one", Address: netip.MustParseAddr("127.1.0.1"),
		Labels: map[string]string{"app": "reviews"}, Weight: 1, Ready: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Control.Verdict(t.Context(), "one", true, ""); err != nil {
		t.Fatal(err)
	}
	err = w.Control.Report(t.Context(), fleet.Report{From: "supervisor", Role: "supervisor", Replicas: []fleet.Replica{
		{ID: "ingressgateway-1", Group: fleet.DefaultGroup, Namespace: fleet.GatewayNamespace, Ready: true, PID: 1, Admin: "127.0.0.1:15101"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestActsAreDoneAndWrittenDown(t *testing.T) {
	w := staffed(t)
	for _, c := range []struct {
		act, event string // JSON without braces; the kind of the event that it writes
		done       func(s *fleet.Snapshot) bool
	}{
		{`"action":"scale","kind":"deployment","namespace":"default","name":"reviews","value":3`, "workload.scaled", func(s *fleet.Snapshot) bool { return s.Workloads[0].Replicas == 3 }},
		{`"action":"restart","kind":"deployment","namespace":"default","name":"reviews"`, "workload.restarted", func(s *fleet.Snapshot) bool { return s.Workloads[0].Restarted != "" }},
		{`"action":"scale","kind":"gateway","namespace":"istio-system","name":"ingressgateway","value":2`, "gateway.scaled", func(s *fleet.Snapshot) bool { return s.Groups[0].Replicas == 2 }},
		{`"action":"restart","kind":"gateway","namespace":"istio-system","name":"ingressgateway"`, "gateway.restarted", func(s *fleet.Snapshot) bool { return s.Groups[0].Restarted != "" }},
		{`"action":"weight","kind":"endpoint","namespace":"default","name":"reviews-1","value":0.5`, "weight.changed", func(s *fleet.Snapshot) bool { return *s.Services[0].Endpoints[0].Factor == 0.5 }},
		{`"action":"warmup.pause","kind":"endpoint","namespace":"default","name":"reviews-1"`, "warmup.paused", func(s *fleet.Snapshot) bool { return s.Services[0].Pools[0].Members[0].Paused }},
		{`"action":"warmup.resume","kind":"endpoint","namespace":"default","name":"reviews-1"`, "warmup.resumed", func(s *fleet.Snapshot) bool { return !s.Services[0].Pools[0].Members[0].Paused }},
		{`"action":"warmup.restart","kind":"endpoint","namespace":"default","name":"reviews-1"`, "warmup.restarted", func(s *fleet.Snapshot) bool { return s.Services[0].Pools[0].Members[0].Base == 0 }},
		{`"action":"warmup.skip","kind":"endpoint","namespace":"default","name":"reviews-1"`, "warmup.skipped", func(s *fleet.Snapshot) bool { return s.Services[0].Pools[0].Members[0].Base == 1 }},
		{`"action":"drain","kind":"gateway","namespace":"istio-system","name":"ingressgateway-1"`, "gateway.drain.asked", func(*fleet.Snapshot) bool { return slices.Equal(w.drained, []string{"ingressgateway-1"}) }},
		{`"action":"undrain","kind":"gateway","namespace":"istio-system","name":"ingressgateway-1"`, "gateway.undrain.asked", func(*fleet.Snapshot) bool { return slices.Contains(w.drained, "ingressgateway-1 back") }},
	} {
		if r := w.act("{" + c.act + "}"); r.Code != 200 || !strings.Contains(r.Body.String(), `"accepted"`) {
			t.Errorf("%s: got %d %s", c.act, r.Code, r.Body)
			continue
		}
		if s := w.Control.View().Snapshot; !c.done(s) {
			t.Errorf("%s: accepted, and not done: %+v", c.act, s)
		}
		if events := w.events(c.event); len(events) != 1 || events[0].By != "console" {
			t.Errorf("%s: it is written down as %+v of %+v", c.act, events, w.Control.View().Events)
		}
	}
}

func TestActsThatMakeNoSense(t *testing.T) {
	w := staffed(t)
	before := len(w.Control.View().Events)
	for _, c := range []struct {
		body string
		code int
		want string // in the error
		near string // suggested
	}{
		{`{"action":"scale","kind":"deployment","namespace":"default","name":"review","value":1}`, 404, "no such deployment", "reviews"},
		{`{"action":"restart","kind":"gateway","namespace":"istio-system","name":"ingress"}`, 404, "no such gateway", "ingressgateway"},
		{`{"action":"drain","kind":"gateway","namespace":"istio-system","name":"ingressgateway"}`, 404, "no such gateway", "ingressgateway-1"},
		{`{"action":"weight","kind":"endpoint","namespace":"default","name":"reviews-2","value":1}`, 404, "no such endpoint", "reviews-1"},
		{`{"action":"weight","kind":"endpoint","namespace":"default","name":"reviews-1","value":11}`, 400, "it must be 0 to 10", ""},
		{`{"action":"weight","kind":"endpoint","namespace":"default","name":"reviews-1"}`, 400, "they need it", ""},
		{`{"action":"restart","kind":"deployment","namespace":"default","name":"reviews","value":1}`, 400, "value is for scale and weight", ""},
		{`{"action":"warmup.resume","kind":"endpoint","namespace":"default","name":"reviews-1"}`, 409, "refused", ""},
		{`{"action":"scale","kind":"deployment","namespace":"default","name":"reviews","value":-1}`, 400, "0 or more", ""},
		{`{"action":"scale","kind":"deployment","namespace":"default","name":"reviews","value":1.5}`, 400, "whole number", ""},
		{`{"action":"scale","kind":"deployment","namespace":"default","name":"reviews","value":1e300}`, 400, "whole number", ""},
		{`{"action":"scale","kind":"gateway","namespace":"istio-system","name":"ingressgateway","value":0}`, 400, "1 or more", ""},
		{`{"action":"scale","kind":"endpoint","namespace":"default","name":"reviews-1","value":1}`, 400, "no such act", ""},
		{`{"action":"drain","kind":"endpoint","namespace":"default","name":"reviews-1"}`, 400, "no such act", ""},
		{`{"action":"warmup.skip","kind":"deployment","namespace":"default","name":"reviews"}`, 400, "no such act", ""},
		{`{"action":"format","kind":"disk","namespace":"default","name":"c"}`, 400, "no such act", ""},
		{`{"action":"restart","kind":"deployment","name":"reviews"}`, 400, "namespace and name", ""},
		{`{"action":"restart","kind":"deployment","namespace":"default","name":"reviews","force":true}`, 400, "unknown field", ""},
		{`{"action":"restart","kind":"deployment","namespace":"default","name":"reviews"}{}`, 400, "something follows", ""},
		{`[]`, 400, "body", ""},
		{``, 400, "body", ""},
		{`null`, 400, "namespace and name", ""},
	} {
		r := w.act(c.body)
		p := decoded[admin.Problem](t, r)
		if r.Code != c.code || !strings.Contains(p.Error, c.want) || c.near != "" && !slices.Contains(p.Suggestions, c.near) {
			t.Errorf("%s: got %d %+v, want %d %q, %q", c.body, r.Code, p, c.code, c.want, c.near)
		}
	}
	if got := len(w.Control.View().Events); got != before || len(w.drained) != 0 {
		t.Errorf("what was refused left %d events, and drained %q", got-before, w.drained)
	}
}

// What a replica answers is passed on, and is no event.
func TestDrainsThatFail(t *testing.T) {
	w := staffed(t)
	w.Drain = func(context.Context, fleet.Replica, bool) error { return errors.New("it has stopped accepting") }
	r := w.act(`{"action":"undrain","kind":"gateway","namespace":"istio-system","name":"ingressgateway-1"}`)
	if p := decoded[admin.Problem](t, r); r.Code != http.StatusBadRequest || !strings.Contains(p.Error, "ingressgateway-1: it has stopped accepting") {
		t.Errorf("got %d %+v", r.Code, p)
	}
	if events := w.events("gateway.undrain.asked"); len(events) != 0 {
		t.Errorf("got %+v, want nothing", events)
	}
}
