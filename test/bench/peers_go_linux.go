package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// traefik with routes from a file.
func traefik(binary string) peer {
	return peer{
		name: "traefik", version: []string{binary, "version"},
		about: "file provider, 256 kept-alive connections per server, no access log; it has no warm-up",
		plan: func(at place) (plan, error) {
			routers := object{}
			for i, name := range at.hosts() {
				router := object{"rule": "Host(`" + name + "`)", "service": "app", "entryPoints": []string{"front"}}
				if at.tls {
					router["tls"] = object{}
				}
				routers[fmt.Sprint("route", i)] = router
			}
			servers, scheme := make([]any, at.members), "http"
			if at.protocol != http1 {
				scheme = "h2c"
			}
			for i, port := range at.endpoints() {
				servers[i] = object{"url": fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)}
			}
			dynamic := object{"http": object{
				"routers":  routers,
				"services": object{"app": object{"loadBalancer": object{"servers": servers}}},
			}}
			if at.tls {
				dynamic["tls"] = object{"certificates": []any{object{"certFile": at.pair.certificate, "keyFile": at.pair.key}}}
			}
			routes := filepath.Join(at.dir, "routes.yaml") // JSON is YAML
			if err := writeJSON(routes, dynamic); err != nil {
				return plan{}, err
			}
			path := filepath.Join(at.dir, "traefik.yaml")
			return plan{data: []string{binary, "--configFile=" + path}}, writeJSON(path, object{
				"global":           object{"checkNewVersion": false, "sendAnonymousUsage": false},
				"log":              object{"level": "ERROR"},
				"entryPoints":      object{"front": object{"address": fmt.Sprintf("127.0.0.1:%d", at.port)}},
				"providers":        object{"file": object{"filename": routes, "watch": false}},
				"serversTransport": object{"maxIdleConnsPerHost": 256},
			})
		},
	}
}

// caddy with its native configuration.
func caddy(binary string) peer {
	return peer{
		name: "caddy", version: []string{binary, "version"},
		about: "256 kept-alive connections per server, no access log, no admin; it has no warm-up",
		plan: func(at place) (plan, error) {
			members := make([]any, at.members)
			for i, port := range at.endpoints() {
				members[i] = object{"dial": fmt.Sprintf("127.0.0.1:%d", port)}
			}
			front, transport := []string{"h1"}, object{
				"protocol": "http", "compression": false,
				"keep_alive": object{"max_idle_conns_per_host": 256, "idle_timeout": 120_000_000_000},
			}
			if at.protocol != http1 {
				front, transport["versions"] = []string{"h1", "h2", "h2c"}, []string{"h2c", "2"}
			}
			proxy := object{
				"handler": "reverse_proxy", "upstreams": members, "transport": transport,
				"load_balancing": object{"selection_policy": object{"policy": "round_robin"}},
			}
			routes := make([]any, 0, at.routes)
			for _, name := range at.hosts() {
				routes = append(routes, object{"match": []any{object{"host": []string{name}}}, "handle": []any{proxy}, "terminal": true})
			}
			server := object{
				"listen": []string{fmt.Sprintf("127.0.0.1:%d", at.port)}, "routes": routes,
				"automatic_https": object{"disable": true}, "protocols": front,
			}
			apps := object{"http": object{"servers": object{"front": server}}}
			if at.tls {
				server["tls_connection_policies"] = []any{object{"protocol_min": "tls1.3"}}
				apps["tls"] = object{"certificates": object{"load_files": []any{
					object{"certificate": at.pair.certificate, "key": at.pair.key},
				}}}
			}
			path := filepath.Join(at.dir, "caddy.json")
			return plan{data: []string{binary, "run", "--config", path}}, writeJSON(path, object{
				"admin":   object{"disabled": true},
				"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
				"apps":    apps,
			})
		},
	}
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return write(path, string(b))
}

// netHTTP is what a Go programmer has at hand: this program, as net/http's ReverseProxy with a tuned transport.
func netHTTP(self string) peer {
	return peer{
		name:  "net/http",
		about: "httputil.ReverseProxy, a map of hosts, 256 kept-alive connections per server, pooled buffers; it has no warm-up",
		plan: func(at place) (plan, error) {
			argv := []string{self, "reverseproxy", "-listen", strconv.Itoa(at.port), "-endpoints", joined(at.endpoints()), "-routes", strconv.Itoa(at.routes)}
			if at.protocol != http1 {
				argv = append(argv, "-http2")
			}
			if at.tls {
				argv = append(argv, "-certificate", at.pair.certificate, "-key", at.pair.key)
			}
			return plan{data: argv}, nil
		},
	}
}

// floor is a relay of bytes: no proxy can cost less, and its cost says which of its regimes the kernel is in.
func floor(self string) peer {
	return peer{
		name:  floorName,
		about: "an epoll loop that copies bytes between two connections and understands nothing: the physical floor",
		plan: func(at place) (plan, error) {
			return plan{data: []string{self, "relay", "-listen", strconv.Itoa(at.port), "-to", strconv.Itoa(at.endpoints()[0])}}, nil
		},
	}
}

const floorName = "L4 relay"

func joined(ports []int) string {
	all := make([]string, len(ports))
	for i, port := range ports {
		all[i] = strconv.Itoa(port)
	}
	return strings.Join(all, ",")
}
