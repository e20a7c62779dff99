package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

// Kinds of events that the gate does not tell by itself.
const unread = "hold.unread"

var errEmpty = errors.New("it names no instance")

// Request passes a call of the application's on, over its own connection, unless it is about instances.
func (s *serving) Request(ctx context.Context, f wire.Frame) (wire.Frame, error) {
	l, err := linkOf(ctx)
	if err != nil {
		return nil, err
	}
	p, err := f.Payload()
	if err != nil {
		s.gate.Note(unread, "a call over gRPC in "+s.Registry()+"; refused: "+err.Error())
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	l.heard(p)
	switch p.Type {
	case wire.TypeInstance, wire.TypePersistentInstance, wire.TypeBatchInstance:
		return s.instances(ctx, l, f, p)
	case wire.TypeServiceQuery, wire.TypeSubscribe:
		return s.answersQuery(ctx, l, f, p)
	}
	return wire.Call(ctx, l.conn, f)
}

// heard notes the newest token of the application's.
func (l *link) heard(p wire.Payload) {
	if token := p.Headers[accessToken]; token != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.token = token
	}
}

// instances answers a request about instances, or passes it on.
func (s *serving) instances(ctx context.Context, l *link, f wire.Frame, p wire.Payload) (wire.Frame, error) {
	request, err := wire.ParseRequest(p.Body)
	if err == nil && request.Instance == nil && p.Type != wire.TypeBatchInstance {
		err = errEmpty
	}
	if err != nil {
		s.gate.Note(unread, p.Type+" in "+s.Registry()+"; refused: "+err.Error())
		return wire.Refused(request.RequestID, wire.CodeParameter, "crossfade: "+err.Error())
	}
	l.mu.Lock()
	setUp := l.setUp
	l.mu.Unlock()
	if !setUp {
		return wire.Refused(request.RequestID, wire.CodeUnregistered, "Connection is unregistered.")
	}
	r := s.overGRPC(l, f, p, request)
	done, err := s.calls.take(ctx, r.key.Name)
	if err != nil {
		return nil, err
	}
	defer done()
	if r.deregisters() {
		return s.deregister(ctx, r)
	}
	return s.register(ctx, r)
}

// register holds a registration back, passes it on or swallows it.
func (s *serving) register(ctx context.Context, r *registration) (wire.Frame, error) {
	r.replaces()
	verdict, mark := s.gate.Register(r.key, r)
	before, ok := r.link.keep(r)
	if !ok {
		s.gate.Forget(r.key, r)
		return nil, status.Error(codes.Unavailable, errOver.Error())
	}
	if verdict == hold.Answer {
		return wire.Accepted(r.payload.Type, r.request)
	}
	answer, err := r.send(ctx, mark, false)
	if err != nil {
		r.link.restore(before)
	}
	s.gate.Settle(r.key, r, err)
	return r.passed(answer, err)
}

// deregister passes on that an application takes a registration back, or answers it.
func (s *serving) deregister(ctx context.Context, r *registration) (wire.Frame, error) {
	r.link.takesBack(r.key)
	if s.gate.Deregister(r.key) == hold.Answer {
		return wire.Accepted(r.payload.Type, r.request)
	}
	answer, err := r.link.call(ctx, r.frame)
	if err == nil {
		s.gate.Gone(r.key)
	}
	return r.passed(answer, err)
}

// passed is what the application is answered: what the registry said, also when that is no.
func (r *registration) passed(answer wire.Frame, err error) (wire.Frame, error) {
	if answer != nil {
		return answer, nil
	}
	return nil, status.Error(codes.Unavailable, err.Error())
}

// Stream passes on what the application and the registry tell each other over their stream: but for where another server
// is, which would lead around the proxy. The stream stands for the connection: registries are seen (r-nacos 0.8) that take
// away what was registered when the stream ends, and take in afterwards, for ever, what comes later over the same connection.
// So when either side ends it the link ends, and the registry hears of that as of the end of its connection.
func (s *serving) Stream(app wire.Stream) error {
	ctx := app.Context() //nolint:staticcheck // deprecated is grpc.Stream, which has it from both sides
	l, err := linkOf(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	registry, err := wire.OpenStream(context.WithoutCancel(ctx), l.conn) // it ends with l.conn
	if err != nil {
		return err
	}
	return s.pump(app, registry, l.close, l.setsUp, func(f wire.Frame) wire.Frame { return s.pushes(staying(f)) })
}

// other passes on whatever else is called over gRPC.
func (s *serving) other(_ any, app grpc.ServerStream) error {
	l, err := linkOf(app.Context())
	if err != nil {
		return err
	}
	method, _ := grpc.MethodFromServerStream(app)
	registry, err := l.conn.NewStream(app.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodec(wire.Codec{}))
	if err != nil {
		return err
	}
	same := func(f wire.Frame) wire.Frame { return f }
	return s.pump(app, registry, func() { _ = registry.CloseSend() }, same, same)
}

// frames are a stream of gRPC, from either side.
type frames interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// pump passes frames both ways until the registry ends the stream, or the application is gone. When the application has
// sent its last, or is gone, last is called.
func (s *serving) pump(app, registry frames, last func(), up, down func(wire.Frame) wire.Frame) error {
	s.linksOver.Go(func() { // ends with the stream's context, which ends when we return
		for {
			var f wire.Frame
			if app.RecvMsg(&f) != nil {
				break
			}
			f = up(f)
			if registry.SendMsg(&f) != nil {
				break
			}
		}
		last()
	})
	for {
		var f wire.Frame
		if err := registry.RecvMsg(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		f = down(f)
		if err := app.SendMsg(&f); err != nil {
			return err
		}
	}
}

// setsUp notes that the application has said who it is.
func (l *link) setsUp(f wire.Frame) wire.Frame {
	if p, err := f.Payload(); err == nil && p.Type == wire.TypeConnectionSetup {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.setUp = true
	}
	return f
}

// staying takes out of a frame which server to connect to instead.
func staying(f wire.Frame) wire.Frame {
	p, err := f.Payload()
	if err != nil || p.Type != wire.TypeConnectReset {
		return f
	}
	var body map[string]json.RawMessage
	if json.Unmarshal(p.Body, &body) != nil {
		return f
	}
	delete(body, "serverIp")
	delete(body, "serverPort")
	raw, err := json.Marshal(body)
	if err != nil {
		return f
	}
	if blank, err := f.WithBody(raw); err == nil {
		return blank
	}
	return f
}

// call makes a call about a registration. It does not end with whoever asks for it: what is on its way to the registry is
// heard of to its end, so that nothing overtakes it, not the end of the link either. It ends after callTime. Beside an answer that says
// no is an error that says what; without an answer the error wraps registry.ErrAway.
func (l *link) call(ctx context.Context, f wire.Frame) (wire.Frame, error) {
	if !l.begin() {
		return nil, errOver
	}
	defer l.calls.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	answer, err := wire.Call(ctx, l.conn, f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOver, err)
	}
	_, err = wire.ParseResponse(answer)
	if no := (*wire.Error)(nil); errors.As(err, &no) && no.Code == wire.CodeUnregistered {
		l.close() // the registry has forgotten this connection: the application is to make another one
		return nil, fmt.Errorf("%w: %w", errOver, err)
	}
	return answer, err
}
