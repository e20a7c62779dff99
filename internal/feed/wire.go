package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// Roles: agents see and say only what is about one incarnation, observers say nothing. That local runs instances, and
// supervisors gateways, is for them to say.
const (
	agent      = "agent"
	gateway    = "gateway"
	local      = "local"
	observer   = "observer"
	supervisor = "supervisor"
)

// errRole says that a certificate is not for what its bearer wants to be or to say.
var errRole = errors.New("the role does not allow that")

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
	if r, ok := v.(*fleet.Report); ok {
		return readReport(data, r)
	}
	began := time.Now()
	err := json.Unmarshal(data, v)
	if m, ok := v.(*viewMessage); ok {
		m.took = time.Since(began)
	}
	return err
}

// readReport reads a report. What was counted is most of it, and stands at its end; it is read apart.
func readReport(data []byte, r *fleet.Report) error {
	const field = `,"traffic":` // in no string: there, quotes are escaped
	head, rest, counts := bytes.Cut(data, []byte(field))
	if counts && !bytes.HasSuffix(head, []byte("{")) {
		if t, end, ok := fleet.ReadTraffic(rest); ok && string(end) == "}" {
			r.Traffic = t
			return json.Unmarshal(append(slices.Clip(head), '}'), r)
		}
	}
	return json.Unmarshal(data, r)
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
	s := srv.(*served) //nolint:errcheck // description says what srv is.
	if err := s.permit(stream.Context(), who.Role); err != nil {
		return refusal(err)
	}
	return refusal(s.send(stream.Context(), who, stream.SendMsg))
}

//nolint:revive // gRPC has the context second.
func handleReport(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	var r fleet.Report
	if err := decode(&r); err != nil {
		return nil, err
	}
	s := srv.(*served) //nolint:errcheck // description says what srv is.
	if err := s.permit(ctx, r.Role); err != nil {
		return nil, refusal(err)
	}
	if what := beyond(&r); what != "" && s.roles != nil {
		return nil, refusal(fmt.Errorf("%w: %s is no program that reports %s", errRole, r.Role, what))
	}
	return &ack{}, refusal(s.Report(ctx, r))
}

// permit fails where whoever calls may not have a role.
func (s *served) permit(ctx context.Context, role string) error {
	if s.roles == nil {
		return nil
	}
	may, err := s.roles(ctx)
	if err == nil && !slices.Contains(may, role) {
		err = fmt.Errorf("%w: its certificate is for %s (OU), not for %q", errRole, strings.Join(may, ", "), role)
	}
	return err
}

// beyond is what a report says that is not for its role to say; "" is nothing. What an agent may say of others is
// control's to judge.
func beyond(r *fleet.Report) string {
	runs := r.Role == agent || r.Role == local
	switch {
	case r.Role == observer:
		return "anything"
	case len(r.Instances) > 0 && !runs:
		return "instances"
	case len(r.Dead) > 0 && !runs:
		return "deaths"
	case len(r.Replicas) > 0 && r.Role != supervisor:
		return "replicas"
	case r.Traffic != nil && r.Role != agent && r.Role != gateway:
		return "traffic"
	}
	return ""
}

// refusal is an error as it goes over the wire: who asks for what is not its own need not ask again.
func refusal(err error) error {
	if errors.Is(err, control.ErrForeign) || errors.Is(err, errRole) {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return err
}
