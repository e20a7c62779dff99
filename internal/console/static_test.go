package console

import (
	"compress/gzip"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func smallPage(t *testing.T) *page {
	t.Helper()
	p, err := newPage(fstest.MapFS{
		"dist/index.html":           {Data: []byte("<!doctype html><p>the page")},
		"dist/assets/app-Ab12.js":   {Data: []byte(strings.Repeat("let a = 1;\n", 100))},
		"dist/assets/tiny-Ab12.css": {Data: []byte("a{}")},
		"dist/favicon.svg":          {Data: []byte("<svg/>")},
		"secret.txt":                {Data: []byte("secret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPageIsServed(t *testing.T) {
	p := smallPage(t)
	for target, want := range map[string]struct {
		code        int
		kind, cache string
	}{
		"/":                        {200, "text/html; charset=utf-8", "no-cache"},
		"/index.html":              {200, "text/html; charset=utf-8", "no-cache"},
		"/services/reviews:9080":   {200, "text/html; charset=utf-8", "no-cache"}, // a view
		"/services/api.shop:80":    {200, "text/html; charset=utf-8", "no-cache"}, // with a dot in its name
		"/releases/x-2026.1":       {200, "text/html; charset=utf-8", "no-cache"},
		"/settings":                {200, "text/html; charset=utf-8", "no-cache"},
		"/assets/app-Ab12.js":      {200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		"/favicon.svg":             {200, "image/svg+xml", "no-cache"},
		"/assets/app-Cd34.js":      {404, "application/json", ""}, // of another build
		"/assets/":                 {404, "application/json", ""},
		"/nothing.js":              {404, "application/json", ""},
		"/secret.txt":              {404, "application/json", ""},
		"/../secret.txt":           {404, "application/json", ""},
		"/assets/../../secret.txt": {404, "application/json", ""},
		"/%2e%2e/secret.txt":       {404, "application/json", ""},
		"/..%5csecret.txt":         {404, "application/json", ""},
		"/etc/passwd.txt":          {404, "application/json", ""},
		"/dist/index.html":         {404, "application/json", ""},
	} {
		r := ask(p, "GET", target, "")
		if r.Code != want.code || r.Header().Get("Content-Type") != want.kind || r.Header().Get("Cache-Control") != want.cache {
			t.Errorf("GET %s: got %d %q %q, want %v", target, r.Code, r.Header().Get("Content-Type"), r.Header().Get("Cache-Control"), want)
		}
		if strings.Contains(r.Body.String(), "secret") && r.Code == 200 {
			t.Errorf("GET %s: got what is no part of the page", target)
		}
	}
	if got := ask(p, "POST", "/", "").Code; got != 405 {
		t.Errorf("POST /: got %d, want 405", got)
	}
}

func TestPageIsNotSentTwice(t *testing.T) {
	p := smallPage(t)
	plain := ask(p, "GET", "/assets/app-Ab12.js", "")
	zipped := ask(p, "GET", "/assets/app-Ab12.js", "", "Accept-Encoding", "br, gzip;q=0.5")
	if plain.Header().Get("Content-Encoding") != "" || zipped.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("got %q and %q, want one of them compressed", plain.Header(), zipped.Header())
	}
	if plain.Header().Get("Etag") == zipped.Header().Get("Etag") || zipped.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("caches could take one for the other: %q and %q", plain.Header(), zipped.Header())
	}
	size := zipped.Body.Len()
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || string(text) != plain.Body.String() || size >= len(text)/2 {
		t.Errorf("got %d bytes of %d, %v", size, len(text), err)
	}
	for _, refusal := range []string{"gzip;q=0", "br", "gzip; q=0.0", "", "notgzip"} {
		if got := ask(p, "GET", "/assets/app-Ab12.js", "", "Accept-Encoding", refusal).Header().Get("Content-Encoding"); got != "" {
			t.Errorf("Accept-Encoding: %s: got %s", refusal, got)
		}
	}
	if got := ask(p, "GET", "/assets/tiny-Ab12.css", "", "Accept-Encoding", "gzip").Header().Get("Content-Encoding"); got != "" {
		t.Errorf("what is smaller as it is came as %s", got)
	}
	if got := ask(p, "GET", "/", "", "If-None-Match", ask(p, "GET", "/", "").Header().Get("Etag")); got.Code != 304 || got.Body.Len() != 0 {
		t.Errorf("what is there already: got %d with %d bytes, want 304", got.Code, got.Body.Len())
	}
	if got := ask(p, "GET", "/", "", "If-None-Match", `"of another build"`).Code; got != 200 {
		t.Errorf("another page: got %d, want 200", got)
	}
}

// What is built in is a page that asks nobody else for anything, and that our own policy lets run.
func TestBuiltPageKeepsThePolicy(t *testing.T) {
	if _, err := newPage(built); err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(built, "dist/index.html")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ToLower(string(data))
	for _, forbidden := range []string{"<style", "style=", "onload=", "onclick=", "javascript:", "http://", "https://", "//cdn"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("index.html has %q", forbidden)
		}
	}
	for rest := page; ; {
		_, after, ok := strings.Cut(rest, "<script")
		if !ok {
			break
		}
		tag, body, _ := strings.Cut(after, ">")
		if code, _, _ := strings.Cut(body, "</script>"); !strings.Contains(tag, "src=") || strings.TrimSpace(code) != "" {
			t.Errorf("index.html has a script in itself: <script%s>%s", tag, code)
		}
		rest = body
	}
}

func TestPageNeedsAnIndex(t *testing.T) {
	if _, err := newPage(fstest.MapFS{"dist/app.js": {}}); err == nil || !strings.Contains(err.Error(), "npm run build") {
		t.Errorf("got %v, want what to do", err)
	}
}
