package nacos

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// A Change is what is changed of an instance on its way. The zero value is nothing.
type Change struct {
	Metadata map[string]string // added to what is there
	Weight   *float64
	Enabled  *bool
}

// none says that nothing is changed.
func (c Change) none() bool { return len(c.Metadata) == 0 && c.Weight == nil && c.Enabled == nil }

// EditInstances returns a body of a request about instances with changes: change is asked for each, by its place in
// [Request.All]. Everything else stays as it is, in its order, also what is not known here; a body without changes is
// returned as it came.
func EditInstances(body []byte, change func(i int, in Instance) Change) ([]byte, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	n, changed := 0, false
	one := func(raw json.RawMessage) (json.RawMessage, error) {
		var in Instance
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, err
		}
		c := change(n, in)
		n++
		if c.none() {
			return raw, nil
		}
		changed = true
		return edit(raw, c)
	}
	if raw := o.get("instance"); raw != nil && !isNull(raw) {
		if raw, err = one(raw); err != nil {
			return nil, fmt.Errorf("instance: %w", err)
		}
		o = o.with("instance", raw)
	}
	if raw := o.get("instances"); raw != nil && !isNull(raw) {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("instances: %w", err)
		}
		for i := range list {
			if list[i], err = one(list[i]); err != nil {
				return nil, fmt.Errorf("instances: %d: %w", i, err)
			}
		}
		o = o.with("instances", join('[', ']', list))
	}
	if !changed {
		return body, nil
	}
	return o.bytes(), nil
}

// edit changes one instance.
func edit(raw json.RawMessage, c Change) (json.RawMessage, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	if c.Weight != nil {
		o = o.with("weight", json.RawMessage(formatWeight(*c.Weight)))
	}
	if c.Enabled != nil {
		o = o.with("enabled", json.RawMessage(strconv.FormatBool(*c.Enabled)))
	}
	if len(c.Metadata) > 0 {
		m := object{}
		if raw := o.get("metadata"); raw != nil && !isNull(raw) {
			if m, err = parseObject(raw); err != nil {
				return nil, fmt.Errorf("metadata: %w", err)
			}
		}
		o = o.with("metadata", m.and(c.Metadata).bytes())
	}
	return o.bytes(), nil
}

// formatWeight writes a weight as JSON has numbers: with a point, so that nobody takes it for an integer.
func formatWeight(w float64) string {
	s := strconv.FormatFloat(w, 'f', -1, 64)
	if !bytes.ContainsRune([]byte(s), '.') {
		s += ".0"
	}
	return s
}

// An object is one of JSON with its members in their order. Of members with one name the last counts.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

var errObject = errors.New("want an object of JSON")

func parseObject(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil {
		return nil, err
	} else if start != json.Delim('{') {
		return nil, errObject
	}
	o := object{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)} //nolint:forcetypeassert,errcheck // the decoder has no other names
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		o = append(o, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errObject
	}
	return o, nil
}

func (o object) index(name string) int {
	for i, m := range slices.Backward(o) {
		if m.name == name {
			return i
		}
	}
	return -1
}

func (o object) get(name string) json.RawMessage {
	if i := o.index(name); i >= 0 {
		return o[i].value
	}
	return nil
}

// with returns the object with a member in place of the one with its name, or at its end. What it was is overwritten.
func (o object) with(name string, value json.RawMessage) object {
	if i := o.index(name); i >= 0 {
		o[i].value = value
		return o
	}
	return append(o, member{name, value})
}

// and returns the object with members that are strings, new ones in the order of their names.
func (o object) and(values map[string]string) object {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		o = o.with(name, quote(values[name]))
	}
	return o
}

// quote writes a string as JSON; that cannot fail.
func quote(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string, into memory
	return bytes.TrimSpace(b.Bytes())
}

func (o object) bytes() json.RawMessage {
	list := make([]json.RawMessage, len(o))
	for i, m := range o {
		list[i] = slices.Concat(quote(m.name), []byte{':'}, m.value)
	}
	return join('{', '}', list)
}

func join(left, right byte, list []json.RawMessage) json.RawMessage {
	out := []byte{left}
	for i, raw := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, raw...)
	}
	return append(out, right)
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }
