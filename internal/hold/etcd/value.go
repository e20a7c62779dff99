package etcd

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/hold"
)

// marked is what etcd gets as the value of a registration. There is no one way to write these; a JSON object may have
// room for metadata, and a weight: "Metadata" of etcd's own naming, "metadata" of Kratos, "tags" of Kitex and Hertz; a
// number "weight" of Kitex and Hertz, or that of the metadata. Everything else stays, and in its order. What is no JSON
// object stays as it is.
func marked(value []byte, m hold.Mark) []byte {
	if len(m.Metadata) == 0 && m.Share == 1 {
		return value
	}
	o, err := parseObject(value)
	if err != nil {
		return value
	}
	changed := o.scale(m.Share)
	if f := o.find("metadata", "tags"); f != nil {
		changed = f.annotate(m) || changed
	}
	if !changed {
		return value
	}
	return o.bytes()
}

// An object is a JSON object whose fields keep their order.
type object []field

type field struct {
	name  string
	value json.RawMessage
}

var errObject = errors.New("no JSON object")

func parseObject(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errObject
	}
	var o object
	for d.More() {
		t, err := d.Token()
		name, is := t.(string)
		if err != nil || !is {
			return nil, errObject
		}
		f := field{name: name}
		if err := d.Decode(&f.value); err != nil {
			return nil, errObject
		}
		o = append(o, f)
	}
	if _, err := d.Token(); err != nil { // the brace
		return nil, errObject
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errObject
	}
	return o, nil
}

// bytes writes an object.
func (o object) bytes() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(quoted(f.name))
		b.WriteByte(':')
		b.Write(f.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// quoted is a string as JSON.
func quoted(s string) []byte {
	data, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // there is no string that cannot be written
	}
	return data
}

// find returns the first field with one of these names, in whichever case.
func (o object) find(names ...string) *field {
	for _, name := range names {
		if i := slices.IndexFunc(o, func(f field) bool { return strings.EqualFold(f.name, name) }); i >= 0 {
			return &o[i]
		}
	}
	return nil
}

// scale multiplies the weight of an object, if it has one, and says whether it has.
func (o object) scale(share float64) bool {
	f := o.find("weight")
	if f == nil || share == 1 {
		return false
	}
	text, quotes := strings.CutPrefix(string(f.value), `"`)
	text = strings.TrimSuffix(text, `"`)
	weight, err := strconv.ParseFloat(text, 64)
	if err != nil || weight <= 0 {
		return false
	}
	scaled := weight * share
	if weight == math.Trunc(weight) { // it may have to be a whole number
		scaled = max(1, math.Round(scaled))
	}
	text = strconv.FormatFloat(scaled, 'f', -1, 64)
	if quotes {
		text = `"` + text + `"`
	}
	f.value = json.RawMessage(text)
	return true
}

// annotate adds a mark to metadata, where that has room for it, and says whether it has. A key that is there is
// replaced.
func (f *field) annotate(m hold.Mark) bool {
	var o object
	if string(f.value) != "null" {
		var err error
		if o, err = parseObject(f.value); err != nil {
			return false
		}
	}
	changed := o.scale(m.Share)
	for _, name := range slices.Sorted(maps.Keys(m.Metadata)) {
		o = slices.DeleteFunc(o, func(f field) bool { return f.name == name })
		o = append(o, field{name: name, value: quoted(m.Metadata[name])})
		changed = true
	}
	if changed {
		f.value = o.bytes()
	}
	return changed
}
