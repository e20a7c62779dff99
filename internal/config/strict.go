package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxValues = 200_000 // in one document, aliases written out
	maxDepth  = 100
)

// A checker holds one document against the schema of its kind and against what crossfade does with each
// field, and turns it into the plain values of JSON. What it cannot accept it names and leaves out.
type checker struct {
	file     string
	kind     *Kind
	rules    rules
	lenient  bool
	places   map[string]place // of every field, by its path
	read     map[string]bool  // fields that have findings, and were read on all the same
	findings []Finding
	values   int // seen so far
	stopped  bool
}

// A spot is where the checker is: how people write the path, and how decisions write it.
type spot struct {
	path    string // "spec.servers[0].port"
	pattern string // "spec.servers[].port"
	covered bool   // a decision about a field above holds here
	dropped bool   // it is checked, and not handed on
	idle    bool   // nothing comes of what has no decision of its own
	depth   int
}

func (s spot) child(name string) spot {
	s.depth++
	if s.path == "" {
		s.path, s.pattern = name, name
		return s
	}
	s.path += "." + name
	s.pattern += "." + name
	return s
}

// item is an element of a list or a mapping.
func (s spot) item(key string) spot {
	s.depth++
	s.path += "[" + key + "]"
	s.pattern += "[]"
	return s
}

func (c *checker) report(at place, rule Rule, path, format string, args ...any) {
	c.findings = append(c.findings, Finding{
		File: c.file, Line: at.line, Column: at.column, Rule: rule, Field: path, Message: fmt.Sprintf(format, args...),
	})
}

// value checks a node and returns it as JSON's types; ok is false when there is nothing to hand on.
func (c *checker) value(n *yaml.Node, s *shape, at spot) (v any, ok bool) {
	n = resolve(n)
	if !c.enter(n, at) || n.ShortTag() == "!!null" {
		return nil, false
	}
	defer func() {
		if ok {
			c.limit(n, v, at)
		}
	}()
	switch s.is {
	case objectShape:
		return c.object(n, s, at)
	case mapShape:
		return c.mapping(n, s, at)
	case listShape:
		return c.list(n, s, at)
	case anyShape:
		return c.free(n, at)
	default:
		v, ok = c.scalar(n, s, at)
		return v, ok && c.allowed(n, at)
	}
}

// resolve follows an alias to what it stands for. The parser refuses an alias to nothing.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// enter counts a value; a document that unfolds without end is given up.
func (c *checker) enter(n *yaml.Node, at spot) bool {
	c.values++
	if !c.stopped && (c.values > maxValues || at.depth > maxDepth) {
		c.stopped = true
		c.report(placeOf(n), Syntax, "", "the document holds more than %d values or %d levels; an alias may contain itself", maxValues, maxDepth)
	}
	return !c.stopped
}

// A pair is one entry of a mapping node.
type pair struct{ key, value *yaml.Node }

// pairs returns the entries of a mapping node, those of merge keys ("<<") behind its own, each key once.
func (c *checker) pairs(n *yaml.Node, at spot) []pair {
	var own, merged []pair
	first := map[string]place{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !c.enter(n, at) {
			return nil
		}
		key, value := resolve(n.Content[i]), n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, c.merge(value, at)...)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			c.report(placeOf(key), Syntax, at.path, "a key must be a string")
			continue
		}
		if p, twice := first[key.Value]; twice {
			c.report(placeOf(n.Content[i]), Conflict, at.child(key.Value).path, "stands here a second time, after line %d; keep one", p.line)
			continue
		}
		first[key.Value] = placeOf(n.Content[i])
		own = append(own, pair{key, value})
	}
	for _, p := range merged {
		if _, taken := first[p.key.Value]; !taken {
			first[p.key.Value] = placeOf(p.key)
			own = append(own, p)
		}
	}
	return own
}

// merge returns the entries that a merge key brings in: of one mapping, or of a list of mappings.
func (c *checker) merge(n *yaml.Node, at spot) []pair {
	at.depth++
	if n = resolve(n); !c.enter(n, at) {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.pairs(n, at)
	case yaml.SequenceNode:
		var all []pair
		for _, m := range n.Content {
			all = append(all, c.merge(m, at)...)
		}
		return all
	default:
		c.report(placeOf(n), Syntax, at.path, `"<<" must name a mapping`)
		return nil
	}
}

func (c *checker) object(n *yaml.Node, s *shape, at spot) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return c.wrongType(n, at, "an object with fields")
	}
	out := map[string]any{}
	spelled := map[string]string{} // field → as the document writes it
	from := map[string]string{}    // oneOf → field
	for _, p := range c.pairs(n, at) {
		f := s.field(p.key.Value)
		if f == nil {
			c.unknown(p.key, s, at)
			continue
		}
		next := at.child(f.name)
		c.places[next.path] = placeOf(p.key)
		if resolve(p.value).ShortTag() == "!!null" || !c.decide(p, f.shape, &next) {
			continue
		}
		if other := spelled[f.name]; other != "" {
			c.report(placeOf(p.key), Conflict, next.path, "stands here twice, as %q and as %q; keep one", other, p.key.Value)
			continue
		}
		spelled[f.name] = p.key.Value
		if other := from[f.oneOf]; f.oneOf != "" && other != "" {
			c.report(placeOf(p.key), Conflict, next.path, "only one of %s and %s may be set", other, f.name)
			continue
		}
		from[f.oneOf] = f.name
		if isScalar(f.shape) {
			c.places[next.path] = placeOf(p.value)
		}
		if v, ok := c.value(p.value, f.shape, next); ok && !next.dropped {
			out[f.name] = v
		}
	}
	return out, true
}

func isScalar(s *shape) bool {
	return s.is != objectShape && s.is != listShape && s.is != mapShape && s.is != anyShape
}

// unknown names a field that the schema does not have, and what may have been meant.
func (c *checker) unknown(key *yaml.Node, s *shape, at spot) {
	path := at.child(key.Value).path
	names := slices.Collect(maps.Keys(s.all()))
	if guess := nearest(key.Value, names); guess != "" {
		c.report(placeOf(key), UnknownField, path, "unknown field; did you mean %q?", s.field(guess).name)
		return
	}
	if home := c.rules.home(key.Value); home != "" {
		c.report(placeOf(key), UnknownField, path, "unknown field; there is %s: check the indentation", home)
		return
	}
	c.report(placeOf(key), UnknownField, path, "unknown field; remove it")
}

// decide says whether the value of a field is to be read on, and names a field that is not supported yet.
func (c *checker) decide(p pair, s *shape, at *spot) bool {
	if at.covered {
		return true
	}
	key := p.key
	d, below := c.rules.at(at.pattern)
	switch {
	case d == nil && below:
		return true
	case d == nil && at.idle:
		return false
	case d == nil:
		c.report(placeOf(key), Unsupported, at.path, "not supported yet; remove it, crossfade would not act on it")
		return false
	case d.Effect == Inert:
		if !below && isSimple(s) { // nothing comes of it, but it has to be right
			at.dropped = true
			break
		}
		at.idle = true
		return below
	case d.Effect == Unenforced:
		if !below || !c.inPart(p.value, s, *at, d) {
			c.unenforced(key, at.path, d, "remove it")
		}
	case d.Effect == Refused:
		c.read[at.path] = true
		c.report(placeOf(key), Unsupported, at.path, "not supported yet: %s", d.Note)
	}
	at.covered = true
	return true
}

// isSimple says whether a value holds no objects: those that a cluster writes may be newer than what is known here.
func isSimple(s *shape) bool {
	if s.is == listShape || s.is == mapShape {
		return isSimple(s.elem)
	}
	return isScalar(s)
}

// allowed holds a scalar against the values that crossfade applies.
func (c *checker) allowed(n *yaml.Node, at spot) bool {
	d, _ := c.rules.at(strings.TrimSuffix(at.pattern, "[]"))
	if d == nil || d.Values == nil || n.Value == "" || slices.Contains(d.Values, n.Value) {
		return true
	}
	c.report(placeOf(n), Unsupported, at.path, "%s is not supported yet; crossfade applies %s", n.Value, strings.Join(d.Values, ", "))
	return false
}

func (c *checker) mapping(n *yaml.Node, s *shape, at spot) (any, bool) {
	if n.Kind != yaml.MappingNode {
		return c.wrongType(n, at, "a mapping")
	}
	out := map[string]any{}
	for _, p := range c.pairs(n, at) {
		next, before := at.item(p.key.Value), len(c.findings)
		c.places[next.path] = placeOf(p.key)
		if v, ok := c.value(p.value, s.elem, next); ok {
			out[p.key.Value] = v
		}
		if !isScalar(s.elem) {
			continue
		}
		for i := range c.findings[before:] { // where rules that come later report, too
			f := &c.findings[before+i]
			f.Line, f.Column = p.key.Line, p.key.Column
		}
	}
	return out, true
}

func (c *checker) list(n *yaml.Node, s *shape, at spot) (any, bool) {
	if n.Kind != yaml.SequenceNode {
		return c.wrongType(n, at, "a list")
	}
	out := []any{}
	for i, e := range n.Content {
		next := at.item(strconv.Itoa(i))
		c.places[next.path] = placeOf(e)
		if resolve(e).ShortTag() == "!!null" {
			c.report(placeOf(e), Missing, next.path, "the item is empty; write it out or remove it")
		}
		v, ok := c.value(e, s.elem, next)
		if !ok {
			v = zero(s.elem) // so that the items behind it keep their numbers
		}
		out = append(out, v)
	}
	return out, true
}

// zero stands in for an item that cannot be handed on.
func zero(s *shape) any {
	switch s.is {
	case objectShape, mapShape:
		return map[string]any{}
	case listShape:
		return []any{}
	case boolShape:
		return false
	case intShape, numberShape, intOrStringShape:
		return 0
	case durationShape:
		return "0s"
	case enumShape:
		return s.values[0]
	default:
		return ""
	}
}

// free takes a value that the schema does not describe as it stands.
func (c *checker) free(n *yaml.Node, at spot) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		return c.mapping(n, &shape{is: mapShape, elem: &shape{}}, at)
	case yaml.SequenceNode:
		return c.list(n, &shape{is: listShape, elem: &shape{}}, at)
	default:
		var v any
		if err := n.Decode(&v); err != nil {
			return c.wrongType(n, at, "a value")
		}
		switch v := v.(type) {
		case time.Time:
			return n.Value, true
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return c.wrongType(n, at, "a finite number")
			}
		}
		return v, true
	}
}
