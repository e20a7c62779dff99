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
	window     = 64 << 10 // what may wait unread: gRPC would let it grow to several snapshots, each older than the next
)

// A viewMessage is a view on the wire: how old its ages are travels as a duration, since no two programs
// share a clock.
type viewMessage struct {
	Snapshot *fleet.Snapshot `json:"snapshot"`
	Elapsed  time.Duration   `json:"elapsed_ns"` // since the snapshot's ages were true
	took     time.Duration   // to decode
}

type ack struct{}

// jsonCodec writes messages as JSON.
type jsonCodec struct{}

// Marshal is encoding.Codec's.
func (jsonCodec) Marshal(v any) ([]byte, error) {
	if w, ok := v.(*written); ok {
		return w.MarshalJSON() // json.Marshal would read it all again
	}
	return json.Marshal(v)
}

// Unmarshal is encoding.Codec's.
func (jsonCodec) Unmarshal(data []byte, v any) error {
	began := time.Now()
	err := json.Unmarshal(data, v)
	if m, ok := v.(*viewMessage); ok {
		m.took = time.Since(began)
	}
	return err
}

// Name is encoding.Codec's.
func (jsonCodec) Name() string { return "json" }

func followStream() grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: "Follow", ServerStreams: true, Handler: handleFollow}
}

func description() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Control)(nil), // in fact a *served
		Methods:     []grpc.MethodDesc{{MethodName: "Report", Handler: handleReport}},
		Streams:     []grpc.StreamDesc{followStream()},
	}
}

func handleFollow(srv any, stream grpc.ServerStream) error {
	var who Hello
	if err := stream.RecvMsg(&who); err != nil {
		return err
	}
	return srv.(*served).send(stream.Context(), who, stream.SendMsg) //nolint:errcheck // description says what srv is.
}

//nolint:revive // gRPC has the context second.
func handleReport(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var r fleet.Report
	if err := decode(&r); err != nil {
		return nil, err
	}
	return &ack{}, srv.(*served).Report(ctx, r) //nolint:errcheck // description says what srv is.
}
