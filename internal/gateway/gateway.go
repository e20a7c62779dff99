// Package gateway is the data-plane program: it follows control, compiles what it is told into what requests
// go by, looks at endpoints itself, and reports back. Beside an application it is the sidecar: the same program
// with a fixed view and no control.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/store/file"
)

// A Gateway is one data plane. Its fields must not change while it runs.
type Gateway struct {
	ID      string
	Control feed.Control    // what it follows; nil for a sidecar
	Fixed   *fleet.Snapshot // what a sidecar goes by
	State   string          // directory for the last good snapshot; "" keeps none
	Admin   net.Listener    // its admin API
	Address netip.Addr      // where it serves every listener, on the port that control says; the zero value is where control says
	Proxy   proxy.Options   // ID and Log are filled in
	Version string
	Log     *slog.Logger

	Timers   drain.Timers    // of leaving
	Grace    time.Duration   // after which whoever has told it to stop kills it; 0 is unknown
	Group    string          // namespace/name of the gateway group whose drain timeout it follows; "" is none
	Health   string          // address for the checks of load balancers; "" is none
	Loan     Lender          // of its listening sockets; nil: it opens them itself
	Hurry    <-chan struct{} // closed when what is open is to be ended without waiting; nil: never
	Reported string          // file for the report of its leave; "" is none

	Front  *proxy.Front       // with Fixed: what stands before the one instance, and is told by whoever runs that; nil where nobody does
	Opened func()             // called once, when every listener is bound for the first time; nil: nobody
	Left   func(drain.Report) // called once, when it has left, before Run returns; nil: nobody
}

// A Lender lends listening sockets that other processes accept from too: [sockets.Loan].
type Lender interface {
	Listen(ctx context.Context, address string) (net.Listener, error)
	Shared() bool          // whether others go on accepting
	Lost() <-chan struct{} // closed when nobody owns the sockets any more
}

// Run serves until ctx ends, then leaves; the cause of that is the reason in its report. Told to leave by the admin API,
// it stays for the admin API until ctx ends. While it leaves it still follows control and reports, so that endpoints
// that leave at the same time are waited for. It returns an error that wraps *serve.CutError when something had to be
// cut.
func (g *Gateway) Run(ctx context.Context) error {
	if err := newLoop(g).serve(ctx); err != nil {
		return fmt.Errorf("gateway %s: %w", g.ID, err)
	}
	return nil
}

func (l *loop) serve(ctx context.Context) error {
	health, err := l.openHealth(ctx) // first: what cannot serve must not have bound what somebody else could
	if err == nil && l.Loan == nil {
		err = l.boot(ctx, time.Now())
	}
	if err != nil && ctx.Err() == nil { // told to stop before it served anybody, it just ends
		return err
	} else if err != nil {
		return nil
	}
	behind, stop := context.WithCancel(context.WithoutCancel(ctx)) // ends when nothing is served any more
	defer stop()
	group, behind := errgroup.WithContext(behind)
	group.Go(func() error { return l.run(behind) })
	group.Go(func() error { return l.checker.Run(behind) })
	group.Go(func() error { return l.console().Run(behind) })
	if health != nil {
		group.Go(func() error { return health.run(behind) })
	}
	if l.Control != nil {
		group.Go(func() error { return l.follow(behind) })
		group.Go(func() error { return l.report(behind) })
	}
	if l.Control != nil && l.Loan != nil {
		group.Go(func() error { return l.inquire(behind) })
	}
	if l.Control != nil && l.Gateway.State != "" {
		group.Go(func() error { return l.keep(behind) })
	}
	front, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	group.Go(func() error { l.heed(behind, quit); return nil })
	defer context.AfterFunc(behind, func() { quit(context.Cause(behind)) })() // whoever fails behind ends what is in front
	err = l.server.Run(front)
	l.conclude(behind)
	<-front.Done() // told to leave by the admin API, it still answers there
	stop()
	return errors.Join(err, group.Wait())
}

func (l *loop) console() *admin.Server {
	program := "gateway"
	if l.Control == nil {
		program = "sidecar"
	}
	return &admin.Server{Listener: l.Admin, Log: l.Log, Handler: admin.Handler(admin.Config{
		World: l.world, Program: program, ID: l.ID, Version: l.Version, Started: time.Now(), Leaver: l, Log: l.Log,
	})}
}

// world is what the admin API shows.
func (l *loop) world() admin.World {
	now := time.Now()
	state := l.proxy.State()
	if state == nil {
		return admin.World{Drain: l.Report(), Conns: l.server.Conns(), ReadyReason: "no snapshot yet: control is away and none was kept"}
	}
	w := admin.World{
		Drain: l.Report(), Conns: l.server.Conns(),
		View: state.View(), Overlay: state.Overlay(), Locality: l.Gateway.Proxy.Locality, Listeners: map[string]*evidence.Downstream{}, Streams: l.proxy.Streams(), Ready: true,
	}
	if reason := l.unready(); reason != "" {
		w.Ready, w.ReadyReason = false, reason
	}
	for i, s := range state.Services() {
		service := &w.View.Services[i] // of this snapshot: what is compiled may be as old as it is unchanged
		for j, p := range s.Pools {
			w.Pools = append(w.Pools, admin.Pool{
				Service: service, Pool: &service.Pools[j], Traffic: p.Traffic, Requests: p.Requests, Endpoints: s.Traffic(),
				Shares: p.Balancer.Shares(now), Groups: p.Balancer.Groups(),
			})
		}
	}
	for _, listener := range state.Listeners() {
		w.Listeners[listener.Name] = listener.Traffic
	}
	return w
}

// boot starts from the fixed view, or from the last good snapshot; without one the gateway waits for control.
func (l *loop) boot(ctx context.Context, now time.Time) error {
	if l.Fixed != nil {
		return l.apply(ctx, fleet.View{Snapshot: l.Fixed, Taken: now}, now)
	}
	if l.Gateway.State == "" {
		return nil
	}
	last, away, err := file.Load(l.kept(), now)
	if errors.Is(err, file.ErrNone) {
		return nil
	}
	if err == nil {
		err = l.apply(ctx, last, now)
	}
	if err != nil {
		l.Log.WarnContext(ctx, "the last snapshot cannot be used; waiting for control", "err", err)
		return nil
	}
	l.Log.InfoContext(ctx, "serving the last good snapshot until control answers", "number", last.Number, "age", away)
	return nil
}

// Saving a view of thousands of endpoints costs as much as applying it. Whoever boots from it asks control first.
const (
	keepRest  = 19 // times what saving takes is rested after it
	keepEvery = 5 * time.Second
)

// keep saves the newest view: one that comes alone at once, of many that follow one another some, and the last
// when ctx ends.
func (l *loop) keep(ctx context.Context) error {
	save := func(v fleet.View) (took time.Duration) {
		began := time.Now()
		if err := file.Save(l.kept(), v, began); err != nil {
			l.Log.ErrorContext(ctx, "the snapshot is not kept", "err", err)
		}
		return time.Since(began)
	}
	for {
		select {
		case v := <-l.saves:
			pause(ctx, min(keepEvery, keepRest*save(v)))
		case <-ctx.Done():
			select {
			case v := <-l.saves:
				save(v)
			default:
			}
			return nil
		}
	}
}

// kept is where: one file for each gateway, or for all replicas of one, since who begins in the place of another must not go
// by what was true when that one ended.
func (l *loop) kept() string {
	name := l.ID
	if l.Loan != nil {
		name = strings.ReplaceAll(l.Group, "/", ".")
	}
	return filepath.Join(l.Gateway.State, name+".json")
}
