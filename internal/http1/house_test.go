package http1

import (
	"strings"
	"testing"
)

// What our own programs tell each other stops at every head and trailer, however it is spelt, unless it is written on
// purpose; load reports pass where that is said.
func TestTheHouseKeepsItsFields(t *testing.T) {
	names := []string{
		"crossfade-gateway", "crossfade-drain", "crossfade-refused", "endpoint-load-metrics", "endpoint-load-metrics-bin",
	}
	for _, name := range names {
		load := strings.HasPrefix(name, "endpoint")
		for _, spelt := range []string{name, strings.ToUpper(name), strings.ReplaceAll(name, "-", "_")} {
			var r Request
			text := "GET / HTTP/1.1\r\nHost: a\r\n" + spelt + ": x\r\nX-Stays: 1\r\n\r\n"
			if _, err := r.Parse([]byte(text)); err != nil || !r.House {
				t.Fatalf("%s: %v, of the house: %t", spelt, err, r.House)
			}
			var a Response
			answer := "HTTP/1.1 200 OK\r\n" + spelt + ": x\r\nX-Stays: 1\r\nContent-Length: 0\r\n\r\n"
			if _, err := a.Parse([]byte(answer), []byte("GET")); err != nil || !a.House {
				t.Fatalf("%s: %v, of the house: %t", spelt, err, a.House)
			}
			for _, loads := range []bool{false, true} {
				e := Edit{Loads: loads}
				for what, head := range map[string][]byte{"request": AppendRequest(nil, &r, &e), "answer": AppendResponse(nil, &a, &e)} {
					if got, want := strings.Contains(string(head), spelt), load && loads; got != want || !strings.Contains(string(head), "X-Stays: 1") {
						t.Errorf("%s in a %s, loads %t: it passed: %t, want %t\n%s", spelt, what, loads, got, want, head)
					}
				}
			}
			ours := Edit{Set: []Field{{Name: []byte(name), Value: []byte("mine")}}}
			head := string(AppendRequest(nil, &r, &ours))
			if strings.Count(head, "\r\n"+name+": mine\r\n") != 1 || strings.Contains(head, spelt+": x") {
				t.Errorf("%s: written on purpose:\n%s", spelt, head)
			}
			var c Chunks
			if _, _, err := c.Next([]byte("0\r\n" + spelt + ": x\r\nX-Stays: 1\r\n\r\n")); err != nil || !c.Done() {
				t.Fatalf("%s in trailers: %v", spelt, err)
			}
			if got := string(AppendLastChunk(nil, c.Trailers())); got != "0\r\nX-Stays: 1\r\n\r\n" {
				t.Errorf("%s in trailers: got %q", spelt, got)
			}
		}
	}
	for _, near := range []string{"crossfade-drains", "crossfade-gatewax", "crossfade-warmup", "x-crossfade-drain", "endpoint-load-metric", "endpoint-load-metrics-json"} {
		var r Request
		if _, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n" + near + ": x\r\n\r\n")); err != nil || r.House {
			t.Errorf("%s: %v, of the house: %t", near, err, r.House)
		}
		if got := string(AppendRequest(nil, &r, &Edit{})); !strings.Contains(got, near) {
			t.Errorf("%s does not pass", near)
		}
	}
}

// What a head says of the house is not remembered in the next one.
func TestTheHouseIsForgotten(t *testing.T) {
	var r Request
	var a Response
	for _, with := range []bool{true, false, true} {
		field := "x-other"
		if with {
			field = "crossfade-drain"
		}
		if _, err := r.Parse([]byte("GET / HTTP/1.0\r\n" + field + ": x\r\n\r\n")); err != nil || r.House != with {
			t.Errorf("request with %s: %v, of the house: %t", field, err, r.House)
		}
		if _, err := a.Parse([]byte("HTTP/1.1 204 No Content\r\n"+field+": x\r\n\r\n"), []byte("GET")); err != nil || a.House != with {
			t.Errorf("answer with %s: %v, of the house: %t", field, err, a.House)
		}
	}
}
