package http1

import (
	"bytes"
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parsePath parses a request for the target.
func parsePath(target string) (string, error) {
	var r Request
	_, err := r.Parse([]byte(lines("GET "+target+" HTTP/1.1", "Host: a")))
	return string(r.Path), err
}

func TestPathsAreNormalized(t *testing.T) {
	for target, want := range map[string]string{
		"/":                                "/",
		"/static/../health":                "/health",
		"/static/..":                       "/",
		"/a/b/..":                          "/a/",
		"/a/b/../":                         "/a/",
		"/a/.":                             "/a/",
		"/./a/./b":                         "/a/b",
		"/.":                               "/",
		"/a/b/c/./../../g":                 "/a/g",
		"/%6cogin":                         "/login",
		"/%6C%6fgin?%6c":                   "/login?%6c",
		"/static/%2e%2E/health":            "/health",
		"/static/.%2e/health":              "/health",
		`/static\..\health`:                "/health",
		"/a%2f..%2fb":                      "/a%2F..%2Fb",
		"/a%5c..%5cb":                      "/a%5C..%5Cb",
		"/%e2%82%ac%20%41%2D%2e%5f%7e%2b":  "/%E2%82%AC%20A-._~%2B",
		"/%252e%252e/a":                    "/%252e%252e/a",
		"/a//b":                            "/a//b",
		"/a//../b":                         "/a/b",
		"//..":                             "/",
		"/a/...;b/.c;d/..%3b":              "/a/...;b/.c;d/..%3B",
		"/a/...":                           "/a/...",
		"/a/..b/.c/d..":                    "/a/..b/.c/d..",
		"/a?/../b%2e%00":                   "/a?/../b%2e%00",
		"/a/..?/../b":                      "/?/../b",
		"/a;b=%2e%2e/../c":                 "/c",
		"http://a/b/../%63":                "/c",
		"http://a?x=/../..":                "/?x=/../..",
		"/.well-known/acme-challenge/%7Ex": "/.well-known/acme-challenge/~x",
	} {
		got, err := parsePath(target)
		if got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", target, got, err, want)
		}
	}
}

func TestPathsThatLeadNowhereAreRefused(t *testing.T) {
	for target, want := range map[string]*Error{
		"/..":              errAboveRoot,
		"/../a":            errAboveRoot,
		"/a/../../b":       errAboveRoot,
		"/a/%2e%2e/%2E./b": errAboveRoot,
		`/\..\..`:          errAboveRoot,
		"http://a/..":      errAboveRoot,
		"/a/..;/b":         errDotParameter,
		"/a/.;x=y":         errDotParameter,
		"/a/%2e.;b":        errDotParameter,
		"/a%00":            errNUL,
		"/%00?b":           errNUL,
	} {
		_, err := parsePath(target)
		if got := (*Error)(nil); !errors.As(err, &got) || got != want {
			t.Errorf("%s: got %v, want %v", target, err, want)
		}
	}
}

// Where segments are not empty and no slash is escaped, the normal form means what net/url and path.Clean say; it
// is the normal form of itself, and an origin sees one spelling only.
func TestNormalPathsMeanWhatTheStandardLibrarySays(t *testing.T) {
	segment := rapid.SampledFrom([]string{
		".", "..", "%2e", "%2E%2e", ".%2e", "...", "a", "b", "%61", "a.b", ".a", "..a", "a..", "a%20b", "%e2%82%ac", "%C3%a9", "c;d=1", "%25%32", "~", "%7e", "+", "%2b",
	})
	rapid.Check(t, func(t *rapid.T) {
		segments := rapid.SliceOfN(segment, 1, 9).Draw(t, "segments")
		target := "/" + strings.Join(segments, "/") + rapid.SampledFrom([]string{"", "/"}).Draw(t, "end")
		query := rapid.SampledFrom([]string{"", "?", "?a=%2e/../%6c", "?/.."}).Draw(t, "query")
		got, err := parsePath(target + query)
		before, wrong := url.ParseRequestURI(target)
		if wrong != nil {
			t.Fatal(wrong)
		}
		if escapes := depth(before.Path) < 0; escapes || err != nil {
			if !escapes || !errors.Is(err, errAboveRoot) {
				t.Fatalf("%s: got %v, escapes: %t", target, err, escapes)
			}
			return
		}
		clean, ok := strings.CutSuffix(got, query)
		after, wrong := url.ParseRequestURI(clean)
		if !ok || wrong != nil {
			t.Fatalf("%s: got %s, %v, want it to end with %s", target, got, wrong, query)
		}
		want := path.Clean(before.Path)
		if folder := before.Path[strings.LastIndexByte(before.Path, '/')+1:]; want != "/" && (folder == "" || folder == "." || folder == "..") {
			want += "/"
		}
		if after.Path != want {
			t.Fatalf("%s: got %s, which is %s, want %s", target, got, after.Path, want)
		}
		if again, err := parsePath(got); again != got || err != nil {
			t.Fatalf("%s: got %s, and of that %s, %v", target, got, again, err)
		}
	})
}

// depth is the lowest level that the path walks through; below 0 it is above the root.
func depth(p string) (lowest int) {
	at := 0
	for s := range strings.SplitSeq(strings.Trim(p, "/"), "/") {
		switch s {
		case ".":
		case "..":
			at--
		default:
			at++
		}
		lowest = min(lowest, at)
	}
	return lowest
}

// A path that has to be normalized is parsed without an allocation too, and the caller's buffer stays as it is.
func TestNormalizingAllocatesNothing(t *testing.T) {
	in := []byte(lines("GET /a/../%62?%63 HTTP/1.1", "Host: a"))
	before := bytes.Clone(in)
	var r Request
	if got := testing.AllocsPerRun(100, func() {
		if n, err := r.Parse(in); n != len(in) || err != nil || string(r.Path) != "/b?%63" {
			t.Fatalf("got %d, %v, %s", n, err, r.Path)
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
	if !bytes.Equal(in, before) {
		t.Errorf("got %q, want the buffer unchanged", in)
	}
}
