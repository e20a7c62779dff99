package lab_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/lab"
)

func config(seed uint64) lab.Config {
	return lab.Config{
		Policy: fleet.Policy{Warmup: fleet.Warmup{Window: 30 * time.Second, Minimum: 0.1}},
		Warm:   3, Gateways: 4, Rate: 200, Service: 20 * time.Millisecond, Seed: seed,
	}
}

func run(c lab.Config) []lab.Request {
	l := lab.New(c)
	var sent []lab.Request
	l.Sent = func(r lab.Request) { sent = append(sent, r) }
	l.At(5*time.Second, func() { l.Join("new") })
	l.At(20*time.Second, func() { l.RestartGateway(2) })
	l.Run(40 * time.Second)
	return sent
}

func TestSameSeedSameRun(t *testing.T) {
	if diff := cmp.Diff(run(config(1)), run(config(1))); diff != "" {
		t.Errorf("two runs of one seed differ (-first +second):\n%s", diff)
	}
	if slices.Equal(run(config(1)), run(config(2))) {
		t.Error("two seeds give the same run")
	}
}

func TestRequestsComeAtTheirRate(t *testing.T) {
	for _, even := range []bool{false, true} {
		c := config(3)
		c.Even = even
		got, want := float64(len(run(c))), 40*c.Rate
		most := 4 * math.Sqrt(want)
		if even {
			most = float64(c.Gateways)
		}
		if math.Abs(got-want) > most {
			t.Errorf("even %v: %v requests, want %v ± %.0f", even, got, want, most)
		}
	}
}

func TestEventsHappenInTheirOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	l := lab.New(lab.Config{})
	type stamp struct {
		at    time.Duration
		order int
	}
	var got []stamp
	for i := range 500 {
		at := time.Duration(random.IntN(50)) * time.Second
		l.At(at, func() { got = append(got, stamp{l.Now(), i}) })
	}
	l.Run(time.Minute)
	if len(got) != 500 {
		t.Fatalf("%d events happened, want 500", len(got))
	}
	for i := 1; i < len(got); i++ {
		if a, b := got[i-1], got[i]; a.at > b.at || a.at == b.at && a.order > b.order {
			t.Fatalf("event %d at %v happened before event %d at %v", a.order, a.at, b.order, b.at)
		}
	}
	if got := l.Now(); got != time.Minute {
		t.Errorf("Now: got %v, want a minute", got)
	}
}

func TestNobodyToSendTo(t *testing.T) {
	l := lab.New(lab.Config{Rate: 10, Seed: 1})
	lost := 0
	l.Sent = func(r lab.Request) {
		if r.Endpoint == "" {
			lost++
		}
	}
	l.Run(10 * time.Second)
	if lost == 0 {
		t.Error("requests to an empty fleet were answered")
	}
}

// The curve as people read it, to check the lab's own idea of it.
func TestIdeal(t *testing.T) {
	c := config(1)
	l := lab.New(c)
	l.Join("new")
	for _, tt := range []struct {
		at   time.Duration
		want float64
	}{
		{0, 0.1 / 3.1},
		{15 * time.Second, 0.5 / 3.5},
		{30 * time.Second, 1.0 / 4},
	} {
		l.Run(tt.at)
		if got := l.Ideal("new"); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("at %v: got %v, want %v", tt.at, got, tt.want)
		}
	}
	if got := l.Ideal("nobody"); got != 0 {
		t.Errorf("nobody: got %v, want 0", got)
	}
}
