//go:build linux

package wire

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

func request(method, scheme, path string, more ...hpack.HeaderField) []hpack.HeaderField {
	return append([]hpack.HeaderField{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: scheme},
		{Name: ":path", Value: path},
		{Name: ":authority", Value: "x"},
	}, more...)
}

// streams is shortly's work over HTTP/2.
func streams(port, size int) Work {
	w := shortly(port, size)
	w.HTTP2 = &HTTP2{Streams: 8, Fields: request("GET", "http", fmt.Sprintf("/b/%d", size))}
	return w
}

// unary is shortly's work as gRPC.
func unary(port, size int) Work {
	w := shortly(port, size)
	w.HTTP2 = &HTTP2{
		Streams: 8, GRPC: true, Body: Message([]byte("what?")),
		Fields: request("POST", "http", fmt.Sprintf("/bench.Body/%d", size), hpack.HeaderField{Name: "content-type", Value: "application/grpc"}, hpack.HeaderField{Name: "te", Value: "trailers"}),
	}
	return w
}

// serveHTTP2 starts net/http's server with this handler.
func serveHTTP2(t *testing.T, secure bool, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(!secure)
	s.Config.Protocols.SetHTTP2(secure)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestCallsAndReplies(t *testing.T) {
	l, ports := newLoop(t, 2)
	large := streams(ports[1], frameMost)
	large.HTTP2.Streams = MaxStreams // 4 MB do not fit into the buffers of sockets
	for name, w := range map[string]Work{
		"200 B":      streams(ports[1], 200),
		"4 MB":       large,
		"no body":    streams(ports[1], 0),
		"16 KB":      streams(ports[1], frameMost),
		"gRPC":       unary(ports[1], 200),
		"empty gRPC": unary(ports[1], 0),
	} {
		result, err := do(l, w)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if result.Requests == 0 || result.All < result.Requests {
			t.Errorf("%s: %d requests of %d", name, result.Requests, result.All)
		}
		if l.Served[0] != 0 || l.Served[1] != result.All {
			t.Errorf("%s: endpoints served %v, clients had %d answers from the second", name, l.Served, result.All)
		}
	}
}

// The clients understand a server that is not ours, and it them; the endpoints likewise.
func TestThroughAProxyOfHTTP2(t *testing.T) {
	l, ports := newLoop(t, 1)
	to := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", ports[0])}
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: &http.Transport{Protocols: only},
	}
	for _, secure := range []bool{false, true} {
		s := serveHTTP2(t, secure, proxy.ServeHTTP)
		for name, w := range map[string]Work{"GET": streams(portOf(t, s), 200), "gRPC": unary(portOf(t, s), 200)} {
			if secure {
				w.HTTP2.Fields[1].Value = "https"
				w.TLS = &TLS{Config: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", NextProtos: []string{"h2"}}}
			}
			result, err := do(l, w)
			if err != nil || result.Requests == 0 {
				t.Errorf("%s, TLS %v: %d requests, %v", name, secure, result.Requests, err)
			}
		}
	}
}

// raw passes messages through gRPC as they are.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(b mem.BufferSlice, v any) error {
	*v.(*[]byte) = b.Materialize()
	return nil
}

var _ encoding.CodecV2 = raw{}

func TestCallsOfAGRPCServer(t *testing.T) {
	l, _ := newLoop(t, 0)
	at, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var asked []byte
		if err := stream.RecvMsg(&asked); err != nil {
			return err
		}
		if string(asked) != "what?" {
			return status.Errorf(codes.InvalidArgument, "asked %q", asked)
		}
		answer := Body(300)
		return stream.SendMsg(&answer)
	}))
	go s.Serve(at)
	defer s.Stop()
	port := at.Addr().(*net.TCPAddr).Port
	result, err := do(l, unary(port, 300))
	if err != nil || result.Requests == 0 {
		t.Errorf("%d calls, %v", result.Requests, err)
	}
	w := unary(port, 300)
	w.HTTP2.Body = Message([]byte("something else"))
	if _, err := do(l, w); err == nil || !strings.Contains(err.Error(), `asked "something else"`) {
		t.Errorf("a call that the server refuses: %v, want what it says", err)
	}
}

func TestRepliesToAGRPCClient(t *testing.T) {
	l, ports := newLoop(t, 1)
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", ports[0]), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	results := make(chan error)
	go func() {
		for _, size := range []int{200, 0, 200, 15_000, 200} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			asked, answer := []byte("what?"), []byte(nil)
			err := conn.Invoke(ctx, fmt.Sprintf("/bench.Body/%d", size), &asked, &answer)
			if err == nil && string(answer) != string(Body(size)) {
				err = fmt.Errorf("%d bytes came, want %d", len(answer), size)
			}
			results <- err
			cancel()
		}
		close(results)
	}()
	for {
		select {
		case err, more := <-results:
			if err != nil {
				t.Error(err)
			}
			if !more {
				return
			}
		default:
			if err := l.Idle(time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWrongAnswersOverHTTP2(t *testing.T) {
	l, ports := newLoop(t, 1)
	answer := func(head map[string]string, code int, body []byte, tail map[string]string) int {
		s := serveHTTP2(t, false, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			for k, v := range head {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			w.Write(body)
			for k, v := range tail {
				w.Header().Set(http.TrailerPrefix+k, v)
			}
		})
		return portOf(t, s)
	}
	kind := map[string]string{"Content-Type": "application/grpc"}
	fine := map[string]string{"Grpc-Status": "0"}
	five := Message([]byte("12345"))
	if _, err := do(l, unary(answer(kind, 200, five, fine), 5)); err != nil {
		t.Fatalf("what is right: %v", err)
	}
	lie := append([]byte(nil), five...)
	binary.BigEndian.PutUint32(lie[1:], 4)
	for name, w := range map[string]Work{
		"status":         streams(answer(nil, 503, []byte("12345"), nil), 5),
		"length":         streams(ports[0], 6),
		"message":        unary(answer(kind, 200, five, fine), 6),
		"HTTP/1.1":       streams(portOf(t, serve(t, false, 200, "12345")), 5),
		"nobody":         streams(1, 5),
		"no trailers":    unary(answer(kind, 200, five, nil), 5),
		"grpc-status":    unary(answer(kind, 200, five, map[string]string{"Grpc-Status": "14"}), 5),
		"no message":     unary(answer(kind, 200, nil, fine), 5),
		"trailers only":  unary(answer(map[string]string{"Content-Type": "application/grpc", "Grpc-Status": "0"}, 200, nil, nil), 5),
		"half a message": unary(answer(kind, 200, five[:7], fine), 5),
		"a wrong prefix": unary(answer(kind, 200, lie, fine), 5),
		"content type":   unary(answer(map[string]string{"Content-Type": "text/html"}, 200, five, fine), 5),
	} {
		w.HTTP2.Fields[2].Value = "/b/5"
		if _, err := do(l, w); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := do(l, unary(answer(kind, 200, five, fine), 5)); err != nil {
		t.Errorf("after errors, right work: %v", err)
	}
}

// An endpoint answers whole messages alone: a proxy that loses bodies is found out.
func TestHalfARequestEndsTheWork(t *testing.T) {
	l, ports := newLoop(t, 1)
	w := unary(ports[0], 5)
	w.HTTP2.Body = w.HTTP2.Body[:7]
	if _, err := do(l, w); err == nil {
		t.Error("half a message is answered")
	}
}

func TestTLSWithoutHTTP2(t *testing.T) {
	l, _ := newLoop(t, 0)
	s := serve(t, true, 200, "12345")
	w := streams(portOf(t, s), 5)
	w.TLS = &TLS{Config: &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com", NextProtos: []string{"h2"}}}
	if _, err := do(l, w); err == nil {
		t.Error("h2 is spoken to whom does not want it")
	}
}

// However frames are cut into pieces, each is handled once, when it is complete.
func TestFramesInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent []byte
		var want []string
		for i := range rapid.IntRange(1, 5).Draw(t, "frames") {
			payload := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "payload")
			sent = appendFrame(sent, dataFrame, byte(i), uint32(2*i+1), payload)
			want = append(want, fmt.Sprintf("%d %d %x", i, 2*i+1, payload))
		}
		s := newSession(false)
		var got []string
		for at := 0; at < len(sent); {
			n := rapid.IntRange(1, len(sent)-at).Draw(t, "piece")
			err := s.take(append([]byte(nil), sent[at:at+n]...), func(f frame) error {
				got = append(got, fmt.Sprintf("%d %d %x", f.flags, f.stream, f.payload))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			at += n
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("frames %v, want %v", got, want)
		}
	})
}

// Blocks that were remembered are read as a decoder reads them that remembers nothing.
func TestBlocksAreReadAsTheyStand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, r := newWriter(), newReader()
		for range rapid.IntRange(1, 40).Draw(t, "blocks") {
			path := rapid.SampledFrom([]string{"/a", "/b", "/c", "/" + strings.Repeat("d", 3000)}).Draw(t, "path")
			fields := []hpack.HeaderField{{Name: ":path", Value: path}}
			if rapid.Bool().Draw(t, "two") {
				fields = append(fields, hpack.HeaderField{Name: "grpc-status", Value: "0", Sensitive: rapid.Bool().Draw(t, "sensitive")})
			}
			if rapid.IntRange(0, 9).Draw(t, "limited") == 0 {
				w.limit(uint32(rapid.SampledFrom([]int{0, 100, defaultTable}).Draw(t, "limit")))
			}
			raw, err := w.block(fmt.Sprint(fields), fields)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.read(raw)
			if err != nil || got.path != path || (got.grpcStatus == "0") != (len(fields) == 2) || got.length != -1 {
				t.Fatalf("%x says %v (%v), want the path %q", raw, got, err, path)
			}
		}
	})
}

// Padding and priority are no content.
func TestContent(t *testing.T) {
	for _, tt := range []struct {
		f    frame
		want string
		err  error
	}{
		{frame{kind: dataFrame, payload: []byte("abc")}, "abc", nil},
		{frame{kind: dataFrame, flags: padded, payload: []byte("\x02abc\x00\x00")}, "abc", nil},
		{frame{kind: headersFrame, flags: padded | priority, payload: []byte("\x01wwwwwabc\x00")}, "abc", nil},
		{frame{kind: headersFrame, flags: priority, payload: []byte("wwwwwabc")}, "abc", nil},
		{frame{kind: dataFrame, flags: priority, payload: []byte("abc")}, "abc", nil},
		{frame{kind: dataFrame, flags: padded, payload: []byte("\x04abc")}, "", errPadding},
		{frame{kind: dataFrame, flags: padded}, "", errPadding},
		{frame{kind: headersFrame, flags: priority, payload: []byte("wwww")}, "", errPadding},
	} {
		got, err := tt.f.content()
		if string(got) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%+v: %q, %v, want %q, %v", tt.f, got, err, tt.want, tt.err)
		}
	}
	s, e := newSession(false), exchange{}
	if err := s.hear(&e, frame{kind: dataFrame, flags: padded, payload: []byte("\x02abc\x00\x00")}); err != nil || e.got != 3 || s.taken != 6 {
		t.Errorf("of 3 bytes with padding %d were counted as content and %d as taken: %v", e.got, s.taken, err)
	}
}

func TestWindowsAreKept(t *testing.T) {
	s := newSession(false)
	if ok, err := s.fits(s.room); ok || !errors.Is(err, errWindow) {
		t.Errorf("a body of %d bytes in one frame: %v, %v", s.room, ok, err)
	}
	for sent := 0; sent+1000 <= firstWindow; sent += 1000 {
		if ok, err := s.fits(1000); !ok || err != nil {
			t.Fatalf("after %d bytes: %v, %v", sent, ok, err)
		}
		s.say(1, nil, Body(1000), true)
	}
	if ok, _ := s.fits(1000); ok {
		t.Errorf("1000 bytes fit into %d", s.room)
	}
	if err := s.take(appendWindow(nil, 0, 1000), nil); err != nil {
		t.Fatal(err)
	}
	if ok, _ := s.fits(1000); !ok {
		t.Errorf("1000 bytes do not fit into %d", s.room)
	}
	for range connWindow / 1000 {
		s.out = s.out[:0]
		if s.give(1000); len(s.out) > 0 {
			return
		}
	}
	t.Error("what was taken is never given back")
}
