package supervisor

import (
	"context"
	"errors"
	"net/http"
	"time"

	"crossfade.dev/internal/drain"
)

// A leaver takes all replicas out of service together; see admin.Leaver.
type leaver struct {
	loop   *loop
	askAll func(method, path string) []answer
	report func() *drain.Report
}

// Leave has the whole gateway leave: nobody accepts after those who are there now, and nobody is started any more. The
// replicas stay, and answer, until the supervisor is told to stop.
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
	if err := errors.Join(errs...); err != nil {
		return err
	}
	v.loop.tell(func(context.Context, time.Time) { v.loop.failed = false })
	return nil
}

// Report is how far they are, together.
func (v *leaver) Report() *drain.Report { return v.report() }
