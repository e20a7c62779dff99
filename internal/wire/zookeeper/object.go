package zookeeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// An object is one of JSON that keeps the order of its members, and what is not known, as they came.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

var errNoObject = errors.New("want a JSON object in UTF-8")

// parseObject reads an object, and nothing behind it.
func parseObject(data []byte) (object, error) {
	in := json.NewDecoder(bytes.NewReader(data))
	if first, err := in.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.Join(errNoObject, err)
	}
	o := object{}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errNoObject
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
		o = append(o, member{name, value})
	}
	if _, err := in.Token(); err != nil { // the brace
		return nil, err
	}
	if rest := bytes.TrimLeft(data[in.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("there is more behind the JSON object: %.20q", rest)
	}
	return o, nil
}

// get returns a member; of several of one name the last, as most readers have it. nil is none.
func (o *object) get(key string) json.RawMessage {
	for _, m := range slices.Backward(*o) {
		if m.key == key {
			return m.value
		}
	}
	return nil
}

// set replaces a member where it stands, or adds it at the end.
func (o *object) set(key string, value json.RawMessage) {
	for i := len(*o) - 1; i >= 0; i-- {
		if (*o)[i].key == key {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{key, value})
}

func (o *object) setText(key, value string) error {
	text, err := quote(value)
	o.set(key, text)
	return err
}

// text returns a member that is a string, or a number or a boolean as it is written; otherwise "".
func (o *object) text(key string) string {
	value := o.get(key)
	if len(value) == 0 {
		return ""
	}
	switch value[0] {
	case '"':
		var s string
		if json.Unmarshal(value, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(value)
}

// bytes returns the object as it is written, without white space between its members.
func (o *object) bytes() ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, m := range *o {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := quote(m.key)
		if err != nil {
			return nil, err
		}
		out.Write(key)
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// quote writes a string as Java's writers do, without escapes for HTML.
func quote(s string) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}
