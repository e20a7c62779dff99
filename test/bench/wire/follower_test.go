//go:build linux

package wire

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// However a message is cut into pieces, its head is seen once and its end when it has come, not earlier.
func TestMessagesInPieces(t *testing.T) {
	message := "HTTP/1.1 200 OK\r\nDate: now\r\ncontent-LENGTH:  5 \r\nConnection: close\r\n\r\nhello"
	rapid.Check(t, func(t *rapid.T) {
		var f follower
		for range 2 { // the state after a message is that before it
			heads, at := 0, 0
			for at < len(message) {
				n := rapid.IntRange(1, len(message)-at).Draw(t, "piece")
				h, done, err := f.next([]byte(message[at : at+n]))
				if err != nil {
					t.Fatal(err)
				}
				if at += n; done != (at == len(message)) {
					t.Fatalf("after %d of %d bytes done is %v", at, len(message), done)
				}
				if h.size == 0 {
					continue
				}
				heads++
				if string(h.first) != "HTTP/1.1 200 OK" || h.length != 5 || !h.close {
					t.Fatalf("the head is %q with length %d, close %v", h.first, h.length, h.close)
				}
			}
			if heads != 1 {
				t.Fatalf("%d heads, want 1", heads)
			}
		}
	})
}

func TestWhatIsNotFollowed(t *testing.T) {
	for text, want := range map[string]error{
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":           errChunked,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc":                 errMore,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n": errMore,
	} {
		var f follower
		if _, _, err := f.next([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nconn\r\n\r\n"} {
		var f follower
		if _, _, err := f.next([]byte(text)); err == nil {
			t.Errorf("%q is followed", text)
		}
	}
}
