package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// start serves until the test ends, or until stop, which waits for the end, and returns a connection.
func start(t *testing.T, args ...string) (conn *grpc.ClientConn, stop func() error) {
	t.Helper()
	o, err := parse(append([]string{"--instance", "echo-v1-1"}, args...), func(string) string { return "" }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, listener, &o, slog.New(slog.DiscardHandler))
		close(ended)
	}()
	stop = func() error { cancel(); return <-ended }
	conn, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(); _ = stop() })
	return conn, stop
}

// openStream begins one of the streaming calls.
func openStream(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// send sends messages; the last of them is.
func send(t *testing.T, stream grpc.ClientStream, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err := stream.SendMsg(&Message{Value: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// wantMessages sees that these come, then the end, all of them signed.
func wantMessages(t *testing.T, stream grpc.ClientStream, texts ...string) {
	t.Helper()
	for i, text := range texts {
		var got Message
		if err := stream.RecvMsg(&got); err != nil || string(got.Value) != text {
			t.Errorf("message %d: got %q, %v, want %q", i, got.Value, err, text)
		}
	}
	if err := stream.RecvMsg(&Message{}); !errors.Is(err, io.EOF) {
		t.Errorf("after %d messages: got %v, want the end", len(texts), err)
	}
	if header, err := stream.Header(); err != nil || len(header[instanceKey]) != 1 || header[instanceKey][0] != "echo-v1-1" {
		t.Errorf("got headers %v, %v, want the instance", header, err)
	}
}

func TestCallsOfEveryKind(t *testing.T) {
	conn, _ := start(t, "--latency", "1ms")
	var header metadata.MD
	in, out := Message{Value: bytes.Repeat([]byte("x"), 1<<20)}, Message{}
	if err := conn.Invoke(t.Context(), "/echo.Echo/Unary", &in, &out, grpc.Header(&header)); err != nil || !bytes.Equal(in.Value, out.Value) {
		t.Errorf("unary: got %d bytes, %v, want %d", len(out.Value), err, len(in.Value))
	}
	if got := header[instanceKey]; len(got) != 1 || got[0] != "echo-v1-1" {
		t.Errorf("unary: got headers %v, want the instance", header)
	}

	stream := openStream(t.Context(), t, conn, "ServerStream")
	send(t, stream, "a")
	wantMessages(t, stream, "a", "a", "a")
	stream = openStream(metadata.AppendToOutgoingContext(t.Context(), repeatKey, "5"), t, conn, "ServerStream")
	send(t, stream, "b")
	wantMessages(t, stream, "b", "b", "b", "b", "b")
	stream = openStream(t.Context(), t, conn, "ClientStream")
	send(t, stream, "a", "b", "", "c")
	wantMessages(t, stream, "abc")
	stream = openStream(t.Context(), t, conn, "BidiStream")
	send(t, stream, "a", "b", "c")
	wantMessages(t, stream, "a", "b", "c")
}

func TestCallsThatCannotBe(t *testing.T) {
	conn, _ := start(t)
	if err := conn.Invoke(t.Context(), "/echo.Echo/Nothing", &Message{}, &Message{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("no such method: got %v, want Unimplemented", err)
	}
	stream := openStream(metadata.AppendToOutgoingContext(t.Context(), repeatKey, "often"), t, conn, "ServerStream")
	send(t, stream, "a")
	if err := stream.RecvMsg(&Message{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a repeat that is no number: got %v, want InvalidArgument", err)
	}
	stream = openStream(t.Context(), t, conn, "ClientStream")
	part := string(make([]byte, maxGathered/2+1))
	send(t, stream, part, part)
	if err := stream.RecvMsg(&Message{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too much to gather: got %v, want ResourceExhausted", err)
	}
}

func TestHealthWaitsForTheColdStart(t *testing.T) {
	for _, c := range []struct {
		start string
		want  healthpb.HealthCheckResponse_ServingStatus
	}{{"0s", healthpb.HealthCheckResponse_SERVING}, {"1h", healthpb.HealthCheckResponse_NOT_SERVING}} {
		conn, _ := start(t, "--cold-start", c.start)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for got := healthpb.HealthCheckResponse_UNKNOWN; got != c.want; {
			answer, err := watch.Recv()
			if err != nil {
				t.Fatalf("cold start %s: got %v, want %v", c.start, err, c.want)
			}
			got = answer.Status
		}
	}
}

// A call that is open when the service is told to end comes to its own end.
func TestCallsInFlightAreFinished(t *testing.T) {
	conn, stop := start(t)
	stream := openStream(t.Context(), t, conn, "BidiStream")
	if _, err := stream.Header(); err != nil { // it has arrived
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for {
		err := conn.Invoke(t.Context(), "/echo.Echo/Unary", &Message{}, &Message{})
		if err != nil { // nothing new is taken any more
			break
		}
	}
	send(t, stream, "still here")
	wantMessages(t, stream, "still here")
	if err := <-ended; err != nil {
		t.Errorf("got %v, want an end in order", err)
	}
}

func TestCommandLine(t *testing.T) {
	env := map[string]string{"HOST": "127.2.0.1", "PORT": "9000", "POD_NAME": "echo-v2-3"}
	o, err := parse(nil, func(name string) string { return env[name] }, io.Discard)
	if err != nil || o.listen != "127.2.0.1:9000" || o.instance != "echo-v2-3" {
		t.Errorf("got %+v, %v, want what the environment says", o, err)
	}
	for _, args := range [][]string{{"now"}, {"--latency", "much"}, {"--what"}} {
		if err := run(t.Context(), args, func(string) string { return "" }, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%v: got %v, want wrong usage", args, err)
		}
	}
}
