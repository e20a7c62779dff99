// Package agent stands beside one application, in any language, for one run of it: it starts it, finds out when it can
// serve, warms it up, registers it, or releases what it registers by itself, answers whether it is ready, and when it is
// to leave, sees to it that nobody loses a request before it stops it.
//
//	a := agent.Agent{Instance: in, App: process.Spec{…}, Registrar: …, Control: …}
//	exit, err := a.Run(ctx) // until the application has ended; when ctx ends, it leaves first
//
// What is to be the case at each moment is decided by a pure step, [Life]; one goroutine tells it what is seen and has
// it done. When the agent dies, the kernel kills the application with it.
package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/warmer"
)

// DefaultGrace is what an application has to stop in where nobody says otherwise, as in Kubernetes.
const DefaultGrace = 30 * time.Second

// An Agent is what stands beside one run of an application. Its fields must not change while it runs.
type Agent struct {
	Instance  fleet.Instance    // as it is published; Ready, Leaving, Bound, Warmup, Front and Published are filled in
	First     uint32            // port of the application that others send to first; 0: it has none
	Services  []string          // names of the services it belongs to, for the choice of a Lifecycle where no control makes it
	App       process.Spec      // what runs; it has our input and output itself
	Inner     map[uint32]uint32 // ports at which the application listens, by those that others send to; those that are missing are the same
	Bind      netip.Addr        // where the application listens; zero is Instance.Address
	Probe     *fleet.Probe      // nil: it can serve when it takes connections on First; without one, at once
	Patience  time.Duration     // until its first pass; then the application is stopped. 0 is as long as it takes
	PreStop   *fleet.PreStop    // before SIGTERM; nil is nothing
	Grace     time.Duration     // of PreStop and SIGTERM together, until SIGKILL; 0 is DefaultGrace
	Lifecycle *fleet.Lifecycle  // holds whatever control says, but for the instance's labels; nil is what control says
	// Lifecycles reads those that people have put into the registry, once, for an agent that follows no control; it may
	// fail, and is asked again. nil is none.
	Lifecycles func(context.Context) ([]fleet.Lifecycle, error)
	Adjust     func(*fleet.Lifecycle)          // what is said on top of any Lifecycle; nil is nothing
	Gate       *hold.Gate                      // holds back what the application registers by itself; its Tell is filled in. nil: it registers nothing
	Registrar  registry.Registrar              // nil: control, over the feed
	Foreign    bool                            // consumers that know nothing of crossfade follow the Registrar; those of a Gate may be any
	Control    feed.Control                    // whom it follows; nil is nobody
	Front      Front                           // stands before the application; nil is none
	DataPlane  func(ctx context.Context) error // runs what Front is of, until ctx ends; nil where Front is
	Opened     <-chan struct{}                 // closed when everything of DataPlane listens
	Readiness  string                          // address for the question whether it is ready; "" is none
	Offline    string                          // address at which it can be told to go offline, a loopback one; "" is none
	Token      string                          // that who asks it to must show; "" is none
	Hurry      <-chan struct{}                 // closed: nothing is waited for any more; nil is never
	Signals    <-chan os.Signal                // passed on to the application; nil is none
	Bar        func() Bar                      // shows people how warm-up requests go on; nil shows nobody
	Log        *slog.Logger                    // nil is silent

	recorder atomic.Pointer[warmer.Recorder]
}

// A Front is what stands before the application: a [proxy.Front].
type Front interface {
	Order(proxy.Orders)
	Seen() proxy.Seen
	Direct(yield func(port uint32, c *evidence.Counts))
}

// A Bar shows how warm-up requests go on: a [warmer.Bar].
type Bar interface {
	Progress(warmer.Progress)
	End(warmer.Result)
}

// ErrNotReady says that the application could not serve in the time it had.
var ErrNotReady = errors.New("the application was not ready in time")

// Note hears of a request that the front passed on, and of its answer; see [warmer.Recorder.Note].
func (a *Agent) Note(protocol string, port uint32, method, host, path []byte, fields []http1.Field, status int) {
	a.recorder.Load().Note(protocol, port, method, host, path, fields, status)
}

// ID is the name under which control knows the agent.
func (a *Agent) ID() string { return "agent/" + a.Instance.Incarnation }

// bind is where the application listens.
func (a *Agent) bind() netip.Addr {
	if a.Bind.IsValid() {
		return a.Bind
	}
	return a.Instance.Address
}

func (a *Agent) grace() time.Duration { return cmp.Or(a.Grace, DefaultGrace) }

// published is the instance as everybody may see it, before its life has begun.
func (a *Agent) published() fleet.Instance {
	in := a.Instance
	in.Ports, in.Labels = maps.Clone(in.Ports), maps.Clone(in.Labels)
	in.Weight = cmp.Or(in.Weight, 1)
	in.Front = a.Front != nil
	in.Ready, in.Leaving, in.Bound, in.Warmup, in.Published = false, false, 0, nil, nil
	return in
}

// settle is the Lifecycle that holds, of those that somebody has: what labels say goes before it, what Adjust says
// before both. Where nobody has one, a leave takes no longer than stopping may; what is passed on as it is has its own weight.
func (a *Agent) settle(cycle fleet.Lifecycle) fleet.Lifecycle {
	if cycle.Name == "" && cycle.Off {
		cycle.Leave.Timeout = a.grace()
	}
	if cycle.Requests != nil {
		requests := *cycle.Requests
		requests.Requests = slices.Clone(requests.Requests)
		cycle.Requests = &requests
	}
	if a.Adjust != nil {
		a.Adjust(&cycle)
	}
	if cycle.Ramp && a.Gate != nil && !a.Gate.Annotate {
		cycle.Ramp = false
		a.Log.Warn("annotate=false passes registrations on as they are: their weight does not follow the warm-up, although the Lifecycle says so", "lifecycle", cycle.Name)
	}
	return cycle
}
