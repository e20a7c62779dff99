package evidence

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/meter"
)

// fill counts something different in every counter and gauge of a struct, so that none can be forgotten.
func fill(t *testing.T, rng *rand.Rand, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		switch f := v.Field(i).Addr().Interface().(type) {
		case *meter.Counter:
			f.Add(rng.Uint64N(1e6))
		case *meter.Gauge:
			f.Add(rng.Int64N(1e6))
		case *InFlight:
			f.Add(rng.Int64N(1e6))
		case *meter.Histogram:
			f.Observe(time.Duration(rng.Int64N(1e9)))
		case *Reports:
			f.Unread.Add(rng.Uint64N(1e6))
			f.Note(&Load{CPU: rng.Float64(), Named: []Metric{{"a", rng.Float64()}}}, time.Unix(rng.Int64N(1e9), 0))
		case *Signs: // this process's own
		case *Traffic:
			fill(t, rng, reflect.ValueOf(f).Elem())
			for range 20 {
				f.Answered(100+rng.IntN(500), time.Duration(rng.Int64N(1e9)))
				f.Called(rng.IntN(17))
				f.Ended(ending.Kind(rng.IntN(ending.Kinds)))
			}
		default:
			t.Fatalf("what is a %T?", f)
		}
	}
}

// texts is a Downstream as JSON, for people to compare.
func texts(t *testing.T, d *Downstream) map[string]any {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// What was written, read and added twice is the double in every field, and the half is left when the original is added
// to nothing.
func TestDownstreamTravelsAndAddsUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	from, read, sum := new(Downstream), new(Downstream), new(Downstream)
	fill(t, rng, reflect.ValueOf(from).Elem())
	text, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(texts(t, from), texts(t, read)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	sum.Add(read)
	if diff := cmp.Diff(texts(t, from), texts(t, sum)); diff != "" {
		t.Errorf("added to nothing (-want +got):\n%s", diff)
	}
	sum.Add(from)
	want, half := sum.Requests.Counts(), from.Requests.Counts()
	half.Merge(&half)
	if diff := cmp.Diff(half, want, cmp.AllowUnexported(meter.Snapshot{})); diff != "" {
		t.Errorf("requests of both (-want +got):\n%s", diff)
	}
	for i, c := range sum.counters() {
		if got, want := c.Load(), 2*from.counters()[i].Load(); got != want {
			t.Errorf("counter %d: got %d, want %d", i, got, want)
		}
	}
	if err := json.Unmarshal([]byte(`{"Requests":{"total":"many"}}`), read); err == nil {
		t.Error("nonsense was read")
	}
}

func TestAddNamesEveryStatus(t *testing.T) {
	from, into := new(Traffic), new(Traffic)
	from.Answered(503, time.Second)
	from.Called(14)
	from.Reset()
	counts := from.Counts()
	into.Add(&counts)
	if diff := cmp.Diff([]Code{{503, 0}}, into.Counts().Codes); diff != "" {
		t.Errorf("statuses that were known (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Code{{14, 0}}, into.Counts().Calls); diff != "" {
		t.Errorf("likewise of calls (-want +got):\n%s", diff)
	}
	into.Add(&Counts{Codes: []Code{{-1, 1}, {99, 1}, {600, 1}}, Calls: []Code{{-1, 1}, {17, 1}}}) // there are no such
	counts = into.Counts()
	if got := counts.Answered(); got != 0 {
		t.Errorf("got %d answers of statuses that there are not", got)
	}
}
