package registry

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// full is an instance that says everything an entry can hold.
func full() fleet.Instance {
	return fleet.Instance{
		Name: "reviews-v2-1", Namespace: "prod", Workload: "reviews-v2", Revision: "7f", Incarnation: "reviews-v2-1-3",
		Address: netip.MustParseAddr("127.1.2.3"), Ports: map[string]uint32{"http": 9080, "grpc": 9081},
		Labels: map[string]string{"app": "reviews"}, Locality: fleet.Locality{Region: "eu", Zone: "a", SubZone: "rack-1"}, Weight: 3,
		Check: &fleet.Check{Path: "/health", Port: 15021, Interval: time.Second, Timeout: 500 * time.Millisecond, InitialDelay: 2 * time.Second, Healthy: 1, Unhealthy: 3},
		Ready: true, Leaving: true, Bound: 30 * time.Second, Front: true,
		Warmup: &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5},
		Published: &fleet.Published{
			Started: time.UnixMilli(1_790_000_000_123).UTC(), Registered: time.UnixMilli(1_790_000_060_456).UTC(), Age: 90 * time.Second,
		},
	}
}

func TestAnInstanceIsReadAsItWasWritten(t *testing.T) {
	data, err := Encode(full())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full(), got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("what is read is not what was written (-want +got):\n%s\n%s", diff, data)
	}
	// The names are a promise to others who read them.
	for _, want := range []string{
		`"incarnation":"reviews-v2-1-3"`, `"start_time_unix_ms":1790000000123`, `"registration_time_unix_ms":1790000060456`,
		`"age_at_registration_ms":90000`, `"warmup":{"window_ms":120000,"minimum":0.1,"aggression":0.5}`, `"zone":"a"`, `"bound_ms":30000`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the entry has no %s:\n%s", want, data)
		}
	}
}

func TestAnyInstanceIsReadAsItWasWritten(t *testing.T) {
	text := rapid.StringMatching(`[a-z][a-z0-9-]{0,20}`)
	millis := rapid.Map(rapid.Int64Range(0, 1<<40), func(n int64) time.Duration { return time.Duration(n) * time.Millisecond })
	moment := rapid.Map(rapid.Int64Range(1, 1<<42), func(n int64) time.Time { return time.UnixMilli(n).UTC() })
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.Instance{
			Name: text.Draw(t, "name"), Namespace: text.Draw(t, "namespace"), Incarnation: text.Draw(t, "incarnation"),
			Address: netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))),
			Ports:   rapid.MapOfN(text, rapid.Uint32Range(1, 65535), 1, 3).Draw(t, "ports"),
			Labels:  rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(t, "labels"),
			Weight:  rapid.Uint32Range(0, maxWeight).Draw(t, "weight"), Ready: rapid.Bool().Draw(t, "ready"),
			Leaving: rapid.Bool().Draw(t, "leaving"), Bound: millis.Draw(t, "bound"), Front: rapid.Bool().Draw(t, "front"),
		}
		if rapid.Bool().Draw(t, "warms") {
			want.Warmup = &fleet.Warmup{Window: millis.Draw(t, "window"), Minimum: rapid.Float64Range(0, 1).Draw(t, "minimum"), Aggression: rapid.Float64Range(0, 100).Draw(t, "aggression")}
		}
		if rapid.Bool().Draw(t, "publishes") {
			want.Published = &fleet.Published{Started: moment.Draw(t, "started"), Registered: moment.Draw(t, "registered"), Age: millis.Draw(t, "age")}
		}
		data, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data)
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		want.Ready = want.Ready || want.Leaving
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, data)
		}
	})
}

func TestWhatPeopleWriteByHand(t *testing.T) {
	got, err := Decode([]byte(`{"format": 1, "incarnation": "a", "address": "10.0.0.1", "later": "unknown keys are passed over"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.Instance{Name: "a", Namespace: "default", Incarnation: "a", Address: netip.MustParseAddr("10.0.0.1"), Weight: 1, Ready: true}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err = Decode([]byte(`{"format": 1, "incarnation": "a", "address": "10.0.0.1", "metadata": {"timestamp": "1790000000", "warmup": "2m0s"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got.Warmup == nil || got.Warmup.Window != 2*time.Minute || got.Published == nil || got.Published.Started.Unix() != 1_790_000_000 {
		t.Errorf("Dubbo's metadata gave %+v, %+v", got.Warmup, got.Published)
	}
}

func TestBrokenEntriesSayWhichKey(t *testing.T) {
	whole := `"format": 1, "incarnation": "a", "address": "10.0.0.1"`
	for entry, want := range map[string]string{
		``:                                  "unexpected end",
		`{}`:                                "format is 0",
		`{"format": 2}`:                     "format is 2",
		`{"format": 1}`:                     "incarnation is missing",
		`{"format": 1, "incarnation": "a"}`: "address is missing",
		`{"format": 1, "incarnation": "a", "address": "nobody"}`:           "address",
		`{` + whole + `, "weight": -1}`:                                    "weight",
		`{` + whole + `, "weight": 1000001}`:                               "weight is 1000001",
		`{` + whole + `, "ports": {"http": 0}}`:                            "http is 0",
		`{` + whole + `, "ports": {"http": 65536}}`:                        "http is 65536",
		`{` + whole + `, "bound_ms": -1}`:                                  "bound_ms is -1",
		`{` + whole + `, "bound_ms": 9223372036855}`:                       "bound_ms",
		`{` + whole + `, "warmup": {"minimum": 1.1}}`:                      "warmup.minimum is 1.1",
		`{` + whole + `, "warmup": {"aggression": -1}}`:                    "warmup.aggression is -1",
		`{` + whole + `, "published": {"age_at_registration_ms": -1}}`:     "published.age_at_registration_ms is -1",
		`{` + whole + `, "check": {"interval_ms": 0}}`:                     "check",
		`{` + whole + `, "name": "` + strings.Repeat("x", MaxEntry) + `"}`: "at most 65536",
	} {
		if _, err := Decode([]byte(entry)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want an error with %q", entry, err, want)
		}
	}
	for _, in := range []fleet.Instance{{}, {Incarnation: "a"}, {Incarnation: "a", Address: netip.MustParseAddr("::1"), Name: strings.Repeat("x", MaxEntry)}} {
		if data, err := Encode(in); err == nil {
			t.Errorf("%.80s was published", data)
		}
	}
}

func TestPeers(t *testing.T) {
	at := time.UnixMilli(1_790_000_000_000).UTC()
	linear := func(d time.Duration) *fleet.Warmup { return &fleet.Warmup{Window: d, Minimum: 0.01, Aggression: 1} }
	for _, tt := range []struct {
		name     string
		metadata map[string]string
		at       time.Time
		warmup   *fleet.Warmup
	}{
		{"nothing", map[string]string{"version": "1"}, time.Time{}, nil},
		{"Dubbo in Java", map[string]string{"timestamp": "1790000000000", "warmup": "60000"}, at, linear(time.Minute)},
		{"Dubbo in Go", map[string]string{"timestamp": "1790000000", "warmup": "60"}, at, linear(time.Minute)},
		{"Dubbo in Go, as WithServerWarmup writes it", map[string]string{"timestamp": "1790000000", "warmup": "2m0s"}, at, linear(2 * time.Minute)},
		{"Dubbo's default", map[string]string{"timestamp": "1790000000000"}, at, linear(10 * time.Minute)},
		{"Dubbo without warm-up", map[string]string{"timestamp": "1790000000000", "warmup": "0"}, at, nil},
		{"Dubbo, a window that no clock has", map[string]string{"timestamp": "1790000000000", "warmup": "9223372036854775807"}, at, linear(10 * time.Minute)},
		{"Dubbo, rubbish", map[string]string{"timestamp": "yesterday"}, time.Time{}, nil},
		{"Dubbo, before 1970", map[string]string{"timestamp": "-5"}, time.Time{}, nil},
		{"Sermant", map[string]string{
			"sermant.grace.warmup.time": "120", "sermant.grace.warmup.inject.time": "1790000000000", "sermant.grace.warmup.cal.curve": "2",
		}, at, &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.01, Aggression: 0.5}},
		{"Sermant without a curve", map[string]string{
			"sermant.grace.warmup.time": "120", "sermant.grace.warmup.inject.time": "1790000000000", "sermant.grace.warmup.cal.curve": "NaN",
		}, at, &fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.01, Aggression: 0.5}},
		{"Curator", map[string]string{"registrationTimeUTC": "1790000000000"}, at, nil},
		{"Eureka", map[string]string{"serviceUpTimestamp": "1790000000000"}, at, nil},
	} {
		published, warmup := Peer(tt.metadata)
		var got time.Time
		if published != nil {
			got = published.Registered
		}
		if !got.Equal(tt.at) {
			t.Errorf("%s: registered %v, want %v", tt.name, got, tt.at)
		}
		if diff := cmp.Diff(tt.warmup, warmup); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// FuzzDecode: whatever a registry holds is refused, or is an instance that can be published again.
func FuzzDecode(f *testing.F) {
	data, err := Encode(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"format":1,"incarnation":"a","address":"::1%eth0","metadata":{"timestamp":"1","warmup":"1e9h"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := Decode(data)
		if err != nil {
			return
		}
		if w := in.Warmup; w != nil && (w.Window < 0 || !(w.Minimum >= 0 && w.Minimum <= 1) || !(w.Aggression >= 0)) {
			t.Errorf("warm-up %+v", *w)
		}
		again, err := Encode(in)
		if err != nil {
			if len(data) < MaxEntry/8 { // escapes make what was short long
				t.Errorf("%v: cannot be published again", err)
			}
			return
		}
		back, err := Decode(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if diff := cmp.Diff(in, back, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
