package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
)

// An agent that follows no control goes by the Lifecycles that people have put into its registry, and does not register
// before it knows them.
func TestLifecyclesOfTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		a := &Agent{
			Instance: fleet.Instance{Namespace: "shop", Labels: map[string]string{"app": "web"}},
			Services: []string{"web"},
			Lifecycles: func(context.Context) ([]fleet.Lifecycle, error) {
				if asked++; asked < 3 {
					return nil, errors.New("the registry is away")
				}
				return []fleet.Lifecycle{
					{Name: "other", Namespace: "shop", Service: "other", Delay: time.Hour},
					{Name: "web", Namespace: "shop", Service: "web", Delay: 7 * time.Second},
				}, nil
			},
		}
		r := newRunner(a)
		r.choose()
		if r.sight.Cycle != nil {
			t.Fatalf("got %+v before the registry was read, want nothing", r.sight.Cycle)
		}
		r.reading(ctx)
		for !r.read {
			f := <-r.calls
			f()
			r.choose()
		}
		r.choose()
		if r.sight.Cycle == nil || r.sight.Cycle.Name != "web" || r.sight.Cycle.Delay != 7*time.Second {
			t.Errorf("got %+v, want the Lifecycle of web", r.sight.Cycle)
		}
		if asked != 3 {
			t.Errorf("it was read %d times, want 3", asked)
		}
		cancel()
		close(r.done)
		r.tasks.Wait()
	})
}
