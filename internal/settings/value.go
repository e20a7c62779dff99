package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A field is a value, or a mapping of one field.
type field struct {
	key   string
	value any
}

// nested is a value below the rest of a path.
func nested(value any, path []string) any {
	for _, key := range slices.Backward(path) {
		value = field{key, value}
	}
	return value
}

// flow writes a value on one line.
func flow(value any) string {
	switch v := value.(type) {
	case field:
		return "{" + quoted(v.key) + ": " + flow(v.value) + "}"
	case map[string]string:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, quoted(name)+": "+quoted(v[name]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case string:
		return quoted(v)
	}
	return fmt.Sprint(value)
}

// block writes a key and its value at an indent, on as many lines as there are mappings.
func block(indent, step, key string, value any, end string) string {
	switch v := value.(type) {
	case field:
		return indent + quoted(key) + ":" + end + block(indent+step, step, v.key, v.value, end)
	case map[string]string:
		lines := []string{indent + quoted(key) + ":" + end}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			lines = append(lines, indent+step+quoted(name)+": "+quoted(v[name])+end)
		}
		return strings.Join(lines, "")
	}
	return indent + quoted(key) + ": " + flow(value) + end
}

// quoted writes a string so that YAML reads it as one, inside of braces, too.
func quoted(s string) string {
	if plain(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}

// plain says whether a string needs no quotes anywhere.
func plain(s string) bool {
	for i, c := range s {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !word && (i == 0 || !strings.ContainsRune("-./", c)) {
			return false
		}
	}
	var n yaml.Node
	return s != "" && !isBoolean(s) && yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].ShortTag() == "!!str"
}

// isBoolean says whether YAML 1.1, which Kubernetes reads, takes a word for true or false.
func isBoolean(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false":
		return true
	}
	return false
}
