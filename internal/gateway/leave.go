package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// errOrphaned is why a gateway leaves whose sockets are nobody's any more.
var errOrphaned = errors.New("its supervisor is gone")

// heed ends the gateway when nobody owns its sockets any more, and has what is open ended when somebody is in a hurry.
func (l *loop) heed(ctx context.Context, quit context.CancelCauseFunc) {
	var lost <-chan struct{}
	if l.Loan != nil {
		lost = l.Loan.Lost()
	}
	for hurry := l.Hurry; ; {
		select {
		case <-lost:
			lost = nil
			quit(errOrphaned)
		case <-hurry:
			hurry = nil
			l.server.Hurry()
		case <-ctx.Done():
			return
		}
	}
}

// Leave begins to leave; see [serve.Server.Leave].
func (l *loop) Leave(reason string) { l.server.Leave(reason) }

// LeaveNow begins to leave without lame duck.
func (l *loop) LeaveNow(reason string) { l.server.LeaveNow(reason) }

// Fail fails the health checks, tells clients, and serves on.
func (l *loop) Fail(reason string) { l.server.Fail(reason) }

// Stay undoes Fail, and what Leave has begun, as long as everything is still accepted.
func (l *loop) Stay(ctx context.Context) error {
	stage := l.server.Stage()
	if err := l.server.Stay(); err != nil {
		return err
	}
	if stage != drain.Serving {
		l.notice(ctx, fleet.Event{Kind: "gateway.serving", Reason: "it does not leave after all"}, time.Now())
	}
	return nil
}

// Report returns what the gateway's leave has come to.
func (l *loop) Report() *drain.Report {
	r := l.server.Report()
	r.ID, r.Version = l.ID, l.Version
	return &r
}

// drained returns what control is to hear of the leave; nil while there is none.
func (l *loop) drained() *drain.Report {
	if l.server.Stage() == drain.Serving {
		return nil
	}
	return l.Report()
}

// moved tells that the leave has come to a stage: people of the first, and load balancers of the one in which others are
// there in our place.
func (l *loop) moved(ctx context.Context, stage drain.Stage, shared bool) {
	l.Log.InfoContext(ctx, "leaving", "stage", stage.String(), "connections", l.server.Conns())
	r := l.server.Report() // which may know that it has been called back since
	if began := r.Began.UnixNano(); r.Stage != drain.Serving && l.began.Swap(began) != began {
		l.notice(ctx, fleet.Event{Kind: "gateway.draining", Reason: r.Reason}, time.Now())
	}
	if shared && stage >= drain.Draining && !isClosed(l.relieved) {
		close(l.relieved)
	}
}

// retime has open requests have the time that the gateway's group says, unless it would be killed before. What holds from
// the first view on is no event.
func (l *loop) retime(ctx context.Context, groups []fleet.GatewayGroup, first bool, now time.Time) {
	t := l.Timers
	for i := range groups {
		if groups[i].Namespace+"/"+groups[i].Name == l.Group {
			t.Requests = cmp.Or(groups[i].Drain, t.Requests)
		}
	}
	if t == l.wished {
		return
	}
	l.wished = t
	if err := t.Fit(l.Grace); l.Grace > 0 && err != nil {
		l.notice(ctx, fleet.Event{Kind: "gateway.drain.refused", Reason: fmt.Sprintf("a drain timeout of %v is not applied: %v", t.Requests, err)}, now)
		return
	}
	l.server.SetTimers(t)
	if !first {
		l.notice(ctx, fleet.Event{Kind: "gateway.drain.changed", Reason: fmt.Sprintf("open requests have %v when the gateway leaves", t.Requests)}, now)
	}
}

// conclude tells what the leave came to: people, control, and a file.
func (l *loop) conclude(ctx context.Context) {
	r := l.Report()
	kind := "gateway.drained"
	if r.Cut > 0 {
		kind = "gateway.cut"
	}
	event := fleet.Event{Kind: kind, Reason: fmt.Sprintf("%s: %s (connections: %d when it began, %d since)", r.Reason, drain.Lost(r.Cut), r.Connections, r.AcceptedIn)}
	l.notice(ctx, event, time.Now())
	text, err := json.Marshal(r)
	if err == nil {
		l.Log.InfoContext(ctx, "drain report", "report", json.RawMessage(text))
		err = l.write(text)
	}
	if err != nil {
		l.Log.ErrorContext(ctx, "the drain report is not kept", "err", err)
	}
	if l.Left != nil {
		l.Left(*r)
	}
}

// write puts the report into its file, whole or not at all.
func (l *loop) write(report []byte) error {
	if l.Reported == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(l.Reported), 0o700); err != nil {
		return err
	}
	half := l.Reported + ".new"
	err := os.WriteFile(half, append(report, '\n'), 0o600)
	if err == nil {
		err = os.Rename(half, l.Reported)
	}
	if err != nil {
		_ = os.Remove(half) // if it is there
	}
	return err
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
