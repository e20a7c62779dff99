package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// A leaver takes all replicas out of service together; see admin.Leaver.
type leaver struct {
	loop   *loop
	askAll func(method, path string) []answer
	report func() *drain.Report
}

// Leave has the whole gateway leave: nobody accepts after those who are there now, and nobody is started any more. The
// replicas stay, and answer, until the supervisor is told to stop, or others are asked for: by a command, or Roll.
func (v *leaver) Leave(string) { v.leave("?graceful") }

// LeaveNow is Leave without lame duck.
func (v *leaver) LeaveNow(string) { v.leave("") }

func (v *leaver) leave(how string) {
	v.loop.tell(func(context.Context, time.Time) { v.loop.retire() })
	v.askAll(http.MethodPost, "/drain_listeners"+how)
}

// Fail fails the health checks of all replicas, and of those who come later.
func (v *leaver) Fail(string) {
	v.loop.tell(func(context.Context, time.Time) { v.loop.failed = true })
	v.askAll(http.MethodPost, "/healthcheck/fail")
}

// Stay undoes that.
func (v *leaver) Stay(context.Context) error {
	var errs []error
	for _, a := range v.askAll(http.MethodPost, "/healthcheck/ok") {
		if a.status != http.StatusOK {
			errs = append(errs, errors.New(a.id+": "+a.text()))
		}
	}
	if len(errs) > 0 {
		err := errs[0] // one may speak for all
		if len(errs) > 1 {
			err = fmt.Errorf("%w (and %d more)", err, len(errs)-1)
		}
		return fmt.Errorf("%w; new replicas come with: crossfade rollout restart gateway/%s", err, v.gateway())
	}
	v.loop.tell(func(ctx context.Context, now time.Time) {
		v.loop.failed = false
		v.loop.resume(ctx, now)
	})
	return nil
}

// gateway is the name of one that is run.
func (v *leaver) gateway() string {
	for _, r := range v.loop.shown.Load().replicas {
		return r.Group
	}
	return fleet.DefaultGroup
}

// Report is how far they are, together.
func (v *leaver) Report() *drain.Report { return v.report() }
