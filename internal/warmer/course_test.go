package warmer

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ms(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }

// A story is what an instance shows in each window, and what the course makes of it.
func TestCourse(t *testing.T) {
	for _, test := range []struct {
		name    string
		most    int
		windows []window
		want    []int // requests at once, after each window
		ends    bool  // with the last one
	}{
		{
			name: "doubles while it keeps up, rests at the most, and ends when nothing gets better", most: 6,
			windows: []window{{cost: 100}, {cost: 80}, {cost: 90}, {cost: 90}, {cost: 91}, {cost: 89}, {cost: 90}, {cost: 90}, {cost: 90}, {cost: 90}},
			want:    []int{2, 4, 6, 6, 6, 6, 6, 6, 6, 6}, ends: true,
		},
		{
			name: "a twentieth better is better", most: 1,
			windows: []window{{cost: 100}, {cost: 94}, {cost: 94}, {cost: 94}, {cost: 94}, {cost: 94}, {cost: 89}, {cost: 89}, {cost: 89}, {cost: 89}, {cost: 89}, {cost: 89}, {cost: 89}},
			want:    []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, ends: true,
		},
		{
			name: "less than a twentieth is noise", most: 1,
			windows: []window{{cost: 100}, {cost: 96}, {cost: 97}, {cost: 99}, {cost: 96}, {cost: 96}, {cost: 96}},
			want:    []int{1, 1, 1, 1, 1, 1, 1}, ends: true,
		},
		{
			name: "what something else was in the way of counts for nothing", most: 1,
			windows: []window{{cost: 100}, {cost: 100}, {cost: 151}, {cost: 900}, {cost: 400}, {cost: 150}, {cost: 500}, {cost: 100}, {cost: 100}, {cost: 100}, {cost: 100}},
			want:    []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, ends: true,
		},
		{
			name: "twice as many in twice the time: goes back and stays", most: 64,
			windows: []window{{cost: 100}, {cost: 100}, {cost: 190}, {cost: 100}, {cost: 90}, {cost: 80}},
			want:    []int{2, 4, 2, 2, 2, 2},
		},
		{
			name: "one that gets faster all the while may be given more", most: 8,
			windows: []window{{cost: 100}, {cost: 60}, {cost: 40}, {cost: 30}},
			want:    []int{2, 4, 8, 8},
		},
		{
			name: "fails under more: goes back", most: 64,
			windows: []window{{cost: 100}, {cost: 100}, {cost: 100, failed: 0.2}, {cost: 100}, {cost: 100}},
			want:    []int{2, 4, 2, 2, 2},
		},
		{
			name: "always fails a little: that is not the load's doing", most: 4,
			windows: []window{{cost: 100, failed: 0.2}, {cost: 100, failed: 0.22}, {cost: 100, failed: 0.19}},
			want:    []int{2, 4, 4},
		},
		{
			name: "answers nothing: no more, no end", most: 4,
			windows: []window{{failed: 1}, {failed: 1}, {failed: 1}, {failed: 1}, {failed: 1}, {failed: 1}, {failed: 1}, {failed: 1}, {cost: 100}, {cost: 100}},
			want:    []int{1, 1, 1, 1, 1, 1, 1, 1, 2, 4},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := course{most: test.most, concurrency: 1}
			for i, w := range test.windows {
				done := c.next(w)
				if c.concurrency != test.want[i] {
					t.Fatalf("%d at once after window %d, want %d", c.concurrency, i+1, test.want[i])
				}
				if want := test.ends && i == len(test.windows)-1; done != want {
					t.Fatalf("window %d ends it: %v, want %v", i+1, done, want)
				}
			}
		})
	}
}

func TestCourseLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 100).Draw(t, "most")
		c := course{most: most, concurrency: 1}
		quiet := 0 // windows in a row with the same number of requests at once
		for range rapid.IntRange(0, 60).Draw(t, "windows") {
			w := window{cost: time.Duration(rapid.IntRange(0, 1000).Draw(t, "cost")), failed: rapid.Float64Range(0, 1).Draw(t, "failed")}
			was := c.concurrency
			done := c.next(w)
			if c.concurrency < 1 || c.concurrency > most || c.concurrency > 2*was {
				t.Fatalf("from %d to %d at once, of %d at most", was, c.concurrency, most)
			}
			quiet++
			if c.concurrency != was {
				quiet = 0
			}
			if done && quiet < patience {
				t.Fatalf("ended after %d windows with %d at once, want %d at least", quiet, c.concurrency, patience)
			}
			if done && w.cost == 0 {
				t.Fatalf("ended with a window that answered nothing")
			}
			if s := c.settled(); s < 0 || s > 1 || done != (s == 1) {
				t.Fatalf("settled %v, done %v", s, done)
			}
		}
	})
}

// Instances as they are, 500 of each, with medians that scatter: how far from their end they are when the course says
// that they have converged, and what waiting for that costs. Windows are of half a second.
func TestCourseConverges(t *testing.T) {
	for _, test := range []struct {
		name    string
		scatter float64                         // of a window's median: standard deviation of its logarithm
		cost    func(at float64) (over float64) // what a request costs after so many seconds, of what it will
		over    float64                         // the median instance costs so much more than it will, at most
		longest float64                         // seconds, of the slowest in a hundred
	}{
		{"warm from the start", 0.05, func(float64) float64 { return 1 }, 1.001, 11},
		{"warm, noisy", 0.15, func(float64) float64 { return 1 }, 1.001, 18},
		{"compiles: from 20 to 1 in a curve of 2 s", 0.05, func(at float64) float64 { return 1 + 19*math.Exp(-at/2) }, 1.05, 22},
		{"compiles in two stages with 2 s of rest between", 0.05, func(at float64) float64 {
			switch {
			case at < 1:
				return 20
			case at < 3:
				return 5
			}
			return 1
		}, 1.001, 13},
	} {
		t.Run(test.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			var overs, times []float64
			for range 500 {
				c := course{most: 8, concurrency: 1}
				at := 0.5
				for !c.next(window{cost: ms(10 * test.cost(at) * math.Exp(test.scatter*random.NormFloat64()))}) {
					at += 0.5
				}
				overs, times = append(overs, test.cost(at)), append(times, at)
			}
			over, longest := quantile(overs, 0.5), quantile(times, 0.99)
			t.Logf("%s: ends after %.1f s, 1 in 100 after %.1f s; costs %.3f of what it will, 1 in 100 %.3f",
				test.name, quantile(times, 0.5), longest, over, quantile(overs, 0.99))
			if over > test.over {
				t.Errorf("half of them cost %.3f of what they will, want %.3f at most", over, test.over)
			}
			if longest > test.longest {
				t.Errorf("1 in 100 took %.1f s, want %.1f at most", longest, test.longest)
			}
		})
	}
}

// The control: what rests longer than patience is taken for warm. The documentation says so.
func TestCourseIsFooledByALongRest(t *testing.T) {
	c := course{most: 1, concurrency: 1}
	n := 1
	for !c.next(window{cost: 100}) {
		n++
	}
	if n != patience+1 {
		t.Errorf("ended after %d windows, want %d", n, patience+1)
	}
}

func TestRound(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{81234567, "81.2ms"}, {6123456789, "6.12s"}, {999, "999ns"}, {4216, "4.22µs"}, {0, "0s"}, {30 * time.Second, "30s"},
	} {
		if got := round(test.d).String(); got != test.want {
			t.Errorf("round(%d) = %s, want %s", test.d, got, test.want)
		}
	}
}

func TestProgressInWords(t *testing.T) {
	p := Progress{Sent: 412, Failed: 2, Concurrency: 8, First: ms(81), Last: ms(4.2)}
	if got, want := p.String(), "412 sent, 2 failed, 8 at once, median 81ms → 4.2ms"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r := Result{Ending: TimeUp, Sent: 3, Failed: 3, Concurrency: 1, Took: 30 * time.Second, Causes: []string{"HTTP 503 ×3"}}
	if got, want := r.String(), "time up after 30s: 3 sent, 3 failed, 1 at once (HTTP 503 ×3)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (Result{}).String(), "nothing to send"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Progress{Sent: 5, Count: 20, Settled: 1, Elapsed: time.Second, Time: 10 * time.Second}).Part(); math.Abs(got-0.25) > 1e-9 {
		t.Errorf("part %v of a plan with a count, want a quarter", got)
	}
	for e := None; e <= Stopped; e++ {
		if strings.TrimSpace(e.String()) == "" {
			t.Errorf("ending %d has no name", e)
		}
	}
}

func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}
