package gateway

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/fleet"
)

// A gateway that begins together with its control is not ready before there is anybody to send requests to, unless that
// takes too long. Once it is ready it stays so.
func TestReadyWithTheFirstEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(&Gateway{ID: "gateway-1", Log: slog.New(slog.DiscardHandler), Timers: lingering()})
		set := func(stages ...fleet.Stage) {
			s := &fleet.Snapshot{Services: []fleet.Service{
				{Name: "none:80"}, {Name: "some:80", Endpoints: []fleet.Endpoint{{Stage: fleet.Serving}, {Stage: fleet.Starting}}}, {Name: "web:80"},
			}}
			for _, stage := range stages {
				s.Services[2].Endpoints = append(s.Services[2].Endpoints, fleet.Endpoint{Stage: stage})
			}
			l.view = fleet.View{Snapshot: s}
			l.open(time.Now())
		}
		l.open(time.Now())
		set(fleet.Starting, fleet.Starting)
		time.Sleep(firstWithin - 1)
		set(fleet.Starting)
		if got := l.unready(); isClosed(l.ready) || got != "waiting for the first endpoints of web:80" {
			t.Errorf("ready %v, %q, want it to wait for web", isClosed(l.ready), got)
		}
		set(fleet.Starting, fleet.Warming)
		if got := l.unready(); !isClosed(l.ready) || got != "" {
			t.Errorf("ready %v, %q, want it ready with an endpoint", isClosed(l.ready), got)
		}
		set(fleet.Starting)
		if got := l.unready(); got != "" {
			t.Errorf("got %q, want it to stay ready", got)
		}

		l = newLoop(&Gateway{ID: "gateway-1", Log: slog.New(slog.DiscardHandler), Timers: lingering()})
		set(fleet.Starting)
		time.Sleep(firstWithin)
		l.open(time.Now())
		if got := l.unready(); !isClosed(l.ready) || got != "" {
			t.Errorf("ready %v, %q after %v, want it not to wait for ever", isClosed(l.ready), got, firstWithin)
		}
	})
}
