//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crossfade.dev/test/browser"
)

const (
	axe      = root + "/web/node_modules/axe-core/axe.min.js"
	pictures = root + "/docs/images" // that README.md shows
)

// browse starts a browser in which nothing may go wrong: whatever it complains of fails the test.
func browse(t *testing.T) *browser.Browser {
	t.Helper()
	need(t, browser.Command)
	if _, err := os.Stat(axe); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v, and CI skips nothing: run scripts/setup", err)
		}
		t.Skipf("%v: run scripts/setup", err)
	}
	b, err := browser.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the browser: %v", err)
		}
	})
	return b
}

// view opens the console at a path.
func view(t *testing.T, b *browser.Browser, look browser.Look, path string) *browser.Page {
	t.Helper()
	p, err := b.Page("http://"+consoleAddress, look)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	must(t, p.Open(path))
	return p
}

// must is for steps of a test that make no sense without one another.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantQuiet fails the test for what the browser complains of, but for complaints that have one of forgiven in them.
func wantQuiet(t *testing.T, p *browser.Page, where string, forgiven ...string) {
	t.Helper()
complaints:
	for _, c := range p.Complaints() {
		for _, word := range forgiven {
			if strings.Contains(c.String(), word) {
				continue complaints
			}
		}
		t.Errorf("%s: the browser complains: %s", where, c)
	}
}

// wantAccessible fails the test for what keeps people from using what the page shows now.
func wantAccessible(t *testing.T, p *browser.Page, where string) {
	t.Helper()
	found, err := p.Axe(axe)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Errorf("%s: %s", where, v)
	}
}

// wantFits fails the test where one must scroll to the side to read.
func wantFits(t *testing.T, p *browser.Page, where string) {
	t.Helper()
	over, err := browser.Ask[float64](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
	if err != nil {
		t.Fatal(err)
	}
	if over > 1 {
		t.Errorf("%s: the page is %v pixels wider than the screen", where, over)
	}
}

// picture keeps what can be seen, where pictures are asked for: each is different bytes each time.
func picture(t *testing.T, p *browser.Page, name string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if os.Getenv("CROSSFADE_PICTURES") != "" {
		path = filepath.Join(pictures, name)
	}
	if err := p.Shot(path); err != nil {
		t.Error(err)
	}
}
