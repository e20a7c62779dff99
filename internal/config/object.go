package config

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/internal/fleet"
)

// An object is one document that passed for an object of a known kind.
type object struct {
	file   string
	kind   string
	meta   meta.ObjectMeta // with the namespace filled in
	body   any             // the typed object, as its kind reads it
	start  place
	places map[string]place
	broken map[string]Rule // fields that have findings already
	above  map[string]bool // fields that hold such ones
}

// breaks notes that a field has a finding.
func (o *object) breaks(field string, rule Rule) {
	o.broken[field] = rule
	for p := range parents(field) {
		o.above[p] = true
	}
}

// faulty says whether a field, one that it is part of or one that is part of it has a finding already.
func (o *object) faulty(field string) bool {
	if o.above[field] || o.broken[field] != "" {
		return true
	}
	for p := range parents(field) {
		if o.broken[p] != "" {
			return true
		}
	}
	return false
}

// parents yields the fields that a field is part of.
func parents(field string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, c := range []byte(field) {
			if (c == '.' || c == '[') && i > 0 && !yield(field[:i]) {
				return
			}
		}
	}
}

// id names an object for people: "DestinationRule default/reviews".
func (o *object) id() string { return o.kind + " " + o.key() }

func (o *object) key() string { return o.meta.Namespace + "/" + o.meta.Name }

// at returns the place of a field, or of the nearest one above it that is there.
func (o *object) at(path string) place {
	for path != "" {
		if p, ok := o.places[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return o.start
}

// has says whether the document gives a field.
func (o *object) has(path string) bool {
	_, ok := o.places[path]
	return ok
}

// hasBelow says whether the document gives a field of this name in some place.
func (o *object) hasBelow(name string) bool {
	for field := range o.places {
		if strings.HasSuffix(field, "."+name) {
			return true
		}
	}
	return false
}

// where says where an object stands, for messages about another.
func (o *object) where() string { return fmt.Sprintf("%s:%d", o.file, o.start.line) }

func (o *object) origin(path string) fleet.Origin {
	return fleet.Origin{File: o.file, Line: o.at(path).line, Kind: o.kind, Name: o.key()}
}

// A reader turns documents into objects.
type reader struct {
	shapes  *shapes
	kinds   map[string]*readerKind
	lenient bool
}

type readerKind struct {
	Kind
	shape *shape
	rules rules
}

func newReader(lenient bool) *reader {
	r := &reader{shapes: newShapes(), kinds: map[string]*readerKind{}, lenient: lenient}
	for _, k := range Kinds() {
		r.kinds[k.Name] = &readerKind{Kind: k, shape: k.shape(r.shapes), rules: newRules(k.Decisions)}
	}
	return r
}

// file reads the objects of one file.
func (r *reader) file(f File) ([]*object, []Finding) {
	roots, findings := documents(f)
	var objects []*object
	for _, root := range items(roots) {
		o, more := r.object(f.Name, root)
		findings = append(findings, more...)
		if o != nil {
			objects = append(objects, o)
		}
	}
	return objects, findings
}

// items replaces each list, as kubectl get prints it, by what is in it.
func items(roots []*yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, root := range roots {
		kind, _ := head(root, "kind")
		version, _ := head(root, "apiVersion")
		list := entry(root, "items")
		if kind != "List" || version != "v1" || list == nil || list.Kind != yaml.SequenceNode {
			all = append(all, root)
			continue
		}
		for _, item := range list.Content {
			all = append(all, resolve(item))
		}
	}
	return all
}

// object reads one document. The object is nil when it is not of a known kind or cannot be told apart.
func (r *reader) object(file string, root *yaml.Node) (*object, []Finding) {
	root = resolve(root)
	kind, finding := r.kindOf(root)
	if finding != nil {
		finding.File = file
		return nil, []Finding{*finding}
	}
	c := &checker{
		file: file, kind: &kind.Kind, rules: kind.rules, lenient: r.lenient,
		places: map[string]place{}, read: map[string]bool{},
	}
	value, _ := c.object(root, kind.shape, spot{})
	o := &object{file: file, kind: kind.Name, start: placeOf(root), places: c.places, broken: map[string]Rule{}, above: map[string]bool{}}
	for _, f := range c.findings {
		if !c.read[f.Field] || f.Rule != NotEnforced && f.Rule != Unsupported {
			o.breaks(f.Field, f.Rule)
		}
	}
	findings := c.findings
	if c.stopped {
		return nil, findings
	}
	if err := o.decode(value, kind.read); err != nil {
		findings = append(findings, Finding{
			File: file, Line: o.start.line, Column: o.start.column, Rule: Invalid, Message: clip(err.Error()),
		})
		return nil, findings
	}
	findings = append(findings, o.checkName()...)
	for i := range findings {
		findings[i].Object = o.id()
	}
	if o.meta.Name == "" {
		return nil, findings
	}
	return o, findings
}

// decode fills in the typed object from the plain values of its JSON form.
func (o *object) decode(value any, read func(map[string]any) (any, error)) error {
	fields, ok := value.(map[string]any)
	if !ok {
		return nil // the reader has named it
	}
	if err := readInto(fields["metadata"], &o.meta); err != nil {
		return err
	}
	switch {
	case o.meta.Namespace != "":
	case o.kind == "IstioGateway":
		o.meta.Namespace = fleet.GatewayNamespace
	default:
		o.meta.Namespace = defaultNamespace
	}
	var err error
	o.body, err = read(fields)
	return err
}

// checkName holds the object's name and namespace against the rules of Kubernetes.
func (o *object) checkName() []Finding {
	var findings []Finding
	report := func(rule Rule, path, message string) {
		if o.broken[path] == "" {
			at := o.at(path)
			findings = append(findings, Finding{
				File: o.file, Line: at.line, Column: at.column, Rule: rule, Field: path, Message: message,
			})
		}
	}
	switch name := o.meta.Name; {
	case name == "" && o.has("metadata.generateName"):
	case name == "":
		report(Missing, "metadata.name", "is missing; give the object a name")
	case !isName(name):
		report(Invalid, "metadata.name", fmt.Sprintf(`%q is not a name: lower-case letters, digits, "-" and "." only, 253 at most`, clip(name)))
	}
	if !isLabel(o.meta.Namespace) {
		report(Invalid, "metadata.namespace", fmt.Sprintf(`%q is not a namespace: lower-case letters, digits and "-" only, 63 at most`, clip(o.meta.Namespace)))
	}
	return findings
}

// kindOf finds out what a document is, from its kind and apiVersion.
func (r *reader) kindOf(root *yaml.Node) (*readerKind, *Finding) {
	at := placeOf(root)
	fail := func(at place, rule Rule, field, format string, args ...any) (*readerKind, *Finding) {
		return nil, &Finding{Line: at.line, Column: at.column, Rule: rule, Field: field, Message: fmt.Sprintf(format, args...)}
	}
	if root.Kind != yaml.MappingNode {
		return fail(at, Syntax, "", "a document must be an object with apiVersion, kind and metadata, not %s", describe(root))
	}
	name, named := head(root, "kind")
	version, versioned := head(root, "apiVersion")
	if named == nil || name == "" {
		return fail(at, Missing, "kind", "is missing; say what the object is, as in kind: Service")
	}
	if versioned == nil || version == "" {
		return fail(at, Missing, "apiVersion", "is missing%s", r.versionHint(name))
	}
	kind := r.kinds[name]
	if kind != nil && slices.Contains(kind.Versions, version) {
		return kind, nil
	}
	group, _, ok := strings.Cut(version, "/")
	if !ok {
		group = ""
	}
	if slices.Contains(knownElsewhereTable[group], name) {
		return fail(placeOf(named), Unsupported, "kind", "%s of %s is not supported yet; remove it, crossfade would not act on it", name, clip(version))
	}
	if kind != nil {
		return fail(placeOf(versioned), UnknownKind, "apiVersion", "%s is not known in %q%s", name, clip(version), r.versionHint(name))
	}
	return fail(placeOf(named), UnknownKind, "kind", "unknown kind %q%s", clip(name), cmp.Or(didYouMean(name, r.names()), "; remove it, crossfade would not act on it"))
}

// names are the kinds that crossfade reads and those that it knows by name.
func (r *reader) names() []string {
	names := slices.Collect(maps.Keys(r.kinds))
	for _, known := range knownElsewhereTable {
		names = append(names, known...)
	}
	return names
}

func (r *reader) versionHint(name string) string {
	if k := r.kinds[name]; k != nil {
		return "; use " + k.Versions[0]
	}
	return ""
}

// head returns a string at the top of a document and its node, nil if there is none.
func head(root *yaml.Node, name string) (string, *yaml.Node) {
	n := entry(root, name)
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
		return "", n
	}
	return n.Value, n
}

// entry returns the value of a key at the top of a document, nil if there is none.
func entry(root *yaml.Node, name string) *yaml.Node {
	if root.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == name {
			return resolve(root.Content[i+1])
		}
	}
	return nil
}
