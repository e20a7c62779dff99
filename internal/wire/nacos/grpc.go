package nacos

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

// The two methods.
const (
	requestMethod = "/Request/request"
	streamMethod  = "/BiRequestStream/requestBiStream"
)

// PortOffset is how far from a server's port that of its gRPC is.
const PortOffset = 1000

// A Codec has gRPC pass frames on as they are: nothing is read, nothing is written anew. Give it to every connection and
// server that speaks with Nacos: grpc.ForceCodec, grpc.ForceServerCodec.
type Codec struct{}

var _ encoding.Codec = Codec{}

// Marshal returns the bytes of a frame.
func (Codec) Marshal(v any) ([]byte, error) {
	f, ok := v.(*Frame)
	if !ok {
		return nil, fmt.Errorf("nacos: a %T is no frame", v)
	}
	return *f, nil
}

// Unmarshal has a frame hold these bytes.
func (Codec) Unmarshal(data []byte, v any) error {
	f, ok := v.(*Frame)
	if !ok {
		return fmt.Errorf("nacos: a %T is no frame", v)
	}
	*f = data
	return nil
}

// Name is that of the encoding that is told to the other side.
func (Codec) Name() string { return "proto" }

// Call sends a request and returns its response. The connection must not be one of several to a server: Nacos keeps what
// a client is by its connection.
func Call(ctx context.Context, conn grpc.ClientConnInterface, request Frame) (Frame, error) {
	var response Frame
	err := conn.Invoke(ctx, requestMethod, &request, &response, grpc.ForceCodec(Codec{}))
	return response, err
}

// A Stream is the one over which a server asks and tells a client. It is the same from both sides. One goroutine may send
// while another receives.
type Stream struct{ grpc.Stream }

// Send sends a frame.
func (s Stream) Send(f Frame) error { return s.SendMsg(&f) } //nolint:staticcheck // the two sides' own types have the same methods

// Recv waits for a frame.
func (s Stream) Recv() (Frame, error) {
	var f Frame
	err := s.RecvMsg(&f) //nolint:staticcheck // likewise
	return f, err
}

// OpenStream opens a client's stream; it ends with ctx.
func OpenStream(ctx context.Context, conn grpc.ClientConnInterface) (Stream, error) {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{StreamName: "requestBiStream", ServerStreams: true, ClientStreams: true}, streamMethod, grpc.ForceCodec(Codec{}))
	return Stream{s}, err
}

// A Server answers clients. Which connection something comes on, ctx and the stream's context say: see [grpc/peer] and
// [grpc/stats].
type Server interface {
	Request(ctx context.Context, request Frame) (Frame, error)
	Stream(s Stream) error // until the client is gone
}

// RegisterServer has a gRPC server, made with grpc.ForceServerCodec(Codec{}), serve both methods.
func RegisterServer(to grpc.ServiceRegistrar, s Server) {
	to.RegisterService(&grpc.ServiceDesc{
		ServiceName: "Request", HandlerType: (*Server)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "request", Handler: answer}},
	}, s)
	to.RegisterService(&grpc.ServiceDesc{
		ServiceName: "BiRequestStream", HandlerType: (*Server)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "requestBiStream", ServerStreams: true, ClientStreams: true,
			Handler: func(srv any, s grpc.ServerStream) error { return srv.(Server).Stream(Stream{s}) }, //nolint:forcetypeassert,errcheck // HandlerType
		}},
	}, s)
}

func answer(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
	var request Frame
	if err := decode(&request); err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, request any) (any, error) {
		response, err := srv.(Server).Request(ctx, *request.(*Frame)) //nolint:forcetypeassert,errcheck // HandlerType, and ours above
		return &response, err
	}
	if intercept == nil {
		return handle(ctx, &request)
	}
	return intercept(ctx, &request, &grpc.UnaryServerInfo{Server: srv, FullMethod: requestMethod}, handle)
}
