package nacos

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

func TestWeighed(t *testing.T) {
	if got := weighed(100, hold.Mark{Share: 0.5, Leaving: true}); got != 0 {
		t.Errorf("the weight of one that leaves is %v", got)
	}
	for _, c := range []struct{ weight, share, want float64 }{
		{100, 0.25, 25}, {100, 0.001, 1}, {1, 0.1, 1}, {3, 0.5, 2}, {0.5, 0.5, 0.25}, {2.5, 0.5, 1.25}, {0, 0.5, 0}, {7, 0, 7}, {7, 1, 7},
	} {
		if got := weighed(c.weight, hold.Mark{Share: c.share}); got != c.want {
			t.Errorf("weight %v, share %v: %v, want %v", c.weight, c.share, got, c.want)
		}
	}
}

// What is registered with a mark is seen as such, and what was registered with another is not.
func TestLook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mark := func(name string) hold.Mark {
			return hold.Mark{
				Metadata: map[string]string{weightKey: "1", "crossfade.n": rapid.SampledFrom([]string{"a", "b"}).Draw(t, name)},
				Share:    rapid.SampledFrom([]float64{0, 0.1, 0.5, 1}).Draw(t, name), Leaving: rapid.Bool().Draw(t, name),
			}
		}
		in := wire.NewInstance()
		in.IP, in.Port, in.Weight = "10.0.0.1", 1, rapid.SampledFrom([]float64{0.5, 1, 100}).Draw(t, "weight")
		first, second := mark("first"), mark("second")
		got := as(in, first)
		listed := []wire.Instance{got}
		if look(listed, as(in, first)) != seen {
			t.Fatalf("%+v is not seen as %+v", listed, as(in, first))
		}
		same := first.Metadata["crossfade.n"] == second.Metadata["crossfade.n"] && weighed(in.Weight, first) == weighed(in.Weight, second)
		if is := look(listed, as(in, second)) == seen; is != same {
			t.Fatalf("%+v seen as %+v: %v", listed, as(in, second), is)
		}
		if in.Weight != 1 && as(in, first).Metadata[weightKey] == "1" {
			t.Fatal("the application says its weight, and the agent's stands there")
		}
	})
}

// A nudge is a difference that r-nacos sees, with its 32 bits, and no consumer does.
func TestNudge(t *testing.T) {
	w := *nudge(wire.Change{}, wire.Instance{Weight: 1}).Weight
	if float32(w) == 1 || w < 1 || math.Trunc(w) != 1 || w > 1.000001 {
		t.Errorf("a nudge is %v", w)
	}
	if c := nudge(wire.Change{}, wire.Instance{Weight: 2}); c.Weight != nil {
		t.Errorf("a weight of 2 is nudged to %v", *c.Weight)
	}
}

// Whatever a registry says is passed on: what cannot be read as it came.
func FuzzFrames(f *testing.F) {
	for _, body := range []string{`{"serviceInfo":{"hosts":[]}}`, `{"hosts":null}`, `{"data":[]}`, `{"data":{"hosts":3}}`, `[]`, `{"serverIp":"1"}`, ``} {
		f.Add([]byte(wire.Payload{Type: wire.TypeNotifySubscriber, Body: []byte(body)}.Frame()))
		f.Add([]byte(wire.Payload{Type: wire.TypeConnectReset, Body: []byte(body)}.Frame()))
	}
	mine := []own{{hold.Key{Name: "a"}, wire.NewService("", "", "pay"), *at(1)}}
	f.Fuzz(func(t *testing.T, frame []byte) {
		for _, got := range []wire.Frame{staying(frame), added(frame, mine, "")} {
			before, err := wire.Frame(frame).Payload()
			if err != nil {
				if string(got) != string(frame) {
					t.Fatalf("%q became %q", frame, got)
				}
				continue
			}
			after, err := got.Payload()
			if err != nil || after.Type != before.Type || json.Valid(before.Body) && !json.Valid(after.Body) {
				t.Fatalf("%q became %q: %v", before.Body, after.Body, err)
			}
		}
	})
}

// A path means an instance to Nacos, with whatever stands in it for a server of Java's, and to us.
func FuzzPaths(f *testing.F) {
	f.Add("/nacos/v1/ns/instance", ";x", "/./")
	f.Add("/v1/ns/instance", "/", "//")
	f.Fuzz(func(t *testing.T, path, parameter, slash string) {
		if _, op := wire.Classify("POST", path); op != wire.Register || path != cleaned(path) {
			t.Skip()
		}
		odd := path
		if strings.HasPrefix(parameter, ";") && !strings.ContainsAny(parameter, "/") {
			odd += parameter
		}
		if strings.Trim(slash, "/.") == "" && strings.HasPrefix(slash, "/") && strings.HasSuffix(slash, "/") && !strings.Contains(slash, "..") {
			odd = slash + strings.TrimPrefix(odd, "/")
		}
		if _, op := wire.Classify("POST", cleaned(odd)); op != wire.Register {
			t.Fatalf("%q is %v", odd, op)
		}
	})
}
