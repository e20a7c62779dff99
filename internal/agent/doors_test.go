package agent

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"crossfade.dev/internal/drain"
)

func ask(h http.Handler, method, target, from string, with ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, target, http.NoBody)
	request.RemoteAddr = from
	for i := 0; i < len(with); i += 2 {
		request.Header.Set(with[i], with[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	return w
}

// Other machines hear whether it is ready, and nothing else.
func TestReadinessSaysLittleToOthers(t *testing.T) {
	for _, ready := range []bool{false, true} {
		d := doors{status: func() Status {
			return Status{Ready: ready, Stage: Delayed, Reason: "its Lifecycle delays registration", Incarnation: "web-1-0"}
		}}
		want := map[bool]int{false: http.StatusInternalServerError, true: http.StatusOK}[ready]
		for _, path := range []string{"/readiness", "/health"} {
			here := ask(d.readiness(), http.MethodGet, path, "127.0.0.1:4711")
			if here.Code != want || !strings.Contains(here.Body.String(), `"reason":"its Lifecycle delays registration"`) {
				t.Errorf("%s, ready %v: got %d %s here, want %d and why", path, ready, here.Code, here.Body, want)
			}
			for _, other := range []string{"10.1.2.3:4711", "[2001:db8::1]:4711", ""} {
				there := ask(d.readiness(), http.MethodGet, path, other)
				if there.Code != want || there.Body.Len() != 0 || there.Header().Get("Content-Type") != "" {
					t.Errorf("%s, ready %v: got %d %q at %q, want %d and nothing else", path, ready, there.Code, there.Body, other, want)
				}
			}
		}
		if live := ask(d.readiness(), http.MethodGet, "/liveness", "10.1.2.3:4711"); live.Code != http.StatusOK || live.Body.Len() != 0 {
			t.Errorf("liveness: got %d %q, want 200 and nothing else", live.Code, live.Body)
		}
	}
}

// Nobody but this machine's own programs can have the instance leave: not a page that a browser shows, whatever method
// it uses, and not who lacks the token.
func TestWhoMayAskToGoOffline(t *testing.T) {
	const here, secret = "http://127.0.0.1:54199/offline", "open sesame"
	for name, tt := range map[string]struct {
		token  string
		target string
		with   []string
		want   int
	}{
		"a program":                       {"", here, nil, http.StatusOK},
		"a program, by name":              {"", "http://localhost:54199/offline", nil, http.StatusOK},
		"a foreign host":                  {"", "http://evil.example/offline", nil, http.StatusForbidden},
		"a page of elsewhere":             {"", here, []string{"Origin", "http://evil.example"}, http.StatusForbidden},
		"a page of no origin":             {"", here, []string{"Origin", "null"}, http.StatusForbidden},
		"an image on a page of elsewhere": {"", here, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a page of this machine":          {"", here, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"its own page":                    {"", here, []string{"Origin", "http://127.0.0.1:54199"}, http.StatusOK},
		"no token":                        {secret, here, nil, http.StatusUnauthorized},
		"another token":                   {secret, here, []string{"Authorization", "Bearer open"}, http.StatusUnauthorized},
		"a token of another kind":         {secret, here, []string{"Authorization", secret}, http.StatusUnauthorized},
		"the token":                       {secret, here, []string{"Authorization", "Bearer " + secret}, http.StatusOK},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			left := ""
			d := doors{token: tt.token, leave: func(_ context.Context, reason string) (drain.Report, error) {
				left = reason
				return drain.Report{Reason: reason}, nil
			}}
			got := ask(d.offline(), method, tt.target, "127.0.0.1:4711", tt.with...)
			if got.Code != tt.want || (left == method+" /offline") != (tt.want == http.StatusOK) {
				t.Errorf("%s of %s: got %d, and that it leaves for %q, want %d", method, name, got.Code, left, tt.want)
			}
		}
	}
	d := doors{leave: func(context.Context, string) (drain.Report, error) {
		t.Error("DELETE had it leave")
		return drain.Report{}, nil
	}}
	if got := ask(d.offline(), http.MethodDelete, here, "127.0.0.1:4711"); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: got %d, want 405", got.Code)
	}
}
