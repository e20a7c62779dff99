package main

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What answers say of who gave them, in their headers.
const (
	instanceKey = "x-echo-instance"
	versionKey  = "x-echo-version"
)

// Repeats are how often ServerStream sends its message, unless the caller's metadata says otherwise.
const (
	repeatKey = "x-echo-repeat"
	repeats   = 3
)

// maxGathered bounds what ClientStream gathers, in bytes.
const maxGathered = 4 << 20

// A Message is what is sent and given back. With protoc it would have a name and fields of its own; the service
// would be
//
//	service Echo {
//	  rpc Unary(google.protobuf.BytesValue) returns (google.protobuf.BytesValue);
//	  rpc ServerStream(google.protobuf.BytesValue) returns (stream google.protobuf.BytesValue);
//	  rpc ClientStream(stream google.protobuf.BytesValue) returns (google.protobuf.BytesValue);
//	  rpc BidiStream(stream google.protobuf.BytesValue) returns (stream google.protobuf.BytesValue);
//	}
type Message = wrapperspb.BytesValue

// An echo is the service.
type echo struct {
	identity metadata.MD
	latency  time.Duration
}

func newEcho(o *options) *echo {
	return &echo{identity: metadata.Pairs(instanceKey, o.instance, versionKey, o.version), latency: o.latency}
}

// describe is what protoc would have written.
func (e *echo) describe() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "echo.Echo",
		Methods:     []grpc.MethodDesc{{MethodName: "Unary", Handler: e.unary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "ServerStream", Handler: e.serverStream, ServerStreams: true},
			{StreamName: "ClientStream", Handler: e.clientStream, ClientStreams: true},
			{StreamName: "BidiStream", Handler: e.bidiStream, ServerStreams: true, ClientStreams: true},
		},
	}
}

// unary gives the message back.
func (e *echo) unary(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // The signature is grpc.MethodDesc's.
	var in Message
	if err := read(&in); err != nil {
		return nil, err
	}
	if err := grpc.SetHeader(ctx, e.identity); err != nil {
		return nil, err
	}
	return &in, e.work(ctx)
}

// serverStream gives the message back several times.
func (e *echo) serverStream(_ any, stream grpc.ServerStream) error {
	var in Message
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	if err := stream.SendHeader(e.identity); err != nil {
		return err
	}
	n := repeats
	if asked := metadata.ValueFromIncomingContext(stream.Context(), repeatKey); len(asked) > 0 {
		var err error
		if n, err = strconv.Atoi(asked[0]); err != nil || n < 0 {
			return status.Errorf(codes.InvalidArgument, "%s %q: want a number", repeatKey, asked[0])
		}
	}
	for range n {
		if err := e.work(stream.Context()); err != nil {
			return err
		}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
	}
	return nil
}

// clientStream gives all the messages back as one.
func (e *echo) clientStream(_ any, stream grpc.ServerStream) error {
	var all Message
	for {
		var in Message
		err := stream.RecvMsg(&in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if len(all.Value)+len(in.Value) > maxGathered {
			return status.Errorf(codes.ResourceExhausted, "more than %d bytes", maxGathered)
		}
		all.Value = append(all.Value, in.Value...)
	}
	if err := stream.SetHeader(e.identity); err != nil {
		return err
	}
	if err := e.work(stream.Context()); err != nil {
		return err
	}
	return stream.SendMsg(&all)
}

// bidiStream gives each message back as it comes.
func (e *echo) bidiStream(_ any, stream grpc.ServerStream) error {
	if err := stream.SendHeader(e.identity); err != nil {
		return err
	}
	for {
		var in Message
		err := stream.RecvMsg(&in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := e.work(stream.Context()); err != nil {
			return err
		}
		if err := stream.SendMsg(&in); err != nil {
			return err
		}
	}
}

// work takes as long as a message does; a call whose client has gone is not served.
func (e *echo) work(ctx context.Context) error {
	timer := time.NewTimer(e.latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
