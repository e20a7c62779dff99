//go:build integration

package e2e

import (
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestProgramsKeepToThemselves sends what only programs of crossfade say to each other, from a client and from an
// application, through a gateway and the agent in front of the application. Neither hears it of the other, nobody is
// left out for it, and the gateway knows the load that the agent reports all the same.
func TestProgramsKeepToThemselves(t *testing.T) {
	launch(t, "httpbin", nil)
	e := await(t, "httpbin", "Serving", "Warming")
	spoken := http.Header{"X-Mine": {"1"}}
	answer := url.Values{"X-Mine": {"1"}}
	for _, name := range []string{"crossfade-gateway", "crossfade-drain", "crossfade-refused", "endpoint-load-metrics", "endpoint-load-metrics-bin"} {
		spoken.Set(name, e.Incarnation)
		answer.Set(name, e.Incarnation)
	}
	seen, header := speak(t, "/headers", spoken)
	if lower := strings.ToLower(seen); strings.Contains(lower, "crossfade-") || strings.Contains(lower, "load-metrics") || !strings.Contains(lower, "x-mine") {
		t.Errorf("the application hears %s, want x-mine and nothing of ours", seen)
	}
	wantSilence(t, header)
	for range 20 {
		_, header = speak(t, "/response-headers?"+answer.Encode(), nil)
		if wantSilence(t, header); header.Get("X-Mine") != "1" {
			t.Fatalf("the client hears %v, want X-Mine", header)
		}
	}
	for _, kind := range []string{"endpoint.leaves", "endpoint.ejected"} {
		for _, happened := range events(t) {
			if happened.Kind == kind {
				t.Errorf("an application that speaks as its agent would is believed: %+v", happened)
			}
		}
	}
	if after := await(t, "httpbin", "Serving", "Warming"); after.Incarnation != e.Incarnation || after.Ramp.Reason == "ejected" {
		t.Errorf("the endpoint is %+v", after)
	}
	eventually(t, soon, func() string {
		_, _ = speak(t, "/get", nil)
		explained := ask(t, http.MethodGet, "http://"+gatewayAdmin+"/api/v1/explain?service=httpbin")
		if !strings.Contains(explained, "It says of its load: ") || !strings.Contains(explained, "warm.age_s") {
			return "the agent's load reports at the gateway's admin: " + explained
		}
		return ""
	})
}

// speak makes a request through the gateway and returns what it heard.
func speak(t *testing.T, path string, header http.Header) (body string, heard http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, "http://"+ingress+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := fresh().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s, %v: %s", path, resp.Status, err, text)
	}
	return string(text), resp.Header
}

// wantSilence holds that a client hears nothing of ours.
func wantSilence(t *testing.T, header http.Header) {
	t.Helper()
	for name := range header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "crossfade-") || strings.HasPrefix(lower, "endpoint-load-metrics") {
			t.Errorf("a client hears %s: %s", name, header.Get(name))
		}
	}
}
