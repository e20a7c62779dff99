// Package object edits objects of JSON that are somebody else's: members keep their order, and what is not known stays as
// it came.
package object

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// An Object is an object of JSON. Of several members with one name the last counts, as most readers have it.
type Object []Member

// A Member of an object.
type Member struct {
	Name  string
	Value json.RawMessage
}

var errNone = errors.New("want a JSON object in UTF-8")

// Parse reads an object, and nothing behind it.
func Parse(data []byte) (Object, error) {
	if !utf8.Valid(data) { // one name would be read in two ways
		return nil, errNone
	}
	in := json.NewDecoder(bytes.NewReader(data))
	if first, err := in.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.Join(errNone, err)
	}
	o := Object{}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return nil, err
		}
		name, is := token.(string)
		if !is {
			return nil, errNone
		}
		m := Member{Name: name}
		if err := in.Decode(&m.Value); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		o = append(o, m)
	}
	if _, err := in.Token(); err != nil { // the brace
		return nil, err
	}
	if rest := bytes.TrimLeft(data[in.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("there is more behind the JSON object: %.20q", rest)
	}
	return o, nil
}

// Get returns the value of a member, nil when there is none.
func (o Object) Get(name string) json.RawMessage {
	if i := o.index(name); i >= 0 {
		return o[i].Value
	}
	return nil
}

// With returns the object with a member's value replaced where it stands, or a member added at the end. The object that it
// was may be overwritten, as by append.
func (o Object) With(name string, value json.RawMessage) Object {
	if i := o.index(name); i >= 0 {
		o[i].Value = value
		return o
	}
	return append(o, Member{name, value})
}

// WithStrings is With for members that are strings, new ones in the order of their names.
func (o Object) WithStrings(values map[string]string) Object {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o = o.With(name, Quote(values[name]))
	}
	return o
}

func (o Object) index(name string) int {
	for i, m := range slices.Backward(o) {
		if m.Name == name {
			return i
		}
	}
	return -1
}

// Bytes is the object as it is written, without white space between its members.
func (o Object) Bytes() []byte {
	out := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, Quote(m.Name)...)
		out = append(out, ':')
		out = append(out, m.Value...)
	}
	return append(out, '}')
}

// Quote writes a string as JSON, without escapes for HTML: as writers in Java do.
func Quote(s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string, into memory: that cannot fail
	return bytes.TrimSuffix(out.Bytes(), []byte{'\n'})
}
