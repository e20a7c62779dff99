package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/http2"
)

// call is the head of a call of gRPC.
func call(path string, fields ...string) *http2.Head {
	h := &http2.Head{Method: []byte("POST"), Scheme: []byte("http"), Authority: []byte("app"), Path: []byte(path), Fields: []http1.Field{
		{Name: []byte("content-type"), Value: []byte("application/grpc+proto")},
		{Name: []byte("te"), Value: []byte("trailers")},
	}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		h.Fields = append(h.Fields, http1.Field{Name: []byte(name), Value: []byte(value)})
	}
	return h
}

// outcomeOf sends a call with a message and returns its status, whether that came with the head alone, and its text.
func outcomeOf(t *testing.T, c *http2.Client, h *http2.Head) (status string, alone bool, text string) {
	t.Helper()
	s, err := c.Open(h, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, _ = s.WriteBody([]byte("\x00\x00\x00\x00\x02hi"), true)
	a, err := s.ReadHead()
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != 200 {
		t.Fatalf("%s: got the status %d, want 200", h.Path, a.Status)
	}
	if kind, _ := http1.Lookup(a.Fields, "content-type"); !strings.HasPrefix(string(kind), grpcType) {
		t.Errorf("%s: got the type %q", h.Path, kind)
	}
	fields := a.Fields
	if alone = a.End; !alone {
		if _, err := io.Copy(io.Discard, http2.Pipe{Stream: s}); err != nil {
			t.Fatal(err)
		}
		fields = s.Trailers()
	}
	code, _ := http1.Lookup(fields, "grpc-status")
	message, _ := http1.Lookup(fields, "grpc-message")
	return string(code), alone, string(message)
}

// A call that we answer ourselves is answered in the words of gRPC.
func TestOurAnswersToCalls(t *testing.T) {
	silent := serveStreams(t, func(s *http2.Stream) {
		_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
		_, _ = s.ReadBody(nil)
		hang(s)
	})
	w := newWorld(t, Options{MaxHead: 16 << 10}, silent)
	w.speak(fleet.HTTP2)
	c := w.dialStreams()
	for _, tt := range []struct {
		head       *http2.Head
		code, text string
	}{
		{call("/nowhere/m"), "14", "a service that does not exist"},
		{call("/x/m", "grpc-timeout=20m"), "4", "in time"}, // to answer, or on a busy machine to take the connection
		{call("/hurry/m"), "4", "in time"},
		{call("/../m"), "13", "path"},
	} {
		code, alone, text := outcomeOf(t, c, tt.head)
		if code != tt.code || !alone || !strings.Contains(text, tt.text) {
			t.Errorf("%s: got status %q, alone %v, %q; want %s alone with %q", tt.head.Path, code, alone, text, tt.code, tt.text)
		}
	}
	w.apply(w.view())
	if code, alone, _ := outcomeOf(t, c, call("/x/m")); code != "14" || !alone {
		t.Errorf("nobody there: got status %q, alone %v, want 14 alone", code, alone)
	}
	v := w.view()
	v.Listeners[0].Hosts = nil
	w.apply(v)
	if code, alone, _ := outcomeOf(t, c, call("/x/m")); code != "12" || !alone {
		t.Errorf("no route: got status %q, alone %v, want 12 alone", code, alone)
	}
	w.wantConserved()
	want := []evidence.Code{{Status: 4, N: 2}, {Status: 12, N: 1}, {Status: 13, N: 1}, {Status: 14, N: 2}}
	if got := w.listener().Traffic.Requests.Counts().Calls; !slices.Equal(got, want) {
		t.Errorf("got %v counted by status, want %v", got, want)
	}
}

// hang waits until the stream ends.
func hang(s *http2.Stream) {
	gone := make(chan struct{})
	s.OnGone(func() { close(gone) })
	<-gone
}

// Answers that are trailers only, and trailers after messages, come through as they are.
func TestTrailersOfCalls(t *testing.T) {
	for _, answer := range []struct {
		name  string
		do    func(*http2.Stream)
		alone bool
	}{
		{"trailers only", func(s *http2.Stream) {
			_ = s.WriteHead(&http2.Head{Status: 200, Fields: append(call("/", "grpc-status=5", "grpc-message=not here").Fields[2:], call("/").Fields[0])}, true)
		}, true},
		{"after messages", func(s *http2.Stream) {
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
			_, _ = s.WriteBody([]byte("\x00\x00\x00\x00\x00"), false)
			_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: []byte("5")}, {Name: []byte("grpc-message"), Value: []byte("not here")}})
		}, false},
		{"after a message whose length is announced", func(s *http2.Stream) {
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1], Sized: true, ContentLength: 5}, false)
			_, _ = s.WriteBody([]byte("\x00\x00\x00\x00\x00"), false)
			_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: []byte("5")}, {Name: []byte("grpc-message"), Value: []byte("not here")}})
		}, false},
		{"after nothing, announced", func(s *http2.Stream) {
			_, _ = io.Copy(io.Discard, http2.Pipe{Stream: s})
			_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1], Sized: true}, false)
			_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: []byte("5")}, {Name: []byte("grpc-message"), Value: []byte("not here")}})
		}, false},
	} {
		w := newWorld(t, Options{}, serveStreams(t, answer.do))
		w.speak(fleet.HTTPSame)
		if code, alone, text := outcomeOf(t, w.dialStreams(), call("/x/m")); code != "5" || alone != answer.alone || text != "not here" {
			t.Errorf("%s: got status %q, alone %v, %q", answer.name, code, alone, text)
		}
		w.wantConserved()
		want := []evidence.Code{{Status: 5, N: 1}}
		if got := w.p.State().services[0].Endpoints[0].Traffic.Counts().Calls; !slices.Equal(got, want) {
			t.Errorf("%s: got %v counted by status, want %v", answer.name, got, want)
		}
	}
}

// A call may be silent for longer than a request: it has a deadline of its own.
func TestCallsMayBeSilent(t *testing.T) {
	wait := make(chan struct{})
	endpoint := serveStreams(t, func(s *http2.Stream) {
		_ = s.WriteHead(&http2.Head{Status: 200, Fields: call("/").Fields[:1]}, false)
		s.Flush()
		<-wait
		_ = s.WriteTrailers([]http1.Field{{Name: []byte("grpc-status"), Value: []byte("0")}})
	})
	w := newWorld(t, Options{StreamTimeout: 50 * time.Millisecond, StallTimeout: 50 * time.Millisecond}, endpoint)
	w.speak(fleet.HTTP2)
	plainly, err := w.dialStreams().Open(get("/"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer plainly.Close()
	s, err := w.dialStreams().Open(call("/x/m"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.Copy(io.Discard, http2.Pipe{Stream: plainly}); err == nil {
		t.Error("a request that is no call was silent for too long and was not ended: the test shows nothing")
	}
	close(wait)
	if _, err := io.Copy(io.Discard, http2.Pipe{Stream: s}); err != nil {
		t.Errorf("the call: %v", err)
	}
	_, _ = s.WriteBody(nil, true)
	w.wantConserved()
}

func TestCallTimeout(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"99999999H": maxCall, "0n": 1, "": 0, "S": 0, "1": 0, "-1S": 0, "1s": 0, "123456789S": 0, "+1S": 0, "1.5S": 0,
	} {
		r := http1.Request{Fields: []http1.Field{{Name: []byte("grpc-timeout"), Value: []byte(text)}}}
		if got := callTimeout(&r); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

// An endpoint of HTTP/1.1 that closes without an answer is not there for a call.
func TestCallsToNobody(t *testing.T) {
	w := newWorld(t, Options{Retries: -1}, script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) { fmt.Fprint(c, "HTTP/1.1 200") }))
	if code, alone, text := outcomeOf(t, w.dialStreams(), call("/x/m")); code != "14" || !alone || text == "" {
		t.Errorf("got status %q, alone %v, %q; want 14", code, alone, text)
	}
	w.wantConserved()
}

// An endpoint of HTTP/2 whose port does not say so is asked in HTTP/1.1, and the answer says what to do.
func TestCallsToAPortThatDoesNotSay(t *testing.T) {
	w := newWorld(t, Options{}, serveStreams(t, func(*http2.Stream) {}))
	code, alone, text := outcomeOf(t, w.dialStreams(), call("/x/m"))
	if code != "14" || !alone || !strings.Contains(text, "name its Service's port grpc or http2") {
		t.Errorf("got status %q, alone %v, %q; want 14 and what to do", code, alone, text)
	}
	w.wantConserved()
}
