package http2

import (
	"encoding/json"
	"reflect"
	"testing"

	"crossfade.dev/internal/meter"
)

// No counter is forgotten when stats are reset, written, read or added.
func TestStatsKnowAllTheirCounters(t *testing.T) {
	var from, read, sum Stats
	v, n := reflect.ValueOf(&from).Elem(), uint64(0)
	count := func(c *meter.Counter) {
		n++
		c.Add(n)
	}
	for _, field := range v.Fields() {
		switch f := field.Addr().Interface().(type) {
		case *meter.Counter:
			count(f)
		case *[floods]meter.Counter:
			for j := range f {
				count(&f[j])
			}
		default:
			t.Fatalf("what is a %T?", f)
		}
	}
	text, err := json.Marshal(&from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	sum.Add(&from)
	sum.Add(&read)
	var total uint64
	for _, c := range sum.counters() {
		total += c.Load()
	}
	if want := n * (n + 1); total != want {
		t.Errorf("twice %d counters: got %d in all, want %d", n, total, want)
	}
	sum.Reset()
	if sum != (Stats{}) {
		t.Errorf("after a reset: %+v", &sum)
	}
}
