package console

import (
	"encoding/json"
	"testing"

	"crossfade.dev/internal/series"
)

// After the clock was set back by an hour, viewers of curves do not wait for an hour: they hear what there is by the clock as it is.
func TestCurvesGoOnAfterTheClockWasSetBack(t *testing.T) {
	w := newWorld(t, Access{})
	c := curves{w.History, series.Query{Service: "reviews:9080", By: series.Whole, Step: 1}}
	to := w.History.Settled() + 1
	state, m := c.next(t.Context(), to+3600)
	now, is := state.(int64)
	if !is || now < to || now > to+60 || m.name != "points" || m.id != now-1 {
		t.Fatalf("got state %v and message %q with id %d, want points up to %d", state, m.name, m.id, to-1)
	}
	var got series.Curves
	if err := json.Unmarshal(m.data, &got); err != nil {
		t.Fatal(err)
	}
	if got.From != now-series.Seconds || len(got.Curves) != 1 || len(got.Curves[0].Requests) != series.Seconds {
		t.Errorf("got %d curves from %d, want one of a quarter of an hour before %d", len(got.Curves), got.From, now)
	}
}
