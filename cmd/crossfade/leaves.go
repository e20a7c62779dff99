package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// Leaves are what the leaves of one gateway's replicas come to while somebody waits.
type leaves struct {
	client  *controlClient
	past    map[leaveKey]bool // they were over before
	reports map[leaveKey]drain.Report
	served  map[instance]bool // whether it still runs, of replicas that have been ready
	ids     map[string]bool   // of all replicas
}

type leaveKey struct {
	id    string
	began time.Time // in UTC
}

func keyOf(r *drain.Report) leaveKey { return leaveKey{r.ID, r.Began.UTC()} }

type instance struct {
	id  string
	pid int
}

// leaves begins to watch the leaves of an object's replicas; nil of a deployment, whose instances have none.
func (c *controlClient) leaves(ctx context.Context, o object) (*leaves, error) {
	if !o.gateway() {
		return nil, nil //nolint:nilnil // nothing to watch is no error
	}
	l := &leaves{
		client: c, past: map[leaveKey]bool{}, reports: map[leaveKey]drain.Report{}, served: map[instance]bool{}, ids: map[string]bool{},
	}
	reports, err := l.ask(ctx)
	for i := range reports {
		l.past[keyOf(&reports[i])] = reports[i].Stage == drain.Closed
	}
	if err != nil {
		return nil, err
	}
	p, err := c.progress(ctx, o)
	if err != nil {
		return nil, err
	}
	return l, l.see(ctx, p.processes)
}

func (l *leaves) ask(ctx context.Context) ([]drain.Report, error) {
	return ask[[]drain.Report](ctx, &l.client.api, "/api/v1/drains", nil)
}

// see takes note of who runs, and of what the leaves have come to by then: who runs no more has told before.
func (l *leaves) see(ctx context.Context, replicas []fleet.Replica) error {
	if l == nil {
		return nil
	}
	for p := range l.served {
		l.served[p] = false
	}
	for _, r := range replicas {
		l.ids[r.ID] = true
		p := instance{r.ID, r.PID}
		if r.Drained { // its report does not wait for its end
			delete(l.served, p)
			continue
		}
		if _, was := l.served[p]; was || r.Ready {
			l.served[p] = true
		}
	}
	reports, err := l.ask(ctx)
	for i := range reports {
		if r := &reports[i]; l.ids[r.ID] && !l.past[keyOf(r)] {
			l.reports[keyOf(r)] = *r
		}
	}
	return err
}

// verdict writes what they came to, and fails when something was cut.
func (l *leaves) verdict(w io.Writer) error {
	if l == nil {
		return nil
	}
	var cut uint64
	left, silent := 0, map[string]int{} // by id, who has left without a word
	for p, runs := range l.served {
		if !runs {
			silent[p.id]++
		}
	}
	for _, r := range l.reports {
		cut += r.Cut
		if r.Stage == drain.Closed {
			left++
			silent[r.ID]--
		}
	}
	killed := 0
	for _, n := range silent {
		killed += max(0, n)
	}
	line := fmt.Sprintf("since this command began %s left, %s cut", counted(uint64(left), "replica", "replicas"), counted(cut, "request was", "requests were"))
	if left+killed == 0 {
		line = "no replica has left since this command began; what earlier ones came to: crossfade get drains"
	}
	if killed > 0 {
		line += fmt.Sprintf(", and %s without a report: killed, or dead, with all that was open", counted(uint64(killed), "replica ended", "replicas ended"))
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	switch {
	case cut > 0:
		return exitError{exitCut, fmt.Errorf("%s cut: crossfade get drains", counted(cut, "request was", "requests were"))}
	case killed > 0:
		return exitError{exitCut, fmt.Errorf("%s killed or died: crossfade get events", counted(uint64(killed), "replica was", "replicas were"))}
	}
	return nil
}

// counted counts things.
func counted(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return admin.Count(n) + " " + many
}
