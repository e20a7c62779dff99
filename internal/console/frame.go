package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// A frame is one topic at one moment, written in parts: what its rows hold, and everything else. Two frames of a topic differ by
// a patch.
type frame struct {
	head  map[string]json.RawMessage // by field, without the rows
	field string                     // that holds the rows; "" where there are none
	keys  []string                   // of the rows, in order
	rows  map[string]json.RawMessage // by key
	gone  string                     // why there is no such thing (any more); "" is that there is
}

// newFrame writes a value that has its rows in a field of their own, which is empty in it.
func newFrame[T any](value any, field string, rows []T, key func(*T) string) (*frame, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write a topic: %w", err)
	}
	f := &frame{field: field, keys: make([]string, len(rows)), rows: make(map[string]json.RawMessage, len(rows))}
	if err := json.Unmarshal(data, &f.head); err != nil {
		return nil, fmt.Errorf("write a topic: %w", err)
	}
	delete(f.head, field)
	for i := range rows {
		k := key(&rows[i])
		if f.rows[k], err = json.Marshal(&rows[i]); err != nil {
			return nil, fmt.Errorf("write %s: %w", k, err)
		}
		f.keys[i] = k
	}
	return f, nil
}

// whole writes everything, as the GET of the topic does.
func (f *frame) whole() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range slices.Sorted(maps.Keys(f.head)) {
		if i > 0 {
			b.WriteByte(',')
		}
		field(&b, name, f.head[name])
	}
	if f.field != "" {
		if len(f.head) > 0 {
			b.WriteByte(',')
		}
		list := make([]json.RawMessage, len(f.keys))
		for i, k := range f.keys {
			list[i] = f.rows[k]
		}
		field(&b, f.field, array(list))
	}
	b.WriteByte('}')
	return b.Bytes()
}

// patch writes what makes f of the frame before it; nil where nothing does.
func (f *frame) patch(before *frame) json.RawMessage {
	head := map[string]json.RawMessage{}
	for name, value := range f.head {
		if old, known := before.head[name]; !known || !bytes.Equal(old, value) {
			head[name] = value
		}
	}
	for name := range before.head {
		if _, still := f.head[name]; !still {
			head[name] = json.RawMessage("null")
		}
	}
	var rows []json.RawMessage
	for _, k := range f.keys {
		if old, known := before.rows[k]; !known || !bytes.Equal(old, f.rows[k]) {
			rows = append(rows, f.rows[k])
		}
	}
	var gone []json.RawMessage
	for _, k := range before.keys {
		if _, still := f.rows[k]; !still {
			gone = append(gone, text(k))
		}
	}
	if len(head)+len(rows)+len(gone) == 0 {
		return nil
	}
	changed := frame{head: head}
	var b bytes.Buffer
	b.WriteByte('{')
	field(&b, "head", changed.whole())
	b.WriteByte(',')
	field(&b, "rows", array(rows))
	b.WriteByte(',')
	field(&b, "gone", array(gone))
	b.WriteByte('}')
	return b.Bytes()
}

func field(b *bytes.Buffer, name string, value json.RawMessage) {
	b.Write(text(name))
	b.WriteByte(':')
	b.Write(value)
}

func array(list []json.RawMessage) json.RawMessage {
	return slices.Concat([]byte("["), bytes.Join(asBytes(list), []byte(",")), []byte("]"))
}

func asBytes(list []json.RawMessage) [][]byte {
	all := make([][]byte, len(list))
	for i, v := range list {
		all[i] = v
	}
	return all
}

// text writes a string, which always can be written.
func text(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return data
}
