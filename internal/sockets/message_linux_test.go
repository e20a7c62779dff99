package sockets

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A message is read as it was sent, and nothing of what comes after it.
func TestMessages(t *testing.T) {
	want := reply{ID: 7, Error: "no", Errno: syscall.EADDRINUSE, Address: "[::]:80", Kept: true}
	data, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(data, "more"...))
	var got reply
	if err := decode(r, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
	if r.Len() != len("more") {
		t.Errorf("%d bytes are left, want %d", r.Len(), len("more"))
	}
	for n := range data {
		err := decode(bytes.NewReader(data[:n]), &got)
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n == 0]; !errors.Is(err, want) {
			t.Errorf("the first %d bytes: %v, want %v", n, err, want)
		}
	}
}

// Whatever comes, it is a message that can be sent again, or an error.
func FuzzDecode(f *testing.F) {
	for _, m := range []any{request{}, request{ID: 1, Op: opListen, Address: "0.0.0.0:80"}, reply{ID: 1 << 63, Error: "x", Errno: 98, Socket: true}} {
		data, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x02{}\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		check[request](t, data)
		check[reply](t, data)
	})
}

func check[M request | reply](t *testing.T, data []byte) {
	t.Helper()
	var m, again M
	r := bytes.NewReader(data)
	if decode(r, &m) != nil {
		return
	}
	sent, err := encode(m)
	if err != nil {
		if len(data)-r.Len() < maxMessage/6 { // what JSON escapes grows to six times at most
			t.Errorf("a message that was understood cannot be sent: %v", err)
		}
		return
	}
	if err := decode(bytes.NewReader(sent), &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, again); diff != "" {
		t.Error("(-first +second):\n" + diff)
	}
}

// One address has one spelling.
func TestCanonical(t *testing.T) {
	for address, want := range map[string]string{
		":80":                  "[::]:80",
		"[::]:80":              "[::]:80",
		"[0:0::0]:80":          "[::]:80",
		"0.0.0.0:80":           "0.0.0.0:80",
		"[::ffff:10.0.0.1]:80": "10.0.0.1:80",
		"localhost:http":       "localhost:http",
		"nonsense":             "nonsense",
	} {
		if got := canonical(address); got != want {
			t.Errorf("canonical(%q) = %q, want %q", address, got, want)
		}
	}
}
