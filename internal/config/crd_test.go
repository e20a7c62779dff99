package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// A crd is the part of a CustomResourceDefinition that says which objects the API server takes.
type crd struct {
	Spec struct {
		Group    string
		Names    struct{ Kind string }
		Versions []struct {
			Name   string
			Schema struct {
				Schema *crdSchema `yaml:"openAPIV3Schema"`
			}
		}
	}
}

type crdSchema struct {
	Type          string
	Format        string
	Properties    map[string]*crdSchema
	Items         *crdSchema
	Additional    *crdSchema `yaml:"additionalProperties"`
	Required      []string
	Enum          []string
	Minimum       *float64
	Maximum       *float64
	MinItems      *int `yaml:"minItems"`
	MaxItems      *int `yaml:"maxItems"`
	MinLength     *int `yaml:"minLength"`
	MaxLength     *int `yaml:"maxLength"`
	MaxProperties *int `yaml:"maxProperties"`
	Pattern       string
	OneOf         []struct{ Required []string } `yaml:"oneOf"`
	IntOrString   bool                          `yaml:"x-kubernetes-int-or-string"`
	Preserve      bool                          `yaml:"x-kubernetes-preserve-unknown-fields"`
	Rules         []struct{ Rule string }       `yaml:"x-kubernetes-validations"`
}

// crds reads the definitions that come with Istio's types, from the module that this house is built with, and those in
// testdata.
func crds(t *testing.T) map[string]*crdSchema {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		t.Skipf("no Go tool, so no definitions: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "kubernetes", "customresourcedefinitions.gen.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("testdata/istiogateway.crd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	data = slices.Concat(data, []byte("\n---\n"), own)
	schemas := map[string]*crdSchema{}
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var d crd
		if err := decoder.Decode(&d); errors.Is(err, io.EOF) {
			return schemas
		} else if err != nil {
			t.Fatal(err)
		}
		if version := d.Spec.Group + "/v1"; crdBases[d.Spec.Names.Kind].version == version {
			schemas[d.Spec.Names.Kind] = d.Spec.Versions[0].Schema.Schema
		}
	}
}

// A violation is a value that a schema rejects at one place.
type violation struct {
	path  []string // "spec", "servers", "[]", "port"; "{}" is a key of a mapping
	value any
	why   string
}

func (v violation) field() string {
	var text strings.Builder
	for i, step := range v.path {
		switch {
		case step == "[]": // the first
			text.WriteString("[0]")
		case step == "{}":
			text.WriteString("[k]")
		case i > 0:
			text.WriteString("." + step)
		default:
			text.WriteString(step)
		}
	}
	return text.String()
}

// camel writes the older spelling of a field as findings do: mirror_percent is mirrorPercent.
func camel(field string) string {
	parts := strings.Split(field, "_")
	for i := range parts[1:] {
		parts[i+1] = strings.ToUpper(parts[i+1][:1]) + parts[i+1][1:]
	}
	return strings.Join(parts, "")
}

// violations walks a schema and returns values that break each of its rules.
func (s *crdSchema) violations(t *testing.T, path []string) []violation {
	t.Helper()
	var list []violation
	breaks := func(value any, why string, args ...any) {
		list = append(list, violation{slices.Clone(path), value, fmt.Sprintf(why, args...)})
	}
	s.broken(t, breaks)
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		list = append(list, s.Properties[name].violations(t, append(path, name))...)
	}
	if s.Items != nil {
		list = append(list, s.Items.violations(t, append(path, "[]"))...)
	}
	if s.Additional != nil {
		list = append(list, s.Additional.violations(t, append(path, "{}"))...)
	}
	return list
}

// broken calls breaks with values that break a rule of s itself.
func (s *crdSchema) broken(t *testing.T, breaks func(value any, why string, args ...any)) {
	t.Helper()
	switch {
	case s.IntOrString || s.Preserve:
	case s.Type == "object":
		breaks("text", "type object")
	case s.Type == "array":
		breaks(map[string]any{"a": "b"}, "type array")
	case s.Type == "integer" || s.Type == "boolean":
		breaks("text", "type %s", s.Type)
	case s.Type == "number":
		breaks(true, "type number")
	case s.Type == "string" && len(s.Enum) == 0:
		breaks(map[string]any{"a": "b"}, "type string")
	}
	for _, name := range s.Required {
		if s.Type == "object" {
			v, _ := s.sample().(map[string]any)
			delete(v, name)
			breaks(v, "required %s", name)
		}
	}
	if len(s.Enum) > 0 {
		breaks("NO_SUCH_VALUE", "enum")
	}
	if s.Minimum != nil {
		breaks(*s.Minimum-1, "minimum %g", *s.Minimum)
	}
	if s.Maximum != nil {
		breaks(*s.Maximum+1, "maximum %g", *s.Maximum)
	}
	if s.Format == "byte" {
		breaks("not base64!", "format byte")
	}
	if s.Pattern != "" {
		breaks("no match for this: \u00a0!", "pattern %s", s.Pattern)
	}
	s.tooLong(breaks)
	for i := range s.OneOf {
		for j := range i {
			v := map[string]any{}
			for _, name := range append(slices.Clone(s.OneOf[i].Required), s.OneOf[j].Required...) {
				v[name] = s.Properties[name].sample()
			}
			if len(v) == 2 {
				breaks(v, "oneOf %v", slices.Sorted(maps.Keys(v)))
			}
		}
	}
	for _, r := range s.Rules {
		rule := strings.Join(strings.Fields(r.Rule), " ")
		values, known := celViolations[rule]
		if !known {
			t.Errorf("nobody knows what breaks the rule %s", rule)
		}
		for _, value := range values {
			breaks(value, "%s", rule)
		}
	}
}

func (s *crdSchema) tooLong(breaks func(value any, why string, args ...any)) {
	if n := s.MinItems; n != nil && *n > 0 {
		breaks(repeat(s.Items, *n-1), "minItems %d", *n)
	}
	if n := s.MaxItems; n != nil {
		breaks(repeat(s.Items, *n+1), "maxItems %d", *n)
	}
	if n := s.MinLength; n != nil && *n > 0 {
		breaks(strings.Repeat("a", *n-1), "minLength %d", *n)
	}
	if n := s.MaxLength; n != nil {
		breaks(strings.Repeat("a", *n+1), "maxLength %d", *n)
	}
	if n := s.MaxProperties; n != nil {
		v := map[string]any{}
		for i := range *n + 1 {
			v[fmt.Sprintf("k%d", i)] = s.Additional.sample()
		}
		breaks(v, "maxProperties %d", *n)
	}
}

func repeat(s *crdSchema, n int) []any {
	list := []any{}
	for range n {
		list = append(list, s.sample())
	}
	return list
}

// sample returns a value that a schema takes.
func (s *crdSchema) sample() any {
	switch s.Type {
	case "object":
		v := map[string]any{}
		for _, name := range s.Required {
			v[name] = s.Properties[name].sample()
		}
		return v
	case "array":
		return []any{s.Items.sample()}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	default:
		if len(s.Enum) > 0 {
			return s.Enum[0]
		}
		for _, r := range s.Rules {
			if strings.HasPrefix(r.Rule, "duration") {
				return "1s"
			}
		}
		return "a"
	}
}

// celViolations are values that break the rules that Istio writes in CEL, by the rule.
var celViolations = map[string][]any{
	`duration(self) >= duration('1ms')`:      {"0s", "100us", "-1s", "1d", "5"},
	`self.all(key, !key.contains("*"))`:      {fields{"*": "a"}},
	`self.all(key, key.size() != 0)`:         {fields{"": "a"}},
	`!self.contains("*")`:                    {"a*"},
	`0 < self && self <= 65535`:              {0, 65536},
	`self != "*"`:                            {"*"},
	`self in ["", "HTTP", "HTTPS"]`:          {"FTP"},
	`has(self.address) || has(self.network)`: {fields{"weight": 1}},
	`self.all(l1, self.exists_one(l2, l1.number == l2.number))`: {[]any{
		fields{"number": 80, "name": "a"}, fields{"number": 80, "name": "b"},
	}},
	`(has(self.tlsCertificates) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1`: {
		fields{"tlsCertificates": []any{fields{}}, "credentialNames": []any{"a"}},
	},
	`(has(self.credentialName) ? 1 : 0) + (has(self.credentialNames) ? 1 : 0) <= 1`: {
		fields{"credentialName": "a", "credentialNames": []any{"a"}},
	},
	`(has(self.credentialNames) ? 1 : 0) + (has(self.tlsCertificates) ? 1 : 0) <= 1`: {
		fields{"tlsCertificates": []any{fields{}}, "credentialNames": []any{"a"}},
	},
	`(has(self.workloadSelector) ? 1 : 0) + (has(self.endpoints) ? 1 : 0) <= 1`: {
		serviceEntry(fields{"workloadSelector": fields{"labels": fields{"a": "b"}}, "endpoints": []any{fields{"address": "10.0.0.1"}}, "resolution": "STATIC"}),
	},
	`!((has(self.addresses) ? self.addresses : []).exists(k, k.contains("/")) && !((has(self.resolution) ? self.resolution : "NONE") in ["STATIC", "NONE"]))`: {
		serviceEntry(fields{"addresses": []any{"10.0.0.0/8"}, "resolution": "DNS"}),
	},
	`((has(self.resolution) ? self.resolution : "NONE") == "NONE") ? !has(self.endpoints) : true`: {
		serviceEntry(fields{"resolution": "NONE", "endpoints": []any{fields{"address": "10.0.0.1"}}}),
		serviceEntry(fields{"endpoints": []any{fields{"address": "10.0.0.1"}}}),
	},
	`((has(self.resolution) ? self.resolution : "") == "DNS_ROUND_ROBIN") ? ((has(self.endpoints) ? self.endpoints : []).size() <= 1) : true`: {
		serviceEntry(fields{"resolution": "DNS_ROUND_ROBIN", "endpoints": []any{fields{"address": "a.com"}, fields{"address": "b.com"}}}),
	},
	`(has(self.address) ? self.address : "").startsWith("unix://") ? !has(self.ports) : true`: {
		fields{"address": "unix:///a", "ports": fields{"http": 1}},
	},
	`self.startsWith("unix://") ? (self.substring(7, 8) == "/" || self.substring(7, 8) == "@") : true`: {"unix://a"},
	`self.startsWith("unix://") ? !self.endsWith("/") : true`:                                          {"unix:///a/"},
	`self.all(key, size(key) < 63 && key.matches("^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$"))`: {
		fields{"bad name": 1}, fields{"-a": 1}, fields{strings.Repeat("a", 63): 1},
	},
}

type fields = map[string]any

// serviceEntry is a ServiceEntry's spec with some fields.
func serviceEntry(some fields) fields {
	all := fields{"hosts": []any{"c.example.com"}, "ports": []any{fields{"number": 80, "name": "http"}}}
	maps.Copy(all, some)
	return all
}

// A crdBase is an object that is right: violations are put into it.
type crdBase struct{ version, spec string }

const istioVersion, asmVersion = "networking.istio.io/v1", "istio.alibabacloud.com/v1"

var crdBases = map[string]crdBase{
	"Gateway":         {istioVersion, `{"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}`},
	"VirtualService":  {istioVersion, `{"hosts": ["a.example.com"], "http": [{"route": [{"destination": {"host": "a"}}]}]}`},
	"DestinationRule": {istioVersion, `{"host": "a", "subsets": [{"name": "v1"}]}`},
	"ServiceEntry":    {istioVersion, `{"hosts": ["b.example.com"], "resolution": "STATIC", "ports": [{"number": 80, "name": "http"}], "endpoints": [{"address": "10.0.0.1"}]}`},
	"WorkloadEntry":   {istioVersion, `{"address": "10.0.0.1"}`},
	"WorkloadGroup":   {istioVersion, `{"template": {}}`},
	"IstioGateway":    {asmVersion, `{"gatewayType": "ingress"}`},
}

// put sets the value at a path, making what is missing on the way and going into what is there.
func put(at any, s *crdSchema, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	switch path[0] {
	case "[]":
		list, ok := at.([]any)
		if !ok || len(list) == 0 {
			list = []any{s.Items.sample()}
		}
		list = slices.Clone(list)
		list[0] = put(list[0], s.Items, path[1:], value)
		return list
	case "{}":
		return map[string]any{"k": put(nil, s.Additional, path[1:], value)}
	default:
		fields, ok := at.(map[string]any)
		if !ok {
			fields, _ = s.sample().(map[string]any)
		}
		fields = maps.Clone(fields)
		fields[path[0]] = put(fields[path[0]], s.Properties[path[0]], path[1:], value)
		return fields
	}
}

// TestWhatTheSchemaRejectsIsRejected draws violations of the schemas that Istio ships, and expects a finding about
// the field, or about one that it is part of.
func TestWhatTheSchemaRejectsIsRejected(t *testing.T) {
	for kind, schema := range crds(t) {
		base, ok := crdBases[kind]
		if !ok {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			list := schema.Properties["spec"].violations(t, []string{"spec"})
			t.Logf("%d violations", len(list))
			for _, v := range list {
				checkViolation(t, kind, base, schema, v)
			}
			if t.Failed() {
				return
			}
			rapid.Check(t, func(t *rapid.T) { // several at a time: none must hide the last one
				drawn := rapid.SliceOfN(rapid.SampledFrom(list), 1, 3).Draw(t, "first")
				last := rapid.SampledFrom(list).Draw(t, "last")
				drawn = slices.DeleteFunc(drawn, func(v violation) bool { // one inside the other takes its place
					n := min(len(v.path), len(last.path))
					return slices.Equal(v.path[:n], last.path[:n])
				})
				checkViolation(t, kind, base, schema, append(drawn, last)...)
			})
		})
	}
}

func checkViolation(t rapid.TB, kind string, base crdBase, schema *crdSchema, list ...violation) {
	t.Helper()
	var spec any
	if err := json.Unmarshal([]byte(base.spec), &spec); err != nil {
		t.Fatal(err)
	}
	object := any(map[string]any{
		"apiVersion": base.version, "kind": kind, "metadata": map[string]any{"name": "a"}, "spec": spec,
	})
	for _, v := range list {
		object = put(object, schema, v.path, v.value)
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	_, findings := Parse([]File{{Name: "a.json", Data: data}, {Name: "b.yaml", Data: []byte(service("a", "default", 80))}}, options())
	last := list[len(list)-1] // it may have replaced the others
	field := last.field()
	if base.version == istioVersion {
		field = camel(field)
	}
	for _, f := range findings {
		if f.Severity == Error && (within(f.Field, field) || within(field, f.Field)) {
			return
		}
	}
	if len(data) > 2000 {
		data = append(data[:2000], "…"...)
	}
	t.Errorf("%s: %s breaks %s, and no finding says so:\n%s\n%s", kind, last.field(), last.why, data, text(findings))
}
