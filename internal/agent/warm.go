package agent

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmer"
)

// progressEvery is how often control hears how warm-up requests go on.
const progressEvery = 5 * time.Second

// warm sends the instance its warm-up requests, and has them told.
func (r *runner) warm(ctx context.Context, plan fleet.WarmupRequests) {
	var bar Bar
	if r.Bar != nil {
		bar = r.Bar()
	}
	told := time.Now()
	w := warmer.Warmer{
		Plan:    plan,
		Address: func(port uint32) netip.AddrPort { return r.asker.at(port) },
		Progress: func(p warmer.Progress) {
			if bar != nil {
				bar.Progress(p)
			}
			if time.Since(told) >= progressEvery {
				told = time.Now()
				r.do(func() { r.tell("warmup.requests.progress", p.String()) })
			}
		},
	}
	result, err := w.Run(ctx)
	if bar != nil {
		bar.End(result)
	}
	r.do(func() {
		reason := result.String()
		r.sight.Requests = Passed
		if err != nil {
			r.sight.Requests = Failed
			reason += ": " + err.Error()
		}
		r.tell("warmup.requests.ended", reason)
	})
}

// kinds counts kinds of requests.
func kinds(n int) string {
	if n == 1 {
		return "1 kind of request"
	}
	return fmt.Sprintf("%d kinds of requests", n)
}
