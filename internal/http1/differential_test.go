package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"testing"
)

// marker follows a message that has been passed on: whoever reads that message must leave it.
const marker = "\x00what follows"

// FuzzRequestAgainstNetHTTP passes whole requests on. What we accept, net/http must read as we do: as it came and
// as it goes out, with the same method, target, host, body and end. A request whose body breaks must not look
// whole to the other side.
func FuzzRequestAgainstNetHTTP(f *testing.F) {
	for _, c := range readCases(f, "testdata/requests.txt") {
		if len(c.in) < 1<<10 {
			f.Add([]byte(c.in))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r Request
		p := passRequest(in, &r)
		if p.out == nil {
			return
		}
		if p.bad != nil || p.part {
			if got, err := readRequest(p.out); err == nil {
				t.Fatalf("%q breaks (%v), but goes out as the whole %q with a body of %q", in, p.bad, p.out, got.body)
			}
			return
		}
		out, err := readRequest(append(p.out, marker...))
		if err != nil {
			t.Fatalf("%q goes out as %q: net/http says %v", in, p.out, err)
		}
		if want := (reading{string(r.Method), string(r.Path), string(r.Host), string(p.body), marker}); out != want {
			t.Fatalf("%q goes out as %q: net/http reads %+v, want %+v", in, p.out, out, want)
		}
		came, err := readRequest(bytes.TrimPrefix(in, []byte("\r\n")))
		if err != nil {
			t.Fatalf("%q is accepted; net/http says %v", in, err)
		}
		if want := (reading{string(r.Method), string(r.Target), string(r.Host), string(p.body), string(p.rest)}); came != want {
			t.Fatalf("%q: net/http reads %+v, want %+v", in, came, want)
		}
		sameWhenUsedAgain(t, in)
	})
}

// A reading is what net/http makes of a message.
type reading struct{ method, target, host, body, rest string }

// readRequest has net/http read a request and what follows it.
func readRequest(b []byte) (got reading, err error) {
	br := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadRequest(br)
	if err != nil {
		return got, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return got, err
	}
	rest, err := io.ReadAll(br)
	return reading{r.Method, r.RequestURI, r.Host, string(body), string(rest)}, err
}

// sameWhenUsedAgain checks that nothing of an earlier request stays in a Request.
func sameWhenUsedAgain(t *testing.T, in []byte) {
	t.Helper()
	var fresh Request
	if _, err := fresh.Parse(in); err != nil {
		t.Fatal(err)
	}
	for _, before := range []string{
		lines("GET http://a/../%41 HTTP/1.1", "Host: a", "Connection: upgrade, x", "Upgrade: websocket"),
		lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade, x", "Upgrade: websocket"),
		lines("POST /%41 HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 7", "Connection: close"),
		lines("POST / HTTP/1.0", "Host: a", "Connection: x"),
		lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"),
	} {
		var used Request
		_, _ = used.Parse([]byte(before))
		if _, err := used.Parse(in); err != nil {
			t.Fatalf("%q after %q: got %v", in, before, err)
		}
		used.normal = fresh.normal
		used.Fields = append([]Field(nil), used.Fields...) // nil, if it is empty
		if !reflect.DeepEqual(used, fresh) {
			t.Fatalf("%q after %q: got %+v, want %+v", in, before, used, fresh)
		}
	}
}

// FuzzResponseAgainstNetHTTP is FuzzRequestAgainstNetHTTP for responses, to clients of HTTP/1.1 and 1.0.
func FuzzResponseAgainstNetHTTP(f *testing.F) {
	for _, c := range readCases(f, "testdata/responses.txt") {
		if len(c.in) < 1<<10 {
			f.Add([]byte(c.in), c.method, c.minor == 0)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, method string, old bool) {
		if method == http.MethodConnect {
			return // it is not served
		}
		minor := 1
		if old {
			minor = 0
		}
		var r Response
		p := passResponse(in, &r, method, minor)
		if p.out == nil || r.Status < 200 {
			return // nothing has gone out, or only interim responses
		}
		if p.bad != nil || p.part {
			// That a body of chunks broke, an HTTP/1.0 client can hear by a reset only.
			if got, err := readResponse(p.out, method); err == nil && minor == 1 {
				t.Fatalf("%q breaks (%v), but goes out as the whole %q with a body of %q", in, p.bad, p.out, got.body)
			}
			return
		}
		rest := ""
		if out := p.out; r.Framing != UntilClose && (r.Framing != Chunked || minor == 1) {
			p.out, rest = append(out, marker...), marker
		}
		out, err := readResponse(p.out, method)
		if want := (reading{method: strconv.Itoa(r.Status), body: string(p.body), rest: rest}); err != nil || out != want {
			t.Fatalf("%q goes out as %q: net/http reads %+v, %v; want %+v", in, p.out, out, err, want)
		}
		came, err := readResponse(in, method)
		if want := (reading{method: strconv.Itoa(r.Status), body: string(p.body), rest: string(p.rest)}); err != nil || came != want {
			t.Fatalf("%q: net/http reads %+v, %v; want %+v", in, came, err, want)
		}
	})
}

// readResponse has net/http read a response, after what interim ones come before it, and what follows it.
func readResponse(b []byte, method string) (got reading, err error) {
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		r, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return got, err
		}
		if r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return got, err
		}
		rest, err := io.ReadAll(br)
		return reading{method: strconv.Itoa(r.StatusCode), body: string(body), rest: string(rest)}, err
	}
}
