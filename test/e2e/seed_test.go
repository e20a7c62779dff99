//go:build integration

package e2e

import (
	"strconv"
	"testing"
	"time"
)

// The seed's figures: in the first sixth of the window the newcomer got 333 of 3,260 requests. With v1 at share 1
// and v2 at max(10 %, age/window), the mean of s/(1+s) over a sixth of the window is 10.15 %.
const (
	seedPoints    = 10.2
	seedTolerance = 1.0
	evenTolerance = 0.5 // of ROUND_ROBIN, whose stride is at most a request or two off
	minimum       = 0.1
)

// load of the walk: the seed's hey made 163 requests a second; this keeps well below what two cores carry.
const (
	walkWorkers = 10
	walkRate    = 40 // per worker and second
)

// window is the warm-up's length: the README's, or a tenth of it where time is short.
func window() time.Duration {
	if full() {
		return 120 * time.Second
	}
	return 12 * time.Second
}

// TestSeed is the walk of the README: what a newcomer gets in the first sixth of its window, after it, and
// without a warm-up, as the replicas' own agents count it.
func TestSeed(t *testing.T) {
	need(t, "hey")
	m := start(t, func(m *mesh) { m.setWindow(t, time.Second) })
	v1 := await(t, "reviews-v1", "Serving") // it has its own warm-up behind it, a short one
	saved(t, "config.applied", func() { m.setWindow(t, window()) })
	awaitNone(t, "reviews-v2")
	awaitNone(t, "reviews-v3")

	scale(t, "reviews-v2", 1)
	v2 := await(t, "reviews-v2", "Warming")
	got, sent, expected := walk(t, v1, v2, window()/6)
	t.Logf("| first sixth of %v | 333 of 3,260 (10.2 %%) | %.2f %% | %d and %d of %d (%.2f %%) |",
		window(), expected, sent-got, got, sent, points(got, sent-got))
	wantPoints(t, "v2 in the first sixth of its window, by its ages", points(got, sent-got), expected, seedTolerance)
	wantPoints(t, "v2 in the first sixth of its window, as in the seed", points(got, sent-got), seedPoints, seedTolerance+lateStart(expected))

	v2 = await(t, "reviews-v2", "Serving")
	got, sent, _ = walk(t, v1, v2, window()/6)
	t.Logf("| after the window | 1,600 and 1,600 (50 %%) | 50 %% | %d and %d of %d (%.2f %%) |", sent-got, got, sent, points(got, sent-got))
	wantPoints(t, "v2 after its window", points(got, sent-got), 50, evenTolerance)

	scale(t, "reviews-v2", 0)
	awaitNone(t, "reviews-v2")
	saved(t, "config.applied", func() { m.removeWarmup(t) })
	scale(t, "reviews-v2", 1)
	v2 = await(t, "reviews-v2", "Serving", "Warming")
	got, sent, _ = walk(t, v1, v2, window()/6)
	t.Logf("| warm-up off, at once | balanced | 50 %% | %d and %d of %d (%.2f %%) |", sent-got, got, sent, points(got, sent-got))
	wantPoints(t, "v2 without warm-up, at once", points(got, sent-got), 50, evenTolerance)
}

// walk sends hey's requests through the page for a time, and returns how many of them v2 answered by its
// agent's count, how many there were, and how many points the curve gives v2 at the moments of sending.
func walk(t *testing.T, v1, v2 endpoint, length time.Duration) (byV2, sent int, expected float64) {
	t.Helper()
	resetCounters(t, v1, v2)
	now := await(t, "reviews-v2", "Warming", "Serving")
	if now.Incarnation != v2.Incarnation {
		t.Fatalf("reviews-v2 is not what it was: got %+v, want incarnation %s", now, v2.Incarnation)
	}
	asked := time.Now()
	began, offsets := hey(t, "-z", length.String(), "-c", strconv.Itoa(walkWorkers), "-q", strconv.Itoa(walkRate))
	byV1, byV2 := answered(t, v1), answered(t, v2)
	if byV1+byV2 != len(offsets) {
		t.Errorf("the agents counted %d and %d answers, hey %d: want the sum", byV1, byV2, len(offsets))
	}
	if least := int(length.Seconds() * walkWorkers * walkRate / 3); len(offsets) < least {
		t.Fatalf("hey made %d requests in %v, want %d at least: the walk shows nothing", len(offsets), length, least)
	}
	var sum float64
	for _, offset := range offsets {
		share := curve(now.Age+began.Sub(asked)+offset, window())
		sum += share / (1 + share)
	}
	return byV2, len(offsets), 100 * sum / float64(len(offsets))
}

// curve is the warm-up's share at an age: linear, from the minimum.
func curve(age, window time.Duration) float64 {
	return min(1, max(minimum, age.Seconds()/window.Seconds()))
}

// lateStart is how far the expectation has left the seed's figure because load did not begin at age 0: on a short
// window, the moment between Warming and hey's first request is a visible part of it.
func lateStart(expected float64) float64 { return max(0, expected-seedPoints) }
