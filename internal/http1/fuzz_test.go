package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// wantError says that an error of the codec has a status and a reason.
func wantError(t *testing.T, err error) {
	t.Helper()
	if got := (*Error)(nil); !errors.As(err, &got) || got.Status < 400 || got.Reason == "" {
		t.Fatalf("got error %#v", err)
	}
}

// A request that is accepted means the same in pieces, after it has been written for the other side, and to
// net/http.
func FuzzRequest(f *testing.F) {
	for _, in := range []string{
		string(smallRequest),
		string(browserRequest),
		"\r\n" + lines("OPTIONS http://a HTTP/1.1", "Host: a"),
		lines("GET http://[::1]:80?q HTTP/1.1", "Host: b", "Connection: x, close", "X: y"),
		lines("POST /%41?%zz HTTP/1.1", "Host: a", "Content-Length: 3", "Expect: 100-continue") + "abc",
		lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "TE: trailers", "Trailer: x") + "0\r\n\r\n",
		lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: websocket"),
		lines("GET / HTTP/1.0", "Connection: keep-alive"),
		lines(`GET /a/./%2e%2e\..%2f/%6c?/../%6c HTTP/1.1`, "Host: a"),
		lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"),
		lines("GET //a/b;c?d HTTP/1.1", "Host:"),
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r Request
		n, err := r.Parse(in)
		sameInPieces(t, in, n, err, func(b []byte) (int, error) { return new(Request).Parse(b) })
		if n == 0 {
			return
		}
		var again Request
		out := AppendRequest(nil, &r, &Edit{Upgrade: true, Close: r.Close, KeepAlive: r.Minor == 0})
		if m, err := again.Parse(out); m != len(out) || err != nil {
			t.Fatalf("%q is written as %q: got %d, %v", in, out, m, err)
		}
		if again.Minor != 1 {
			t.Fatalf("%q is written as %q", in, out)
		}
		again.Minor = r.Minor
		if got, want := meaning(&again), meaning(&r); got != want {
			t.Fatalf("%q is written as %q: means %s, not %s", in, out, got, want)
		}
		sameToStandardLibrary(t, in, &r)
		sameToStandardLibrary(t, out, &again)
	})
}

// sameInPieces holds a parser to its promise: a prefix needs more bytes or has the verdict of the whole.
func sameInPieces(t *testing.T, in []byte, n int, err error, parse func([]byte) (int, error)) {
	t.Helper()
	if err != nil {
		wantError(t, err)
	}
	if n < 0 || n > len(in) || n > 0 && err != nil {
		t.Fatalf("%q: got %d, %v", in, n, err)
	}
	for i := range in {
		m, bad := parse(in[:i:i])
		switch {
		case m == 0 && bad == nil:
			if i >= n && n > 0 {
				t.Fatalf("%q: needs more than %d bytes", in[:i], i)
			}
		case bad != nil:
			if err == nil || err.Error() != bad.Error() {
				t.Fatalf("%q: got %v after %d bytes, %v for the whole", in, bad, i, err)
			}
			return
		case m != n:
			t.Fatalf("%q: got %d after %d bytes, %d for the whole", in, m, i, n)
		}
	}
}

// sameToStandardLibrary checks that net/http accepts what r was parsed from, with the same framing. Only the
// empty line is skipped for it.
func sameToStandardLibrary(t *testing.T, in []byte, r *Request) {
	t.Helper()
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(in, []byte("\r\n")))))
	if err != nil {
		t.Fatalf("%q: net/http says %v", in, err)
	}
	defer std.Body.Close()
	length := map[Framing]int64{NoBody: 0, Length: r.ContentLength, Chunked: -1}[r.Framing]
	if std.ContentLength != length || (len(std.TransferEncoding) == 1) != (r.Framing == Chunked) {
		t.Fatalf("%q: net/http says length %d, coding %q; got framing %d, length %d",
			in, std.ContentLength, std.TransferEncoding, r.Framing, r.ContentLength)
	}
	if std.Method != string(r.Method) || std.Host != string(r.Host) {
		t.Fatalf("%q: net/http says %s for %s; got %s for %s", in, std.Method, std.Host, r.Method, r.Host)
	}
	if r.Minor == 1 && std.Close != r.Close {
		t.Fatalf("%q: net/http says close %t, got %t", in, std.Close, r.Close)
	}
}

// A response that is accepted means the same in pieces, after it has been written for the other side, and to
// net/http.
func FuzzResponse(f *testing.F) {
	for _, in := range []string{
		string(typicalResponse),
		lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x"),
		lines("HTTP/1.0 200 OK", "Connection: keep-alive", "Content-Length: 5"),
		lines("HTTP/1.1 204", "Content-Length: 5"),
		lines("HTTP/1.1 304 Not Modified", "Content-Length: 5"),
		lines("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket"),
		lines("HTTP/1.1 103 Early Hints", "Link: </a>"),
		lines("HTTP/1.1 200 OK", "Connection: x, close", "X: y"),
		lines("HTTP/1.1 999 \xff"),
	} {
		f.Add([]byte(in), "GET")
		f.Add([]byte(in), "HEAD")
	}
	f.Fuzz(func(t *testing.T, in []byte, method string) {
		var r Response
		n, err := r.Parse(in, []byte(method))
		sameInPieces(t, in, n, err, func(b []byte) (int, error) { return new(Response).Parse(b, []byte(method)) })
		if n == 0 {
			return
		}
		var again Response
		out := AppendResponse(nil, &r, &Edit{Upgrade: true, Close: r.Close})
		if m, err := again.Parse(out, []byte(method)); m != len(out) || err != nil {
			t.Fatalf("%q is written as %q: got %d, %v", in, out, m, err)
		}
		again.Minor = r.Minor
		if r.Status < 200 { // an interim response says nothing about the connection
			again.Close = r.Close
		}
		if got, want := answerMeaning(&again), answerMeaning(&r); got != want {
			t.Fatalf("%q is written as %q: means %s, not %s", in, out, got, want)
		}
		responseToStandardLibrary(t, in[:n], method, &r)
	})
}

// responseToStandardLibrary compares what net/http takes for the body, given more bytes than any framing asks
// for short of UntilClose.
func responseToStandardLibrary(t *testing.T, in []byte, method string, r *Response) {
	t.Helper()
	if method == "CONNECT" || r.Status == 101 || r.Framing == Chunked {
		return // a tunnel or chunks follow: nothing to compare in the head
	}
	std, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: net/http says %v", in, err)
	}
	defer std.Body.Close()
	if std.StatusCode != r.Status {
		t.Fatalf("%q: net/http says %d, got %d", in, std.StatusCode, r.Status)
	}
	rest, err := io.ReadAll(std.Body)
	if len(rest) > 0 || (err == nil) != (r.Framing != Length || r.ContentLength == 0) {
		t.Fatalf("%q: net/http reads a body of %q, %v; got framing %d, length %d", in, rest, err, r.Framing, r.ContentLength)
	}
}

// A chunked body decodes to the same data in pieces of any size, and whatever is accepted net/http decodes to
// the same data, as it does our encoding of it.
func FuzzChunks(f *testing.F) {
	for _, in := range []string{
		"0\r\n\r\n",
		"3\r\nabc\r\n00A;x=\"y z\"\r\n0123456789\r\n0\r\nX: y\r\nGrpc-Status: 0\r\n\r\ntail",
		"3\r\nabc\n",
		"3;a\nabc\r\n",
		"0\r\nContent-Length: 3\r\n\r\n",
		"fffffffffffffff\r\nabc",
		"1\r\nxGET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(in), 1)
		f.Add([]byte(in), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		var whole, pieces Chunks
		data, n, err := decode(&whole, in, always(len(in)+1))
		if err != nil {
			wantError(t, err)
		}
		other, m, otherErr := decode(&pieces, in, always(min(max(step, 1), len(in)+1)))
		if !bytes.Equal(data, other) || whole.Done() != pieces.Done() || !errors.Is(otherErr, err) {
			t.Fatalf("%q: whole %q, %v; in pieces of %d %q, %v", in, data, err, step, other, otherErr)
		}
		pieces.Reset()
		random := rand.New(rand.NewPCG(uint64(step), 0))
		other, _, otherErr = decode(&pieces, in, func() int { return 1 + random.IntN(random.IntN(20)+1) })
		if !bytes.Equal(data, other) || whole.Done() != pieces.Done() || !errors.Is(otherErr, err) {
			t.Fatalf("%q: whole %q, %v; in random pieces %d %q, %v", in, data, err, step, other, otherErr)
		}
		if !whole.Done() {
			return
		}
		if n != m {
			t.Fatalf("%q: whole took %d bytes, pieces %d", in, n, m)
		}
		chunksToStandardLibrary(t, in[:n], data, &whole)
		chunksToStandardLibrary(t, AppendLastChunk(AppendChunk(nil, data), whole.Trailers()), data, &whole)
	})
}

func chunksToStandardLibrary(t *testing.T, in, data []byte, c *Chunks) {
	t.Helper()
	head := lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
	std, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(in))))
	if err != nil {
		t.Fatal(err)
	}
	defer std.Body.Close()
	body, err := io.ReadAll(std.Body)
	if err != nil || !bytes.Equal(body, data) {
		t.Fatalf("%q: net/http reads %q, %v; got %q", in, body, err, data)
	}
	for _, f := range c.Trailers() {
		if got := std.Trailer.Values(string(f.Name)); len(got) == 0 {
			t.Fatalf("%q: net/http has no trailer %s", in, f.Name)
		}
	}
}
