package nacos

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"
)

// described returns Nacos's own description of a payload, as somebody else's protobuf understands it.
func described(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: &name, JsonName: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if of != "" {
			f.TypeName = &of
		}
		return f
	}
	text, bytes, message := descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	headers := field("headers", 7, message, ".Metadata.HeadersEntry")
	headers.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("nacos.proto"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("Any"), Field: []*descriptorpb.FieldDescriptorProto{field("type_url", 1, text, ""), field("value", 2, bytes, "")}},
			{
				Name: new("Metadata"), Field: []*descriptorpb.FieldDescriptorProto{field("type", 3, text, ""), headers, field("clientIp", 8, text, "")},
				NestedType: []*descriptorpb.DescriptorProto{{
					Name: new("HeadersEntry"), Options: &descriptorpb.MessageOptions{MapEntry: new(true)},
					Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, text, ""), field("value", 2, text, "")},
				}},
			},
			{Name: new("Payload"), Field: []*descriptorpb.FieldDescriptorProto{field("metadata", 2, message, ".Metadata"), field("body", 3, message, ".Any")}},
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().ByName("Payload")
}

func payloads(t *rapid.T) Payload {
	return Payload{
		Type: rapid.String().Draw(t, "type"), ClientIP: rapid.String().Draw(t, "client"),
		Headers: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "headers"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
	}
}

func TestAPayloadIsWhatItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := payloads(t)
		got, err := want.Frame().Payload()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-sent +read):\n%s", diff)
		}
	})
}

// TestProtobufReadsAFrame: what we write somebody else's protobuf reads, and the other way round.
func TestProtobufReadsAFrame(t *testing.T) {
	message := described(t)
	rapid.Check(t, func(t *rapid.T) {
		want := payloads(t)
		theirs := dynamicpb.NewMessage(message)
		if err := proto.Unmarshal(want.Frame(), theirs); err != nil {
			t.Fatal(err)
		}
		again, err := proto.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Frame(again).Payload()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-sent +read):\n%s", diff)
		}
		body := theirs.Get(message.Fields().ByName("body")).Message()
		if value := body.Get(body.Descriptor().Fields().ByName("value")).Bytes(); !bytes.Equal(value, want.Body) {
			t.Fatalf("protobuf reads the body %q, want %q", value, want.Body)
		}
	})
}

// TestABodyIsReplacedAlone: fields of who comes after us stay.
func TestABodyIsReplacedAlone(t *testing.T) {
	f := Payload{Type: "InstanceRequest", Headers: map[string]string{"app": "x"}, Body: []byte("old")}.Frame()
	unknown := appendString(nil, 15, "from the future")
	f = append(f, unknown...)
	f = append(f, appendBytes(nil, payloadBody, appendString(appendBytes(nil, anyValue, []byte("older")), 1, "a type"))...)
	got, err := f.WithBody([]byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := got.Payload()
	if err != nil || string(p.Body) != "new" || p.Type != "InstanceRequest" || p.Headers["app"] != "x" {
		t.Errorf("read %+v, %v", p, err)
	}
	if !bytes.Contains(got, unknown) || !bytes.Contains(got, []byte("a type")) || bytes.Contains(got, []byte("old")) {
		t.Errorf("the frame is %q", got)
	}
}

func TestFramesAreBounded(t *testing.T) {
	long := Frame(strings.Repeat("x", MaxFrame+1))
	if _, err := long.Payload(); err == nil {
		t.Error("a frame that is too long is read")
	}
	if _, err := long.WithBody(nil); err == nil {
		t.Error("a frame that is too long is changed")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(Payload{Type: "InstanceRequest", ClientIP: "127.0.0.1", Headers: map[string]string{"accessToken": "x"}, Body: []byte(`{"instance":{}}`)}.Frame()))
	f.Add([]byte{0x12, 0x80})
	f.Add([]byte{0x1b, 0x1c})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Frame(data).Payload()
		changed, editErr := Frame(data).WithBody([]byte("another"))
		if err != nil {
			return
		}
		if editErr != nil {
			t.Fatalf("it is read, and not changed: %v", editErr)
		}
		got, err := changed.Payload()
		if err != nil {
			t.Fatal(err)
		}
		p.Body = []byte("another")
		if diff := cmp.Diff(p, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +changed):\n%s", diff)
		}
	})
}
