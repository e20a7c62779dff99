package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// errNoAnswer says that a probe took longer than it may.
var errNoAnswer = errors.New("no answer in time")

// Of applications without a probe.
const (
	portPoll     = 50 * time.Millisecond // between looks at one that starts
	portPatience = 10 * time.Second      // until one that does not listen is worth an event
)

// A verdict is what a series of probes says about an application.
type verdict struct {
	passing bool
	why     string // the last failure
	refused bool   // nobody took the connection
	early   bool   // an application that takes no longer than its probe allows may still pass
}

// A tally turns single probes into verdicts: so many passes or failures in a row.
type tally struct {
	healthy, unhealthy int
	row                int // probes in a row that said the same
	last               bool
	known              bool // there was a verdict
	passing            bool // the latest
}

// note counts a probe and says whether it made a new verdict.
func (t *tally) note(ok bool) bool {
	if ok != t.last {
		t.row = 0
	}
	t.last = ok
	t.row++
	need := t.unhealthy
	if ok {
		need = t.healthy
	}
	if t.row < need || t.known && t.passing == ok {
		return false
	}
	t.known, t.passing = true, ok
	return true
}

// rules returns a probe with Kubernetes' defaults in place of what is not set.
func rules(p fleet.Probe) fleet.Probe {
	p.Interval = cmp.Or(max(p.Interval, 0), 10*time.Second)
	p.Timeout = cmp.Or(max(p.Timeout, 0), time.Second)
	p.Healthy = cmp.Or(max(p.Healthy, 0), 1)
	p.Unhealthy = cmp.Or(max(p.Unhealthy, 0), 3)
	return p
}

// watch probes an application until ctx ends and puts each new verdict into out. Between probes it waits for
// the interval, but for no more than a second before the first pass where one is enough, for nobody gains
// from waiting then. The first failures thus come early: when they go on for as long as they would take at the
// interval, that is a verdict of its own.
func watch(ctx context.Context, p fleet.Probe, once func(context.Context) error, out latest[verdict]) {
	p = rules(p)
	count := tally{healthy: p.Healthy, unhealthy: p.Unhealthy}
	late, never := time.Now().Add(p.InitialDelay+time.Duration(p.Unhealthy)*p.Interval), true
	early := false // the latest verdict
	for wait := p.InitialDelay; process.Pause(ctx, wait); {
		err := within(ctx, p.Timeout, once)
		if ctx.Err() != nil {
			return
		}
		due := early && err != nil && !time.Now().Before(late)
		never = never && err != nil
		if count.note(err == nil) || due {
			v := verdict{passing: err == nil}
			if err != nil {
				v.why, v.refused, v.early = err.Error(), isRefused(err), never && time.Now().Before(late)
			}
			early = v.early
			out.put(v)
		}
		wait = p.Interval
		if p.Healthy == 1 && !count.passing {
			wait = min(wait, time.Second)
		}
	}
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// within makes one probe, and no longer than it may take.
func within(ctx context.Context, timeout time.Duration, once func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	err := once(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return fmt.Errorf("%w: %v", errNoAnswer, timeout)
	}
	return err
}

// watchPort is for applications without a readiness probe: they pass once they accept a connection, or at once when
// there is no port to ask, and are not looked at again. That one takes long is told once.
func watchPort(ctx context.Context, once func(context.Context) error, out latest[verdict]) {
	begun, told := time.Now(), false
	for once != nil {
		err := within(ctx, time.Second, once)
		if err == nil {
			break
		}
		if !told && time.Since(begun) >= portPatience && ctx.Err() == nil {
			told = true
			out.put(verdict{why: err.Error(), refused: isRefused(err)})
		}
		if !process.Pause(ctx, portPoll) {
			return
		}
	}
	out.put(verdict{passing: true})
}

// A latest carries values of which only the newest counts, from one goroutine to another.
type latest[T any] chan T

// put leaves v for the reader in place of what it has not fetched yet. It does not block.
func (l latest[T]) put(v T) {
	for {
		select {
		case l <- v:
			return
		default:
		}
		select {
		case <-l:
		default:
		}
	}
}
