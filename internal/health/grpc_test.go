package health

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// A grpcServer answers every call on a server of Go's own HTTP/2, in plaintext.
func grpcServer(t testing.TB, answer http.HandlerFunc) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// answered is an answer of gRPC: a body in hexadecimal, a status and a message behind it.
func answered(body, status, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		b, _ := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
		_, _ = w.Write(b)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // it is one
		w.Header().Set("Grpc-Status", status)
		if message != "" {
			w.Header().Set("Grpc-Message", message)
		}
	}
}

// headOnly is an answer whose head is all: what gRPC calls Trailers-Only.
func headOnly(code int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(code)
	}
}

func TestLookByGRPC(t *testing.T) {
	const kind, grpc = "Content-Type", "application/grpc"
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
		ok     bool
	}{
		{"serving", answered("00 00000002 0801", "0", ""), "gRPC SERVING", true},
		{"serving, with more", answered("00 00000017 0801 1001 19 0102030405060708 2203616263 2d 01020304", "0", ""), "gRPC SERVING", true},
		{"the last one counts", answered("00 00000004 0801 0802", "0", ""), "gRPC NOT_SERVING", false},
		{"not serving", answered("00 00000002 0802", "0", ""), "gRPC NOT_SERVING", false},
		{"no status is 0", answered("00 00000000", "0", ""), "gRPC UNKNOWN", false},
		{"a status from the future", answered("00 00000003 08e807", "0", ""), "gRPC health status 1000", false},
		{"unknown service", headOnly(200, kind, grpc, "Grpc-Status", "5", "Grpc-Message", "unknown service shop.Cart"), "gRPC status 5 NOT_FOUND: unknown service shop.Cart", false},
		{"no health service", headOnly(200, kind, grpc, "Grpc-Status", "12"), "gRPC status 12 UNIMPLEMENTED", false},
		{"status after a body", answered("00 00000002 0801", "14", "drain%20now%0A%E2%9C%93"), "gRPC status 14 UNAVAILABLE: drain now ✓", false},
		{"a code without a name", answered("", "99", "x"), "gRPC status 99: x", false},
		{"a code that is none", answered("", "-1", strings.Repeat("é", 200)), "gRPC status -1: " + strings.Repeat("é", 100) + "…", false},
		{"bad gateway", headOnly(502), "gRPC: HTTP 502", false},
		{"bad gateway that knows gRPC", headOnly(503, "Grpc-Status", "14", "Grpc-Message", "no healthy endpoint"), "gRPC status 14 UNAVAILABLE: no healthy endpoint", false},
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, `gRPC: HTTP 200 of type "text/html; charset=utf-8"`, false},
		{"no status of gRPC", headOnly(200, kind, grpc), "gRPC: an answer without grpc-status", false},
		{"no message", answered("", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"two messages", answered("00 00000002 0801 00 00000002 0801", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"half a message", answered("00 00000003 0801", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"half a field", answered("00 00000001 08", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"a length beyond the end", answered("00 00000002 12ff", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"a group", answered("00 00000001 0b", "0", ""), "gRPC: an answer that is no HealthCheckResponse", false},
		{"compressed", answered("01 00000002 0801", "0", ""), "gRPC: a compressed answer, which was not asked for", false},
		{"endless", answered(strings.Repeat("00", grpcMost+1), "0", ""), "gRPC: an answer of more than 4096 bytes", false},
		{"interim first", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			answered("00 00000002 0801", "0", "")(w, r)
		}, "gRPC SERVING", true},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "gRPC: http2 stream: the peer reset it: INTERNAL_ERROR", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProbe(Target{Address: grpcServer(t, c.answer), Check: fleet.Check{GRPC: true, Path: "/not-used", Timeout: 10 * time.Second}})
			defer p.close()
			if reason, ok := p.look(t.Context()); reason != c.want || ok != c.ok {
				t.Errorf("got %q, %v; want %q, %v", reason, ok, c.want, c.ok)
			}
		})
	}
}

// What is asked is what the protocol says: the service's name in field 1, nothing for the server as a whole.
func TestWhatIsAskedByGRPC(t *testing.T) {
	for service, want := range map[string]string{
		"":          "00 00000000",
		"shop.Cart": "00 0000000b 0a09 73686f702e43617274",
	} {
		var got string
		address := grpcServer(t, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			got = hex.EncodeToString(body)
			if err != nil || r.ProtoMajor != 2 || r.Method != "POST" || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Header.Get("Te") != "trailers" ||
				r.Header.Get("Content-Type") != "application/grpc" || r.Host != r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() { //nolint:forcetypeassert // it is one
				t.Errorf("got %s %s %s of %s with %v, %v", r.Proto, r.Method, r.URL, r.Host, r.Header, err)
			}
			if left, err := time.ParseDuration(r.Header.Get("Grpc-Timeout") + "s"); err != nil || left < time.Second || left > 20*time.Second { // "19999ms"
				t.Errorf("got a time-out of %q, want about 20 s", r.Header.Get("Grpc-Timeout"))
			}
			answered("00 00000002 0801", "0", "")(w, r)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := AskGRPC(ctx, address, service); err != nil {
			t.Errorf("%q: %v", service, err)
		}
		cancel()
		if want = strings.ReplaceAll(want, " ", ""); got != want {
			t.Errorf("%q: asked with %s, want %s", service, got, want)
		}
	}
}

// An endpoint that answers in HTTP/1.1, or not at all, is not well, and leaves nothing behind.
func TestWhoDoesNotSpeakGRPC(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer old.Close()
	secured := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	secured.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secured.StartTLS()
	defer secured.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for name, c := range map[string]struct {
		address, want string
		timeout       time.Duration
	}{
		"HTTP/1.1": {old.Listener.Addr().String(), "gRPC: the endpoint speaks HTTP/1.1, not HTTP/2", time.Minute},
		"TLS":      {secured.Listener.Addr().String(), "gRPC: the endpoint closed the connection; does it speak HTTP/2 in plaintext?", time.Minute},
		"silent":   {silent.Addr().String(), "no answer in time", 20 * time.Millisecond},
		"gone":     {gone.Addr().String(), "dial: connect: connection refused", time.Minute},
	} {
		p := newProbe(Target{Address: netip.MustParseAddrPort(c.address), Check: fleet.Check{GRPC: true, Timeout: c.timeout}})
		if reason, ok := p.look(t.Context()); ok || reason != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, reason, ok, c.want)
		}
		p.close()
	}
	old.CloseClientConnections()
	secured.CloseClientConnections()
	if now := runtime.NumGoroutine(); now > before+2 { // the servers may still be at it
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// Whatever a body holds, reading it ends; what can be read can be read with one more field, and that one counts.
func FuzzHealthStatus(f *testing.F) {
	for _, seed := range []string{"0000000002" + "0801", "0000000000", "000000001708011001190102030405060708220361626" + "32d01020304", "0100000000", "00ffffffff"} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		status, err := healthStatus(body)
		if err != nil {
			if status != 0 {
				t.Errorf("%x: got status %d beside %v", body, status, err)
			}
			return
		}
		more := append(slices.Clone(body), 1<<3, 5)
		binary.BigEndian.PutUint32(more[1:], uint32(len(more)-grpcPrefix))
		if status, err := healthStatus(more); status != 5 || err != nil {
			t.Errorf("%x: got %d, %v; want 5", more, status, err)
		}
	})
}
