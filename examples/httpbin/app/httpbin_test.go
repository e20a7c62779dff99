package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ask makes one request of the handler.
func ask(t *testing.T, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	newHandler().ServeHTTP(w, r)
	return w
}

// answer is the JSON of an answer with status 200.
func answer(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("got %d, %v: %s", w.Code, err, w.Body)
	}
	return got
}

func TestRequestsAreGivenBack(t *testing.T) {
	form := new(bytes.Buffer)
	parts := multipart.NewWriter(form)
	file, err := parts.CreateFormFile("f", "f.txt")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(file, "of a file")
	for _, err := range []error{parts.WriteField("k", "v"), parts.Close()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		method, target, body, kind string
		field                      string
		want                       any
	}{
		{"GET", "/get?a=1&b=2&b=3", "", "", "args", map[string]any{"a": "1", "b": []any{"2", "3"}}},
		{"GET", "/get?a=1", "", "", "url", "http://example.com/get?a=1"},
		{"GET", "/get", "", "", "origin", "192.0.2.1"},
		{"POST", "/post", "hello", "text/plain", "data", "hello"},
		{"POST", "/post", "\xff\x00", "", "data", "data:application/octet-stream;base64,/wA="},
		{"POST", "/post", `{"k":[1]}`, "application/json", "json", map[string]any{"k": []any{1.0}}},
		{"POST", "/post", "k=v&k=w", "application/x-www-form-urlencoded", "form", map[string]any{"k": []any{"v", "w"}}},
		{"POST", "/post", form.String(), parts.FormDataContentType(), "files", map[string]any{"f": "of a file"}},
		{"POST", "/post", form.String(), parts.FormDataContentType(), "form", map[string]any{"k": "v"}},
		{"POST", "/post", strings.Repeat("x", maxBody+5), "", "length", float64(maxBody + 5)},
		{"PUT", "/put", "hello", "", "data", "hello"},
		{"PATCH", "/patch", "hello", "", "data", "hello"},
		{"DELETE", "/delete", "", "", "data", ""},
		{"TRACE", "/anything/at/all", "", "", "method", "TRACE"},
		{"GET", "/user-agent", "", "", "user-agent", "tester"},
		{"GET", "/ip", "", "", "origin", "192.0.2.1"},
	}
	for _, tt := range tests {
		got := answer(t, ask(t, tt.method, tt.target, tt.body, "Content-Type", tt.kind, "User-Agent", "tester"))[tt.field]
		if fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%s %s: %s is %.100v, want %.100v", tt.method, tt.target, tt.field, got, tt.want)
		}
	}
	got := answer(t, ask(t, "GET", "/headers", "", "X-Mine", "yes", "X-Forwarded-For", "10.1.2.3, 10.0.0.1"))
	if headers, ok := got["headers"].(map[string]any); !ok || headers["X-Mine"] != "yes" || headers["Host"] != "example.com" {
		t.Errorf("headers: got %v", got)
	}
	if got := answer(t, ask(t, "GET", "/ip", "", "X-Forwarded-For", "10.1.2.3, 10.0.0.1")); got["origin"] != "10.1.2.3" {
		t.Errorf("behind two proxies: got origin %v, want 10.1.2.3", got["origin"])
	}
}

// A body that breaks off must not be answered as if it had come.
func TestHalfABodyIsRefused(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/post", io.MultiReader(strings.NewReader("half"), errReader{}))
	w := httptest.NewRecorder()
	newHandler().ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("got %d, want 400: %s", w.Code, w.Body)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestStatuses(t *testing.T) {
	tests := []struct {
		target string
		code   int
		header string // that must be there
	}{
		{"/", 200, "Content-Type"},
		{"/status/418", 418, ""},
		{"/status/302", 302, "Location"},
		{"/status/401", 401, "Www-Authenticate"},
		{"/status/200:0,503:1", 503, ""},
		{"/status/200:0", 400, ""},
		{"/status/99", 400, ""},
		{"/status/200:much", 400, ""},
		{"/basic-auth/u/p", 401, "Www-Authenticate"},
		{"/bearer", 401, "Www-Authenticate"},
		{"/redirect-to?url=/get&status_code=307", 307, "Location"},
		{"/redirect-to?url=/get&status_code=200", 400, ""},
		{"/redirect/0", 400, ""},
		{"/redirect/21", 400, ""},
		{"/absolute-redirect/2", 302, "Location"},
		{"/bytes/102401", 400, ""},
		{"/bytes/-1", 400, ""},
		{"/delay/11", 400, ""},
		{"/drip?numbytes=0", 400, ""},
		{"/sse?count=x", 400, ""},
		{"/stream/101", 400, ""},
		{"/websocket/echo", 400, ""},
		{"/base64/aGVsbG8=", 200, ""},
		{"/base64/!", 400, ""},
		{"/robots.txt", 200, ""},
		{"/response-headers?X-Mine=yes", 200, "X-Mine"},
		{"/nowhere", 404, ""},
	}
	for _, tt := range tests {
		w := ask(t, "GET", tt.target, "")
		if w.Code != tt.code || tt.header != "" && w.Header().Get(tt.header) == "" {
			t.Errorf("%s: got %d with %v, want %d with %s", tt.target, w.Code, w.Header(), tt.code, tt.header)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/basic-auth/u/p", http.NoBody)
	r.SetBasicAuth("u", "p")
	w := httptest.NewRecorder()
	newHandler().ServeHTTP(w, r)
	if got := answer(t, w); got["user"] != "u" {
		t.Errorf("the right password: got %v", got)
	}
}

// A choice by weights: 0.9 and 0.1 of 5,000 are 4,500 ± 4 × 21.
func TestStatusByChance(t *testing.T) {
	const n = 5000
	seen := map[int]int{}
	for range n {
		code, err := choose("200:0.9,503:0.1")
		if err != nil {
			t.Fatal(err)
		}
		seen[code]++
	}
	if seen[200] < 4500-85 || seen[200] > 4500+85 || seen[200]+seen[503] != n {
		t.Errorf("got %v of %d, want about 4500 × 200 and the rest 503", seen, n)
	}
}

func TestBodies(t *testing.T) {
	if one, two := ask(t, "GET", "/bytes/1000?seed=7", ""), ask(t, "GET", "/bytes/1000?seed=7", ""); one.Body.Len() != 1000 || !bytes.Equal(one.Body.Bytes(), two.Body.Bytes()) {
		t.Errorf("/bytes/1000?seed=7 twice: got %d and %d bytes, want 1000, the same ones", one.Body.Len(), two.Body.Len())
	}
	unpack := map[string]func(io.Reader) (io.ReadCloser, error){
		"gzip":    func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) },
		"deflate": zlib.NewReader,
	}
	for encoding, reader := range unpack {
		w := ask(t, "GET", "/"+encoding, "")
		r, err := reader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.NewDecoder(r).Decode(&got); err != nil || got[encoding] != true || w.Header().Get("Content-Encoding") != encoding {
			t.Errorf("/%s: got %v, %v", encoding, got, err)
		}
	}
	seen := map[any]bool{}
	for range 100 {
		id, ok := answer(t, ask(t, "GET", "/uuid", ""))["uuid"].(string)
		if !ok || len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatalf("uuid: got %q", id)
		}
		seen[id] = true
	}
	if len(seen) != 100 {
		t.Errorf("got %d different ones of 100", len(seen))
	}
}

func TestRedirectsAndCookies(t *testing.T) {
	server := httptest.NewServer(newHandler())
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Jar = jar
	for path, want := range map[string]string{
		"/redirect/3": "/get", "/relative-redirect/3": "/get", "/absolute-redirect/3": "/get", "/cookies/set?a=b": "/cookies",
	} {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Request.URL.Path; got != want || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: led to %s with %s, want %s", path, got, resp.Status, want)
		}
	}
	for _, step := range []struct{ path, want string }{
		{"/cookies/set/c/d", `"c": "d"`}, {"/cookies", `"a": "b"`}, {"/cookies/delete?a", `{}`}, {"/cookies", `{"cookies":{"c":"d"}}`},
	} {
		resp, err := client.Get(server.URL + step.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		squeezed := strings.Join(strings.Fields(string(body)), "")
		if want := strings.ReplaceAll(step.want, " ", ""); err != nil || want != "{}" && !strings.Contains(squeezed, want) {
			t.Errorf("%s: got %s, %v, want %s", step.path, body, err, step.want)
		}
	}
}

// Answers that take their time take what they were asked to.
func TestTime(t *testing.T) {
	tests := []struct {
		target string
		took   time.Duration
		pieces int // flushed, one after the other
		holds  string
	}{
		{"/delay/1.5", 1500 * time.Millisecond, 0, "origin"},
		{"/delay/250ms", 250 * time.Millisecond, 0, "origin"},
		{"/drip?numbytes=4&duration=2&delay=1", 2500 * time.Millisecond, 4, "****"},
		{"/sse?count=5&duration=1s", 800 * time.Millisecond, 5, "event: ping\ndata: {\"id\":4,"},
		{"/stream/7", 0, 7, `"id":6}`},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			w := &counter{ResponseRecorder: httptest.NewRecorder()}
			newHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", tt.target, http.NoBody))
			if took := time.Since(began); took != tt.took || w.flushed != tt.pieces || !strings.Contains(w.Body.String(), tt.holds) {
				t.Errorf("%s: took %v in %d pieces, want %v in %d: %s", tt.target, took, w.flushed, tt.took, tt.pieces, w.Body)
			}
		})
	}
}

// A counter counts pieces.
type counter struct {
	*httptest.ResponseRecorder
	flushed int
}

func (c *counter) Flush() { c.flushed++ }

func TestNobodyWaitsForAClientThatHasGone(t *testing.T) {
	for _, target := range []string{"/delay/10", "/drip?duration=600s", "/sse?duration=600s"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			newHandler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", target, http.NoBody))
			if took := time.Since(began); took != time.Second {
				t.Errorf("%s: ended after %v, want 1s", target, took)
			}
		})
	}
}

// TestWebSocket speaks with the echo in bytes: RFC 6455's own example of a masked frame, and what breaks the rules.
func TestWebSocket(t *testing.T) {
	server := httptest.NewServer(newHandler())
	t.Cleanup(server.Close)
	key := "\x37\xfa\x21\x3d"
	hello := "\x81\x85" + key + "\x7f\x9f\x4d\x51\x58"
	long := strings.Repeat("\x00", 70_000)
	tests := map[string]struct{ says, hears string }{
		"a text":           {hello, "\x81\x05Hello"},
		"two, and a pong":  {hello + "\x8a\x80" + key + hello, "\x81\x05Hello\x81\x05Hello"},
		"an empty one":     {"\x82\x80" + key, "\x82\x00"},
		"of 200 bytes":     {"\x82\xfe\x00\xc8\x00\x00\x00\x00" + long[:200], "\x82\x7e\x00\xc8" + long[:200]},
		"of 70,000 bytes":  {"\x82\xff\x00\x00\x00\x00\x00\x01\x11\x70\x00\x00\x00\x00" + long, "\x82\x7f\x00\x00\x00\x00\x00\x01\x11\x70" + long},
		"in two fragments": {"\x01\x80" + key + "\x80\x80" + key, "\x01\x00\x80\x00"},
		"a ping":           {"\x89\x85" + key + "\x7f\x9f\x4d\x51\x58", "\x8a\x05Hello"},
		"a farewell":       {"\x88\x82\x00\x00\x00\x00\x03\xe8" + hello, "\x88\x02\x03\xe8"},
		"not masked":       {"\x81\x05Hello", "\x88\x02\x03\xea"},
		"of no kind":       {"\x83\x80" + key, "\x88\x02\x03\xea"},
		"half a ping":      {"\x09\x80" + key, "\x88\x02\x03\xea"},
		"a long ping":      {"\x89\xfe\x00\xc8" + key + long[:200], "\x88\x02\x03\xea"},
		"too long":         {"\x82\xff\x00\x00\x00\x00\x40\x00\x00\x00" + key, "\x88\x02\x03\xf1"},
	}
	for name, tt := range tests {
		nc, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(nc, "GET /websocket/echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		in := bufio.NewReader(nc)
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("%s: got %+v, %v", name, resp, err)
		}
		fmt.Fprint(nc, tt.says)
		got := make([]byte, len(tt.hears))
		if n, err := io.ReadFull(in, got); err != nil || string(got) != tt.hears {
			t.Errorf("%s: heard %.40q, %v, want %.40q", name, got[:n], err, tt.hears)
		}
		if tt.hears[0] == 0x88 {
			if more, _ := io.ReadAll(in); len(more) > 0 {
				t.Errorf("%s: after the close frame came %q", name, more)
			}
		}
		nc.Close()
	}
}

func TestCommandLine(t *testing.T) {
	getenv := func(name string) string { return map[string]string{"HOST": "127.2.0.1", "PORT": "80"}[name] }
	if o, err := parse(nil, getenv, io.Discard); err != nil || o.listen != "127.2.0.1:80" {
		t.Errorf("with HOST and PORT: got %+v, %v", o, err)
	}
	if o, err := parse([]string{"--listen", "[::1]:1"}, getenv, io.Discard); err != nil || o.listen != "[::1]:1" {
		t.Errorf("with --listen: got %+v, %v", o, err)
	}
	for _, args := range [][]string{{"--nothing"}, {"surplus"}} {
		if _, err := parse(args, getenv, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: got %v, want wrong usage", args, err)
		}
	}
	if _, err := parse([]string{"--help"}, getenv, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: got %v", err)
	}
	if err := run(t.Context(), []string{"--listen", "256.0.0.1:1"}, getenv, io.Discard); err == nil {
		t.Error("an address that is none: got no error")
	}
}

// What is in flight when the program is told to stop is answered.
func TestStopping(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		newHandler().ServeHTTP(w, r)
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	answered := make(chan error, 1)
	go func() {
		resp, err := new(http.Client).Get("http://" + listener.Addr().String() + "/delay/100ms")
		if err == nil {
			err = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
		}
		answered <- err
	}()
	<-entered
	stop()
	for what, result := range map[string]chan error{"the request": answered, "serve": ended} {
		if err := <-result; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
