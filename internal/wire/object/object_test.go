package object

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestEdits(t *testing.T) {
	for name, c := range map[string]struct {
		in, out string
		set     map[string]string
	}{
		"nothing":                      {` { "b" : 1.50 , "a" : {"x": [1, 2]} } `, `{"b":1.50,"a":{"x": [1, 2]}}`, nil},
		"one in its place, one behind": {`{"b":1,"a":2}`, `{"b":"3","a":2,"c":"<&>"}`, map[string]string{"b": "3", "c": "<&>"}},
		"new ones by name":             {`{}`, `{"a":"1","b":"2"}`, map[string]string{"b": "2", "a": "1"}},
		"the last of two":              {`{"a":1,"a":2}`, `{"a":1,"a":"3"}`, map[string]string{"a": "3"}},
		"numbers longer than floats":   {`{"n":12345678901234567890.123}`, `{"n":12345678901234567890.123}`, nil},
		"names with escapes":           {`{"\u0041\n":1}`, `{"A\n":"2"}`, map[string]string{"A\n": "2"}},
	} {
		o, err := Parse([]byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		o = o.WithStrings(c.set)
		if got := string(o.Bytes()); got != c.out {
			t.Errorf("%s: %s, want %s", name, got, c.out)
		}
		for member, value := range c.set {
			if got := string(o.Get(member)); got != string(Quote(value)) {
				t.Errorf("%s: %q is %s, and was set to %q", name, member, got, value)
			}
		}
	}
	if got := (Object{}).Get("a"); got != nil {
		t.Errorf("an empty object has %q", got)
	}
}

func TestNoObjects(t *testing.T) {
	for _, text := range []string{"", "null", "[]", `"a"`, `{`, `{"a":1`, `{"a"}`, `{"a":}`, `{a:1}`, `{} {}`, `{}x`, "{\"\xff\":1}"} {
		if o, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, o)
		}
	}
}

// FuzzParse: what is read and written again says the same to others, and is read again as the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":{"c":[null]}}`, ` {"\u2028":"<"} `, `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := Parse(data)
		var others map[string]json.RawMessage
		if err != nil {
			return
		}
		if err := json.Unmarshal(data, &others); err != nil {
			t.Fatalf("encoding/json does not read it: %v", err)
		}
		for name, value := range others {
			if !bytes.Equal(o.Get(name), value) {
				t.Errorf("%q is %s, and to others %s", name, o.Get(name), value)
			}
		}
		again, err := Parse(o.Bytes())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if len(again) != len(o) || !bytes.Equal(again.Bytes(), o.Bytes()) {
			t.Errorf("written %s, and again %s", o.Bytes(), again.Bytes())
		}
	})
}
