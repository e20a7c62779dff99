//go:build integration

package e2e

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // which the endpoints understand
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Metadata by which a call says what is to become of it.
const (
	callID = "x-id" // under which the endpoint notes it
	callDo = "x-do" // one of the words below
)

// What a call may ask for.
const (
	doWait   = "wait"   // until the call is over
	doIgnore = "ignore" // that it is over, until the test releases it
	doReject = "reject" // at once, with details
	doFail   = "fail"   // after three messages
	doSwell  = "swell"  // fields larger than anybody takes
)

// streamsAtOnce is how many streams each endpoint takes on a connection: few, so that one connection is not enough.
const streamsAtOnce = 20

// callees are gRPC endpoints in this process.
type callees struct {
	testgrpc.UnimplementedTestServiceServer
	mu    sync.Mutex
	noted map[string]*called
	by    map[string]int // calls by the endpoint's address
}

// A called is what an endpoint notes of a call.
type called struct {
	deadline time.Duration // that it had left, 0 for none
	ended    chan error    // why it was over while it waited
	release  chan struct{} // closed when one that ignores that may return
}

// serveCalls starts gRPC endpoints.
func serveCalls(t *testing.T, addresses ...string) *callees {
	t.Helper()
	c := &callees{noted: map[string]*called{}, by: map[string]int{}}
	for _, address := range addresses {
		c.by[address] = 0
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.MaxConcurrentStreams(streamsAtOnce), grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20),
			grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				c.count(address)
				return handle(ctx, req)
			}))
		testgrpc.RegisterTestServiceServer(server, c)
		go func() { _ = server.Serve(l) }() // until it is stopped
		t.Cleanup(server.Stop)
	}
	return c
}

// count counts a call at an endpoint.
func (c *callees) count(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[address]++
}

// forget has counting begin anew.
func (c *callees) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address := range c.by {
		c.by[address] = 0
	}
}

// answered is how many unary calls came to each endpoint.
func (c *callees) answered() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

// word is a value of a call's metadata, "" for none.
func word(ctx context.Context, key string) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get(key), ",")
}

// note is where a call is noted, by the endpoint and by the test, whoever comes first.
func (c *callees) note(id string) *called {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noted[id] == nil {
		c.noted[id] = &called{ended: make(chan error, 1), release: make(chan struct{})}
	}
	return c.noted[id]
}

// wait does as a call says whose end is asked for.
func (c *callees) wait(ctx context.Context) error {
	n := c.note(word(ctx, callID))
	if at, ok := ctx.Deadline(); ok {
		n.deadline = time.Until(at)
	}
	<-ctx.Done()
	n.ended <- ctx.Err()
	if word(ctx, callDo) == doIgnore {
		<-n.release
	}
	return status.FromContextError(ctx.Err()).Err()
}

// echoed is the metadata that a call sent, as what is sent back.
func echoed(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	back := metadata.MD{}
	for key, values := range md {
		if strings.HasPrefix(key, "x-echo") {
			back[key] = values
		}
	}
	return back
}

// rejection is a status with a message that must be encoded, and details.
func rejection() *status.Status {
	s, err := status.New(codes.FailedPrecondition, "100 % naïve\n\t☃").WithDetails(
		&testgrpc.Payload{Body: []byte("\x00why\xff")}, &testgrpc.EchoStatus{Code: 7, Message: "and why not"})
	if err != nil {
		panic(err) // the messages are ours
	}
	return s
}

// UnaryCall answers with as much as is asked for, and with the metadata that came, before and after.
func (c *callees) UnaryCall(ctx context.Context, in *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	switch word(ctx, callDo) {
	case doWait, doIgnore:
		return nil, c.wait(ctx)
	case doReject:
		return nil, rejection().Err()
	case doSwell:
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-swollen", strings.Repeat("x", 1<<20)))
	}
	if err := errors.Join(grpc.SetHeader(ctx, echoed(ctx)), grpc.SetTrailer(ctx, echoed(ctx))); err != nil {
		return nil, err
	}
	body := in.GetPayload().GetBody()
	if n := int(in.GetResponseSize()); n > 0 {
		body = anything(opBinary, n)
	}
	return &testgrpc.SimpleResponse{Payload: &testgrpc.Payload{Body: body}}, nil
}

// FullDuplexCall answers each message with one that holds the same.
func (c *callees) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	do := word(stream.Context(), callDo)
	if do == doReject {
		return rejection().Err()
	}
	for n := 1; ; n++ {
		in, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			stream.SetTrailer(echoed(stream.Context()))
			return nil
		case err != nil:
			return err
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
		switch {
		case do == doFail && n == 3:
			return rejection().Err()
		case do == doWait:
			return c.wait(stream.Context())
		}
	}
}
