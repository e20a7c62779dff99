package proxy

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// drawHead draws a request as HTTP/2 lets it through: names are tokens in small letters, nothing holds a control byte,
// targets hold no space. What that may mean to HTTP/1.1 is another matter.
func drawHead(t *rapid.T) *http2.Head {
	target := rapid.StringMatching(`[!-~]{0,12}`)
	h := &http2.Head{
		Method:    []byte(rapid.SampledFrom([]string{"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "PRI", "X-Y"}).Draw(t, "method")),
		Scheme:    []byte("http"),
		Authority: []byte(rapid.OneOf(rapid.Just("app"), rapid.Just("app:80"), rapid.Just(""), target).Draw(t, "authority")),
		Path:      []byte(rapid.OneOf(rapid.Just("/"), rapid.Just("*"), rapid.StringMatching(`/[!-~]{0,12}`), target).Draw(t, "path")),
		End:       rapid.Bool().Draw(t, "end"),
	}
	if rapid.Bool().Draw(t, "sized") {
		h.Sized, h.ContentLength = true, int64(rapid.IntRange(0, 9).Draw(t, "length"))
	}
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		name := rapid.OneOf(
			rapid.SampledFrom([]string{"content_length", "transfer_encoding", "expect", "te", "trailer", "via", "x-forwarded-for", "sec-websocket-key", "host_"}),
			rapid.StringMatching(`[a-z0-9!#$%&'*+.^_|~-]{1,9}`),
		).Draw(t, "name")
		if name == "host" || name == "connection" || name == "upgrade" || name == "keep-alive" {
			continue // http2 does not let them through
		}
		h.Fields = append(h.Fields, http1.Field{
			Name:  []byte(name),
			Value: []byte(rapid.OneOf(rapid.StringMatching(`([!-~\x80-\xff]([ -~\t]{0,12}[!-~])?)?`), rapid.SampledFrom([]string{"chunked", "trailers", "100-continue", "5"})).Draw(t, "value")),
		})
	}
	return h
}

// What is written down of a request is read as it was meant, or not at all.
func TestWhatIsWrittenDownIsReadAsItWasMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawHead(t)
		var s transcript
		text := s.appendRequest(nil, h)
		var r http1.Request
		n, err := r.Parse(text)
		if err != nil {
			return
		}
		if n != len(text) {
			t.Fatalf("%q: its head ends after %d bytes of %d", text, n, len(text))
		}
		if !bytes.Equal(r.Method, h.Method) || !bytes.Equal(r.Host, h.Authority) {
			t.Fatalf("%q: got %q for %q, want %q for %q", text, r.Method, r.Host, h.Method, h.Authority)
		}
		want := http1.NoBody
		switch post := string(h.Method) == "POST" || string(h.Method) == "PUT"; {
		case h.Sized || h.End && post:
			want = http1.Length
		case !h.End:
			want = http1.Chunked
		}
		if r.Framing != want || want == http1.Length && r.ContentLength != h.ContentLength {
			t.Fatalf("%q: got the framing %d of %d, want %d of %d", text, r.Framing, r.ContentLength, want, h.ContentLength)
		}

		// And as it goes out over HTTP/2, everything that it says is still there, once.
		out, err := s.readRequest(http1.AppendRequest(nil, &r, &http1.Edit{}), plaintext)
		if err != nil {
			t.Fatalf("%q: what was to go out cannot be read: %v", text, err)
		}
		for _, f := range h.Fields {
			name := string(f.Name)
			if name == "expect" || name == "te" || name == "trailer" || strings.Contains(name, "_") {
				continue // which the codec has its own rules for
			}
			if got, want := count(out.Fields, f), count(h.Fields, f); got != want {
				t.Fatalf("%q: %q came %d times and goes out %d times", text, f, want, got)
			}
		}
		if len(out.Fields) > len(h.Fields)+2 { // Connection and Transfer-Encoding, which http2 does not write
			t.Fatalf("%q: goes out with %q, more than came", text, out.Fields)
		}
	})
}

func count(fields []http1.Field, f http1.Field) (n int) {
	for i := range fields {
		if http1.EqualFold(fields[i].Name, string(f.Name)) && bytes.Equal(fields[i].Value, f.Value) {
			n++
		}
	}
	return n
}
