//go:build integration

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func (w *way) closeCodes(t *testing.T) {
	reasons := []string{"", "going", strings.Repeat("κ", 61) + "x"}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999, closeNoStatus} {
		id, reason := w.id(t), reasons[i%len(reasons)]
		if code == closeNoStatus {
			reason = ""
		}
		s := w.open(t, "/echo", id)
		s.echoes(t, opText, []byte("hello"))
		if err := s.close(code, reason); err != nil {
			t.Fatal(err)
		}
		s.want(t, frame{true, opClose, closing(code, reason)})
		if _, err := s.hear(); !errors.Is(err, io.EOF) && !w.two {
			t.Errorf("after both closed: %v, want %v", err, io.EOF)
		}
		wantEnd(t, id, exactly(fmt.Sprintf("closed %d %q", code, reason)))
	}
}

func (w *way) closedByEndpoint(t *testing.T) {
	for _, code := range []int{1000, 1001, 1008, 1011, 1012, 4321} {
		id := w.id(t)
		s := w.open(t, "/close", id)
		if err := s.say(opText, true, fmt.Append(nil, code)); err != nil {
			t.Fatal(err)
		}
		s.want(t, frame{true, opClose, closing(code, "leaving")})
		if err := s.close(code, ""); err != nil {
			t.Fatal(err)
		}
		s.wantOver(t)
		wantEnd(t, id, exactly(fmt.Sprintf("was answered %d, <nil>", code)))
	}
}

// violations are for the endpoint to judge: they reach it, and its word reaches the client.
func (w *way) violations(t *testing.T) {
	for what, c := range map[string]struct {
		say  func(s *websocket) []byte
		code int
	}{
		"reserved bits":           {func(s *websocket) []byte { return s.raw(0xc1, []byte("deflated")) }, closeProtocol},
		"a reserved opcode":       {func(s *websocket) []byte { return s.raw(0x83, nil) }, closeProtocol},
		"a reserved control code": {func(s *websocket) []byte { return s.raw(0x8b, nil) }, closeProtocol},
		"a long ping":             {func(s *websocket) []byte { return s.raw(0x89, make([]byte, 126)) }, closeProtocol},
		"a ping in fragments":     {func(s *websocket) []byte { return s.raw(0x09, nil) }, closeProtocol},
		"the rest of nothing":     {func(s *websocket) []byte { return s.raw(0x80, nil) }, closeProtocol},
		"no mask":                 {func(*websocket) []byte { return []byte("\x81\x02hi") }, closeProtocol},
		"text that is not UTF-8":  {func(s *websocket) []byte { return s.raw(0x81, []byte("\xce\xba\xed\xa0\x80")) }, closeText},
		"a close code of 1005":    {func(s *websocket) []byte { return s.raw(0x88, []byte{0x03, 0xed}) }, closeProtocol},
		"a close code of 1 byte":  {func(s *websocket) []byte { return s.raw(0x88, []byte{0x03}) }, closeProtocol},
	} {
		id := w.id(t)
		s := w.open(t, "/echo", id)
		if _, err := s.Write(c.say(s)); err != nil {
			t.Fatal(err)
		}
		f, err := s.hear()
		if err != nil || f.op != opClose || f.code() != c.code {
			t.Errorf("%s: heard %v (%v), want close code %d", what, f, err, c.code)
		}
		wantEnd(t, id, func(end string) bool { return strings.HasPrefix(end, fmt.Sprintf("close code %d: ", c.code)) })
	}
}

// halfClosed is a client that has said its last, and hears on.
func (w *way) halfClosed(t *testing.T) {
	id := w.id(t)
	s := w.open(t, "/after", id)
	said := bytes.Repeat([]byte("x"), 100_000)
	if _, err := s.Write(said); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	s.want(t, frame{true, opText, fmt.Append(nil, len(said))})
	if _, err := s.hear(); !errors.Is(err, io.EOF) {
		t.Errorf("heard %v, want %v", err, io.EOF)
	}
	wantEnd(t, id, exactly("end"))
}

// halfClosedByEndpoint is an endpoint that has said its last, and hears on.
func (w *way) halfClosedByEndpoint(t *testing.T) {
	if !w.half {
		t.Log("an answer of Go's server ends when its handler does")
		return
	}
	id := w.id(t)
	s := w.open(t, "/half", id)
	s.want(t, frame{true, opText, []byte("enough")})
	if _, err := s.hear(); !errors.Is(err, io.EOF) {
		t.Errorf("heard %v, want %v", err, io.EOF)
	}
	if err := errors.Join(s.say(opText, true, []byte("one more")), s.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, id, exactly("end after one more"))
}

func (w *way) cutByClient(t *testing.T) {
	id := w.id(t)
	s := w.open(t, "/echo", id)
	s.echoes(t, opText, []byte("hello"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, id, func(end string) bool { return strings.HasPrefix(end, "broken") })
}

func (w *way) cutByEndpoint(t *testing.T) {
	id := w.id(t)
	s := w.open(t, "/abrupt", id)
	if err := s.say(opText, true, []byte("leave")); err != nil {
		t.Fatal(err)
	}
	if f, err := s.hear(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("heard %v (%v), want that it broke", f, err)
	}
	wantEnd(t, id, exactly("left"))
}
