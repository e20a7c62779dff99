package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A written message is one that a well-behaved peer might send, and what it means.
type written struct {
	wire  []byte
	head  http.Header // end-to-end fields
	trail http.Header
	body  []byte
}

var (
	fieldNames  = rapid.StringMatching(`X-[A-Za-z0-9!#$%&'*+.^|~-]{0,12}`)
	fieldValues = rapid.StringMatching("([!-~\u0080-\u00ff]([ \t!-~\u0080-\u00ff]{0,40}[!-~\u0080-\u00ff])?)?")
	blanks      = rapid.StringMatching("[ \t]{0,3}")
)

// write draws fields and a body in any framing, and writes them behind the start line and the fields that are given.
func write(t *rapid.T, start string, fixed ...string) (w written) {
	w.head, w.trail = http.Header{}, http.Header{}
	rest := fixed
	for range rapid.IntRange(0, 6).Draw(t, "fields") {
		name, value := fieldNames.Draw(t, "name"), fieldValues.Draw(t, "value")
		rest = append(rest, name+":"+blanks.Draw(t, "blank")+value+blanks.Draw(t, "blank"))
	}
	if rapid.Bool().Draw(t, "hops") {
		rest = append(rest, "Connection: close, Y-Mine", "y-mine: x", "Keep-Alive: 5", "TE: gzip", "Proxy-Connection: close")
	}
	w.body = rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "body")
	chunked := rapid.Bool().Draw(t, "chunked")
	if chunked {
		rest = append(rest, "Transfer-Encoding: chunked")
	} else {
		rest = append(rest, fmt.Sprintf("Content-Length: %d", len(w.body)))
	}
	rest = rapid.Permutation(rest).Draw(t, "order")
	for _, line := range rest {
		if name, value, _ := strings.Cut(line, ":"); strings.HasPrefix(name, "X-") {
			w.head.Add(name, strings.Trim(value, " \t"))
		}
	}
	w.wire = append(w.wire, lines(append([]string{start}, rest...)...)...)
	if !chunked {
		w.wire = append(w.wire, w.body...)
		return w
	}
	for left := w.body; len(left) > 0; {
		n := rapid.IntRange(1, len(left)).Draw(t, "chunk")
		w.wire = fmt.Appendf(w.wire, "%0*X", rapid.IntRange(1, 9).Draw(t, "digits"), n)
		w.wire = append(w.wire, rapid.SampledFrom([]string{"", ";a", `;a=b;c="d e"`}).Draw(t, "extension")+"\r\n"...)
		w.wire = append(append(w.wire, left[:n]...), "\r\n"...)
		left = left[n:]
	}
	w.wire = append(w.wire, "0\r\n"...)
	for range rapid.IntRange(0, 2).Draw(t, "trailers") {
		name, value := fieldNames.Draw(t, "trailer"), fieldValues.Draw(t, "value")
		w.wire = append(w.wire, name+": "+value+"\r\n"...)
		w.trail.Add(name, value)
	}
	w.wire = append(w.wire, "\r\n"...)
	return w
}

// same compares what net/http has read with what was written.
func (w *written) same(t *rapid.T, head, trail http.Header, body []byte) {
	if !bytes.Equal(body, w.body) {
		t.Fatalf("got body %q, want %q", body, w.body)
	}
	for name := range head {
		if !strings.HasPrefix(name, "X-") {
			delete(head, name)
		}
	}
	if diff := cmp.Diff(w.head, head); diff != "" {
		t.Fatalf("fields (-want +got):\n%s", diff)
	}
	if bytes.Contains(w.wire, []byte("Connection: close, Y-Mine")) {
		w.trail = http.Header{} // the sender nominates fields: trailers do not go on
	}
	if trail == nil {
		trail = http.Header{}
	}
	if diff := cmp.Diff(w.trail, trail); diff != "" {
		t.Fatalf("trailers (-want +got):\n%s", diff)
	}
}

// Whatever a well-behaved client sends means the same behind us to net/http, and nothing follows it; passed on once
// more, it is what it was.
func TestRequestsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		method := rapid.SampledFrom([]string{"GET", "POST", "HEAD", "OPTIONS", "M-SEARCH", "x"}).Draw(t, "method")
		path := rapid.StringMatching(`/[a-z0-9;=/+-]{0,20}(\?[!-"$-~]{0,20})?`).Draw(t, "path")
		authority := rapid.StringMatching(`[a-zA-Z0-9._~-]{1,20}(:[1-9][0-9]{0,3})?`).Draw(t, "authority")
		target := rapid.SampledFrom([]string{"", "http://" + authority}).Draw(t, "form") + path
		host := authority
		if target != path {
			host = rapid.SampledFrom([]string{authority, "", "other:80"}).Draw(t, "host")
		}
		w := write(t, method+" "+target+" HTTP/1.1", "Host: "+host)
		var r Request
		p := passRequest(append(w.wire, marker...), &r)
		if p.bad != nil || p.part || string(p.rest) != marker {
			t.Fatalf("%q: got %+v", w.wire, p)
		}
		br := bufio.NewReader(bytes.NewReader(append(p.out, marker...)))
		got, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%q goes out as %q: %v", w.wire, p.out, err)
		}
		body, err := io.ReadAll(got.Body)
		rest, _ := io.ReadAll(br)
		if err != nil || got.Method != method || got.RequestURI != path || got.Host != authority || string(rest) != marker {
			t.Fatalf("%q goes out as %q: got %s %s for %s, then %q; %v", w.wire, p.out, got.Method, got.RequestURI, got.Host, rest, err)
		}
		w.same(t, got.Header, got.Trailer, body)
		if again := passRequest(p.out, new(Request)); again.bad != nil || !bytes.Equal(again.out, p.out) {
			t.Fatalf("%q goes out as %q, and that as %q, %v", w.wire, p.out, again.out, again.bad)
		}
	})
}

// Whatever a well-behaved endpoint answers means the same behind us to net/http, and nothing follows it.
func TestResponsesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := rapid.SampledFrom([]int{200, 206, 301, 404, 418, 500, 599, 999}).Draw(t, "status")
		w := write(t, fmt.Sprintf("HTTP/1.1 %d %s", status, fieldValues.Draw(t, "reason")))
		var r Response
		p := passResponse(append(w.wire, marker...), &r, "GET", 1)
		if p.bad != nil || p.part || string(p.rest) != marker {
			t.Fatalf("%q: got %+v", w.wire, p)
		}
		br := bufio.NewReader(bytes.NewReader(append(p.out, marker...)))
		got, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("%q goes out as %q: %v", w.wire, p.out, err)
		}
		body, err := io.ReadAll(got.Body)
		rest, _ := io.ReadAll(br)
		if err != nil || got.StatusCode != status || string(rest) != marker {
			t.Fatalf("%q goes out as %q: got %d, then %q; %v", w.wire, p.out, got.StatusCode, rest, err)
		}
		w.same(t, got.Header, got.Trailer, body)
		if again := passResponse(p.out, new(Response), "GET", 1); again.bad != nil || !bytes.Equal(again.out, p.out) {
			t.Fatalf("%q goes out as %q, and that as %q, %v", w.wire, p.out, again.out, again.bad)
		}
	})
}
