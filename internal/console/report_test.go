package console

import (
	"net/http"
	"strings"
	"testing"

	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// A release that somebody asks for on the page is in its list, and is a page of its own that runs nothing.
func TestReleasesAreReported(t *testing.T) {
	w := staffed(t)
	w.History.View(w.Control.View())
	if r := w.act(`{"action":"restart","kind":"deployment","namespace":"default","name":"reviews"}`); r.Code != http.StatusOK {
		t.Fatalf("got %d %s", r.Code, r.Body)
	}
	w.History.View(w.Control.View())
	all := decoded[map[string][]history.ReleaseRow](t, w.ask("GET", "/api/v1/releases", ""))["releases"]
	if len(all) != 1 || all[0].Name != "reviews" || all[0].Verdict != release.Running {
		t.Fatalf("got %+v, want one release of reviews, which goes on", all)
	}
	if got := decoded[release.Release](t, w.ask("GET", "/api/v1/releases/latest", "")); got.ID != all[0].ID {
		t.Errorf("the latest is %q, want %q", got.ID, all[0].ID)
	}
	file := w.ask("GET", "/api/v1/releases/"+all[0].ID+"?download=1", "")
	if got := decoded[release.Release](t, file); got.ID != all[0].ID || file.Header().Get("Content-Disposition") != `attachment; filename="release-`+all[0].ID+`.json"` {
		t.Errorf("got the file %q of %q, want release-%s.json", file.Header().Get("Content-Disposition"), got.ID, all[0].ID)
	}
	page := w.ask("GET", "/api/v1/releases/"+all[0].ID+"/report?download=1", "")
	if page.Code != 404 {
		t.Errorf("nobody writes reports here: got %d", page.Code)
	}
	w.Report = release.HTML
	w.handler = w.Handler()
	page = w.ask("GET", "/api/v1/releases/"+all[0].ID+"/report?download=1", "")
	policy, body := page.Header().Get("Content-Security-Policy"), page.Body.String()
	if page.Code != 200 || !strings.Contains(policy, "sandbox") || strings.Contains(policy, "script-src") || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("got %d with the policy %q", page.Code, policy)
	}
	if strings.Contains(body, "<script") || !strings.Contains(body, "reviews") || page.Header().Get("Content-Disposition") != `attachment; filename="release-`+all[0].ID+`.html"` {
		t.Errorf("got %q: %s", page.Header(), body)
	}
}
