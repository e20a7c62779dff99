// Package local runs the Deployments of a snapshot as processes of this machine, each replica on a loopback
// address of its own: to try crossfade, and for end-to-end tests.
//
// A replica is one process, `crossfade agent`, which runs the application and stands in front of it. It has two
// addresses with the same last two numbers: 127.1.x.y, where the agent listens for everybody, and 127.2.x.y, where
// the application does. One goroutine, [Runtime.Run], knows all replicas and decides what to start and what to let
// go ([plan]); one goroutine for each replica keeps its agent running ([instance]) and tells the first what happens.
//
// Agents speak for themselves: what comes up, what registers, what leaves and what a drain came to, control hears
// from them. Whether a replica serves, this room learns as everybody does, from control's snapshots. It tells
// control only what agents cannot: what it is about to do, and which incarnations have ended. When control is away
// everything goes on running as it was.
//
// The rules are those of Kubernetes.
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
	Agents   Agents
	PathDirs []string      // where commands are looked for before PATH
	Env      []string      // what every application inherits, as "NAME=value"; Deployments' own variables win; nil is ours
	Mesh     string        // address of the mesh port, the applications' HTTP proxy; "" is none
	Output   io.Writer     // gets the applications' output, line by line, from several goroutines at once; nil discards
	Quit     time.Duration // bounds draining, and then stopping, when Run is told to end; 0 leaves it to the agents
	Log      *slog.Logger  // nil is silent

	machine *machine // nil is the real one
}

// Agents say how agents are run.
type Agents struct {
	Self     string // path of crossfade
	Dir      string // an existing directory for what each of them is told; nobody else may write to it
	Feed     string // where they find control, as --feed says it
	Registry string // where they register, as --registry says it
}

const (
	beat          = time.Second     // control hears of us at least this often
	reportTimeout = 5 * time.Second // how long control may take to hear a report
	maxEvents     = 1000            // kept while control is away
)

// Starting costs the machine more than running does. So that a new wish is heard while an old one is carried out,
// no more than maxBeginning replicas begin at a time; one that has not begun after beginPatience no longer counts.
const (
	maxBeginning  = 16
	beginPatience = 5 * time.Second
)

// An agent bounds how long it takes to leave by itself: see [patience]. One that has taken so much longer hangs.
const hangs = 30 * time.Second

// backoffOfAgent says when an agent is started again that ended, as it does when its application has. Kubernetes'
// 10 s doubling to 5 min would be too slow to play with.
func backoffOfAgent() process.Backoff {
	return process.Backoff{Min: 200 * time.Millisecond, Max: 30 * time.Second, Reset: time.Minute}
}
