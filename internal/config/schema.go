package config

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A shape says what a schema allows at one place of a document.
type shape struct {
	is       shapeKind
	elem     *shape       // of a list or a mapping
	fields   func() field // of an object: builds them, once
	built    map[string]*fieldShape
	values   []string      // of an enumeration
	zero     string        // of a duration: what 0s stands for; "": it is too short
	least    time.Duration // likewise: what is shorter, and not 0s, is too short
	min, max float64       // of an integer
}

// A shapeKind is a type that a value may have.
type shapeKind uint8

const (
	anyShape shapeKind = iota // not looked into
	objectShape
	listShape
	mapShape // of free keys
	stringShape
	bytesShape // in base64
	boolShape
	intShape
	numberShape
	enumShape
	durationShape
	intOrStringShape
)

// field is a set of fields by the names that a document may give them.
type field map[string]*fieldShape

// A fieldShape is one field of an object.
type fieldShape struct {
	name  string // as Istio and Kubernetes write it
	shape *shape
	oneOf string // of the fields that share this name only one may be set
}

// field looks up a field by a name that a document uses.
func (s *shape) field(name string) *fieldShape {
	return s.all()[name]
}

func (s *shape) all() field {
	if s.built == nil {
		s.built = s.fields()
	}
	return s.built
}

// shapes makes shapes and keeps those that it made. It serves one goroutine.
type shapes struct {
	messages map[protoreflect.FullName]*shape
	structs  map[reflect.Type]*shape
}

func newShapes() *shapes {
	return &shapes{messages: map[protoreflect.FullName]*shape{}, structs: map[reflect.Type]*shape{}}
}

// message is the shape of a protocol buffer in its JSON form. Like Istio's own reader it takes each field
// under its JSON name and under its name in the .proto file.
func (c *shapes) message(d protoreflect.MessageDescriptor) *shape {
	if s := wellKnown(d.FullName()); s != nil {
		return s
	}
	if s := c.messages[d.FullName()]; s != nil {
		return s
	}
	s := &shape{is: objectShape, fields: func() field {
		fields := field{}
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			fs := &fieldShape{name: f.JSONName(), shape: c.protoField(f)}
			switch {
			case f.Name() == "ttl" && fs.shape.is == durationShape:
				fs.shape = &shape{is: durationShape, zero: "for as long as a session lasts", least: time.Second}
			case f.Name() == "idle_timeout" && d.Name() == "TCPSettings":
				fs.shape = &shape{is: durationShape, zero: "for never", least: time.Millisecond}
			}
			if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
				fs.oneOf = string(o.Name())
			}
			fields[f.JSONName()] = fs
			fields[string(f.Name())] = fs
		}
		return fields
	}}
	c.messages[d.FullName()] = s
	return s
}

func (c *shapes) protoField(f protoreflect.FieldDescriptor) *shape {
	switch {
	case f.IsMap():
		return &shape{is: mapShape, elem: c.protoValue(f.MapValue())}
	case f.IsList():
		return &shape{is: listShape, elem: c.protoValue(f)}
	default:
		return c.protoValue(f)
	}
}

func (c *shapes) protoValue(f protoreflect.FieldDescriptor) *shape {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return c.message(f.Message())
	case protoreflect.EnumKind:
		s := &shape{is: enumShape}
		for i := range f.Enum().Values().Len() {
			s.values = append(s.values, string(f.Enum().Values().Get(i).Name()))
		}
		return s
	case protoreflect.BoolKind:
		return &shape{is: boolShape}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return &shape{is: numberShape}
	case protoreflect.StringKind:
		return &shape{is: stringShape}
	case protoreflect.BytesKind:
		return &shape{is: bytesShape}
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return &shape{is: intShape, max: math.MaxUint32}
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return &shape{is: intShape, max: math.MaxInt64}
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return &shape{is: intShape, min: math.MinInt32, max: math.MaxInt32}
	default:
		return &shape{is: intShape, min: math.MinInt64, max: math.MaxInt64}
	}
}

// wellKnown is the shape of the messages that JSON writes as something simpler, or nil.
func wellKnown(name protoreflect.FullName) *shape {
	switch name {
	case "google.protobuf.Duration":
		return &shape{is: durationShape, least: time.Millisecond}
	case "google.protobuf.BoolValue":
		return &shape{is: boolShape}
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue":
		return &shape{is: numberShape}
	case "google.protobuf.StringValue", "google.protobuf.Timestamp":
		return &shape{is: stringShape}
	case "google.protobuf.UInt32Value":
		return &shape{is: intShape, max: math.MaxUint32}
	case "google.protobuf.Int32Value":
		return &shape{is: intShape, min: math.MinInt32, max: math.MaxInt32}
	case "google.protobuf.UInt64Value", "google.protobuf.Int64Value":
		return &shape{is: intShape, max: math.MaxInt64}
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
		return &shape{is: anyShape}
	default:
		return nil
	}
}

// goType is the shape of a Kubernetes type: fields go by their json tags, in that spelling only.
func (c *shapes) goType(t reflect.Type) *shape {
	if t.Kind() == reflect.Pointer {
		return c.goType(t.Elem())
	}
	if t == reflect.TypeFor[intstr.IntOrString]() {
		return &shape{is: intOrStringShape}
	}
	if own, ok := reflect.TypeAssert[shaped](reflect.Zero(t)); ok {
		return own.shape()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return &shape{is: anyShape}
	}
	switch t.Kind() {
	case reflect.Struct:
		return c.goStruct(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &shape{is: bytesShape}
		}
		return &shape{is: listShape, elem: c.goType(t.Elem())}
	case reflect.Map:
		return &shape{is: mapShape, elem: c.goType(t.Elem())}
	case reflect.String:
		return &shape{is: stringShape}
	case reflect.Bool:
		return &shape{is: boolShape}
	case reflect.Int32:
		return &shape{is: intShape, min: math.MinInt32, max: math.MaxInt32}
	case reflect.Uint32:
		return &shape{is: intShape, max: math.MaxUint32}
	case reflect.Int, reflect.Int64:
		return &shape{is: intShape, min: math.MinInt64, max: math.MaxInt64}
	case reflect.Float32, reflect.Float64:
		return &shape{is: numberShape}
	default:
		return &shape{is: anyShape}
	}
}

func (c *shapes) goStruct(t reflect.Type) *shape {
	if s := c.structs[t]; s != nil {
		return s
	}
	s := &shape{is: objectShape, fields: func() field {
		fields := field{}
		c.addStruct(fields, t)
		return fields
	}}
	c.structs[t] = s
	return s
}

func (c *shapes) addStruct(fields field, t reflect.Type) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			c.addStruct(fields, f.Type)
		case f.IsExported() && name != "" && name != "-":
			fields[name] = &fieldShape{name: name, shape: c.goType(f.Type)}
		}
	}
}
