package http1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func field(name, value string) Field { return Field{Name: []byte(name), Value: []byte(value)} }

// A field whose name was looked at before is written where one is that was not, and only there.
func TestNewFieldIsWrittenAsAnyOther(t *testing.T) {
	names := []string{
		"X-A", "Via", "x_b", "Expect", "Trailer", "Crossfade-Drain", "endpoint-load-metrics", "", "a b", "X:", "x\r\ny",
		"te", "host", "upgrade", "connection", "keep-alive", "content-length", "Content_Length", "transfer-encoding", "proxy-authorization", "http2-settings",
	}
	r := &Request{Method: []byte("GET"), Path: []byte("/"), Host: []byte("h")}
	for _, name := range names {
		for way, edit := range map[string]func(Field) *Edit{
			"set":  func(f Field) *Edit { return &Edit{Set: []Field{f}} },
			"join": func(f Field) *Edit { return &Edit{Join: []Field{f}} },
			"add":  func(f Field) *Edit { return &Edit{Add: []Field{f}} },
		} {
			got := string(AppendRequest(nil, r, edit(NewField(name, "v\n"))))
			if want := string(AppendRequest(nil, r, edit(field(name, "v\n")))); got != want {
				t.Errorf("%s %q: got %q, want %q", way, name, got, want)
			}
		}
	}
}

func TestAppendRequest(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		edit Edit
		want string
	}{
		"unchanged": {
			lines("GET /a?b HTTP/1.1", "Host: h", "Accept: */*", "X-Empty:"),
			Edit{},
			lines("GET /a?b HTTP/1.1", "Host: h", "Accept: */*", "X-Empty: "),
		},
		"absolute form becomes origin form, and one Host": {
			lines("GET http://a:1/p HTTP/1.1", "X: y", "Host: b"),
			Edit{},
			lines("GET /p HTTP/1.1", "Host: a:1", "X: y"),
		},
		"HTTP/1.0 becomes HTTP/1.1": {
			lines("GET / HTTP/1.0", "Expect: 100-continue", "Upgrade: websocket", "Connection: upgrade"),
			Edit{Upgrade: true},
			lines("GET / HTTP/1.1", "Host: "),
		},
		"hop-by-hop": {
			lines("GET / HTTP/1.1", "Host: h", "Connection: close, X-Mine,, host", "X-Mine: 1", "Keep-Alive: 5", "Proxy-Connection: close",
				"Proxy-Authorization: x", "Upgrade: websocket", "Trailer: x", "TE: gzip", "HTTP2-Settings: x", "X-Yours: 2"),
			Edit{},
			lines("GET / HTTP/1.1", "Host: h", "X-Yours: 2"),
		},
		"TE trailers": {
			lines("GET / HTTP/1.1", "Host: h", "Connection: TE", "TE: deflate, Trailers"),
			Edit{Close: true},
			lines("GET / HTTP/1.1", "Host: h", "TE: trailers", "Connection: close, TE"),
		},
		"length": {
			lines("POST / HTTP/1.1", "content-length: 007", "Host: h", "Expect: 100-continue"),
			Edit{},
			lines("POST / HTTP/1.1", "Host: h", "Expect: 100-continue", "Content-Length: 7"),
		},
		"length zero": {
			lines("POST / HTTP/1.1", "Content-Length: 0", "Host: h"),
			Edit{},
			lines("POST / HTTP/1.1", "Host: h", "Content-Length: 0"),
		},
		"chunked keeps Trailer": {
			lines("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: CHUNKED", "Trailer: x"),
			Edit{},
			lines("POST / HTTP/1.1", "Host: h", "Trailer: x", "Transfer-Encoding: chunked"),
		},
		"upgrade passes": {
			lines("GET / HTTP/1.1", "Host: h", "Connection: keep-alive, Upgrade", "Upgrade: websocket"),
			Edit{Upgrade: true},
			lines("GET / HTTP/1.1", "Host: h", "Connection: upgrade", "Upgrade: websocket"),
		},
		"edits": {
			lines("GET /old HTTP/1.1", "Host: h", "X-Forwarded-For: 1.1.1.1", "x-forwarded-for: 2.2.2.2", "X-Set: old", "X-Gone: 1", "Via: 1.1 a"),
			Edit{
				Host: []byte("new:1"), Path: []byte("/new"),
				Set:    []Field{field("x-set", "new\r\nX-Evil: 1"), field("Content-Length", "5"), field("bad name", "x")},
				Join:   []Field{field("X-Forwarded-For", "3.3.3.3"), field("X-None", "only")},
				Add:    []Field{field("Via", "1.1 b"), field("Host", "evil"), field("Transfer-Encoding", "chunked")},
				Remove: [][]byte{[]byte("x-gone")},
			},
			lines("GET /new HTTP/1.1", "Host: new:1", "Via: 1.1 a", "x-set: new  X-Evil: 1",
				"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3", "X-None: only", "Via: 1.1 b"),
		},
		"an underscore for a dash deceives nobody behind us": {
			lines("GET / HTTP/1.1", "Host: h", "X_Forwarded_For: 1.1.1.1", "x_set: old", "X-Gone-2: 1", "X_Gone_2: 1", "X_Kept: 1", "Content_Length: 5"),
			Edit{
				Set:    []Field{field("X-Set", "new"), field("Transfer_Encoding", "chunked")},
				Join:   []Field{field("X-Forwarded-For", "3.3.3.3")},
				Remove: [][]byte{[]byte("x-gone_2")},
			},
			lines("GET / HTTP/1.1", "Host: h", "X_Kept: 1", "X-Set: new", "X-Forwarded-For: 3.3.3.3"),
		},
		"what the client nominates does not take away what we say": {
			lines("GET / HTTP/1.1", "Host: h", "Connection: X-Forwarded-For", "X-Forwarded-For: 1.1.1.1"),
			Edit{Join: []Field{field("X-Forwarded-For", "3.3.3.3")}, KeepAlive: true},
			lines("GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 3.3.3.3", "Connection: keep-alive"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			if _, err := r.Parse([]byte(c.in)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(AppendRequest(nil, &r, &c.edit))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppendResponse(t *testing.T) {
	for name, c := range map[string]struct {
		method, in string
		framing    Framing
		edit       Edit
		want       string
	}{
		"length": {
			"GET", lines("HTTP/1.0 200 Fine", "Content-Length: 5", "Keep-Alive: 3", "Proxy-Authenticate: x", "X: y"), Length,
			Edit{},
			lines("HTTP/1.1 200 Fine", "X: y", "Content-Length: 5"),
		},
		"HEAD keeps the announced length": {
			"HEAD", lines("HTTP/1.1 200 OK", "Content-Length: 5"), NoBody,
			Edit{KeepAlive: true},
			lines("HTTP/1.1 200 OK", "Content-Length: 5", "Connection: keep-alive"),
		},
		"204 has no framing": {
			"GET", lines("HTTP/1.1 204 No Content", "Content-Length: 5"), NoBody,
			Edit{},
			lines("HTTP/1.1 204 No Content"),
		},
		"until close": {
			"GET", lines("HTTP/1.1 200 OK", "X: y"), UntilClose,
			Edit{KeepAlive: true},
			lines("HTTP/1.1 200 OK", "X: y", "Connection: close"),
		},
		"until close, chunked by us": {
			"GET", lines("HTTP/1.1 200 OK"), Chunked,
			Edit{},
			lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
		},
		"chunked for an HTTP/1.0 client": {
			"GET", lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x"), UntilClose,
			Edit{},
			lines("HTTP/1.1 200 OK", "Connection: close"),
		},
		"switching": {
			"GET", lines("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"), NoBody,
			Edit{Upgrade: true},
			lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"),
		},
		"interim": {
			"GET", lines("HTTP/1.1 103 Early Hints", "Link: x"), NoBody,
			Edit{Close: true},
			lines("HTTP/1.1 103 Early Hints", "Link: x"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			if _, err := r.Parse([]byte(c.in), []byte(c.method)); err != nil {
				t.Fatal(err)
			}
			r.Framing = c.framing
			if diff := cmp.Diff(c.want, string(AppendResponse(nil, &r, &c.edit))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppendAnswer(t *testing.T) {
	body := []byte("no\n")
	for name, c := range map[string]struct {
		in   Answer
		want string
	}{
		"plain": {
			Answer{Status: 503, Body: body, Fields: []Field{field("Retry-After", "1\n")}, Close: true},
			lines("HTTP/1.1 503 Service Unavailable", "Retry-After: 1 ", "Content-Type: text/plain; charset=utf-8",
				"Content-Length: 3", "Connection: close") + "no\n",
		},
		"to HEAD": {
			Answer{Status: 404, Body: body, Head: true, KeepAlive: true},
			lines("HTTP/1.1 404 Not Found", "Content-Type: text/plain; charset=utf-8", "Content-Length: 3", "Connection: keep-alive"),
		},
		"without a body":  {Answer{Status: 200}, lines("HTTP/1.1 200 OK", "Content-Length: 0")},
		"no body allowed": {Answer{Status: 204, Body: body}, lines("HTTP/1.1 204 No Content")},
		"no phrase known": {Answer{Status: 299}, lines("HTTP/1.1 299 ", "Content-Length: 0")},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, string(AppendAnswer(nil, &c.in))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	fields := []Field{field("A", "1"), field("B", "2"), field("a", "3")}
	if got, ok := Lookup(fields, "b"); string(got) != "2" || !ok {
		t.Errorf("got %s, %t", got, ok)
	}
	if got, ok := Lookup(fields, "a"); string(got) != "1" || !ok {
		t.Errorf("got %s, %t", got, ok)
	}
	if _, ok := Lookup(fields, "c"); ok {
		t.Error("found what is not there")
	}
}
