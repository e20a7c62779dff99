package http1

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// always is for decode: each piece has that size.
func always(size int) func() int { return func() int { return size } }

// decode feeds b in pieces of at most size bytes each.
func decode(c *Chunks, b []byte, size func() int) (data []byte, n int, err error) {
	for n < len(b) && !c.Done() {
		piece := b[n:min(len(b), n+size())]
		for len(piece) > 0 && !c.Done() {
			part, used, err := c.Next(piece)
			if err != nil {
				return data, n, err
			}
			if used == 0 || used < len(piece) && len(part) == 0 && !c.Done() {
				return data, n, fmt.Errorf("stopped after %d of %d bytes without a reason", used, len(piece))
			}
			data = append(data, part...)
			piece, n = piece[used:], n+used
		}
	}
	return data, n, nil
}

func TestChunks(t *testing.T) {
	for name, c := range map[string]struct{ in, data, trailers string }{
		"empty":             {"0\r\n\r\n", "", ""},
		"two chunks":        {"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", ""},
		"leading zeros":     {"003\r\nabc\r\n000\r\n\r\n", "abc", ""},
		"capital and small": {"a\r\n0123456789\r\n0A\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""},
		"extensions":        {"3;a=b;c=\"d e\"\r\nabc\r\n0;x\r\n\r\n", "abc", ""},
		"data like a size":  {"5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", ""},
		"trailers":          {"0\r\nGrpc-Status: 0\r\nX: \r\n\r\n", "", "Grpc-Status=0 X= "},
	} {
		t.Run(name, func(t *testing.T) {
			var chunks Chunks
			for step := 1; step <= len(c.in); step++ {
				chunks.Reset()
				data, n, err := decode(&chunks, []byte(c.in+"tail"), always(step))
				if err != nil || n != len(c.in) || string(data) != c.data || !chunks.Done() {
					t.Fatalf("in steps of %d: got %q, %d, %v, done %t", step, data, n, err, chunks.Done())
				}
				var trailers strings.Builder
				for _, f := range chunks.Trailers() {
					fmt.Fprintf(&trailers, "%s=%s ", f.Name, f.Value)
				}
				if trailers.String() != c.trailers {
					t.Fatalf("in steps of %d: got trailers %q, want %q", step, trailers.String(), c.trailers)
				}
			}
		})
	}
}

func TestChunksRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want *Error
	}{
		"no size":                         {"\r\nabc", errChunkSize},
		"size signed":                     {"+3\r\nabc\r\n", errChunkSize},
		"size with a prefix":              {"0x3\r\nabc\r\n", errChunkLine},
		"size after a space":              {" 3\r\nabc\r\n", errChunkSize},
		"size before a space":             {"3 \r\nabc\r\n", errChunkLine},
		"size before a tab":               {"3\t;a\r\nabc\r\n", errChunkLine},
		"size over 60 bits":               {"1000000000000000\r\n", errChunkSize},
		"size with too many zeros":        {"0000000000000003\r\nabc", errChunkSize},
		"size line with a bare LF":        {"3\nabc\r\n", errChunkLine},
		"size line with a bare CR":        {"3\rabc", errChunkLine},
		"extension with a bare LF":        {"3;a\nabc\r\n", errChunkLine},
		"extension with a bare CR":        {"3;a\rb\r\n", errChunkLine},
		"extension with a NUL":            {"3;\x00\r\n", errChunkLine},
		"extension without end":           {"3;" + strings.Repeat("a", maxExtension+1), errChunkExt},
		"extensions outweigh data":        {strings.Repeat("1;"+strings.Repeat("a", maxExtension)+"\r\nx\r\n", 80), errChunkExt},
		"data longer than its size":       {"3\r\nabcd\r\n", errChunkEnd},
		"data ends with a bare LF":        {"3\r\nabc\n", errChunkEnd},
		"data ends with a bare CR":        {"3\r\nabc\rx", errChunkEnd},
		"trailer Content-Length":          {"0\r\nContent-Length: 3\r\n\r\n", errTrailerName},
		"trailer Transfer-Encoding":       {"0\r\ntransfer-encoding: chunked\r\n\r\n", errTrailerName},
		"trailer Host":                    {"0\r\nHost: a\r\n\r\n", errTrailerName},
		"trailer Authorization":           {"0\r\nAuthorization: a\r\n\r\n", errTrailerName},
		"trailer X-Forwarded-For":         {"0\r\nX-Forwarded-For: a\r\n\r\n", errTrailerName},
		"trailer Connection":              {"0\r\nConnection: close\r\n\r\n", errTrailerName},
		"trailer with a bare LF":          {"0\r\nX: a\n\r\n", errBareLF},
		"trailer section ends bare":       {"0\r\nX: a\r\n\n\r\n", errBareLF},
		"trailer folded":                  {"0\r\nX: a\r\n b\r\n\r\n", errFold},
		"trailer space before colon":      {"0\r\nX : a\r\n\r\n", errFieldName},
		"trailers without end":            {"0\r\nX: " + strings.Repeat("a", maxTrailers), errTrailerLarge},
		"trailers, many":                  {"0\r\n" + strings.Repeat("X: a\r\n", MaxFields+1) + "\r\n", errManyFields},
		"another request where data ends": {"1\r\nxGET / HTTP/1.1\r\n\r\n", errChunkEnd},
	} {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 7, len(c.in)} {
				var chunks Chunks
				_, _, err := decode(&chunks, []byte(c.in), always(step))
				if got := (*Error)(nil); !errors.As(err, &got) || got != c.want {
					t.Fatalf("in steps of %d: got %v, want %v", step, err, c.want)
				}
				if _, _, again := chunks.Next([]byte("0\r\n\r\n")); again == nil || chunks.Done() {
					t.Fatal("goes on after an error")
				}
			}
		})
	}
}

// What AppendChunk writes decodes to the same data and trailers, in whatever pieces either side works.
func TestChunksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 300)).Draw(t, "parts")
		trailer := rapid.StringMatching(`X-[A-Za-z]{1,8}`).Draw(t, "trailer")
		step := rapid.IntRange(1, 400).Draw(t, "step")
		var wire, want []byte
		for _, p := range parts {
			wire, want = AppendChunk(wire, p), append(want, p...)
		}
		wire = AppendLastChunk(wire, []Field{field(trailer, "v"), field("Host", "dropped")})
		var c Chunks
		got, n, err := decode(&c, wire, always(step))
		if err != nil || n != len(wire) || !c.Done() || string(got) != string(want) {
			t.Fatalf("got %q, %d of %d, %v; want %q", got, n, len(wire), err, want)
		}
		if tr := c.Trailers(); len(tr) != 1 || string(tr[0].Name) != trailer || string(tr[0].Value) != "v" {
			t.Fatalf("got trailers %q", tr)
		}
	})
}

func TestChunksAllocateNothing(t *testing.T) {
	body := make([]byte, 10_000)
	for i := range body {
		body[i] = byte(rand.IntN(256))
	}
	wire := AppendLastChunk(AppendChunk(AppendChunk(nil, body), body), []Field{field("X", "y")})
	out := make([]byte, 0, 2*len(wire))
	var c Chunks
	got := testing.AllocsPerRun(100, func() {
		c.Reset()
		out = out[:0]
		for b := wire; len(b) > 0; {
			data, n, err := c.Next(b)
			if err != nil {
				t.Fatal(err)
			}
			out, b = AppendChunk(out, data), b[n:]
		}
		out = AppendLastChunk(out, c.Trailers())
	})
	if got != 0 || len(out) != len(wire) {
		t.Errorf("got %v allocations and %d bytes, want none and %d", got, len(out), len(wire))
	}
}
