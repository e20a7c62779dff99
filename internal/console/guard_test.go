package console

import (
	"net/http"
	"strings"
	"testing"
)

func TestEveryAnswerIsGuarded(t *testing.T) {
	w := newWorld(t, Access{})
	for _, target := range []string{"/", "/services/reviews:9080", "/api/v1/session", "/api/v1/overview", "/api/v1/nothing", "/nothing.js", "/login"} {
		head := w.ask("GET", target, "").Header()
		csp := head.Get("Content-Security-Policy")
		for _, forbidden := range []string{"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:"} {
			if strings.Contains(csp, forbidden) {
				t.Errorf("GET %s: the policy %q has %s", target, csp, forbidden)
			}
		}
		for _, wanted := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, wanted) {
				t.Errorf("GET %s: the policy %q has no %s", target, csp, wanted)
			}
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Access-Control-Allow-Origin": "",
		} {
			if got := head.Get(name); got != want {
				t.Errorf("GET %s: got %s: %q, want %q", target, name, got, want)
			}
		}
		if got := head.Get("Referrer-Policy"); got != "no-referrer" && target != "/login" {
			t.Errorf("GET %s: got Referrer-Policy %q", target, got)
		}
	}
}

// A page of another site may have its name resolve to loopback; what it asks for then carries that name.
func TestForeignNamesAreRefused(t *testing.T) {
	w := newWorld(t, Access{Hosts: []string{"console.example"}})
	for host, want := range map[string]int{
		"127.0.0.1:15010": 200, "localhost:15010": 200, "[::1]:15010": 200, "console.example": 200, "CONSOLE.example:443": 200,
		"evil.example": 403, "evil.example:15010": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example:15010": 403,
		"console.example.evil.example": 403, "": 403, "169.254.169.254": 403,
	} {
		for _, target := range []string{"/", "/api/v1/session", "/api/v1/stream?topic=nothing", "/login"} {
			if target == "/api/v1/stream?topic=nothing" && want == 200 {
				continue // there is no such topic
			}
			wanted := want
			if target == "/login" && want == 200 {
				wanted = http.StatusSeeOther // nobody has to
			}
			if got := w.ask("GET", target, "", "Host", host).Code; got != wanted {
				t.Errorf("GET %s of %q: got %d, want %d", target, host, got, wanted)
			}
		}
	}
}

func TestPagesOfOtherSitesGetNothing(t *testing.T) {
	w := newWorld(t, Access{})
	csrf := w.csrf()
	const act = `{"action":"restart","kind":"deployment","namespace":"default","name":"reviews"}`
	for _, c := range []struct {
		method, target string
		fields         []string
		want           int
	}{
		{"GET", "/api/v1/overview", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", "/api/v1/overview", []string{"Sec-Fetch-Site", "none"}, 200},
		{"GET", "/api/v1/overview", nil, 200}, // curl
		{"GET", "/api/v1/overview", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"GET", "/api/v1/overview", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"}, 403}, // another port
		{"GET", "/api/v1/stream?topic=overview", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}, 403},
		{"GET", "/api/v1/stream?topic=overview", []string{"Origin", "http://evil.example"}, 403}, // of a browser that says no more
		{"GET", "/api/v1/overview", []string{"Origin", "null"}, 403},
		{"GET", "/api/v1/overview", []string{"Origin", "http://127.0.0.1:15010"}, 200},
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200}, // a link
		{"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"GET", "/index.html", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, 403},
		{"POST", "/api/v1/act", []string{"Origin", "http://127.0.0.1:15010"}, 200},
		{"POST", "/api/v1/act", []string{"Origin", "https://evil.example"}, 403},
		{"POST", "/api/v1/act", []string{"Origin", "http://127.0.0.1:15000"}, 403},
		{"POST", "/api/v1/act", []string{"Origin", "null"}, 403},
		{"POST", "/api/v1/act", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"POST", "/logout", []string{"Origin", "https://evil.example"}, 403},
		{"POST", "/login", []string{"Origin", "https://evil.example"}, 403},
	} {
		fields := append([]string{"Content-Type", "application/json", "X-Crossfade-CSRF", csrf}, c.fields...)
		if got := w.ask(c.method, c.target, act, fields...).Code; got != c.want {
			t.Errorf("%s %s with %q: got %d, want %d", c.method, c.target, c.fields, got, c.want)
		}
	}
	if got := len(w.events("workload.restarted")); got != 1 {
		t.Errorf("%d restarts were asked for, want 1", got)
	}
}

// Even a page that could send what browsers send for us knows nothing to show.
func TestRequestsAreNotForged(t *testing.T) {
	w := newWorld(t, Access{})
	other := newWorld(t, Access{})
	const act = `{"action":"scale","kind":"deployment","namespace":"default","name":"reviews","value":3}`
	for name, c := range map[string]struct {
		fields []string
		want   int
	}{
		"nothing shown":       {[]string{"Content-Type", "application/json"}, 403},
		"something shown":     {[]string{"Content-Type", "application/json", "X-Crossfade-CSRF", "x"}, 403},
		"of another console":  {[]string{"Content-Type", "application/json", "X-Crossfade-CSRF", other.csrf()}, 403},
		"as a form is sent":   {[]string{"Content-Type", "text/plain", "X-Crossfade-CSRF", w.csrf()}, 415},
		"without a type":      {[]string{"X-Crossfade-CSRF", w.csrf()}, 415},
		"as the page does it": {[]string{"Content-Type", "application/json; charset=utf-8", "X-Crossfade-CSRF", w.csrf()}, 200},
	} {
		if got := w.ask("POST", "/api/v1/act", act, c.fields...).Code; got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		if got := w.ask(method, "/api/v1/act", act).Code; got != 403 {
			t.Errorf("%s: got %d, want 403", method, got)
		}
	}
	if got := len(w.events("workload.scaled")); got != 1 {
		t.Errorf("%d scalings were asked for, want 1", got)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	w := newWorld(t, Access{})
	big := `{"action":"` + strings.Repeat("x", maxBody) + `"}`
	if got := w.act(big).Code; got != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that says how big it is: got %d, want 413", got)
	}
	r := newRequest(t, big)
	r.ContentLength = -1 // in chunks
	r.Header.Set("X-Crossfade-CSRF", w.csrf())
	if got := serve(w.handler, r).Code; got != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that does not say so: got %d, want 413", got)
	}
	if got := w.ask("GET", "/api/v1/services/"+strings.Repeat("a", maxName+1), "").Code; got != 400 {
		t.Errorf("a long name: got %d, want 400", got)
	}
}

// What somebody is called comes out as data, and never as markup, whatever reads it.
func TestNamesAreData(t *testing.T) {
	w := newWorld(t, Access{})
	w.configure(evil)
	if err := w.Control.Tell(t.Context(), eventBy(evil)); err != nil {
		t.Fatal(err)
	}
	w.History.View(w.Control.View())
	for _, target := range []string{
		"/api/v1/overview", "/api/v1/events", "/api/v1/services/nobody", "/api/v1/episodes?state=" + escaped, "/api/v1/" + escaped,
		"/login?then=" + escaped, "/api/v1/stream?topic=" + escaped, "/" + escaped + ".js", "/api/v1/releases/" + escaped, "/api/v1/episodes/" + escaped,
	} {
		r := w.ask("GET", target, "")
		kind, body := r.Header().Get("Content-Type"), r.Body.String()
		if strings.Contains(body, "<img") || strings.Contains(body, "</script>") || strings.Contains(body, "\u2028") {
			t.Errorf("GET %s: markup in %s", target, body)
		}
		if !strings.HasPrefix(kind, "application/json") && r.Code != http.StatusSeeOther {
			t.Errorf("GET %s: got %d of %q", target, r.Code, kind)
		}
	}
	if body := w.ask("GET", "/api/v1/overview", "").Body.String(); !strings.Contains(body, `\u003cimg src=x`) {
		t.Errorf("the name is not in %s", body)
	}
	if body := w.ask("GET", "/api/v1/events", "").Body.String(); !strings.Contains(body, `\u003cimg src=x`) {
		t.Errorf("the name is not in %s", body)
	}
}
