package http1

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func answerMeaning(r *Response) string {
	return fmt.Sprintf("1.%d %d %s framing=%d length=%d close=%t upgrade=%s",
		r.Minor, r.Status, r.Reason, r.Framing, r.ContentLength, r.Close, r.Upgrade)
}

func TestResponseMeaning(t *testing.T) {
	const ok = "HTTP/1.1 200 OK"
	for name, c := range map[string]struct{ method, in, want string }{
		"length":               {"GET", lines(ok, "Content-Length: 5"), "1.1 200 OK framing=1 length=5 close=false upgrade="},
		"length zero":          {"GET", lines(ok, "Content-Length: 0"), "1.1 200 OK framing=1 length=0 close=false upgrade="},
		"chunked":              {"GET", lines(ok, "Transfer-Encoding: chunked"), "1.1 200 OK framing=2 length=0 close=false upgrade="},
		"until close":          {"GET", lines(ok), "1.1 200 OK framing=3 length=0 close=true upgrade="},
		"close":                {"GET", lines(ok, "Content-Length: 5", "Connection: close"), "1.1 200 OK framing=1 length=5 close=true upgrade="},
		"1.0":                  {"GET", lines("HTTP/1.0 200 OK", "Content-Length: 5"), "1.0 200 OK framing=1 length=5 close=true upgrade="},
		"1.0 keep-alive":       {"GET", lines("HTTP/1.0 200 OK", "Content-Length: 5", "Connection: keep-alive"), "1.0 200 OK framing=1 length=5 close=false upgrade="},
		"no reason":            {"GET", lines("HTTP/1.1 404", "Content-Length: 0"), "1.1 404  framing=1 length=0 close=false upgrade="},
		"empty reason":         {"GET", lines("HTTP/1.1 404 ", "Content-Length: 0"), "1.1 404  framing=1 length=0 close=false upgrade="},
		"HEAD with length":     {"HEAD", lines(ok, "Content-Length: 5"), "1.1 200 OK framing=0 length=5 close=false upgrade="},
		"HEAD chunked":         {"HEAD", lines(ok, "Transfer-Encoding: chunked"), "1.1 200 OK framing=0 length=-1 close=false upgrade="},
		"HEAD with nothing":    {"HEAD", lines(ok), "1.1 200 OK framing=0 length=-1 close=false upgrade="},
		"204":                  {"GET", lines("HTTP/1.1 204 No Content"), "1.1 204 No Content framing=0 length=-1 close=false upgrade="},
		"204 with length zero": {"GET", lines("HTTP/1.1 204 No Content", "Content-Length: 0"), "1.1 204 No Content framing=0 length=-1 close=false upgrade="},
		"204 with length":      {"GET", lines("HTTP/1.1 204 No Content", "Content-Length: 5"), "1.1 204 No Content framing=0 length=-1 close=true upgrade="},
		"204 chunked":          {"GET", lines("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"), "1.1 204 No Content framing=0 length=-1 close=true upgrade="},
		"304 with length":      {"GET", lines("HTTP/1.1 304 Not Modified", "Content-Length: 5"), "1.1 304 Not Modified framing=0 length=5 close=false upgrade="},
		"100":                  {"PUT", lines("HTTP/1.1 100 Continue"), "1.1 100 Continue framing=0 length=-1 close=false upgrade="},
		"103":                  {"GET", lines("HTTP/1.1 103 Early Hints", "Link: x"), "1.1 103 Early Hints framing=0 length=-1 close=false upgrade="},
		"101":                  {"GET", lines("HTTP/1.1 101 Switching", "Connection: Upgrade", "Upgrade: websocket"), "1.1 101 Switching framing=0 length=-1 close=true upgrade=websocket"},
		"CONNECT":              {"CONNECT", lines(ok), "1.1 200 OK framing=0 length=-1 close=true upgrade="},
		"999":                  {"GET", lines("HTTP/1.1 999 Denied", "Content-Length: 0"), "1.1 999 Denied framing=1 length=0 close=false upgrade="},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			in := []byte(c.in)
			for i := range in {
				if n, err := r.Parse(in[:i], []byte(c.method)); n != 0 || err != nil {
					t.Fatalf("after %d bytes: got %d, %v, want more", i, n, err)
				}
			}
			n, err := r.Parse(append(in, "tail"...), []byte(c.method))
			if err != nil || n != len(c.in) {
				t.Fatalf("got %d, %v, want %d bytes", n, err, len(c.in))
			}
			if diff := cmp.Diff(c.want, answerMeaning(&r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResponseRefused(t *testing.T) {
	ok := func(fields ...string) string { return lines(append([]string{"HTTP/1.1 200 OK"}, fields...)...) }
	for name, c := range map[string]struct {
		in   string
		want *Error
	}{
		"length and chunked":   {ok("Content-Length: 4", "Transfer-Encoding: chunked"), errLengthAndTE},
		"differing lengths":    {ok("Content-Length: 4", "Content-Length: 5"), errTwoLengths},
		"signed length":        {ok("Content-Length: +4"), errLength},
		"coding not chunked":   {ok("Transfer-Encoding: gzip"), errCoding},
		"another coding":       {ok("Transfer-Encoding: gzip, chunked"), errUnknownTE},
		"coding in HTTP/1.0":   {lines("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"), errOldTE},
		"space before colon":   {ok("X : y"), errFieldName},
		"folded line":          {ok("X: y", "\tz"), errFold},
		"bare LF":              {"HTTP/1.1 200 OK\nX: y\r\n\r\n", errBareLF},
		"NUL":                  {ok("X: \x00"), errFieldValue},
		"not HTTP":             {"SSH-2.0-OpenSSH", errStatusLine},
		"empty line first":     {"\r\n" + ok(), errStatusLine},
		"HTTP/1.2":             {lines("HTTP/1.2 200 OK"), errStatusLine},
		"two digits":           {lines("HTTP/1.1 20 OK"), errStatusLine},
		"four digits":          {lines("HTTP/1.1 2000 OK"), errStatusLine},
		"status below 100":     {lines("HTTP/1.1 099 OK"), errStatusLine},
		"signed status":        {lines("HTTP/1.1 +20 OK"), errStatusLine},
		"CR in the reason":     {lines("HTTP/1.1 200 O\rK"), errStatusLine},
		"101 without Upgrade":  {lines("HTTP/1.1 101 Switching", "Connection: upgrade"), errSwitch},
		"101 not nominated":    {lines("HTTP/1.1 101 Switching", "Upgrade: websocket"), errSwitch},
		"101 to two protocols": {lines("HTTP/1.1 101 Switching", "Connection: upgrade", "Upgrade: a, b"), errSwitch},
	} {
		t.Run(name, func(t *testing.T) {
			var r Response
			_, err := r.Parse([]byte(c.in), []byte("GET"))
			got := (*Error)(nil)
			if !errors.As(err, &got) || got.Status != 502 || got.Reason != c.want.Reason {
				t.Fatalf("got %v, want 502 %s", err, c.want.Reason)
			}
		})
	}
}

func TestResponseParseAllocatesNothing(t *testing.T) {
	in := []byte(lines("HTTP/1.1 200 OK", "Content-Type: text/html", "Content-Length: 12", "Connection: x-drop", "X-Drop: y"))
	var r Response
	var e Edit
	method, out := []byte("GET"), make([]byte, 0, 4096)
	got := testing.AllocsPerRun(100, func() {
		if n, err := r.Parse(in, method); n != len(in) || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		out = AppendResponse(out[:0], &r, &e)
	})
	if got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
