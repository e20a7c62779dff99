package browser

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const axe = "../../web/node_modules/axe-core/axe.min.js"

// need skips the test where what it needs is not installed, except where nothing may be skipped.
func need(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath(Command)
	if _, none := os.Stat(axe); err == nil && none == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("chromium or axe-core is not installed, and CI skips nothing: run scripts/setup")
	}
	t.Skip("chromium or axe-core is not installed: run scripts/setup")
}

func serve(t *testing.T, pages map[string]string) (home string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		switch filepath.Ext(r.URL.Path) {
		case ".js":
			w.Header().Set("Content-Type", "text/javascript")
		case ".css":
			w.Header().Set("Content-Type", "text/css")
		case "":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src *")
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func open(t *testing.T, home string) *Page {
	t.Helper()
	b, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := b.Page(home, Desk())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const decent = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Decent</title><link rel="icon" href="/icon"><script type="module" src="/act.js"></script></head>
<body><main><h1>Decent</h1><p id="said">Nothing yet</p><button type="button">Look</button><label>Name <input></label><button type="button">Say it</button></main></body></html>`

const act = `document.querySelectorAll('button')[1].onclick = () => { document.getElementById('said').innerText = 'Hello, ' + document.querySelector('input').value; };`

// Nothing is said of a page that has no fault, and it can be used by mouse and by keyboard.
func TestADecentPage(t *testing.T) {
	need(t)
	home := serve(t, map[string]string{"/": decent, "/act.js": act, "/icon": ""})
	p := open(t, home)
	ok(t, p.Open("/"))
	ok(t, p.Fill("name", "Ann"))
	ok(t, p.Click("say it"))
	ok(t, p.AwaitText("hello, Ann"))
	ok(t, p.TabTo("name"))
	ok(t, p.Press(Tab, Enter))
	ok(t, p.AwaitText("hello, ann"))
	found, err := p.Axe(axe)
	ok(t, err)
	if complaints := p.Complaints(); len(found) > 0 || len(complaints) > 0 {
		t.Errorf("got %v and %v, want nothing", found, complaints)
	}
	if paint, err := p.FirstPaint(); err != nil || paint <= 0 {
		t.Errorf("first paint: %v, %v", paint, err)
	}
	picture := filepath.Join(t.TempDir(), "picture.png")
	ok(t, p.Shot(picture))
	if bytes, err := os.ReadFile(picture); err != nil || !strings.HasPrefix(string(bytes), "\x89PNG") {
		t.Errorf("the picture is none: %v", err)
	}
}

// Every fault that tests of the console rely on being told of is told.
func TestFaultsAreTold(t *testing.T) {
	need(t)
	home := serve(t, map[string]string{
		"/": `<!doctype html><html><head><title></title><link rel="icon" href="/icon"><script type="module" src="/bad.js"></script></head>
<body><button type="button" class="bare"></button><img src="/none.png"><img src="http://127.0.0.2:9/none.png"><p onclick="alert(1)">Text</p><button type="button" class="bare">Hidden ring</button><link rel="stylesheet" href="/bare.css"></body></html>`,
		"/bad.js":   `console.error('oh', 7); document.head.append(document.createElement('style')); setTimeout(() => { throw new Error('thrown') }); try { eval('1') } catch {}; document.documentElement.insertAdjacentHTML('beforeend', '<div style="color: red">x</div>');`,
		"/bare.css": ".bare:focus { outline: none }",
		"/icon":     "",
	})
	p := open(t, home)
	ok(t, p.Open("/"))
	ok(t, p.Await("document.readyState === 'complete'"))
	want := []string{"error: oh 7", "exception: ", "network: ", "security: ", "foreign: http://127.0.0.2:9/"}
	var heard []Complaint
	for range 100 {
		if heard = append(heard, p.Complaints()...); missing(heard, want) == "" {
			break
		}
		ok(t, p.Await("new Promise((done) => setTimeout(() => done(true), 20))"))
	}
	if none := missing(heard, want); none != "" {
		t.Errorf("nothing is said of %q; got %v", none, heard)
	}
	if err := p.TabTo("hidden ring"); err == nil || !strings.Contains(err.Error(), "nobody can see that") {
		t.Errorf("got %v, want it to miss the ring", err)
	}
	if err := p.TabTo("there is no such thing"); err == nil {
		t.Error("what is not there was reached")
	}
	found, err := p.Axe(axe)
	ok(t, err)
	for _, rule := range []string{"button-name", "image-alt", "html-has-lang"} {
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == rule }) {
			t.Errorf("axe says nothing of %s: %v", rule, found)
		}
	}
}

// missing returns the first of want with which no complaint begins.
func missing(heard []Complaint, want []string) string {
	for _, w := range want {
		if !slices.ContainsFunc(heard, func(c Complaint) bool { return strings.HasPrefix(c.String(), w) }) {
			return w
		}
	}
	return ""
}
