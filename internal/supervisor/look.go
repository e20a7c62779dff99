package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

const (
	lookYoung  = 25 * time.Millisecond // at one that starts
	lookOld    = time.Second           // at one that serves
	lookLast   = 100 * time.Millisecond
	answerTime = 2 * time.Second
	maxAnswer  = 256 << 20 // bytes
)

// attend looks at a replica until its process has ended.
func (l *loop) attend(ctx context.Context, r *replica) {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	var looks sync.WaitGroup
	lives := make(chan struct{}) // closed when it has been ready
	looks.Go(func() { l.look(looking, r, lives) })
	looks.Go(func() { l.awaitLast(ctx, r, lives) })
	<-r.child.Done()
	stop()
	looks.Wait()
	l.tell(func(ctx context.Context, now time.Time) { l.ended(ctx, r, now) })
}

// look asks a replica, again and again, whether it is ready and what it has counted, until ctx ends. It closes lives
// when the replica is ready for the first time.
func (l *loop) look(ctx context.Context, r *replica, lives chan struct{}) {
	wait := lookYoung
	lived := false
	for ctx.Err() == nil {
		ready, reason, err := l.ready(ctx, r)
		if ready && !lived {
			lived = true
			close(lives)
		}
		switch {
		case err != nil:
			r.mute.Store(true)
		case lived:
			l.fetch(ctx, r, 0)
		}
		l.tell(func(ctx context.Context, now time.Time) {
			l.saw(ctx, r, ready, reason, now)
			l.hear(ctx, r, err == nil, now)
			switch r.phase {
			case starting:
				wait = lookYoung
			case serving:
				wait = lookOld
			case leaving:
				wait = lookLast
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// awaitLast has a replica say what it has counted when it has served its last request. That is answered, or the
// connection breaks, before its process has ended.
func (l *loop) awaitLast(ctx context.Context, r *replica, lives <-chan struct{}) {
	select {
	case <-r.child.Done():
		return
	case <-lives:
	}
	over, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.child.Done():
			select {
			case <-time.After(answerTime):
				cancel()
			case <-over.Done():
			}
		case <-over.Done():
		}
	}()
	if status, body, err := l.call(over, r, http.MethodGet, "/api/v1/sum?last=1"); err == nil && status == http.StatusOK {
		r.asked <- struct{}{}
		l.read(ctx, r, body)
		r.looked.Store(math.MaxInt64) // an older answer that is under way counts no more
		<-r.asked
	}
}

// ready asks a replica whether it is ready, and why not. The error is that it does not answer.
func (l *loop) ready(ctx context.Context, r *replica) (ready bool, reason string, err error) {
	status, body, err := l.ask(ctx, r, http.MethodGet, "/ready")
	if err != nil {
		return false, "its admin API does not answer", err
	}
	return status == http.StatusOK, strings.TrimPrefix(strings.TrimSpace(string(body)), "NOT READY: "), nil
}

// saw takes note of what a replica answered.
func (l *loop) saw(ctx context.Context, r *replica, ready bool, reason string, now time.Time) {
	r.ready, r.reason = ready, reason
	if sum := r.sum.Load(); sum != nil && sum.Drain != nil {
		r.drained = r.drained || r.phase == serving && sum.Drain.Stage > drain.LameDuck
		if !l.leaving {
			l.drains(ctx, r, sum.Drain.Stage, now)
		}
	}
	if !ready || r.phase != starting {
		return
	}
	r.phase, r.served = serving, true
	l.notice(ctx, fleet.Event{
		Kind: "gateway.ready", Reason: fmt.Sprintf("%s serves, %v after its start", r.id, now.Sub(r.born).Round(time.Millisecond)),
	}, now)
	if l.failed { // it is behind the same load balancer as the others
		go func() { _, _, _ = l.ask(ctx, r, http.MethodPost, "/healthcheck/fail") }()
	}
}

// drains goes by how far the leave is of a replica that somebody drains at its own admin API, or drained with all others,
// before they were wanted back. It has left when it stops accepting, and another takes its place. When all is done it is told to end, and not at once: who drains it asks how
// far it is.
func (l *loop) drains(ctx context.Context, r *replica, stage drain.Stage, now time.Time) {
	switch {
	case r.phase == serving && stage > drain.LameDuck:
		r.phase, r.left, r.alone, r.drained = leaving, now, true, true
		l.notice(ctx, fleet.Event{Kind: "gateway.leaving", Reason: r.id + " leaves: it was drained by somebody"}, now)
	case r.alone && stage == drain.Closed && r.done.IsZero():
		r.done = now
	case r.alone && stage == drain.Closed && now.Sub(r.done) >= lookOld:
		l.leave(ctx, r, "it is drained", now)
	}
}

// ask sends one request to a replica's admin API, and waits for the answer for a while.
func (l *loop) ask(ctx context.Context, r *replica, method, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	return l.call(ctx, r, method, path)
}

func (l *loop) call(ctx context.Context, r *replica, method, path string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.admin+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", r.id, err)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", r.id, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as it goes
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", r.id, err)
	}
	return resp.StatusCode, body, nil
}

// fetch asks a replica for what it has counted, unless somebody has asked within young. Those who ask at the same time
// wait for one another.
func (l *loop) fetch(ctx context.Context, r *replica, young time.Duration) {
	began := time.Now().Add(-young)
	select {
	case r.asked <- struct{}{}:
		defer func() { <-r.asked }()
	case <-ctx.Done():
		return
	}
	if r.looked.Load() >= began.UnixNano() {
		return
	}
	asked := time.Now()
	status, body, err := l.ask(ctx, r, http.MethodGet, "/api/v1/sum")
	r.mute.Store(err != nil)
	if err == nil && status == http.StatusOK && l.read(ctx, r, body) { // else it is gone, or of another version: what it said last counts
		r.looked.Store(asked.UnixNano())
	}
}

// read keeps what a replica says that it has counted.
func (l *loop) read(ctx context.Context, r *replica, body []byte) bool {
	sum := new(admin.Sum)
	if err := json.Unmarshal(body, sum); err != nil {
		l.Log.WarnContext(ctx, "a replica's counters cannot be read", "id", r.id, "err", err)
		return false
	}
	r.sum.Store(sum)
	return true
}
