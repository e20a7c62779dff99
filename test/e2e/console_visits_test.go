//go:build integration

package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crossfade.dev/test/browser"
)

// visits are more than the connections that a browser opens to one place.
const visits = 10

// pulse is what the page says of its stream.
const pulse = `document.querySelector('.pulse')?.innerText === "Live"`

// A page that somebody has left has no connection any more, though browsers keep it for those who go back: whoever opens the
// console again and again finds it live each time, and so does who goes back.
func TestConsoleVisits(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m) })
	b := browse(t)
	p := view(t, b, browser.Desk(), "/")
	for range visits {
		must(t, p.Open("/releases/latest"))
		must(t, p.AwaitText("no release yet"))
		must(t, p.Click("events"))
		must(t, p.Await(pulse))
	}
	for range 3 {
		if _, err := browser.Ask[bool](p, "history.go(-2) ?? true"); err != nil {
			t.Fatal(err)
		}
		must(t, p.Await(pulse))
	}
	wantQuiet(t, p, "visits")
	t.Run("two editors", func(t *testing.T) { twoEditors(t, m, b) })
}

// twoEditors has a document change in its file while somebody edits it on the page: it is said, and both texts are kept.
func twoEditors(t *testing.T, m *mesh, b *browser.Browser) {
	t.Helper()
	p := view(t, b, browser.Desk(), "/settings/documents/"+url.PathEscape("DestinationRule.default.reviews"))
	must(t, p.AwaitText("Unchanged."))
	file := filepath.Join(m.dir, "reviews.yaml")
	text, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte(strings.Replace(string(text), "ROUND_ROBIN", "LEAST_REQUEST", 1)), 0o600))
	document, _, _ := strings.Cut(string(text), "\n---")
	must(t, p.Fill("DestinationRule reviews", strings.Replace(document, "name: reviews", "name: reviews\n  labels: {mine: really}", 1)))
	must(t, p.AwaitText("somebody has changed this document"))
	wantAccessible(t, p, "a conflict")
	must(t, p.Click("go on with mine"))
	must(t, p.Click("review the change"))
	must(t, p.AwaitText("LEAST_REQUEST")) // what it would take back
	must(t, p.Click("apply"))
	must(t, p.AwaitText("Applied: "))
	if after := m.text(t); !strings.Contains(after, "mine: really") || strings.Contains(after, "LEAST_REQUEST") {
		t.Errorf("who went on with their text had it applied; the files say:\n%s", after)
	}
	wantQuiet(t, p, "two editors", "409")
}
