package warmer

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

func fields(pairs ...string) []http1.Field {
	var out []http1.Field
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, http1.Field{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return out
}

// note tells the recorder of a request that was answered 200.
func note(r *Recorder, method, path string, f ...string) {
	r.Note(protocolHTTP, 9080, []byte(method), []byte("shop"), []byte(path), fields(f...), 200)
}

func TestRecordsWhatIsSafe(t *testing.T) {
	for _, test := range []struct {
		name, method, path string
		fields             []string
		want               string // the path that is kept; "" for none
	}{
		{"a plain one", "GET", "/api/books", nil, "/api/books"},
		{"HEAD", "HEAD", "/api/books", nil, "/api/books"},
		{"POST changes something", "POST", "/api/books", nil, ""},
		{"so may what nobody knows", "get", "/api/books", nil, ""},
		{"another path", "GET", "/admin/users", nil, ""},
		{"values of a query", "GET", "/api/books?page=7&token=hunter2", nil, "/api/books?page=&token="},
		{"what has no value may be one", "GET", "/api/books?hunter2&page=7", nil, "/api/books?page="},
		{"names that are none", "GET", "/api/books?a%20b=1&=2&%ff=3&ok.x-y_z=4", nil, "/api/books?ok.x-y_z="},
		{"nothing left of the query", "GET", "/api/books?x", nil, "/api/books"},
		{"path parameters", "GET", "/api/books;jsessionid=1A/x", nil, ""},
		{"a part of a path as long as a UUID", "GET", "/api/123e4567-e89b-12d3-a456-426614174000/x", nil, "/api/123e4567-e89b-12d3-a456-426614174000/x"},
		{"a part of a path as long as a secret", "GET", "/api/" + strings.Repeat("s", 41), nil, ""},
		{"a warm-up request", "GET", "/api/books", []string{"Crossfade-Warmup", "1"}, ""},
		{"what cannot be sent again", "GET", "/api/%zz", nil, ""},
		{"no path", "GET", "*", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := NewRecorder(fleet.Record{Paths: []string{"/api/", "*"}})
			note(r, test.method, test.path, test.fields...)
			got, kept := "", r.Kept()
			if len(kept) > 0 {
				got = kept[0].Path
			}
			if got != test.want {
				t.Errorf("kept %q, want %q", got, test.want)
			}
		})
	}
}

func TestRecordsOnlyWhatWasAnsweredWell(t *testing.T) {
	for status, want := range map[int]int{101: 0, 200: 1, 304: 1, 401: 0, 404: 0, 500: 0} {
		r := NewRecorder(fleet.Record{Paths: []string{"/"}})
		r.Note(protocolHTTP, 80, []byte("GET"), nil, []byte("/"), nil, status)
		if got := len(r.Kept()); got != want {
			t.Errorf("answered %d: kept %d, want %d", status, got, want)
		}
	}
}

// What is kept is what may be sent, weighted by how often it came.
func TestKept(t *testing.T) {
	r := NewRecorder(fleet.Record{Paths: []string{"/"}, Keep: 3})
	for i := range 6 {
		note(r, "GET", fmt.Sprint("/a?n=", i), "Authorization", "Bearer hunter2", "Accept", "text/html", "Cookie", "s=hunter2", "X-Api-Key", "hunter2")
	}
	note(r, "GET", "/a", "Accept", "application/json")
	for range 3 {
		r.Note(protocolHTTP2, 1, []byte("HEAD"), []byte("other"), []byte("/b"), nil, 204)
	}
	want := []fleet.WarmupRequest{
		{Protocol: "http", Port: 9080, Method: "GET", Host: "shop", Path: "/a?n=", Headers: []fleet.Header{{Name: "accept", Value: "text/html"}}, Weight: 6},
		{Protocol: "http2", Port: 1, Method: "HEAD", Host: "other", Path: "/b", Weight: 3},
		{Protocol: "http", Port: 9080, Method: "GET", Host: "shop", Path: "/a", Headers: []fleet.Header{{Name: "accept", Value: "application/json"}}, Weight: 1},
	}
	if diff := cmp.Diff(want, r.Kept()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	// A fourth kind takes the place of the rarest, and is not said to have come more often than it did.
	note(r, "GET", "/c")
	kept := r.Kept()
	if len(kept) != 3 || kept[2].Path != "/c" || kept[2].Weight != 1 {
		t.Errorf("kept %v", kept)
	}
	var off *Recorder
	note(off, "GET", "/")
	if off.Kept() != nil {
		t.Error("a recorder that is off kept something")
	}
}

// No secret stays, wherever it stood.
func TestRecordsNoSecret(t *testing.T) {
	const secret = "hunter2"
	rapid.Check(t, func(t *rapid.T) {
		r := NewRecorder(fleet.Record{Paths: []string{"/"}, Keep: rapid.IntRange(1, 20).Draw(t, "keep")})
		hide := rapid.Custom(func(t *rapid.T) string {
			return rapid.StringMatching(`[a-z=&%;. -]{0,6}`).Draw(t, "before") + secret + rapid.StringMatching(`[a-z=%;. -]{0,6}`).Draw(t, "after")
		})
		for range rapid.IntRange(1, 30).Draw(t, "requests") {
			path := "/" + rapid.StringMatching(`[a-z/]{0,8}`).Draw(t, "path")
			if rapid.Bool().Draw(t, "query") {
				path += "?" + rapid.SampledFrom([]string{"a=", "token=", "a=1&b="}).Draw(t, "name") + strings.ReplaceAll(hide.Draw(t, "value"), "&", "%26")
			}
			name := rapid.SampledFrom([]string{"Authorization", "Cookie", "X-Api-Key", "Referer", "X-Forwarded-For", "User-Agent", "Proxy-Authorization", "Accept-Charset"}).Draw(t, "field")
			note(r, rapid.SampledFrom([]string{"GET", "HEAD", "POST"}).Draw(t, "method"), path, "Accept", "text/html", name, hide.Draw(t, "credential"))
		}
		if kept := fmt.Sprint(r.Kept()); strings.Contains(kept, secret) {
			t.Fatalf("kept %s", kept)
		}
	})
}

// Whatever makes up more than one in Keep of all requests is kept, no weight is more than what came, and no more than
// Keep are held.
func TestRecordsTheFrequent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keep := rapid.IntRange(1, 8).Draw(t, "keep")
		r := NewRecorder(fleet.Record{Paths: []string{"/"}, Keep: keep})
		came := map[string]int{}
		paths := rapid.SliceOfN(rapid.SampledFrom(strings.Split("abcdefghijkl", "")), 1, 200).Draw(t, "paths")
		for _, p := range paths {
			came["/"+p]++
			note(r, "GET", "/"+p)
		}
		kept := map[string]uint32{}
		for _, k := range r.Kept() {
			kept[k.Path] = k.Weight
			if int(k.Weight) > came[k.Path] || k.Weight == 0 {
				t.Fatalf("%s is said to have come %d times, came %d times", k.Path, k.Weight, came[k.Path])
			}
		}
		if len(kept) > keep {
			t.Fatalf("kept %d of %d", len(kept), keep)
		}
		for path, n := range came {
			if _, is := kept[path]; n*keep > len(paths) && !is {
				t.Fatalf("%s came %d times of %d and is not among the %d kept: %v", path, n, len(paths), keep, kept)
			}
		}
	})
}

// Off costs nothing, and a kind that is known costs no memory.
func TestNoteCost(t *testing.T) {
	f := fields("Accept", "text/html", "Authorization", "Bearer x", "User-Agent", "curl")
	method, host, path := []byte("GET"), []byte("shop"), []byte("/books/1?page=3")
	r := NewRecorder(fleet.Record{Paths: []string{"/"}})
	for _, recorder := range []*Recorder{nil, r} {
		if n := testing.AllocsPerRun(100, func() { recorder.Note(protocolHTTP, 80, method, host, path, f, 200) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func TestNoteFromManyGoroutines(t *testing.T) {
	r := NewRecorder(fleet.Record{Paths: []string{"/"}, Keep: 5})
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range 200 {
				note(r, "GET", fmt.Sprint("/", (i*j)%9))
				if j%50 == 0 {
					r.Kept()
				}
			}
		})
	}
	group.Wait()
	if n := len(r.Kept()); n == 0 || n > 5 {
		t.Errorf("kept %d", n)
	}
}

func FuzzNote(f *testing.F) {
	f.Add("GET", "/a?b=c", "accept", "text/html")
	f.Add("HEAD", "//x/%2e?&&==&a=b;c", "Accept-Language", "de")
	f.Add("GET", "/;a=b", "crossfade-warmup", "1")
	f.Fuzz(func(t *testing.T, method, path, name, value string) {
		r := NewRecorder(fleet.Record{Paths: []string{"/"}, Keep: 2})
		note(r, method, path, name, value)
		for _, k := range r.Kept() {
			u, err := url.ParseRequestURI(k.Path)
			if err != nil {
				t.Fatalf("kept %q, which cannot be sent: %v", k.Path, err)
			}
			for name, values := range u.Query() {
				if strings.Join(values, "") != "" {
					t.Fatalf("kept %q, in which %s has a value", k.Path, name)
				}
			}
			before, _, _ := strings.Cut(path, "?")
			if same, err := url.PathUnescape(before); err != nil || u.Path != same {
				t.Fatalf("kept %q of %q", k.Path, path)
			}
			if _, err := newRequest(&k, "127.0.0.1:80"); err != nil {
				t.Fatalf("kept %+v, which is no request: %v", k, err)
			}
		}
	})
}
