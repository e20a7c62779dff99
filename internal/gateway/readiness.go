package gateway

import (
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// When control begins at the same time as we do, its first snapshots offer nobody yet: everything is Starting. Whoever
// sends us clients then would have them refused. So we wait for the first endpoints of each service; not for ever, since
// one may never come.
const (
	firstWithin = 10 * time.Second // of the first view that this process serves
	firstLook   = 200 * time.Millisecond
)

// open makes the gateway ready, if it is: for good.
func (l *loop) open(now time.Time) {
	if isClosed(l.ready) || l.view.Snapshot == nil || !l.admits.Load() || l.server.Unserved() != nil {
		return
	}
	if l.first.IsZero() {
		l.first = now
	}
	service := beginning(l.view.Snapshot)
	l.awaited.Store(&service)
	if service == "" || now.Sub(l.first) >= firstWithin {
		close(l.ready)
		if l.Opened != nil {
			l.Opened()
		}
	}
}

// beginning returns a service all of whose endpoints are Starting, "" if there is none.
func beginning(s *fleet.Snapshot) string {
	for i := range s.Services {
		starting := 0
		for j := range s.Services[i].Endpoints {
			if s.Services[i].Endpoints[j].Stage == fleet.Starting {
				starting++
			}
		}
		if starting > 0 && starting == len(s.Services[i].Endpoints) {
			return s.Services[i].Name
		}
	}
	return ""
}

// unready says why clients should not be sent here; "" if they should.
func (l *loop) unready() string {
	if l.server.Stage() != drain.Serving {
		return "it leaves, because of " + l.server.Report().Reason
	}
	if err := l.server.Unserved(); err != nil { // what only goes on with older files is served
		return err.Error()
	}
	if !l.admits.Load() {
		return "asking control whether anything is newer than its first snapshot"
	}
	if service := l.awaited.Load(); !isClosed(l.ready) && service != nil {
		return "waiting for the first endpoints of " + *service
	}
	return ""
}
