package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/process"
)

// retire ends the application so that no request is lost: it waits until nobody sends any; then comes preStop,
// then SIGTERM, then SIGKILL when the grace period is over.
func (in *instance) retire(ctx context.Context, app process.Process) {
	if !in.awaitQuiet(app) {
		in.end("instance.died", fmt.Sprintf("%v, while leaving", app.Exit()))
		return
	}
	deadline := time.Now().Add(in.bound)
	if in.preStop(ctx, app, deadline) {
		deadline = later(deadline, time.Now().Add(preStopExtra))
	}
	err := app.Stop(time.Until(deadline))
	if errors.Is(err, process.ErrKilled) {
		in.end("instance.killed", fmt.Sprintf("did not end within %v", in.bound))
		return
	}
	in.end("instance.stopped", app.Exit().String())
}

// awaitQuiet waits until nobody sends requests any more, no longer than the grace period from when control
// knows that the instance leaves: while control is away there is no hurry. It returns false when the
// application has ended before.
func (in *instance) awaitQuiet(app process.Process) bool {
	known := in.known
	patience := time.NewTimer(in.bound)
	defer patience.Stop()
	patience.Stop() // it does not run yet
	for {
		select {
		case <-app.Done():
			return false
		case <-in.quiet:
			return true
		case <-known:
			known = nil
			patience.Reset(in.bound)
		case <-patience.C:
			in.tell("drain.overdue", fmt.Sprintf("requests may be open after %v; stops all the same", in.bound))
			return true
		}
	}
}

// preStop does what the workload wants done before SIGTERM, and says whether there was anything.
func (in *instance) preStop(ctx context.Context, app process.Process, deadline time.Time) bool {
	hook := in.workload.PreStop
	if hook == nil {
		return false
	}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errGraceOver)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		switch {
		case len(hook.Exec) > 0:
			ended <- in.execute(ctx, hook.Exec, in.output)
		case hook.Path != "":
			ended <- in.machine.get(ctx, in.url(hook.Port, hook.Path))
		case pause(ctx, hook.Sleep):
			ended <- nil
		default:
			ended <- context.Cause(ctx)
		}
	}()
	var err error
	select {
	case err = <-ended:
	case <-app.Done():
		cancel()
		if err = <-ended; err != nil {
			err = errEndedEarly
		}
	}
	if err != nil {
		in.tell("prestop.failed", err.Error())
		return true
	}
	in.tell("prestop.done", "")
	return true
}

var (
	errGraceOver  = errors.New("the grace period is over")
	errEndedEarly = errors.New("the application ended first")
)

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
