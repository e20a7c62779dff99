package load

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"pgregory.net/rapid"
)

// served answers a call as gRPC says, with what the request has for messages.
func served(t *testing.T, answer func(w http.ResponseWriter, next func() (string, bool))) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/echo.Echo/Any" || r.Method != http.MethodPost || r.Header.Get("Te") != "trailers" || r.Header.Get("Content-Type") != "application/grpc" {
			t.Errorf("got %s %s with %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Crossfade-Endpoint", "one")
		answer(w, func() (string, bool) {
			var before [prefix]byte
			if _, err := io.ReadFull(r.Body, before[:]); err != nil {
				return "", false
			}
			text := make([]byte, binary.BigEndian.Uint32(before[1:]))
			_, err := io.ReadFull(r.Body, text)
			return string(text), err == nil
		})
	}
}

// says writes messages and the status of the call.
func says(w http.ResponseWriter, status string, messages ...string) {
	for _, m := range messages {
		_, _ = io.WriteString(w, message(m))
		_ = http.NewResponseController(w).Flush()
	}
	if status != "" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
	}
}

func TestEachEndOfACall(t *testing.T) {
	// echo answers every message with itself.
	echo := func(w http.ResponseWriter, next func() (string, bool)) {
		for text, ok := next(); ok; text, ok = next() {
			says(w, "", text)
		}
		says(w, "0")
	}
	for _, c := range []struct {
		name     string
		messages int
		answer   func(w http.ResponseWriter, next func() (string, bool))
		want     Losses
		statuses map[string]uint64
	}{
		{"unary", 0, echo, Losses{}, map[string]uint64{"OK": 1}},
		{"a stream", 7, echo, Losses{}, map[string]uint64{"OK": 1}},
		{"a status in the head", 0, func(w http.ResponseWriter, _ func() (string, bool)) {
			w.Header().Set("Grpc-Status", "14")
		}, Losses{GRPCError: 1}, map[string]uint64{"UNAVAILABLE": 1}},
		{"a status after a message", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "4", "half") }, Losses{GRPCError: 1}, map[string]uint64{"DEADLINE_EXCEEDED": 1}},
		{"a stream's status in the middle", 7, func(w http.ResponseWriter, next func() (string, bool)) {
			_, _ = next()
			says(w, "", "one")
			_, _ = next()
			says(w, "10")
		}, Losses{GRPCError: 1}, map[string]uint64{"ABORTED": 1}},
		{"a status without a name", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "99") }, Losses{GRPCError: 1}, map[string]uint64{"99": 1}},
		{"a status that is none", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "good") }, Losses{GRPCError: 1}, map[string]uint64{"UNKNOWN": 1}},
		{"no status", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "", "one") }, Losses{Other: 1}, nil},
		{"another service's answer", 0, func(w http.ResponseWriter, _ func() (string, bool)) { w.WriteHeader(http.StatusNotFound) }, Losses{Other: 1}, nil},
		{"a proxy's answer", 0, func(w http.ResponseWriter, _ func() (string, bool)) { w.WriteHeader(http.StatusBadGateway) }, Losses{ServerError: 1}, nil},
		{"a status of gRPC's under one of HTTP's", 0, func(w http.ResponseWriter, _ func() (string, bool)) {
			w.Header().Set("Grpc-Status", "5")
			w.WriteHeader(http.StatusNotFound)
		}, Losses{GRPCError: 1}, map[string]uint64{"NOT_FOUND": 1}},
		{"OK without a message", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "0") }, Losses{Other: 1}, nil},
		{"OK with a message too many", 0, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "0", "one", "two") }, Losses{Other: 1}, nil},
		{"a stream that ends early", 7, func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "0", "one") }, Losses{Other: 1}, nil},
		{"half a message", 0, func(w http.ResponseWriter, _ func() (string, bool)) {
			_, _ = io.WriteString(w, message("one")[:6])
			says(w, "0")
		}, Losses{Other: 1}, nil},
		{"a compressed message", 0, func(w http.ResponseWriter, _ func() (string, bool)) {
			_, _ = io.WriteString(w, "\x01"+message("one")[1:])
			says(w, "0")
		}, Losses{Other: 1}, nil},
		{"a panic", 0, func(w http.ResponseWriter, _ func() (string, bool)) {
			says(w, "", "one")
			panic(http.ErrAbortHandler)
		}, Losses{StreamReset: 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			report, err := Run(t.Context(), Plan{
				URLs: []string{serveHTTP2(t, served(t, c.answer))}, Protocol: GRPC, Call: "echo.Echo/Any", Messages: c.messages,
				Body: []byte("hello"), Requests: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, report.Lost); diff != "" || report.OK != 1-c.want.Total() {
				t.Errorf("got %d ok; losses (-want +got):\n%s%v", report.OK, diff, report.OtherDetails)
			}
			if c.statuses == nil {
				c.statuses = map[string]uint64{}
			}
			if diff := cmp.Diff(c.statuses, report.GRPCStatuses); diff != "" {
				t.Errorf("statuses (-want +got):\n%s", diff)
			}
			if report.OK == 1 && report.Endpoints["one"] != 1 {
				t.Errorf("got endpoints %v, want one", report.Endpoints)
			}
		})
	}
}

// An answer that is not gRPC's goes by its status of HTTP, and its body is not taken for messages.
func TestAnswersToCallsThatAreNotGRPC(t *testing.T) {
	for _, c := range []struct {
		status   int
		kind     string
		want     Losses
		statuses map[int]uint64
		others   map[string]uint64
	}{
		{502, "text/plain", Losses{ServerError: 1}, map[int]uint64{502: 1}, map[string]uint64{}},
		{503, "application/grpc", Losses{ServerError: 1}, map[int]uint64{503: 1}, map[string]uint64{}},
		{404, "text/plain", Losses{Other: 1}, map[int]uint64{}, map[string]uint64{`not gRPC: HTTP status 404 of type "text/plain"`: 1}},
		{200, "application/grpc-web", Losses{Other: 1}, map[int]uint64{}, map[string]uint64{`not gRPC: HTTP status 200 of type "application/grpc-web"`: 1}},
		{200, "application/grpc;x=y", Losses{Other: 1}, map[int]uint64{}, map[string]uint64{"a message is compressed, and was not asked to be": 1}},
	} {
		url := serveHTTP2(t, served(t, func(w http.ResponseWriter, _ func() (string, bool)) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, "Bad Gateway: the endpoint answered badly")
		}))
		for _, messages := range []int{0, 3} {
			report, err := Run(t.Context(), Plan{
				URLs: []string{url}, Protocol: GRPC, Call: "echo.Echo/Any", Messages: messages, Body: []byte("hello"), Requests: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			got := []any{report.Lost, report.Statuses, report.OtherDetails}
			if diff := cmp.Diff([]any{c.want, c.statuses, c.others}, got); diff != "" {
				t.Errorf("%d of type %s, %d messages (-want +got):\n%s", c.status, c.kind, messages, diff)
			}
		}
	}
}

// What the server has for messages is what was given: whole, as often as asked for, and each after the answer before.
func TestMessagesOfAStream(t *testing.T) {
	text := strings.Repeat("0123456789", 10_000)
	echo := func(w http.ResponseWriter, next func() (string, bool)) {
		n := 0
		for got, ok := next(); ok; got, ok = next() {
			if n++; got != text {
				t.Errorf("message %d has %d bytes, want %d", n, len(got), len(text))
			}
			says(w, "", got)
		}
		if n != 5 {
			t.Errorf("got %d messages, want 5", n)
		}
		says(w, "0")
	}
	report, err := Run(t.Context(), Plan{
		URLs: []string{serveHTTP2(t, served(t, echo))}, Protocol: GRPC, Call: "echo.Echo/Any", Messages: 5, Body: []byte(text),
		Requests: 20, Streams: 5,
	})
	if err != nil || report.OK != 20 || report.Connects != 1 {
		t.Errorf("got %+v, %v, want 20 ok on one connection", report, err)
	}
}

// The pause is between two messages: 5 of them have 4.
func TestPausesBetweenMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := inBubbleHTTP2(Plan{Requests: 3, Protocol: GRPC, Call: "echo.Echo/Any", Messages: 5, Every: time.Second, Connections: 1, Streams: 1}, nil)
		plan.dial = echoing
		report, err := Run(t.Context(), plan)
		if err != nil || report.OK != 3 || report.Latency.Max != 4*time.Second || report.Elapsed != 12*time.Second {
			t.Errorf("got %+v, %v, want 3 ok of 4 s each", report, err)
		}
	})
}

// However a body is cut into pieces, it has the same messages in it.
func TestMessagesInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 40), 0, 10).Draw(t, "messages")
		var body bytes.Buffer
		for _, text := range texts {
			body.Write(framed(text))
		}
		cut := rapid.IntRange(0, body.Len()).Draw(t, "bytes")
		var got messages
		for rest := body.Bytes()[:cut]; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			if err := got.take(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		want, at := 0, 0
		for _, text := range texts {
			if at+prefix+len(text) > cut {
				break
			}
			want, at = want+1, at+prefix+len(text)
		}
		if got.whole != want || (got.end() == nil) != (at == cut) {
			t.Fatalf("got %d messages and %v, want %d and an error: %t", got.whole, got.end(), want, at != cut)
		}
	})
}

func TestReportOfCalls(t *testing.T) {
	answer := func(w http.ResponseWriter, _ func() (string, bool)) { says(w, "14") }
	report, err := Run(t.Context(), Plan{
		URLs: []string{serveHTTP2(t, served(t, answer))}, Protocol: GRPC, Call: "/echo.Echo/Any", Messages: 3, Requests: 5, Streams: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"closed loop: 1 connections of 2 streams, grpc with 3 messages each way, kept alive\n",
		"+ grpc                  5  100 %\n", "+ rejected              0\n", "\ngrpc status\n  UNAVAILABLE           5\n", "\nstatus\n  200                   5\n",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("want %q in\n%s", want, &table)
		}
	}
	refuses := func(p *peer, id uint32) bool { p.reset(id, http2.ErrCodeRefusedStream); return true }
	report, err = Run(t.Context(), Plan{URLs: []string{listenHTTP2(t, takesTurns(refuses))}, Protocol: HTTP2, Requests: 2, Streams: 1})
	if err != nil {
		t.Fatal(err)
	}
	table.Reset()
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"+ rejected              2  100 %, a client may send it again\n", "\nstream reset with\n  REFUSED_STREAM          2\n"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("want %q in\n%s", want, &table)
		}
	}
	if strings.Contains(table.String(), "+ grpc") {
		t.Errorf("HTTP/2 has no gRPC statuses:\n%s", &table)
	}
}
