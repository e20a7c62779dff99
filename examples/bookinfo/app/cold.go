package main

import (
	"context"
	"math"
	"net/http"
	"sync/atomic"
	"time"
)

// A cold describes how slow an instance is when it is new.
type cold struct {
	start    time.Duration // not ready before
	latency  time.Duration // of a request when warm
	factor   float64       // M0, at least 1: the first request takes factor × latency
	requests float64       // nw: after so many the excess is 1/e of what it was
}

// multiplier returns m(s) = 1 + (M0 − 1)·e^(−s/nw), what the latency is multiplied by after s requests were
// served. It is M0 at first, falls with every request and nears 1: caches fill and compilers compile by use,
// not by time.
func (c cold) multiplier(served uint64) float64 {
	return 1 + (c.factor-1)*math.Exp(-float64(served)/c.requests)
}

// service returns the time that the next request takes after so many were served.
func (c cold) service(served uint64) time.Duration {
	return time.Duration(float64(c.latency) * c.multiplier(served))
}

// starting answers 503 until ready is due. A new instance listens at once, so that a probe or a request that
// comes too early gets an answer.
func starting(ready time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := time.Until(ready); wait > 0 {
			fail(w, http.StatusServiceUnavailable, "starting: ready in "+wait.Round(time.Millisecond).String())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// slow makes every request take its time; one whose client has gone is not served.
func slow(c cold, next http.Handler) http.Handler {
	if c.latency == 0 {
		return next
	}
	var served atomic.Uint64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !rest(r.Context(), c.service(served.Add(1)-1)) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// rest waits for d and returns true, or returns false when ctx ends first.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
