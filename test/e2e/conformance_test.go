//go:build integration

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pinned returns the path of a program that scripts/setup builds. Without it the test is skipped, except where nothing
// may be.
func pinned(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, ".cache", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	need(t, path)
	return path
}

// TestH2spec holds the gateway to h2spec, in the clear and over TLS, in front of endpoints of either version of HTTP.
func TestH2spec(t *testing.T) {
	program := pinned(t, "h2spec")
	launchHTTP2(t, nil)
	summary := regexp.MustCompile(`\d+ tests, .*failed`)
	for _, c := range []struct{ name, door, path string }{
		{"h2c to HTTP1", ingress, "/one/1000"},
		{"h2c to HTTP2", ingress, "/two/1000"},
		{"TLS to HTTP1", secureIngress, "/one/1000"},
		{"TLS to HTTP2", secureIngress, "/two/1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, port, err := net.SplitHostPort(c.door)
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"--host", host, "--port", port, "--path", c.path, "--timeout", "5", "--strict"}
			if c.door == secureIngress {
				args = append(args, "--tls", "--insecure")
			}
			out, err := exec.CommandContext(bounded(t), program, args...).CombinedOutput()
			const all = "146 tests, 146 passed, 0 skipped, 0 failed"
			if got := summary.FindString(string(out)); got != all {
				_, failures, _ := strings.Cut(string(out), "Failures:")
				t.Errorf("got %q (%v), want %q\n%s", got, err, all, failures)
			}
		})
	}
}

// TestUpgradeToHTTP2 comes with HTTP/1.1 and goes on with HTTP/2: the answer to the request that asked for it is on
// stream 1, and there is room for more.
func TestUpgradeToHTTP2(t *testing.T) {
	launchHTTP2(t, nil)
	for _, path := range []string{"/one/1000", "/two/1000"} {
		nc, err := net.Dial("tcp", ingress)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		const settings = "AAMAAABkAAQAAP__" // 100 streams, windows of 65535 bytes
		_, err = fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: a.camp\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %s\r\n\r\n", path, settings)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(nc)
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Upgrade") != "h2c" {
			t.Fatalf("got %v, %v; want 101 to h2c", answer, err)
		}
		r := newRaider(nc, in)
		if err := r.greet(); err != nil {
			t.Fatal(err)
		}
		go r.listen()
		r.wantStatus(t, 1, "200")
		r.mu.Lock()
		err = r.ask(3, "GET", path)
		r.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		r.wantStatus(t, 3, "200")
	}
}

// interopCases are the cases of grpc-go's interop client that ask for no account at a cloud. It has none of the
// compressed or cacheable ones, and pick_first_unary wants a server that says who it is, which its own does not. Those
// of ORCA read what endpoints say of their load, in trailers and on a stream of
// its own; the soaks are 100 large calls on one connection, and on one for each.
var interopCases = [][]string{
	{"empty_unary"},
	{"large_unary"},
	{"client_streaming"},
	{"server_streaming"},
	{"ping_pong"},
	{"empty_stream"},
	{"timeout_on_sleeping_server"},
	{"cancel_after_begin"},
	{"cancel_after_first_response"},
	{"status_code_and_message"},
	{"special_status_message"},
	{"custom_metadata"},
	{"unimplemented_method"},
	{"unimplemented_service"},
	{"orca_per_rpc", "--service_config_json", orcaConfig},
	{"orca_oob", "--service_config_json", orcaConfig},
	{"rpc_soak", "--soak_iterations=100", "--soak_num_threads=5", "--soak_overall_timeout_seconds=60", "--soak_per_iteration_max_acceptable_latency_ms=30000"},
	{"channel_soak", "--soak_iterations=20", "--soak_num_threads=2", "--soak_overall_timeout_seconds=60", "--soak_per_iteration_max_acceptable_latency_ms=30000"},
}

// orcaConfig is what the cases of ORCA want of the client.
const orcaConfig = `{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`

// TestInterop has grpc-go's interop client and server talk: directly, to show what they can, and through the gateway,
// in the clear and over TLS.
func TestInterop(t *testing.T) {
	client := pinned(t, "grpc-interop-client")
	_, _, authority := launchHTTP2(t, serveInterop)
	t.Run("directly", func(t *testing.T) { runInterop(t, client, interop) })
	t.Run("h2c", func(t *testing.T) { runInterop(t, client, ingress) })
	t.Run("TLS", func(t *testing.T) {
		runInterop(t, client, secureIngress, "--use_tls", "--use_test_ca", "--ca_file", authority, "--server_host_override", "interop.camp")
	})
}

// serveInterop starts the server, and waits for it.
func serveInterop(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(interop)
	cmd := exec.Command(pinned(t, "grpc-interop-server"), "-port", port)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, soon, func() string {
		if !answers(interop) {
			return "the interop server"
		}
		return ""
	})
}

func runInterop(t *testing.T, client, door string, flags ...string) {
	t.Helper()
	host, port, err := net.SplitHostPort(door)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range interopCases {
		t.Run(c[0], func(t *testing.T) {
			args := append([]string{"--server_host", host, "--server_port", port, "--test_case"}, c...)
			cmd := exec.CommandContext(bounded(t), client, append(args, flags...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
