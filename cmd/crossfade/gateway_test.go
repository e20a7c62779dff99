package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

// TestGatewayStandsWhereItsFlagsSay: a gateway that carries rack=r2 sends to the endpoint in that rack, and serves at the
// address that is its own.
func TestGatewayStandsWhereItsFlagsSay(t *testing.T) {
	c, _ := startControl(t)
	port := freePort(t)
	d := &fleet.Desired{
		Digest: "racks",
		Services: []fleet.Service{{
			Name: "shop:80", Host: "shop", Namespace: "default", Port: 80, Target: "http", Selector: map[string]string{"app": "shop"},
			Pools: []fleet.Pool{{Policy: fleet.Policy{Algorithm: fleet.RoundRobin, Locality: &fleet.LocalityPolicy{Priority: []string{"rack"}}}}},
		}},
		Listeners: []fleet.Listener{{Name: "http", Address: net.JoinHostPort("127.0.0.1", port), Port: 80, Hosts: []fleet.VirtualHost{{
			Domains: []string{"*"}, Routes: []fleet.Route{{Destinations: []fleet.Destination{{Service: "shop:80", Weight: 1}}}},
		}}}},
	}
	report := fleet.Report{From: "local", Role: "local"}
	for _, rack := range []string{"r1", "r2", "r3"} {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, rack) }))
		t.Cleanup(app.Close)
		at := netip.MustParseAddrPort(app.Listener.Addr().String())
		report.Instances = append(report.Instances, fleet.Instance{
			Name: "shop-" + rack, Namespace: "default", Incarnation: rack, Address: at.Addr(), Weight: 1, Ready: true,
			Ports: map[string]uint32{"http": uint32(at.Port())}, Labels: map[string]string{"app": "shop", "rack": rack},
		})
	}
	must(t, c.Configure(t.Context(), d))
	must(t, c.Report(t.Context(), report))
	for _, in := range report.Instances {
		must(t, c.Verdict(t.Context(), in.Incarnation, true, "passed"))
	}

	dir, err := os.MkdirTemp("", "cf") //nolint:usetesting // a Unix socket's path must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s", "feed.sock")
	ctx, cancel := context.WithCancel(t.Context())
	server := feed.Server{Control: c, Path: socket, Log: slog.New(slog.DiscardHandler)}
	ends := make(chan error, 2)
	go func() { ends <- server.Run(ctx) }()
	gateway, stop := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	codes := make(chan int, 1)
	go func() {
		codes <- run(gateway, []string{
			"gateway", "--feed", "unix:" + socket, "--state", dir, "--admin", "127.0.0.8:" + freePort(t), "--drain", "5s", "--drain-min", "0s", "--drain-notice", "0s",
			"--address", "127.0.0.8", "--label", "rack=r2", "--log-level", "error",
		}, &out, &errs)
	}()

	url := "http://127.0.0.8:" + port
	waitFor(t, "the gateway answers at its address", func() bool { return body(url) != "" })
	for range 30 {
		if got := body(url); got != "r2" {
			t.Fatalf("%q answered, want who is in the gateway's rack", got)
		}
	}
	if got := body("http://127.0.0.1:" + port); got != "" {
		t.Errorf("%q answered where control says", got)
	}
	stop()
	if code := <-codes; code != 0 {
		t.Errorf("got exit code %d, %s", code, errs.String())
	}
	cancel()
	must(t, <-ends)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return port
}

// body is what a GET of url is answered with; "" when it is not, or with an error.
func body(url string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(data)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("still not: %s", what)
		case <-tick.C:
		}
	}
}
