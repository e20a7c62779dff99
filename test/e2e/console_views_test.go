//go:build integration

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"crossfade.dev/test/browser"
)

// warmingFor is long enough to be looked at from everywhere.
const warmingFor = 40 * time.Second

// A place is one view of the console, and what it shows once it is there.
type place struct {
	path, shows string
	picture     string // for README.md; "" is none
}

// places are all views, on a Bookinfo whose reviews-v2 has just been scaled out.
func places(t *testing.T, newcomer endpoint) []place {
	t.Helper()
	releases, err := console[struct {
		Releases []released `json:"releases"`
	}](t, "releases")
	must(t, err)
	documents, err := console[struct {
		Documents []struct {
			ID   string `json:"id"`
			Kind string `json:"kind"`
		} `json:"documents"`
	}](t, "documents")
	must(t, err)
	if len(releases.Releases) == 0 || len(documents.Documents) == 0 {
		t.Fatalf("the console knows %d releases and %d documents", len(releases.Releases), len(documents.Documents))
	}
	list := []place{
		{"/", "reviews:9080", "console-overview"},
		{"/topology", "reviews", "console-topology"},
		{"/services/" + url.PathEscape("reviews:9080"), newcomer.Name, "console-service"},
		{"/instances", newcomer.Name, ""},
		{"/instances/" + url.PathEscape(newcomer.Incarnation), newcomer.Name, "console-start"},
		{"/releases", "reviews-v2", "console-releases"},
		{"/releases/" + url.PathEscape(releases.Releases[0].ID), releases.Releases[0].Name, "console-release"},
		{"/settings", "Graceful start", ""},
		{"/settings/start/default/reviews-v2", "Delayed registration duration", "console-settings"},
		{"/settings/gateway", "ingressgateway", ""},
		{"/settings/gateway/istio-system/ingressgateway", "Connection timeout", ""},
		{"/settings/documents", "DestinationRule", ""},
		{"/settings/documents/" + url.PathEscape(documents.Documents[0].ID), documents.Documents[0].Kind, ""},
		{"/events", "reviews-v2", ""},
		{"/nowhere", "Nothing here", ""},
	}
	for _, kind := range []string{"VirtualService", "DestinationRule", "Gateway", "Lifecycle"} {
		list = append(list, place{"/settings/new/" + kind, "New document", ""})
	}
	return list
}

// Every view, on a Bookinfo whose reviews-v2 is scaled out under load: at a desk, in the dark and on a phone it shows what it is
// for, fits the screen, keeps nobody out, and the browser has nothing to complain of.
func TestConsoleViews(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m); m.setWindow(t, warmingFor) })
	b := browse(t)
	m.skipWarmups(t)
	load := startLoad(t, 60)
	scale(t, "reviews-v2", 1)
	newcomer := await(t, "reviews-v2", "Warming")
	load.seconds(t, 10)
	list := places(t, newcomer)
	for _, by := range []struct {
		name string
		look browser.Look
	}{{"light", browser.Desk()}, {"dark", browser.DeskDark()}, {"phone", browser.Phone()}} {
		for _, at := range list {
			where := at.path + " (" + by.name + ")"
			p, err := b.Page("http://"+consoleAddress, by.look)
			must(t, err)
			must(t, p.Open(at.path))
			if err := p.AwaitText(at.shows); err != nil {
				t.Errorf("%s: %v", where, err)
			}
			if at.picture != "" {
				picture(t, p, at.picture+"-"+by.name+".png")
			}
			wantAccessible(t, p, where)
			wantFits(t, p, where)
			if titled, err := browser.Ask[string](p, "document.title"); err != nil || !strings.Contains(titled, "crossfade") || titled == "crossfade" {
				t.Errorf("%s: the title is %q, %v, want what is shown and where", where, titled, err)
			}
			wantQuiet(t, p, where)
			p.Close()
		}
	}
	load.stop(t)
}

// skipWarmups has everybody who warms up at the beginning be warm.
func (m *mesh) skipWarmups(t *testing.T) {
	t.Helper()
	for _, e := range awaitAll(t, "reviews-v1", 1, func(endpoint) bool { return true }) {
		if e.Stage == "Warming" {
			cli(t, "warmup", "skip", e.Name)
		}
	}
}

// The form of a graceful start, with nothing but a keyboard: what it says is in the file, with everything else that stood there,
// and traffic goes by it.
func TestConsoleFormByKeyboard(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m) })
	b := browse(t)
	before := m.text(t)
	p := view(t, b, browser.Desk(), "/settings/start/default/reviews-v2")
	must(t, p.AwaitText("Delayed registration duration"))
	must(t, p.TabTo("graceful start")) // the tab
	must(t, p.TabTo("graceful start")) // the switch
	must(t, p.Press(" "))
	must(t, p.TabTo("advanced"))
	if open, err := browser.Ask[bool](p, "document.activeElement.parentElement.open"); err != nil || !open {
		must(t, p.Press(browser.Enter))
	}
	must(t, p.TabTo("warm-up duration"))
	must(t, p.Press("7"))
	must(t, p.TabTo("review the change"))
	must(t, p.Press(browser.Enter))
	must(t, p.AwaitText("what will change"))
	wantAccessible(t, p, "what a form would change")
	picture(t, p, "console-review.png")
	must(t, p.TabTo("apply"))
	must(t, p.Press(browser.Enter))
	must(t, p.AwaitText("Applied: "))
	after := m.text(t)
	if after == before || !strings.Contains(after, "7s") {
		t.Errorf("the files say nothing of the 7 s:\n%s", after)
	}
	wantQuiet(t, p, "the form")
}

// text is what stands in all files of the configuration.
func (m *mesh) text(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "*.yaml"))
	must(t, err)
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		fmt.Fprintf(&all, "# %s\n%s", file, text)
	}
	return all.String()
}

// What people do on the page happens, costs no request, and is written down: a deployment is scaled, and a replica of the gateway
// drained, of which the page shows what came of it.
func TestConsoleActs(t *testing.T) {
	m := start(t, func(m *mesh) { slowly(t, m) })
	cli(t, "scale", edge, "--replicas=2")
	b := browse(t)
	c := &chaos{t: t, m: m}
	c.edgeSettled()
	load := startLoad(t, 60)
	p := view(t, b, browser.Desk(), "/")
	must(t, p.AwaitText("reviews:9080"))
	must(t, p.Click("act on reviews-v2"))
	must(t, p.Click("scale"))
	must(t, p.Fill("replicas", "1"))
	wantAccessible(t, p, "a dialog")
	must(t, p.Click("scale"))
	newcomer := await(t, "reviews-v2", "Warming", "Serving")
	replica := edgeReplica.FindString(ask(t, "GET", "http://"+controlAdmin+"/api/v1/gateways"))
	must(t, p.Click("act on "+replica))
	must(t, p.Click("drain"))
	must(t, p.Click("drain"))
	eventually(t, late, func() string {
		if all := ask(t, "GET", "http://"+controlAdmin+"/api/v1/gateways"); strings.Contains(all, `"`+replica+`"`) {
			return replica + " to be replaced: " + all
		}
		return ""
	})
	must(t, p.Open("/events"))
	for _, shown := range []string{newcomer.Name, replica} {
		must(t, p.AwaitText(shown))
	}
	acts := 0
	for _, e := range eventsBy(t) {
		if e.By != "" {
			acts++
		}
	}
	if acts < 2 {
		t.Errorf("%d of two acts are in the event log with who did them", acts)
	}
	wantQuiet(t, p, "acts")
	if a, _ := load.stop(t); a.LostTotal > 0 {
		t.Errorf("the acts cost %v of %d requests", a.Lost, a.Sent)
	}
}

var edgeReplica = regexp.MustCompile(`ingressgateway-[0-9]+`)

type actEvent struct {
	Kind string `json:"kind"`
	By   string `json:"by"`
}

func eventsBy(t *testing.T) []actEvent {
	t.Helper()
	all, err := console[struct {
		Events []actEvent `json:"events"`
	}](t, "events")
	must(t, err)
	return all.Events
}
