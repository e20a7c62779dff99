//go:build integration

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A line is a connection of a gRPC client.
type line struct {
	testgrpc.TestServiceClient
	conn    *grpc.ClientConn
	callees *callees

	door    string
	trusted *tls.Config
	streams int // that can be open at a time
}

// dialUp opens a line to whom authority names, over TLS if trusted is not nil.
func (c *callees) dialUp(t *testing.T, door, authority string, trusted *tls.Config) *line {
	t.Helper()
	secrecy := insecure.NewCredentials()
	if trusted != nil {
		config := trusted.Clone()
		config.ServerName = authority
		secrecy = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient("passthrough:///"+door, grpc.WithAuthority(authority), grpc.WithTransportCredentials(secrecy),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &line{testgrpc.NewTestServiceClient(conn), conn, c, door, trusted, 5 * streamsAtOnce}
}

// TestCalls has grpc-go call itself: directly, to show that the cases are right, and through the gateway, in the clear
// and over TLS.
func TestCalls(t *testing.T) {
	callees := serveCalls(t, callsServed, callsServedToo)
	t.Run("directly", func(t *testing.T) {
		l := callees.dialUp(t, callsServed, "calls.camp", nil)
		l.streams = streamsAtOnce
		l.suite(t)
	})
	_, trusted, _ := launchHTTP2(t, nil)
	t.Run("deadline that nobody keeps", callees.forgottenDeadline)
	for name, c := range map[string]struct {
		door    string
		trusted *tls.Config
	}{"h2c": {ingress, nil}, "TLS": {secureIngress, trusted}} {
		t.Run(name, func(t *testing.T) {
			l := callees.dialUp(t, c.door, "calls.camp", c.trusted)
			l.suite(t)
			t.Run("nobody to call", l.nobodyToCall)
			t.Run("each call is balanced", l.balanced)
			t.Run("too much metadata", l.tooMuchMetadata)
		})
	}
}

func (l *line) suite(t *testing.T) {
	t.Helper()
	t.Run("metadata", l.metadata)
	t.Run("status details", l.statusDetails)
	t.Run("failure in mid-stream", l.failsInMidStream)
	t.Run("rejected while sending", l.rejectedWhileSending)
	t.Run("large messages", l.large)
	t.Run("compressed", l.compressed)
	t.Run("many messages", l.manyMessages)
	t.Run("many streams", l.manyStreams)
	t.Run("cancelled", l.cancelled)
	t.Run("line cut", l.lineCut)
	t.Run("deadline", l.deadline)
	t.Run("deadline that the endpoint ignores", l.ignoredDeadline)
	t.Run("swollen metadata", l.swollen)
}

// asking is a context of a call that wants something of the endpoint, and under what it will be noted.
func asking(ctx context.Context, do string) (asks context.Context, id string) {
	id = strconv.FormatUint(rand.Uint64(), 16)
	return metadata.AppendToOutgoingContext(ctx, callID, id, callDo, do), id
}

func wantCode(t *testing.T, err error, wants ...codes.Code) {
	t.Helper()
	if got := status.Code(err); !slices.Contains(wants, got) {
		t.Errorf("got %v (%v), want %v", got, err, wants)
	}
}

func payload(n int) *testgrpc.Payload { return &testgrpc.Payload{Body: anything(opBinary, n)} }

// metadata comes back as it was, in the order of each key's values: text, and bytes of all values.
func (l *line) metadata(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	said := metadata.Pairs("x-echo", "first", "x-echo", "second, with comma", "x-echo-bin", string(every), "x-echo-bin", "",
		"x-echo-bin", "\x00,\xff", "x-echo-long", strings.Repeat("long ", 8000)+"enough")
	var header, trailer metadata.MD
	_, err := l.UnaryCall(metadata.NewOutgoingContext(bounded(t), said), &testgrpc.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range said {
		for name, got := range map[string][]string{"header": header[key], "trailer": trailer[key]} {
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("%s %s: got %.300q, want %.300q", name, key, got, want)
			}
		}
	}
}

// wantRejection looks at a status to its last detail.
func wantRejection(t *testing.T, err error) {
	t.Helper()
	got, want := status.Convert(err), rejection()
	if got.Code() != want.Code() || got.Message() != want.Message() || fmt.Sprint(got.Details()...) != fmt.Sprint(want.Details()...) {
		t.Errorf("got %v %q %v, want %v %q %v", got.Code(), got.Message(), got.Details(), want.Code(), want.Message(), want.Details())
	}
}

func (l *line) statusDetails(t *testing.T) {
	ctx, _ := asking(bounded(t), doReject)
	_, err := l.UnaryCall(ctx, &testgrpc.SimpleRequest{})
	wantRejection(t, err)
}

// open opens a stream whose messages come back.
func (l *line) open(ctx context.Context, t *testing.T) testgrpc.TestService_FullDuplexCallClient {
	t.Helper()
	stream, err := l.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// exchange sends a message and wants it back.
func exchange(t *testing.T, stream testgrpc.TestService_FullDuplexCallClient, size int) {
	t.Helper()
	said := payload(size)
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: said}); err != nil {
		t.Fatal(err)
	}
	if back, err := stream.Recv(); err != nil || !bytes.Equal(back.GetPayload().GetBody(), said.GetBody()) {
		t.Fatalf("of %d bytes %d came back, %v", size, len(back.GetPayload().GetBody()), err)
	}
}

// wantEndOf ends a stream in order.
func wantEndOf(t *testing.T, stream testgrpc.TestService_FullDuplexCallClient) {
	t.Helper()
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end got %v, want %v", err, io.EOF)
	}
}

func (l *line) failsInMidStream(t *testing.T) {
	ctx, _ := asking(bounded(t), doFail)
	stream := l.open(ctx, t)
	for range 3 {
		exchange(t, stream, 1000)
	}
	_, err := stream.Recv()
	wantRejection(t, err)
}

// rejectedWhileSending has the status come although the client has not said its last, and sends more than fits
// anywhere.
func (l *line) rejectedWhileSending(t *testing.T) {
	ctx, _ := asking(bounded(t), doReject)
	stream := l.open(ctx, t)
	var err error
	for err == nil {
		err = stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(100_000)})
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("sending ended with %v, want %v", err, io.EOF)
	}
	_, err = stream.Recv()
	wantRejection(t, err)
}

func (l *line) large(t *testing.T) {
	const size = 16 << 20
	in := &testgrpc.SimpleRequest{Payload: payload(size)}
	out, err := l.UnaryCall(bounded(t), in)
	if err != nil || !bytes.Equal(out.GetPayload().GetBody(), in.GetPayload().GetBody()) {
		t.Fatalf("of %d bytes %d came back, %v", size, len(out.GetPayload().GetBody()), err)
	}
	stream := l.open(bounded(t), t)
	exchange(t, stream, size)
	exchange(t, stream, 0)
	wantEndOf(t, stream)
}

func (l *line) compressed(t *testing.T) {
	in := &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: make([]byte, 1<<20)}}
	out, err := l.UnaryCall(bounded(t), in, grpc.UseCompressor(gzip.Name))
	if err != nil || !bytes.Equal(out.GetPayload().GetBody(), in.GetPayload().GetBody()) {
		t.Fatalf("%d bytes came back, %v", len(out.GetPayload().GetBody()), err)
	}
}

// manyMessages sends without waiting for answers, in both directions at once.
func (l *line) manyMessages(t *testing.T) {
	const messages = 2000
	text := func(i int) string { return strconv.Itoa(i) + strings.Repeat("x", i) }
	stream := l.open(bounded(t), t)
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte(text(i))}}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for i := range messages {
		if back, err := stream.Recv(); err != nil || string(back.GetPayload().GetBody()) != text(i) {
			t.Fatalf("message %d: got %.40q, %v", i, back.GetPayload().GetBody(), err)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end got %v, want %v", err, io.EOF)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// manyStreams opens more of them than a connection to an endpoint takes, and wants each alive while all are open.
func (l *line) manyStreams(t *testing.T) {
	streams := make([]testgrpc.TestService_FullDuplexCallClient, l.streams)
	for i := range streams {
		streams[i] = l.open(bounded(t), t)
		exchange(t, streams[i], 100)
	}
	for _, s := range streams {
		exchange(t, s, 10_000)
	}
	for _, s := range streams {
		wantEndOf(t, s)
	}
}

// swollen is an answer with a lot of metadata. Whether it is passed on is for who stands between to say; calls that go
// on beside it, and later ones, are not harmed.
func (l *line) swollen(t *testing.T) {
	beside := l.open(bounded(t), t)
	exchange(t, beside, 100)
	ctx, _ := asking(bounded(t), doSwell)
	_, err := l.UnaryCall(ctx, &testgrpc.SimpleRequest{})
	wantCode(t, err, codes.OK, codes.Internal, codes.Unavailable)
	exchange(t, beside, 100)
	wantEndOf(t, beside)
}

// nobodyToCall is what the gateway says itself, as gRPC.
func (l *line) nobodyToCall(t *testing.T) {
	for authority, want := range map[string]codes.Code{
		"nobody.camp": codes.Unavailable, "nowhere.camp": codes.Unavailable, "elsewhere.camp": codes.Unimplemented,
	} {
		other := l.callees.dialUp(t, l.door, authority, l.trusted)
		wantCode(t, other.conn.Invoke(bounded(t), "/nobody.Knows/This", &testgrpc.Empty{}, &testgrpc.Empty{}), want)
	}
}

// balanced has calls on one connection go to all endpoints.
func (l *line) balanced(t *testing.T) {
	const calls = 200
	l.callees.forget()
	for range calls {
		if _, err := l.UnaryCall(bounded(t), &testgrpc.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	for address, n := range l.callees.answered() {
		if n < calls/3 {
			t.Errorf("%s got %d of %d calls, want a half", address, n, calls)
		}
	}
}

// tooMuchMetadata is refused, and harms no other call.
func (l *line) tooMuchMetadata(t *testing.T) {
	beside := l.open(bounded(t), t)
	exchange(t, beside, 100)
	ctx := metadata.AppendToOutgoingContext(bounded(t), "x-much", strings.Repeat("x", 100_000))
	_, err := l.UnaryCall(ctx, &testgrpc.SimpleRequest{})
	wantCode(t, err, codes.Internal) // by grpc-go itself, which knows the bound by SETTINGS_MAX_HEADER_LIST_SIZE
	exchange(t, beside, 100)
	wantEndOf(t, beside)
}
