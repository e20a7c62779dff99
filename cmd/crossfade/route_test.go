package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// TestRouteExplainAsksARunningGateway answers as a gateway's admin API does, and expects the same words as for the
// configuration that the gateway works by.
func TestRouteExplainAsksARunningGateway(t *testing.T) {
	const file = "../../examples/bookinfo"
	desired, findings := config.Load(file, controlFlags{mesh: "127.0.0.1:15001"}.options())
	if desired == nil {
		t.Fatal(findings)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /config_dump", func(w http.ResponseWriter, _ *http.Request) {
		dump := admin.ConfigDump{Snapshot: &fleet.Snapshot{Listeners: desired.Listeners}}
		if err := json.NewEncoder(w).Encode(dump); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	explain := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		args = append([]string{"route", "explain", "--host", "reviews", "-H", "end-user: jason"}, args...)
		if code := run(t.Context(), args, &stdout, &stderr); code != 0 {
			t.Errorf("%v: exit code %d\n%s%s", args, code, &stdout, &stderr)
		}
		return stdout.String()
	}
	running, read := explain("--admin", server.URL), explain("-f", file)
	if running != read || read == "" {
		t.Errorf("a running gateway explains\n%s\nits configuration\n%s", running, read)
	}
}
