package etcd

import (
	"encoding/json"
	"slices"
	"testing"

	"crossfade.dev/internal/hold"
)

func TestMarkedValues(t *testing.T) {
	t.Parallel()
	mark := hold.Mark{Metadata: map[string]string{"crossfade.x": "1", "crossfade.a": `"`}, Share: 0.25}
	const said = `"crossfade.a":"\"","crossfade.x":"1"`
	for _, c := range []struct{ name, value, want string }{
		{"no JSON", `10.0.0.1:8080`, `10.0.0.1:8080`},
		{"no object", `["metadata"]`, `["metadata"]`},
		{"nothing", ``, ``},
		{"two objects", `{"metadata":{}}{}`, `{"metadata":{}}{}`},
		{"an object that does not end", `{"metadata":{}`, `{"metadata":{}`},
		{"no room", `{"addr":"a","x":[1, 2]}`, `{"addr":"a","x":[1, 2]}`},
		{"etcd's naming", `{"Op":0,"Addr":"a","Metadata":null}`, `{"Op":0,"Addr":"a","Metadata":{` + said + `}}`},
		{"etcd's naming, with metadata of its own", `{"Op":0,"Addr":"a","Metadata":{"z":1.50}}`, `{"Op":0,"Addr":"a","Metadata":{"z":1.50,` + said + `}}`},
		{"etcd's naming, with what is no object", `{"Op":0,"Addr":"a","Metadata":"x"}`, `{"Op":0,"Addr":"a","Metadata":"x"}`},
		{"Kratos", `{"id":"1","metadata":{"weight":"100"},"endpoints":["e"]}`, `{"id":"1","metadata":{"weight":"25",` + said + `},"endpoints":["e"]}`},
		{"Kitex", `{"network":"tcp","address":"a","weight":10,"tags":null}`, `{"network":"tcp","address":"a","weight":3,"tags":{` + said + `}}`},
		{"a whole weight stays at least 1", `{"weight":1}`, `{"weight":1}`},
		{"another weight is multiplied", `{"weight":0.5}`, `{"weight":0.125}`},
		{"a weight of 0 stays", `{"weight":0}`, `{"weight":0}`},
		{"a weight that is none stays", `{"weight":"heavy"}`, `{"weight":"heavy"}`},
		{"its own are replaced where they stand", `{"metadata":{"crossfade.x":"0","b":"2"}}`, `{"metadata":{"crossfade.x":"1","b":"2","crossfade.a":"\""}}`},
		{"numbers and spaces of others stay", `{ "n" : 12345678901234567890 , "metadata" : { } }`, `{"n":12345678901234567890,"metadata":{` + said + `}}`},
	} {
		if got := string(marked([]byte(c.value), mark)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if got := string(marked([]byte(c.value), hold.Mark{Share: 1})); got != c.value {
			t.Errorf("%s: without a mark %s, want %s", c.name, got, c.value)
		}
	}
}

// FuzzMarked: what was JSON stays JSON, and what has nothing to do with the mark stays as it is.
func FuzzMarked(f *testing.F) {
	for _, value := range []string{`{"Op":0,"Addr":"a","Metadata":null}`, `{"weight":10,"tags":{"a":"b"}}`, `x`, `{"a":{"weight":1}}`, `{"\ud800":1,"METADATA":{}}`} {
		f.Add([]byte(value), 0.5)
	}
	f.Fuzz(func(t *testing.T, value []byte, share float64) {
		if share <= 0 || share > 1 {
			share = 1
		}
		got := marked(value, hold.Mark{Metadata: map[string]string{"crossfade.x": "1"}, Share: share})
		if slices.Equal(got, value) {
			return
		}
		if !json.Valid(value) || !json.Valid(got) {
			t.Fatalf("%q became %q", value, got)
		}
		again := marked(got, hold.Mark{Metadata: map[string]string{"crossfade.x": "1"}, Share: 1})
		if !slices.Equal(again, got) {
			t.Fatalf("%q became %q, and then %q", value, got, again)
		}
	})
}
