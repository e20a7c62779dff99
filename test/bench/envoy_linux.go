package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// object is a JSON object.
type object = map[string]any

const envoyTypes = "type.googleapis.com/envoy.extensions."

// envoy with one worker, endpoints from a file, no access log, no request ids.
func envoy(binary string) peer {
	return peer{
		name: "envoy", version: []string{binary, "--version"},
		about: "one worker, no access log, no request ids, no dynamic stats; slow_start for new endpoints",
		plan: func(at place) (plan, error) {
			endpoints := filepath.Join(at.dir, "endpoints.json")
			steady := at.endpoints()[:at.members-at.warming]
			all, err := json.Marshal(object{
				"node":  object{"id": "bench", "cluster": "bench"},
				"admin": object{"address": address(at.port + 1000)},
				"static_resources": object{
					"listeners": []any{envoyListener(at)},
					"clusters":  []any{envoyCluster(at, endpoints)},
				},
			})
			if err != nil {
				return plan{}, err
			}
			path := filepath.Join(at.dir, "envoy.json")
			if err := write(path, string(all)); err != nil {
				return plan{}, err
			}
			return plan{
				data: []string{binary, "-c", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"},
				rewarm: func(int) error {
					// Removed and added again, an endpoint is new to Envoy.
					if err := envoyEndpoints(endpoints, steady); err != nil {
						return err
					}
					time.Sleep(300 * time.Millisecond)
					return envoyEndpoints(endpoints, at.endpoints())
				},
			}, envoyEndpoints(endpoints, steady)
		},
	}
}

func address(port int) object {
	return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
}

// envoyEndpoints writes the file from which Envoy takes its endpoints; it is read when it is moved there.
func envoyEndpoints(path string, ports []int) error {
	members := make([]any, len(ports))
	for i, port := range ports {
		members[i] = object{"endpoint": object{"address": address(port)}}
	}
	b, err := json.Marshal(object{
		"version_info": strconv.Itoa(len(ports)),
		"resources": []any{object{
			"@type":        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
			"cluster_name": "app", "endpoints": []any{object{"lb_endpoints": members}},
		}},
	})
	if err != nil {
		return err
	}
	return write(path, string(b))
}

func envoyListener(at place) object {
	codec, alpn := "HTTP1", "http/1.1"
	if at.protocol != http1 {
		codec, alpn = "HTTP2", "h2"
	}
	hosts := make([]any, 0, at.routes)
	for i, name := range at.hosts() {
		hosts = append(hosts, object{
			"name": fmt.Sprint("host", i), "domains": []string{name},
			"routes": []any{object{"match": object{"prefix": "/"}, "route": object{"cluster": "app", "timeout": "15s"}}},
		})
	}
	chain := object{"filters": []any{object{
		"name": "http",
		"typed_config": object{
			"@type":       envoyTypes + "filters.network.http_connection_manager.v3.HttpConnectionManager",
			"stat_prefix": "front", "codec_type": codec, "generate_request_id": false,
			"route_config": object{"virtual_hosts": hosts},
			"http_filters": []any{object{
				"name": "router",
				"typed_config": object{
					"@type":         envoyTypes + "filters.http.router.v3.Router",
					"dynamic_stats": false, "suppress_envoy_headers": true,
				},
			}},
		},
	}}}
	if at.tls {
		chain["transport_socket"] = object{"name": "tls", "typed_config": object{
			"@type": envoyTypes + "transport_sockets.tls.v3.DownstreamTlsContext",
			"common_tls_context": object{
				"alpn_protocols": []string{alpn},
				"tls_params":     object{"tls_minimum_protocol_version": "TLSv1_3"},
				"tls_certificates": []any{object{
					"certificate_chain": object{"filename": at.pair.certificate}, "private_key": object{"filename": at.pair.key},
				}},
			},
		}}
	}
	return object{"name": "front", "address": address(at.port), "filter_chains": []any{chain}}
}

func envoyCluster(at place, endpoints string) object {
	const many = 100_000
	cluster := object{
		"name": "app", "type": "EDS", "connect_timeout": "2s",
		"eds_cluster_config": object{"eds_config": object{"path_config_source": object{"path": endpoints}, "resource_api_version": "V3"}},
		"lb_policy":          "ROUND_ROBIN",
		"round_robin_lb_config": object{"slow_start_config": object{
			"slow_start_window": fmt.Sprintf("%ds", int(window.Seconds())),
			"aggression":        object{"default_value": 1.0, "runtime_key": "aggression"},
		}},
		"circuit_breakers": object{"thresholds": []any{object{
			"max_connections": many, "max_pending_requests": many, "max_requests": many,
		}}},
	}
	if at.protocol != http1 {
		const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
		cluster["typed_extension_protocol_options"] = object{options: object{
			"@type":                "type.googleapis.com/" + options,
			"explicit_http_config": object{"http2_protocol_options": object{}},
		}}
	}
	return cluster
}
