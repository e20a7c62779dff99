package main

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// TestWhatToAskAGatewayWith holds that the first thing to try gets an answer.
func TestWhatToAskAGatewayWith(t *testing.T) {
	services := []fleet.Service{{Name: "web:80", Protocol: "http"}, {Name: "rpc:90", Protocol: "grpc"}}
	to := func(names ...string) []fleet.VirtualHost {
		var routes []fleet.Route
		for _, name := range names {
			routes = append(routes, fleet.Route{Destinations: []fleet.Destination{{Service: name, Weight: 1}}})
		}
		return []fleet.VirtualHost{{Domains: []string{"*"}, Routes: routes}}
	}
	mutual := fleet.ServerTLS{Hosts: []string{"till.example.com"}, ClientCA: "ca.crt"}
	for name, c := range map[string]struct {
		listener     fleet.Listener
		address, try string
	}{
		"plaintext": {fleet.Listener{Hosts: to("web:80")}, "http://127.0.0.1:8080", "curl http://127.0.0.1:8080/"},
		"gRPC":      {fleet.Listener{Hosts: to("rpc:90")}, "http://127.0.0.1:8080", ""},
		"both":      {fleet.Listener{Hosts: to("rpc:90", "web:80")}, "http://127.0.0.1:8080", "curl http://127.0.0.1:8080/"},
		"nothing":   {fleet.Listener{}, "http://127.0.0.1:8080", "curl http://127.0.0.1:8080/"},
		"a redirection": {
			fleet.Listener{Hosts: []fleet.VirtualHost{{Routes: []fleet.Route{{Redirect: &fleet.Redirect{Code: 301}}}}}},
			"http://127.0.0.1:8080", "curl http://127.0.0.1:8080/",
		},
		"TLS": {
			fleet.Listener{Hosts: to("web:80"), TLS: []fleet.ServerTLS{{Hosts: []string{"*"}}}},
			"https://127.0.0.1:8080", "curl -k https://127.0.0.1:8080/",
		},
		"TLS for a name": {
			fleet.Listener{Hosts: to("web:80"), TLS: []fleet.ServerTLS{mutual, {Hosts: []string{"*.example.com"}}}},
			"https://127.0.0.1:8080", "curl -k --resolve www.example.com:8080:127.0.0.1 https://www.example.com:8080/",
		},
		"mutual TLS": {fleet.Listener{Hosts: to("web:80"), TLS: []fleet.ServerTLS{mutual}}, "https://127.0.0.1:8080", ""},
	} {
		c.listener.Address = "0.0.0.0:8080"
		v := fleet.View{Snapshot: &fleet.Snapshot{Services: services, Listeners: []fleet.Listener{c.listener}}}
		if got := address(&c.listener); got != c.address {
			t.Errorf("%s: got the address %s, want %s", name, got, c.address)
		}
		if got := curl(v, &c.listener); got != c.try {
			t.Errorf("%s: got %q, want %q", name, got, c.try)
		}
	}
}

// TestNews: whoever waits for gateways that do not come up hears why, once.
func TestNews(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	events := []fleet.Event{
		{Time: at, Kind: "gateway.died", Reason: "long ago"},
		{Time: at.Add(1), Kind: "config.applied", Reason: "1a2b"},
		{Time: at.Add(2), Kind: "gateway.died", Reason: "ingressgateway-1: no such file"},
	}
	for kind, want := range map[string]string{
		"gateway.": "10:00:00  gateway: ingressgateway-1: no such file\n",
		"":         "10:00:00  configuration applied (1a2b)\n10:00:00  gateway: ingressgateway-1: no such file\n",
	} {
		var got strings.Builder
		told := news(&got, events, at, kind)
		told = news(&got, events, told, kind)
		if got.String() != want || !told.Equal(at.Add(2)) {
			t.Errorf("%q: got %q until %v, want %q", kind, got.String(), told, want)
		}
	}
}

// TestBannerSaysWhereToLook: where load balancers would look, and how many processes a gateway is.
func TestBannerSaysWhereToLook(t *testing.T) {
	v := fleet.View{Snapshot: &fleet.Snapshot{
		Services: []fleet.Service{{Name: "web:80", Host: "web"}},
		Groups: []fleet.GatewayGroup{
			{Name: "edge", Namespace: "istio-system", Replicas: 3}, {Name: "inner", Namespace: "shop", Replicas: 1},
		},
	}}
	f := upFlags{controlFlags: controlFlags{address: "127.0.5.1"}}
	for _, want := range []string{
		"  health checks     http://127.0.5.1:15021/healthz/ready\n",
		"  replicas          3 of istio-system/edge, 1 of shop/inner (crossfade get gateways -o wide)\n",
	} {
		if got := banner(f, v); !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
}
