package supervisor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// console is the admin API: the sum of the replicas.
func (l *loop) console(ctx context.Context) *admin.Server {
	return &admin.Server{Listener: l.Admin, Log: l.Log, Handler: admin.Handler(admin.Config{
		World: func() admin.World { return l.world(ctx) }, Program: "gateway", ID: l.ID, Version: l.Version, Started: time.Now(), Log: l.Log,
		Reset: l.reset,
		Leaver: &leaver{
			loop:   l,
			askAll: func(method, path string) []answer { return l.askAll(ctx, method, path) },
			report: func() *drain.Report { return l.leaveOf(ctx) },
		},
	})}
}

// freshFor is how long what a replica counted is not asked for again: many may watch.
const freshFor = 100 * time.Millisecond

// world is what the admin API shows: the view that the supervisor goes by, with what all replicas counted, those that
// are no more included.
func (l *loop) world(ctx context.Context) admin.World {
	shown := l.shown.Load()
	if shown.view.Snapshot == nil {
		return admin.World{ReadyReason: "no snapshot yet: control is away and none was kept"}
	}
	sum := l.sum(ctx, shown)
	view := shown.at(sum.Snapshot)
	sum.Keep(view.Snapshot)
	w := sum.World(view)
	w.Locality = l.Locality
	var reasons []string
	for i, r := range shown.replicas {
		w.Ready = w.Ready || r.Ready
		reasons = append(reasons, r.ID+": "+shown.reasons[i])
	}
	if !w.Ready {
		w.ReadyReason = cmp.Or(strings.Join(reasons, "; "), "no replica runs")
	}
	return w
}

// at returns the view that a snapshot was shown by. What a replica has not come to yet is not in force: a client may meet
// that replica, for which a new endpoint is not there yet. Where none of them has a snapshot, it is the newest.
func (p *picture) at(snapshot uint64) fleet.View {
	if snapshot == 0 || p.view.Number <= snapshot {
		return p.view
	}
	for _, v := range slices.Backward(p.earlier) {
		if v.Number <= snapshot {
			return v
		}
	}
	if len(p.earlier) > 0 {
		return p.earlier[0] // the nearest to it that is kept
	}
	return p.view
}

// sum asks all replicas at once, and adds up what they have counted. One that does not answer counts as it last did. One
// that starts may accept from the next moment on, by what it has come to by now: that is asked anew each time.
func (l *loop) sum(ctx context.Context, shown *picture) *admin.Sum {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var asked sync.WaitGroup
	for i, r := range shown.members {
		switch status := &shown.replicas[i]; {
		case shown.starting[i]:
			asked.Go(func() { l.fetch(ctx, r, 0) })
		case (status.Ready || status.Leaving) && !r.mute.Load():
			asked.Go(func() { l.fetch(ctx, r, freshFor) })
		}
	}
	asked.Wait()
	all := new(admin.Sum)
	all.Add(shown.past)
	for _, r := range shown.members {
		if sum := r.sum.Load(); sum != nil {
			all.Add(sum)
		}
	}
	return all
}

// leaveOf is how far the replicas are on their way out, together.
func (l *loop) leaveOf(ctx context.Context) *drain.Report {
	shown, report := l.shown.Load(), new(drain.Report)
	switch sum := l.sum(ctx, shown); {
	case sum.Drain != nil:
		report = sum.Drain
	case shown.leaving && len(shown.members) == 0:
		report.Stage = drain.Closed
	}
	report.ID, report.Version = l.ID, l.Version
	return report
}

// reset sets all counters to zero, also those of replicas that are no more.
func (l *loop) reset(ctx context.Context) error {
	answers := l.askAll(ctx, http.MethodPost, "/reset_counters")
	l.tell(func(context.Context, time.Time) {
		past := new(admin.Sum)
		past.Add(l.past)
		past.Reset()
		l.past = past
	})
	for _, r := range l.shown.Load().members {
		r.looked.Store(0) // what it said before counts no more
	}
	for _, a := range answers {
		if a.status != http.StatusOK {
			return fmt.Errorf("%s: %s", a.id, a.text())
		}
	}
	return nil
}

// An answer is what one replica answered.
type answer struct {
	id     string
	status int
	body   []byte
	err    error
}

func (a answer) text() string {
	if a.err != nil {
		return a.err.Error()
	}
	var problem admin.Problem
	if json.Unmarshal(a.body, &problem) == nil && problem.Error != "" {
		return problem.Error
	}
	return strings.TrimSpace(string(a.body))
}

// askAll sends one request to every replica at once, and returns their answers in order.
func (l *loop) askAll(ctx context.Context, method, path string) []answer {
	members := l.shown.Load().members
	answers := make([]answer, len(members))
	var asked sync.WaitGroup
	for i, r := range members {
		asked.Go(func() {
			status, body, err := l.ask(ctx, r, method, path)
			answers[i] = answer{r.id, status, body, err}
		})
	}
	asked.Wait()
	return answers
}
