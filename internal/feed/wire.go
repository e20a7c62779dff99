package feed

import (
	"context"
	"encoding/json"
	"time"

	"google.golang.org/grpc"

	"crossfade.dev/internal/fleet"
)

// The wire is gRPC with JSON messages: streams, flow control and deadlines from a library, and messages that
// are the nouns of the house, readable with any tool. maxMessage bounds one of them; a snapshot of 10,000
// endpoints is about 4 MB.
const (
	service    = "crossfade.feed.v1.Feed"
	maxMessage = 64 << 20
)

// A viewMessage is a view on the wire: how old its ages are travels as a duration, since no two programs
// share a clock.
type viewMessage struct {
	Snapshot *fleet.Snapshot `json:"snapshot"`
	Elapsed  time.Duration   `json:"elapsed_ns"` // since the snapshot's ages were true
}

type ack struct{}

// jsonCodec writes messages as JSON.
type jsonCodec struct{}

// Marshal is encoding.Codec's.
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// Unmarshal is encoding.Codec's.
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Name is encoding.Codec's.
func (jsonCodec) Name() string { return "json" }

func followStream() grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: "Follow", ServerStreams: true, Handler: handleFollow}
}

func description() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Control)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Report", Handler: handleReport}},
		Streams:     []grpc.StreamDesc{followStream()},
	}
}

func handleFollow(srv any, stream grpc.ServerStream) error {
	var who Hello
	if err := stream.RecvMsg(&who); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	return srv.(Control).Follow(ctx, who, func(v fleet.View) { //nolint:errcheck // gRPC checked HandlerType at registration.
		if err := stream.SendMsg(&viewMessage{v.Snapshot, time.Since(v.Taken)}); err != nil {
			cancel(err)
		}
	})
}

//nolint:revive // gRPC has the context second.
func handleReport(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var r fleet.Report
	if err := decode(&r); err != nil {
		return nil, err
	}
	return &ack{}, srv.(Control).Report(ctx, r) //nolint:errcheck // gRPC checked HandlerType at registration.
}
