package nacos

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// MaxFrame bounds a frame: a service with tens of thousands of instances is one.
const MaxFrame = 64 << 20

// Numbers of the fields, as they stand in Nacos's own description.
const (
	payloadMetadata = 2
	payloadBody     = 3

	metadataType     = 3
	metadataHeaders  = 7
	metadataClientIP = 8

	anyValue = 2

	entryKey   = 1
	entryValue = 2
)

var (
	errFrame   = errors.New("a frame is cut short, or no protobuf")
	errTooLong = fmt.Errorf("a frame has more than %d bytes", MaxFrame)
)

// A Frame is one message of Nacos's gRPC as it stands on the wire, both ways and in both methods.
type Frame []byte

// A Payload is what a frame says.
type Payload struct {
	Type     string            // of the body: "InstanceRequest"
	ClientIP string            // as the client has it
	Headers  map[string]string // "accessToken", …
	Body     []byte            // JSON
}

// Frame returns a payload as it is sent. Headers are in the order of their names.
func (p Payload) Frame() Frame {
	var meta []byte
	meta = appendString(meta, metadataType, p.Type)
	for _, name := range slices.Sorted(maps.Keys(p.Headers)) {
		entry := appendString(nil, entryKey, name)
		entry = appendString(entry, entryValue, p.Headers[name])
		meta = appendBytes(meta, metadataHeaders, entry)
	}
	meta = appendString(meta, metadataClientIP, p.ClientIP)
	frame := appendBytes(nil, payloadMetadata, meta)
	return appendBytes(frame, payloadBody, appendBytes(nil, anyValue, p.Body))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// appendString leaves out what is empty, as protobuf does.
func appendString(b []byte, field protowire.Number, value string) []byte {
	if value == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}

// Payload reads a frame. The body is a part of the frame, not a copy. Fields that are not known are passed over.
func (f Frame) Payload() (Payload, error) {
	var p Payload
	if len(f) > MaxFrame {
		return p, errTooLong
	}
	err := fields(f, func(field protowire.Number, value, _ []byte) error {
		switch int32(field) {
		case payloadMetadata:
			return readMetadata(&p, value)
		case payloadBody:
			return fields(value, func(field protowire.Number, value, _ []byte) error {
				if field == anyValue {
					p.Body = value
				}
				return nil
			})
		}
		return nil
	})
	return p, err
}

func readMetadata(p *Payload, data []byte) error {
	return fields(data, func(field protowire.Number, value, _ []byte) error {
		switch int32(field) {
		case metadataType:
			p.Type = string(value)
		case metadataClientIP:
			p.ClientIP = string(value)
		case metadataHeaders:
			return readHeader(p, value)
		}
		return nil
	})
}

func readHeader(p *Payload, data []byte) error {
	var name, text string
	err := fields(data, func(field protowire.Number, value, _ []byte) error {
		switch int32(field) {
		case entryKey:
			name = string(value)
		case entryValue:
			text = string(value)
		}
		return nil
	})
	if p.Headers == nil {
		p.Headers = map[string]string{}
	}
	p.Headers[name] = text
	return err
}

// WithBody returns the frame with another body. Everything else stays as it is, also what is not known here.
func (f Frame) WithBody(body []byte) (Frame, error) {
	if len(f) > MaxFrame {
		return nil, errTooLong
	}
	out := make(Frame, 0, len(f)+len(body))
	value := appendBytes(nil, anyValue, body)
	err := fields(f, func(field protowire.Number, content, whole []byte) error {
		if field != payloadBody {
			out = append(out, whole...)
			return nil
		}
		return fields(content, func(field protowire.Number, _, whole []byte) error {
			if field != anyValue {
				value = append(value, whole...)
			}
			return nil
		})
	})
	return appendBytes(out, payloadBody, value), err
}

// fields calls do with every field of a message: its content, if it is of bytes and nil otherwise, and the whole of it.
func fields(b []byte, do func(field protowire.Number, value, whole []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errFrame
		}
		m := protowire.ConsumeFieldValue(field, kind, b[n:])
		if m < 0 {
			return errFrame
		}
		var value []byte
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(b[n:])
		}
		if err := do(field, value, b[:n+m]); err != nil {
			return err
		}
		b = b[n+m:]
	}
	return nil
}
