// Package local runs the Deployments of a snapshot as processes of this machine, each replica on a loopback
// address of its own: to try crossfade, and for end-to-end tests.
//
// A replica has two addresses with the same last two numbers: 127.1.x.y, where a sidecar listens for
// everybody, and 127.2.x.y, where the application does. One goroutine, [Runtime.Run], knows all replicas and
// decides what to start and what to let go ([plan]); one goroutine for each replica runs it
// ([instance]) and tells the first what happens. Control hears of every change and of the whole at least once
// a second. When control is away everything goes on running as it was.
//
// The rules are those of Kubernetes, with two differences. A replica without a readiness probe is not ready
// before it accepts connections on its first port. And a replica that is asked to leave is stopped only after
// control has shown that nobody sends to it any more, or has had a grace period for that; preStop and SIGTERM,
// with a grace period of their own, come then.
package local

import (
	"io"
	"log/slog"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/process"
)

// A Runtime runs what control's snapshots ask for.
type Runtime struct {
	Feed     feed.Control
	Self     string        // path of crossfade, for sidecars; "" runs replicas without, on their public addresses
	PathDirs []string      // where commands are looked for before PATH
	Env      []string      // what every application inherits, as "NAME=value"; Deployments' own variables win
	Mesh     string        // address of the mesh port, the applications' HTTP proxy; "" is none
	Output   io.Writer     // gets the applications' output, line by line, from several goroutines at once; nil discards
	Quit     time.Duration // bounds draining, and then stopping, when Run is told to end; 0 leaves it to the grace periods
	Log      *slog.Logger  // nil is silent

	machine *machine // nil is the real one
}

const (
	beat          = time.Second            // control hears of us at least this often
	reportTimeout = 5 * time.Second        // how long control may take to hear a report
	settle        = time.Second            // a snapshot that shows a ready instance arrives within this time of the report
	sidecarPoll   = 50 * time.Millisecond  // between looks at a sidecar that starts
	sidecarGrace  = 5 * time.Second        // its application is gone already
	portPoll      = 100 * time.Millisecond // between looks at an application without a probe that starts
	portPatience  = 10 * time.Second       // until an application without a probe that does not listen is worth an event
	maxEvents     = 1000                   // kept while control is away
)

// Starting costs the machine more than running does. So that a new wish is heard while an old one is carried out,
// no more than maxBeginning replicas begin at a time; one that has not begun after beginPatience no longer counts.
const (
	maxBeginning  = 16
	beginPatience = 5 * time.Second
)

// preStopExtra is what an application has between SIGTERM and SIGKILL at least, even when its preStop has
// used up the grace period, as in Kubernetes.
const preStopExtra = 2 * time.Second

// backoffOfApp says when an application that ended is started again. Kubernetes' 10 s doubling to 5 min would
// be too slow to play with.
func backoffOfApp() process.Backoff {
	return process.Backoff{Min: 200 * time.Millisecond, Max: 30 * time.Second, Reset: time.Minute}
}

// backoffOfSidecar says when a sidecar that died is started again: at once, for people.
func backoffOfSidecar() process.Backoff {
	return process.Backoff{Min: 10 * time.Millisecond, Max: 2 * time.Second, Reset: 5 * time.Second}
}

// backoffOfLink says when control is called again that could not be reached.
func backoffOfLink() process.Backoff {
	return process.Backoff{Min: 100 * time.Millisecond, Max: 2 * time.Second, Reset: 2 * time.Second}
}
