package nacos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"crossfade.dev/internal/wire/object"
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
	o, err := object.Parse(body)
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
	if raw := o.Get("instance"); raw != nil && !isNull(raw) {
		if raw, err = one(raw); err != nil {
			return nil, fmt.Errorf("instance: %w", err)
		}
		o = o.With("instance", raw)
	}
	if raw := o.Get("instances"); raw != nil && !isNull(raw) {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, fmt.Errorf("instances: %w", err)
		}
		for i := range list {
			if list[i], err = one(list[i]); err != nil {
				return nil, fmt.Errorf("instances: %d: %w", i, err)
			}
		}
		o = o.With("instances", array(list))
	}
	if !changed {
		return body, nil
	}
	return o.Bytes(), nil
}

// edit changes one instance.
func edit(raw json.RawMessage, c Change) (json.RawMessage, error) {
	o, err := object.Parse(raw)
	if err != nil {
		return nil, err
	}
	if c.Weight != nil {
		o = o.With("weight", json.RawMessage(formatWeight(*c.Weight)))
	}
	if c.Enabled != nil {
		o = o.With("enabled", json.RawMessage(strconv.FormatBool(*c.Enabled)))
	}
	if len(c.Metadata) > 0 {
		m := object.Object{}
		if raw := o.Get("metadata"); raw != nil && !isNull(raw) {
			if m, err = object.Parse(raw); err != nil {
				return nil, fmt.Errorf("metadata: %w", err)
			}
		}
		o = o.With("metadata", m.WithStrings(c.Metadata).Bytes())
	}
	return o.Bytes(), nil
}

// formatWeight writes a weight as JSON has numbers: with a point, so that nobody takes it for an integer.
func formatWeight(w float64) string {
	s := strconv.FormatFloat(w, 'f', -1, 64)
	if !bytes.ContainsRune([]byte(s), '.') {
		s += ".0"
	}
	return s
}

func array(list []json.RawMessage) json.RawMessage {
	out := []byte{'['}
	for i, raw := range list {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, raw...)
	}
	return append(out, ']')
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }
