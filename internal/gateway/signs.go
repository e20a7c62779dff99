package gateway

import (
	"context"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/health"
	"crossfade.dev/internal/proxy"
)

// sign takes what requests have shown of an endpoint, and says whether that changes who gets requests. A sidecar has
// nobody else to send to, and lets it be.
func (l *loop) sign(ctx context.Context, s proxy.Sign, now time.Time) (changed bool) {
	if l.Control == nil {
		return false
	}
	switch s.Kind {
	case proxy.SignLeaves:
		e, _ := l.find(s.Incarnation, now)
		if e == nil || !e.Stage.Offered() || !l.marks.note(s.Incarnation, now) {
			return false
		}
		l.notice(ctx, fleet.Event{Kind: "endpoint.leaves", Endpoint: e.Name, Incarnation: s.Incarnation, Reason: markReason}, now)
		return true
	case proxy.SignRefused:
		if !l.checker.Gone(s.Incarnation) {
			return false
		}
		l.mark(ctx, health.Verdict{Key: s.Incarnation, Reason: "it refuses connections"}, now)
		return true
	case proxy.SignDoubted:
		l.checker.Doubt(s.Incarnation)
	}
	return false
}
