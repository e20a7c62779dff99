package main

import (
	"testing"

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
