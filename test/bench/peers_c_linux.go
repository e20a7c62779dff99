package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// haproxy with one thread, every connection reused, no logs.
func haproxy(binary string) peer {
	return peer{
		name: "haproxy", version: []string{binary, "-v"},
		about: "one thread, http-reuse always, no logs; slowstart for warming servers",
		plan: func(at place) (plan, error) {
			path, socket := filepath.Join(at.dir, "haproxy.cfg"), filepath.Join(at.dir, "haproxy.sock")
			var b strings.Builder
			bind := fmt.Sprintf("127.0.0.1:%d", at.port)
			alpn, server := "http/1.1", ""
			if at.protocol != http1 {
				alpn, server = "h2", " proto h2"
			}
			if at.tls {
				bind += " ssl crt " + at.pair.both + " alpn " + alpn
			} else {
				bind += server // it says on either side that HTTP/2 is spoken without being agreed on
			}
			fmt.Fprintf(&b, `global
  nbthread 1
  maxconn 9400
  stats socket %s level admin
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 15s
  option http-keep-alive
  http-reuse always
frontend front
  bind %s
`, socket, bind)
			if at.routes == 1 {
				b.WriteString("  default_backend app\n")
			} else {
				fmt.Fprintf(&b, "  use_backend %%[req.hdr(host),lower,map_str(%s/hosts.map)]\n", at.dir)
				var hosts strings.Builder
				for _, name := range at.hosts() {
					hosts.WriteString(name + " app\n")
				}
				if err := write(filepath.Join(at.dir, "hosts.map"), hosts.String()); err != nil {
					return plan{}, err
				}
			}
			fmt.Fprintf(&b, "backend app\n  balance roundrobin\n  default-server pool-max-conn -1 slowstart %ds\n", int(window.Seconds()))
			for i, port := range at.endpoints() {
				fmt.Fprintf(&b, "  server s%d 127.0.0.1:%d weight 100%s\n", i, port, server)
			}
			return plan{
				data: []string{binary, "-db", "-f", path},
				rewarm: func(int) error {
					var commands []string
					for i := at.members - at.warming; i < at.members; i++ {
						commands = append(commands, fmt.Sprintf("set server app/s%d state maint", i), fmt.Sprintf("set server app/s%d state ready", i))
					}
					return tell(socket, strings.Join(commands, ";")+"\n")
				},
			}, write(path, b.String())
		},
	}
}

// tell writes a line to a Unix socket and reads until its end.
func tell(socket, line string) error {
	conn, err := net.DialTimeout("unix", socket, time.Second) //nolint:noctx // bounded
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it has been read to what we want of it
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(line)); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _ := conn.Read(answer) // the end without a word means: done
	if text := strings.TrimSpace(string(answer[:n])); text != "" {
		return fmt.Errorf("%s: %s", socket, text)
	}
	return nil
}

// nginx with one worker, a pool of kept-alive connections, no logs.
func nginx(binary string) peer {
	return peer{
		name: "nginx", version: []string{binary, "-v"},
		about: "one worker, 256 kept-alive connections upstream, no logs; it has no warm-up; grpc_pass for gRPC, HTTP/1.1 to the endpoints of other HTTP/2",
		plan: func(at place) (plan, error) {
			path := filepath.Join(at.dir, "nginx.conf")
			var b, members strings.Builder
			for _, port := range at.endpoints() {
				fmt.Fprintf(&members, "    server 127.0.0.1:%d max_fails=0;\n", port)
			}
			listen, secured := fmt.Sprintf("127.0.0.1:%d backlog=4096", at.port), ""
			pass := "proxy_pass http://app"
			if at.protocol != http1 {
				listen += " http2"
			}
			if at.protocol == grpc {
				pass = "grpc_pass grpc://app"
			}
			if at.tls {
				listen += " ssl"
				secured = fmt.Sprintf("    ssl_certificate %s;\n    ssl_certificate_key %s;\n    ssl_protocols TLSv1.3;\n", at.pair.certificate, at.pair.key)
			}
			fmt.Fprintf(&b, `daemon off;
worker_processes 1;
error_log stderr crit;
pid %[1]s/pid;
events { worker_connections 18000; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  tcp_nodelay on;
  keepalive_timeout 120s;
  keepalive_requests 1000000000;
  server_names_hash_max_size 8192;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_connect_timeout 2s;
  proxy_read_timeout 15s;
  proxy_buffer_size 16k;
  proxy_buffers 8 16k;
  proxy_busy_buffers_size 32k;
  upstream app {
%[2]s    keepalive 256;
    keepalive_requests 1000000000;
  }
`, at.dir, members.String())
			for i, name := range at.hosts() {
				fmt.Fprintf(&b, "  server {\n    listen %s;\n    server_name %s;\n%s    location / { %s; }\n  }\n", listen, name, secured, pass)
				if i == 0 { // options of a socket are said once
					listen = strings.Replace(listen, " backlog=4096", "", 1)
				}
			}
			b.WriteString("}\n")
			return plan{data: []string{binary, "-p", at.dir, "-e", filepath.Join(at.dir, "error.log"), "-c", path}}, write(path, b.String())
		},
	}
}
