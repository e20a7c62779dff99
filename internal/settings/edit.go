package settings

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// An edit changes single fields in the text of one document, and nothing else of it: comments, order, quotes and blank
// lines stay. What it has made is read again after each step and must say what was asked for; a document that is written
// in a way for which it does not is left alone, and people edit its text.
type edit struct {
	text string
	err  error // the first; after it nothing is changed any more
}

// errForm says that a document must be edited as text.
var errForm = errors.New("the document is written in a way that a form cannot edit; edit its YAML")

// set gives the field at a path of mappings a value: a string, a bool, a number, or a map[string]string. What is missing
// on the way is made.
func (e *edit) set(value any, path ...string) {
	if number, ok := value.(float64); ok && number == math.Trunc(number) && math.Abs(number) < 1<<31 {
		value = int(number) // as YAML reads it back
	}
	e.step(func(root *yaml.Node) (string, error) {
		node, depth := root, 0
		for ; depth < len(path); depth++ {
			key, next := entry(node, path[depth])
			if key == nil {
				break
			}
			if empty(next) && depth < len(path)-1 {
				return e.fill(key, next, nested(value, path[depth+1:]))
			}
			if next.Kind == yaml.AliasNode || next.Anchor != "" {
				return "", errForm
			}
			node = next
			if depth == len(path)-1 {
				return e.replace(key, next, value)
			}
		}
		return e.insert(node, path[depth], nested(value, path[depth+1:]))
	}, func(tree map[string]any) { put(tree, value, path) })
}

// remove takes the field at a path away, and the mappings around it that it leaves empty.
func (e *edit) remove(path ...string) {
	e.step(func(root *yaml.Node) (string, error) {
		parents := []*yaml.Node{root}
		for _, key := range path {
			_, next := entry(parents[len(parents)-1], key)
			if next == nil {
				return e.text, nil
			}
			parents = append(parents, next)
		}
		last := len(path) - 1
		for last > 0 && len(parents[last].Content) == 2 {
			last--
		}
		return e.cut(parents[last], path[last])
	}, func(tree map[string]any) { take(tree, path) })
}

// step makes one change to the text, and the same one to what it says; both must agree.
func (e *edit) step(change func(root *yaml.Node) (string, error), want func(map[string]any)) {
	if e.err != nil {
		return
	}
	tree, n, err := read(e.text)
	if err == nil && unusual(e.text) {
		err = errForm
	}
	if err != nil {
		e.err = err
		return
	}
	next, err := change(n)
	if err != nil {
		e.err = err
		return
	}
	want(tree)
	got, _, err := read(next)
	if err != nil || !reflect.DeepEqual(got, tree) {
		e.err = errForm
		return
	}
	e.text = next
}

// unusual says whether text has ends of lines that YAML knows and nothing else does.
func unusual(text string) bool {
	return strings.ContainsAny(text, "\u0085\u2028\u2029") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r")
}

// read parses a document into plain values.
func read(text string) (map[string]any, *yaml.Node, error) {
	n, err := root(text)
	if err != nil {
		return nil, nil, fmt.Errorf("read a document: %w", err)
	}
	tree := map[string]any{}
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil, errForm
	}
	if err := n.Decode(&tree); err != nil {
		return nil, nil, fmt.Errorf("read a document: %w", err)
	}
	return tree, n, nil
}

// put sets a field in plain values.
func put(tree map[string]any, value any, path []string) {
	if len(path) > 1 {
		below, ok := tree[path[0]].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[path[0]] = below
		}
		put(below, value, path[1:])
		return
	}
	if labels, ok := value.(map[string]string); ok {
		plain := map[string]any{}
		for name, v := range labels {
			plain[name] = v
		}
		value = plain
	}
	tree[path[0]] = value
}

// take removes a field from plain values, and what it leaves empty. It says whether the field was there.
func take(tree map[string]any, path []string) bool {
	if len(path) == 1 {
		_, was := tree[path[0]]
		delete(tree, path[0])
		return was
	}
	below, ok := tree[path[0]].(map[string]any)
	if !ok || !take(below, path[1:]) {
		return false
	}
	if len(below) == 0 {
		delete(tree, path[0])
	}
	return true
}

// empty says whether a value is none: "spec:" with nothing behind it.
func empty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Anchor == ""
}
