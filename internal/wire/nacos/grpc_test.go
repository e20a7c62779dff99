package nacos

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// echo answers everything by itself.
type echo struct{}

func (echo) Request(_ context.Context, f Frame) (Frame, error) { return f, nil }

func (echo) Stream(s Stream) error {
	for {
		f, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(f); err != nil {
			return err
		}
	}
}

// TestFramesPassAsTheyAre over both methods, also those that are no protobuf at all.
func TestFramesPassAsTheyAre(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(Codec{}))
	RegisterServer(server, echo{})
	go func() { _ = server.Serve(listener) }() // it ends with Stop
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s, err := OpenStream(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Frame{{}, Frame("no protobuf"), Payload{Type: "X", Body: []byte("{}")}.Frame()} {
		got, err := Call(t.Context(), conn, want)
		if err != nil || string(got) != string(want) {
			t.Errorf("a call of %q answers %q, %v", want, got, err)
		}
		if err := s.Send(want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Recv(); err != nil || string(got) != string(want) {
			t.Errorf("the stream brings %q back as %q, %v", want, got, err)
		}
	}
}

func TestResponses(t *testing.T) {
	yes, err := Accepted(TypeInstance, Request{RequestID: "7", Type: RegisterInstance})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseResponse(yes)
	if err != nil || r.RequestID != "7" || r.Type != RegisterInstance {
		t.Errorf("accepted: %+v, %v", r, err)
	}
	p, err := yes.Payload()
	if want := `{"resultCode":200,"errorCode":0,"requestId":"7","type":"registerInstance","success":true}`; err != nil || p.Type != "InstanceResponse" || string(p.Body) != want {
		t.Errorf("accepted: %s %s, %v; want %s", p.Type, p.Body, err, want)
	}
	no, err := Refused("8", CodeNoRight, "who are you")
	if err != nil {
		t.Fatal(err)
	}
	r, err = ParseResponse(no)
	said, is := errors.AsType[*Error](err)
	if !is || said.Code != CodeNoRight || r.RequestID != "8" {
		t.Errorf("refused: %+v, %v", r, err)
	}
	ack, err := Ack(TypeClientDetection, "9")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ack.Payload(); err != nil || p.Type != "ClientDetectionResponse" {
		t.Errorf("an ack is a %s, %v", p.Type, err)
	}
}
