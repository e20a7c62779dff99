package admin

import (
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// note says in words what the events of the snapshot tell about why an endpoint is where it is: what a new one waits for,
// since when and why one that was in service is not ready, and who moved one on its warm-up, as "paused by alice, at 4 % of the way". It is
// empty for all others, and where events are too old to be remembered.
func (w World) note(e *fleet.Endpoint, at fleet.Member) string {
	switch {
	case e.Stage == fleet.Starting && e.Age > 0:
		return w.unready(e)
	case e.Stage == fleet.Starting:
		return w.awaited(e)
	case at.Manual || at.Paused:
		last := w.last(e.Incarnation, "warmup.paused", "warmup.resumed", "warmup.restarted")
		if last == nil {
			return ""
		}
		how := strings.TrimPrefix(last.Kind, "warmup.")
		if strings.HasPrefix(last.Reason, "by ") {
			return how + " " + last.Reason
		}
		return how + ": " + last.Reason // not by somebody
	default:
		return ""
	}
}

// awaited says what an endpoint waits for that was never offered, as its agent told it.
func (w World) awaited(e *fleet.Endpoint) string {
	last := w.last(e.Incarnation, "probe.failed", "probe.passed", "warmup.requests.started", "warmup.requests.progress", "warmup.requests.ended",
		"registration.delayed", "registration.failed", "registration.refused")
	if last == nil {
		return ""
	}
	switch last.Kind {
	case "probe.failed":
		return "its probe fails: " + last.Reason
	case "warmup.requests.started", "warmup.requests.progress":
		return "its agent sends it warm-up requests: " + last.Reason
	case "registration.delayed":
		return "its registration is delayed " + last.Reason
	case "registration.failed", "registration.refused":
		return "it is not registered: " + last.Reason
	}
	return ""
}

// unready says since when and why an endpoint is not ready that was in service.
func (w World) unready(e *fleet.Endpoint) string {
	text, why := "it was in service before", "it does not pass its checks"
	if lost := w.last(e.Incarnation, "readiness.lost"); lost != nil {
		text = "it was in service until " + lost.Time.Local().Format(time.TimeOnly)
		if lost.Reason != "" {
			why = lost.Reason
		}
	}
	text += "; " + why
	if failed := w.last(e.Incarnation, "probe.failed", "probe.passed", "check.failed", "check.passed"); failed != nil && strings.HasSuffix(failed.Kind, ".failed") && failed.Reason != "" {
		text += ": " + failed.Reason
	}
	return text
}

// last returns the latest event of one of the kinds about an incarnation that the snapshot remembers; nil if none is.
func (w World) last(incarnation string, kinds ...string) *fleet.Event {
	for i := range slices.Backward(w.View.Events) {
		if e := &w.View.Events[i]; e.Incarnation == incarnation && slices.Contains(kinds, e.Kind) {
			return e
		}
	}
	return nil
}
