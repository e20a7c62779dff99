package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/registry"
)

// A frame is a message as it stands on the wire.
type frame []byte

// raw is a codec that leaves messages as they are.
type raw struct{}

// Name is that of what messages are written in.
func (raw) Name() string { return "proto" }

// Marshal returns a frame's bytes.
func (raw) Marshal(v any) ([]byte, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("%T is no frame", v)
	}
	return *f, nil
}

// Unmarshal takes bytes for a frame.
func (raw) Unmarshal(data []byte, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("%T is no frame", v)
	}
	*f = slices.Clone(data)
	return nil
}

// decode and encode are a frame as one of etcd's messages.
func (f frame) decode(message any) error {
	return encoding.GetCodecV2("proto").Unmarshal(mem.BufferSlice{mem.SliceBuffer(f)}, message)
}

func encode(message any) (frame, error) {
	data, err := encoding.GetCodecV2("proto").Marshal(message)
	if err != nil {
		return nil, err
	}
	defer data.Free()
	return data.Materialize(), nil
}

// A reply is what a call is answered with.
type reply struct {
	frame
	header, trailer metadata.MD
}

// serve serves one call of the application.
func (p *Proxy) serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	ctx := p.forward(stream.Context())
	handle := map[string]func(context.Context, frame) (*reply, error){
		pb.KV_Put_FullMethodName:             p.put,
		pb.KV_Txn_FullMethodName:             p.txn,
		pb.KV_DeleteRange_FullMethodName:     p.deleteRange,
		pb.KV_Range_FullMethodName:           p.read,
		pb.Lease_LeaseRevoke_FullMethodName:  p.revoke,
		pb.Cluster_MemberList_FullMethodName: p.members,
		pb.Auth_Authenticate_FullMethodName:  p.authenticate,
	}[method]
	if handle == nil {
		return p.pump(ctx, method, stream)
	}
	var in frame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	out, err := handle(ctx, in)
	if out != nil {
		stream.SetTrailer(out.trailer)
		_ = stream.SetHeader(out.header) // it has not been sent
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&out.frame)
}

// forward returns a context that says of the application what it says itself, and remembers who that is.
func (p *Proxy) forward(ctx context.Context) context.Context {
	in, _ := metadata.FromIncomingContext(ctx)
	out := metadata.MD{}
	for name, values := range in {
		if strings.HasPrefix(name, ":") || strings.HasPrefix(name, "grpc-") || name == "content-type" || name == "user-agent" || name == "te" {
			continue
		}
		out[name] = values
	}
	if token := tokens(out); len(token) > 0 {
		p.mu.Lock()
		p.token = token
		p.mu.Unlock()
	}
	return metadata.NewOutgoingContext(ctx, out)
}

// tokens are what shows who somebody is.
func tokens(all metadata.MD) metadata.MD {
	token := metadata.MD{}
	for _, name := range []string{"token", "authorization"} {
		if values := all.Get(name); len(values) > 0 {
			token[name] = values
		}
	}
	return token
}

// authenticate has etcd log the application in, and remembers how it did that: its token may have ended when something is
// to be done in its name.
func (p *Proxy) authenticate(ctx context.Context, in frame) (*reply, error) {
	r, err := p.pass(ctx, pb.Auth_Authenticate_FullMethodName, in)
	if err == nil {
		p.mu.Lock()
		p.login = in
		p.mu.Unlock()
	}
	return r, err
}

// again logs in as the application did last, and returns by what to show it. Where it has not, that is what it shows
// itself now.
func (p *Proxy) again(ctx context.Context) (metadata.MD, error) {
	p.mu.Lock()
	token, login := p.token, p.login
	p.mu.Unlock()
	if login == nil {
		return token, nil
	}
	var answer pb.AuthenticateResponse
	if _, err := p.answer(metadata.NewOutgoingContext(ctx, nil), pb.Auth_Authenticate_FullMethodName, login, &answer); err != nil {
		return nil, err
	}
	return metadata.Pairs("token", answer.Token), nil
}

// pass has etcd answer a unary call.
func (p *Proxy) pass(ctx context.Context, method string, in frame) (*reply, error) {
	r := &reply{}
	err := p.etcd.Invoke(ctx, method, &in, &r.frame, grpc.Header(&r.header), grpc.Trailer(&r.trailer))
	return r, err
}

// ask has etcd answer a question of ours.
func (p *Proxy) ask(ctx context.Context, method string, in, out any) error {
	question, err := encode(in)
	if err != nil {
		return err
	}
	answer, err := p.pass(ctx, method, question)
	if err != nil {
		return err
	}
	return answer.decode(out)
}

// answer passes a call on, and reads what comes back.
func (p *Proxy) answer(ctx context.Context, method string, in frame, out any) (*reply, error) {
	r, err := p.pass(ctx, method, in)
	if err == nil {
		err = r.decode(out)
	}
	return r, err
}

// with puts another message into a reply.
func (r *reply) with(message any) (*reply, error) {
	f, err := encode(message)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if r == nil {
		r = &reply{}
	}
	r.frame = f
	return r, nil
}

// pump passes a call on, message by message, both ways. Leases that have ended are noticed on the way.
func (p *Proxy) pump(ctx context.Context, method string, down grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	up, err := p.etcd.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the call: the application's side of it does
		for {
			var f frame
			if err := down.RecvMsg(&f); err != nil {
				if !errors.Is(err, io.EOF) {
					cancel()
				}
				_ = up.CloseSend() // it says so when it is received from
				return
			}
			if up.SendMsg(&f) != nil {
				return // likewise
			}
		}
	}()
	if header, err := up.Header(); err == nil {
		_ = down.SetHeader(header) // it has not been sent
	}
	for {
		var f frame
		err := up.RecvMsg(&f)
		if err != nil {
			down.SetTrailer(up.Trailer())
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if method == pb.Lease_LeaseKeepAlive_FullMethodName {
			p.kept(f)
		}
		if err := down.SendMsg(&f); err != nil {
			return err
		}
	}
}

// away makes of an error of etcd's one that wraps registry.ErrAway, where it cannot be reached or takes too long.
func away(err error) error {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return fmt.Errorf("%w: %w", registry.ErrAway, err)
	default:
		return err
	}
}

// members answers who is asked for etcd's members, so that nobody is led around the proxy: each is reached here.
func (p *Proxy) members(ctx context.Context, in frame) (*reply, error) {
	var list pb.MemberListResponse
	r, err := p.answer(ctx, pb.Cluster_MemberList_FullMethodName, in, &list)
	if err != nil {
		return r, err
	}
	for _, m := range list.Members {
		if len(m.ClientURLs) > 0 {
			m.ClientURLs = []string{"http://" + p.Addr()}
		}
	}
	return r.with(&list)
}
