package settings

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEditKeepsEverythingElse(t *testing.T) {
	const block = `# about reviews
apiVersion: crossfade.dev/v1alpha1   # ours
kind: Lifecycle
metadata: {name: reviews}

spec:
    # long enough for its cache
    service: 'reviews'
    warmup:   # MSE's
        duration: 120s # two minutes

        curve: quadratic
        # the end of warmup
    # the end of spec

# the end
`
	tests := map[string]struct {
		text string
		do   func(*edit)
		want string // "" is refused
	}{
		"a value":                              {block, func(e *edit) { e.set("60s", "spec", "warmup", "duration") }, strings.Replace(block, "120s", "60s", 1)},
		"a quoted value":                       {block, func(e *edit) { e.set("a b", "spec", "service") }, strings.Replace(block, "'reviews'", `"a b"`, 1)},
		"a new field":                          {block, func(e *edit) { e.set(7.0, "spec", "warmup", "minimumPercent") }, strings.Replace(block, "curve: quadratic\n", "curve: quadratic\n        minimumPercent: 7\n", 1)},
		"a new field in a new mapping":         {block, func(e *edit) { e.set("5s", "spec", "registration", "delay") }, strings.Replace(block, "curve: quadratic\n", "curve: quadratic\n    registration:\n        delay: 5s\n", 1)},
		"labels":                               {block, func(e *edit) { e.set(map[string]string{"b": "1", "a": "x"}, "spec", "selector", "matchLabels") }, strings.Replace(block, "curve: quadratic\n", "curve: quadratic\n    selector:\n        matchLabels:\n            a: x\n            b: \"1\"\n", 1)},
		"in braces":                            {block, func(e *edit) { e.set("prod", "metadata", "namespace") }, strings.Replace(block, "{name: reviews}", "{name: reviews, namespace: prod}", 1)},
		"a mapping in braces":                  {block, func(e *edit) { e.set("30", "metadata", "annotations", "asm.alibabacloud.com/x") }, strings.Replace(block, "{name: reviews}", `{name: reviews, annotations: {asm.alibabacloud.com/x: "30"}}`, 1)},
		"a field goes":                         {block, func(e *edit) { e.remove("spec", "warmup", "duration") }, strings.Replace(block, "        duration: 120s # two minutes\n", "", 1)},
		"the last field goes with its mapping": {"a: 1\nb:\n  c:\n    d: 2\n# end\n", func(e *edit) { e.remove("b", "c", "d") }, "a: 1\n# end\n"},
		"nothing goes":                         {block, func(e *edit) { e.remove("spec", "drain", "quiet") }, block},
		"out of braces":                        {"a: {b: 1, c: 2, d: 3}\n", func(e *edit) { e.remove("a", "c"); e.remove("a", "d") }, "a: {b: 1}\n"},
		"braces over lines":                    {"a: {\n  b: \"}\", # one\n  c: 2 # two\n}\n", func(e *edit) { e.set(3, "a", "d") }, "a: {\n  b: \"}\", # one\n  c: 2, d: 3 # two\n}\n"},
		"empty braces":                         {"a: {}\n", func(e *edit) { e.set(true, "a", "b") }, "a: {b: true}\n"},
		"nothing yet":                          {"a: # none\nb: 1\n", func(e *edit) { e.set("x", "a", "c", "d") }, "a: {c: {d: x}} # none\nb: 1\n"},
		"null":                                 {"a: ~\nb: 1\n", func(e *edit) { e.set("x", "a", "c") }, "a: {c: x}\nb: 1\n"},
		"no end of line":                       {"a:\n  b: 1", func(e *edit) { e.set(2, "a", "c") }, "a:\n  b: 1\n  c: 2\n"},
		"CRLF":                                 {"a:\r\n  b: 1\r\nz: 1\r\n", func(e *edit) { e.set(2, "a", "c") }, "a:\r\n  b: 1\r\n  c: 2\r\nz: 1\r\n"},
		"text of several lines":                {"a:\n  b: |\n    # no comment\n\n    x\n\n  # a comment\nz: 1\n", func(e *edit) { e.set(2, "a", "c") }, "a:\n  b: |\n    # no comment\n\n    x\n  c: 2\n\n  # a comment\nz: 1\n"},
		"a list":                               {"a:\n  b:\n  - 1\n  - 2\nz: 1\n", func(e *edit) { e.set(2, "a", "c") }, "a:\n  b:\n  - 1\n  - 2\n  c: 2\nz: 1\n"},
		"wide letters":                         {"ä: {ö: \"ü\", b: 1}\n", func(e *edit) { e.set(2, "ä", "b") }, "ä: {ö: \"ü\", b: 2}\n"},
		"JSON":                                 {`{"spec": {"replicaCount": 1}}` + "\n", func(e *edit) { e.set(3, "spec", "replicaCount") }, `{"spec": {"replicaCount": 3}}` + "\n"},
		"an alias":                             {"a: &x {b: 1}\nc: *x\n", func(e *edit) { e.set(2, "c", "b") }, ""},
		"an anchor":                            {"a: &x {b: 1}\nc: *x\n", func(e *edit) { e.set(2, "a", "b") }, ""},
		"a block value":                        {"a: |\n  x\n", func(e *edit) { e.set("y", "a") }, ""},
		"a value of two lines":                 {"a: x\n  y\n", func(e *edit) { e.set("z", "a") }, ""},
		"a list on the way":                    {"a: [1]\n", func(e *edit) { e.set("z", "a", "b") }, ""},
		"not YAML":                             {"a: [\n", func(e *edit) { e.set("z", "a", "b") }, ""},
		"other ends of lines":                  {"a: 1\rb: 2\r", func(e *edit) { e.set(3, "b") }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := edit{text: test.text}
			test.do(&e)
			switch {
			case test.want == "" && e.err == nil:
				t.Errorf("it is edited:\n%s", e.text)
			case test.want == "" && e.text != test.text:
				t.Errorf("refused, and changed all the same:\n%s", e.text)
			case test.want != "" && e.err != nil:
				t.Error(e.err)
			case test.want != "" && e.text != test.want:
				t.Errorf("got:\n%s\nwant:\n%s", e.text, test.want)
			}
		})
	}
}

// TestEditsSayWhatTheyWereToSay edits documents written in many ways: what can be edited says what was asked for, and every
// comment and every other line is still there.
func TestEditsSayWhatTheyWereToSay(t *testing.T) {
	edited := 0
	rapid.Check(t, func(t *rapid.T) {
		text, comments := drawDocument(t)
		e := edit{text: text}
		path := []string{"spec", rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "parent"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "field")}
		value := rapid.OneOf(rapid.Just(any(true)), rapid.Map(rapid.StringMatching(`[ -~äß]{0,9}`), func(s string) any { return s }),
			rapid.Map(rapid.IntRange(-9, 999), func(n int) any { return n })).Draw(t, "value")
		gone := rapid.Bool().Draw(t, "remove")
		if gone {
			e.remove(path...)
		} else {
			e.set(value, path...)
		}
		if e.err != nil {
			t.Fatalf("%v of\n%s", e.err, text)
		}
		edited++
		tree, _, err := read(e.text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, e.text)
		}
		if has(tree, path...) == gone {
			t.Fatalf("%v is there: %t, in\n%s", path, !gone, e.text)
		}
		if spec, ok := tree["spec"].(map[string]any); ok && !gone {
			parent, _ := spec[path[1]].(map[string]any)
			if got := parent[path[2]]; !reflect.DeepEqual(got, value) {
				t.Fatalf("got %#v, want %#v in\n%s", got, value, e.text)
			}
		}
		for _, comment := range comments {
			if !gone && !strings.Contains(e.text, comment) {
				t.Fatalf("%q is gone from\n%s", comment, e.text)
			}
		}
		again := edit{text: e.text}
		if gone {
			again.remove(path...)
		} else {
			again.set(value, path...)
		}
		if again.err != nil || again.text != e.text {
			t.Fatalf("a second time: %v\n%s\nafter\n%s", again.err, again.text, e.text)
		}
	})
	if edited == 0 {
		t.Error("nothing was edited")
	}
}

// drawDocument writes a document of mappings in braces or on lines, with comments and blank lines between them.
func drawDocument(t *rapid.T) (text string, comments []string) {
	var out strings.Builder
	note := func(indent string) {
		if rapid.Bool().Draw(t, "comment") {
			comment := "# note " + string(rune('a'+len(comments))) + " {"
			comments = append(comments, comment)
			out.WriteString(indent + comment + "\n")
		}
		if rapid.Bool().Draw(t, "blank") {
			out.WriteString("\n")
		}
	}
	step := rapid.SampledFrom([]string{"  ", "    ", " "}).Draw(t, "step")
	values := rapid.SampledFrom([]string{"1", "true", "'it''s'", `"a \" } b"`, "plain words, and more", "[1, 'x]', {y: z}]", "it's", "a#b", "~"})
	valueOf := func(field string, braces bool) string {
		return values.Filter(func(s string) bool { // a list is no value that a form edits, and commas end values in braces
			return (field == "w" || s[0] != '[') && (!braces || !strings.HasPrefix(s, "plain"))
		}).Draw(t, "value")
	}
	note("")
	out.WriteString("kind: Thing\nspec:\n")
	for _, name := range []string{"a", "b", "q"} {
		note(step)
		fields := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"x", "y", "w"}), 1, 3, rapid.ID).Draw(t, "fields")
		if rapid.Bool().Draw(t, "braces") {
			var parts []string
			for _, f := range fields {
				parts = append(parts, f+": "+valueOf(f, true))
			}
			out.WriteString(step + name + ": {" + strings.Join(parts, rapid.SampledFrom([]string{", ", " , ", ",\n" + step + step}).Draw(t, "comma")) + "}\n")
			continue
		}
		out.WriteString(step + name + ":\n")
		for _, f := range fields {
			note(step + step)
			out.WriteString(step + step + f + ": " + valueOf(f, false) + "\n")
		}
	}
	note(step)
	note("")
	return out.String(), comments
}

// FuzzEdit edits anything: what comes out says what was asked for, or nothing was changed. The check is in the edit itself;
// here it must not be got around, nor anything break.
func FuzzEdit(f *testing.F) {
	for _, text := range []string{"a: {b: 1}\n", "spec:\n  a: 1 # x\n  b: |\n    x\n", "{\"a\": [1, {\"b\": 'c'}]}", "a: &x 1\nb: *x\n", "a: !!str 1\n", "? a\n: b\n", "- a: 1\n", "a: 'x\n y'\n"} {
		f.Add(text, "a", "b", "v")
	}
	f.Fuzz(func(t *testing.T, text, parent, key, value string) {
		e := edit{text: text}
		e.set(value, parent, key)
		if e.err != nil {
			if e.text != text {
				t.Errorf("refused, and changed: %q to %q", text, e.text)
			}
			return
		}
		tree, _, err := read(e.text)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, e.text, err)
		}
		below, _ := tree[parent].(map[string]any)
		if below[key] != value {
			t.Errorf("%q became %q: got %#v, want %q", text, e.text, below[key], value)
		}
		e.remove(parent, key)
		if tree, _, err := read(e.text); e.err == nil && (err != nil || has(tree, parent, key)) {
			t.Errorf("still there: %q, %v", e.text, err)
		}
	})
}
