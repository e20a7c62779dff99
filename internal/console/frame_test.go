package console

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A thing is a row of the tests.
type thing struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
}

// things are what a frame of the tests is made of.
type things struct {
	Head map[string]int
	Rows []thing
}

func drawThings(t *rapid.T, label string) things {
	return things{
		Head: rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", evil}), rapid.IntRange(0, 2), 0, 4).Draw(t, label+" head"),
		Rows: rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) thing {
			return thing{rapid.SampledFrom([]string{"x", "y", "z", "with \"quotes\"", evil}).Draw(t, "name"), rapid.IntRange(0, 2).Draw(t, "value")}
		}), 0, 5, func(r thing) string { return r.Name }).Draw(t, label+" rows"),
	}
}

func (x *things) frame(t *rapid.T) *frame {
	f, err := newFrame(x.Head, "rows", x.Rows, func(r *thing) string { return r.Name })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// An onlooker is what a client knows: it does with messages what the page does.
type onlooker struct {
	head map[string]json.RawMessage
	rows map[string]thing
}

func (o *onlooker) whole(t *rapid.T, data json.RawMessage) {
	o.head, o.rows = map[string]json.RawMessage{}, map[string]thing{}
	var all struct {
		Rows []thing `json:"rows"`
	}
	readJSON(t, data, &all)
	readJSON(t, data, &o.head)
	delete(o.head, "rows")
	for _, r := range all.Rows {
		o.rows[r.Name] = r
	}
}

func (o *onlooker) patch(t *rapid.T, data json.RawMessage) {
	var p struct {
		Head map[string]json.RawMessage `json:"head"`
		Rows []thing                    `json:"rows"`
		Gone []string                   `json:"gone"`
	}
	readJSON(t, data, &p)
	for name, value := range p.Head {
		if o.head[name] = value; string(value) == "null" {
			delete(o.head, name)
		}
	}
	for _, r := range p.Rows {
		o.rows[r.Name] = r
	}
	for _, name := range p.Gone {
		delete(o.rows, name)
	}
}

func readJSON(t *rapid.T, data json.RawMessage, into any) {
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

// Whoever has seen the whole once and every patch since knows what who sees the whole now knows, and is told no more than that.
func TestPatchesMakeTheNextFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var followed onlooker
		var last *frame
		for i := range rapid.IntRange(1, 6).Draw(t, "frames") {
			now := drawThings(t, "frame")
			f := now.frame(t)
			if i == 0 {
				followed.whole(t, f.whole())
			} else if patch := f.patch(last); patch != nil {
				followed.patch(t, patch)
			}
			var anew onlooker
			anew.whole(t, f.whole())
			if diff := cmp.Diff(anew, followed, cmp.AllowUnexported(onlooker{})); diff != "" {
				t.Fatalf("who followed knows otherwise (-whole +patched):\n%s", diff)
			}
			again := now.frame(t)
			if patch := again.patch(f); patch != nil {
				t.Fatalf("nothing has changed, and there is a patch %s", patch)
			}
			last = f
		}
	})
}

func TestPatchIsWhatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := things{Head: map[string]int{"time": 1, "name": 2}, Rows: []thing{{"a", 1}, {"b", 1}, {"c", 1}}}
		y := things{Head: map[string]int{"time": 2, "name": 2}, Rows: []thing{{"a", 1}, {"b", 2}, {"d", 1}}}
		const want = `{"head":{"time":2},"rows":[{"name":"b","value":2},{"name":"d","value":1}],"gone":["c"]}`
		if got := string(y.frame(t).patch(x.frame(t))); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}
