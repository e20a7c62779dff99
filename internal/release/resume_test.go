package release

import (
	"testing"
	"time"
)

// Whoever goes on with the points of a start takes as many of them as before, though a second is not known.
func TestStepOfPointsThatWereKept(t *testing.T) {
	for _, tt := range []struct {
		what    string
		points  int
		step    int64
		missing int
		want    int64
	}{
		{"a few", 40, 1, 1, 1},
		{"two", 2, 1, 1, 1},
		{"many", maxPoints, 1, 3, 1},
		{"every fourth second", maxPoints / 2, 4, 2, 4},
	} {
		e := Episode{ID: "a", Running: true, Offered: time.Unix(1000, 0)}
		for i := range tt.points {
			at := 1000 + int64(i)*tt.step
			if i == tt.points-1 { // those before the last are not known
				at += int64(tt.missing) * tt.step
			}
			e.Points = append(e.Points, Point{At: at})
		}
		if got := New(State{Episodes: []Episode{e}}).lives["a"].stride; got != tt.want {
			t.Errorf("%s: a point each %d s, want %d", tt.what, got, tt.want)
		}
	}
}
