// Package supervisor runs gateways in replicas: processes that share the listening sockets it owns, so that any of
// them may come and go, and none takes a connection with it that waits to be accepted.
//
// It follows control: a [fleet.GatewayGroup] says how many replicas there are to be, and of which revision. What to do
// about it is decided by one function, plan. A revision replaces another one by one, and nobody is told to leave before
// somebody else serves; a successor that does not come up changes nothing but the events.
//
// Towards people its replicas are one gateway: its admin API shows their sum.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// Sockets are the listening sockets that replicas borrow; see sockets.Owner.
type Sockets interface {
	// Run lends until ctx ends.
	Run(ctx context.Context, door *net.UnixListener) error
	// Keep forgets the sockets of all other addresses.
	Keep(addresses []string)
	// Retire says that from now on nobody goes on accepting when a borrower leaves.
	Retire()
	// Resume takes that back.
	Resume()
}

// A Child is the process of a replica; see [process.Child].
type Child interface {
	process.Process

	Signal(sig syscall.Signal) error
	Pid() int
}

// An Order says what replica to start.
type Order struct {
	ID     string            // of the data plane: "ingressgateway-1"
	Group  string            // it belongs to: "istio-system/ingressgateway"
	Labels map[string]string // that it carries; nil where nobody says
	Binary string            // to run; "" is the supervisor's own
	Admin  string            // address of its admin API
}

// A Supervisor runs the replicas of gateways. Its fields must not change while it runs.
type Supervisor struct {
	ID       string       // unique among those that follow one control
	Control  feed.Control // what it follows
	State    string       // directory in which what it was last told is kept; "" keeps nothing
	Group    string       // the one group that it runs, as namespace/name; "" runs all
	Address  netip.Addr   // where replicas serve every listener; the zero value is where control says
	Health   string       // address of their health port; "" is none
	Timers   drain.Timers // theirs, for a group that says nothing else
	Locality fleet.Locality
	Version  string

	Admin    net.Listener   // its own admin API
	Replicas netip.AddrPort // their admin APIs: that of the first is one port above
	Door     *net.UnixListener
	Sockets  Sockets
	Start    func(Order) (Child, error)

	Transport http.RoundTripper // to the replicas' admin APIs; nil is the usual
	Hurry     <-chan struct{}   // closed when leaving takes too long; nil never is
	Roll      <-chan struct{}   // each value replaces all replicas, by what their programs are by then; nil never does
	// Settled hears when all replicas are there that are wanted, for the first time and after every Roll; or why that
	// fails for now. Nil hears nothing.
	Settled func(error)
	Log     *slog.Logger
}

// A CutError says that replicas had to cut requests, or were killed, when the supervisor was told to stop.
type CutError struct {
	Replicas []string // which, and how each ended
	Requests uint64   // that they cut, as far as they have told: one that is killed does not
}

func (e *CutError) Error() string {
	what := fmt.Sprintf("%d requests were cut: ", e.Requests)
	switch e.Requests {
	case 0:
		what = "requests were cut: "
	case 1:
		what = "1 request was cut: "
	}
	return what + strings.Join(e.Replicas, "; ")
}

// Run runs replicas until ctx ends, then has all of them leave at once, and returns when the last has ended. Its error
// wraps a *CutError when one of them had to cut something, or was killed. While they leave it still follows control,
// reports, and answers.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := s.run(ctx); err != nil {
		return fmt.Errorf("supervisor %s: %w", s.ID, err)
	}
	return nil
}

func (s *Supervisor) run(ctx context.Context) error {
	l := newLoop(s)
	l.boot(ctx, time.Now())
	behind, stop := context.WithCancel(context.WithoutCancel(ctx)) // ends when no replica is left
	defer stop()
	group, behind := errgroup.WithContext(behind)
	group.Go(func() error { return s.Sockets.Run(behind, s.Door) })
	group.Go(func() error { return l.follow(behind) })
	group.Go(func() error { return l.report(behind) })
	group.Go(func() error { return l.console(behind).Run(behind) })
	front, quit := context.WithCancel(ctx)
	defer quit()
	defer context.AfterFunc(behind, quit)() // whoever fails behind ends what is in front
	err := l.run(front)
	stop()
	return errors.Join(err, group.Wait())
}
