package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

func TestFarewellsComeShortlyBeforeTheBound(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	view := func(endpoints ...fleet.Endpoint) fleet.View {
		twice := fleet.Service{Name: "again", Endpoints: endpoints} // an instance may be an endpoint of several services
		return fleet.View{Snapshot: &fleet.Snapshot{Services: []fleet.Service{{Name: "s", Endpoints: endpoints}, twice}}, Taken: now}
	}
	draining := func(incarnation string, bound time.Duration) fleet.Endpoint {
		return fleet.Endpoint{Incarnation: incarnation, Stage: fleet.Draining, Bound: bound}
	}
	f := farewells{}
	f.note(view(draining("slow", 30*time.Second), draining("fast", 8*time.Second), draining("unknown", 0), fleet.Endpoint{Incarnation: "serving", Stage: fleet.Serving, Bound: time.Second}), now)
	if got, want := f.next(now, time.Hour), 6*time.Second; got != want {
		t.Errorf("got the first farewell after %v, want %v: a quarter of 8 s before", got, want)
	}
	var got []string
	for after := range 40 {
		at := now.Add(time.Duration(after) * time.Second)
		f.note(view(draining("slow", 30*time.Second), draining("fast", 8*time.Second)), at) // views come all the time
		for _, incarnation := range f.due(at) {
			got = append(got, at.Sub(now).String()+" "+incarnation)
		}
	}
	if diff := cmp.Diff([]string{"6s fast", "25s slow"}, got); diff != "" {
		t.Errorf("farewells (-want +got):\n%s", diff)
	}
	f.note(view(), now)
	if len(f) != 0 {
		t.Errorf("got %v, want those forgotten who are gone", f)
	}
	if got := f.next(now, time.Hour); got != time.Hour {
		t.Errorf("got the next after %v, want none within an hour", got)
	}
}
