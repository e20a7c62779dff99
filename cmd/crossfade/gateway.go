package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/gateway"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/sockets"
)

// exitCut is the exit code of a gateway that had to cut something when it left.
const exitCut = 3

type gatewayFlags struct {
	id      string
	feed    string
	inbound []string
	state   string
	admin   string
	address netip.Addr
	health  string
	sockets string
	group   string
	report  string
	timers  timerFlags
	place   localityFlag
	labels  labelFlags
	logs    logFlags
}

func newGatewayCommand() *cobra.Command {
	var f gatewayFlags
	cmd := &cobra.Command{
		Use:   "gateway (--feed PLACE | --inbound LISTEN=APP)",
		Short: "Run a data plane: at the edge, or beside an application as its sidecar",
		Long: `gateway serves requests. With --feed it follows a control: it serves the listeners of its snapshots,
balances and warms up, and keeps the last good snapshot, by which it serves while control is away. Several
follow one control on one machine when each has an --id, an --admin and an --address of its own. With --inbound
it stands in front of one application, counts what passes under Envoy's inbound names, and needs no control.
Told to stop, it leaves so that nothing is lost: load balancers and clients hear of it and are served for a while
yet (--drain-min, --drain-notice), then nothing new is accepted, and what is open may finish (--drain, --drain-long).
Its exit code is 3 when something had to be cut. A second signal cuts what is open, a third ends the program at once.
With --sockets it borrows its listening sockets from a supervisor, and shares them with other gateways.`,
		Example: `  crossfade gateway --feed unix:/run/crossfade/feed.sock --id gateway-1
  crossfade gateway --feed unix:/run/crossfade/feed.sock --id gateway-2 --address 127.0.0.2 --admin 127.0.0.2:15000
  crossfade gateway --feed 'tls://10.0.0.1:15012?cert=gateway.pem&key=gateway.key&ca=control-ca.pem'
  crossfade gateway --inbound 127.1.0.5:9080=127.2.0.5:9080 --admin 127.1.0.5:15000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.feed == "" {
				f.timers.besides(cmd.Flags())
			} else if !cmd.Flags().Changed("health") {
				f.health = f.healthAddress()
			}
			if !cmd.Flags().Changed("drain-report") && f.feed != "" {
				f.report = filepath.Join(f.state, f.id+".drain.json")
			}
			return runGateway(cmd.Context(), f, f.logs.logger(cmd.ErrOrStderr()))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "gateway-1", "name of this gateway, unique among those that follow one control")
	flags.StringVar(&f.feed, "feed", "", "where control's feed is: "+feed.OpenHelp)
	flags.StringArrayVar(&f.inbound, "inbound", nil, "stand in front of an application: LISTEN=APP, both as address:port; may be repeated")
	flags.StringVar(&f.state, "state", defaultState(), "directory for the last good snapshot")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:15000", "address of the admin API")
	flags.StringVar(&f.health, "health", "", "address for the checks of load balancers, GET /healthz/ready (default with --feed: port 15021 at --address, or at 127.0.0.1; none with \"\")")
	flags.StringVar(&f.sockets, "sockets", "", "borrow the listening sockets, also for --health, from a supervisor: unix:PATH")
	flags.StringVar(&f.group, "group", fleet.GatewayNamespace+"/"+fleet.DefaultGroup, "the IstioGateway whose drain timeout holds: NAMESPACE/NAME")
	flags.StringVar(&f.report, "drain-report", "", "file for what became of everybody when the gateway left (default with --feed: ID.drain.json in --state)")
	f.timers.add(flags)
	flags.TextVar(&f.address, "address", netip.Addr{}, "IP address on which to serve every port, instead of where control says")
	f.place.add(flags)
	f.labels.add(flags)
	f.logs.add(flags)
	cmd.MarkFlagsOneRequired("feed", "inbound")
	cmd.MarkFlagsMutuallyExclusive("feed", "inbound")
	return cmd
}

// healthAddress is where load balancers look, unless a flag says where.
func (f *gatewayFlags) healthAddress() string {
	const port = "15021" // as Istio's
	if f.address.IsValid() {
		return net.JoinHostPort(f.address.String(), port)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func runGateway(ctx context.Context, f gatewayFlags, log *slog.Logger) error {
	if err := f.timers.check(); err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may be gone before us
	g := gateway.Gateway{
		ID: f.id, Version: version, Address: f.address, Log: log.With("id", f.id),
		Timers: f.timers.Timers, Grace: f.timers.grace, Group: f.group, Health: f.health, Hurry: hurries(ctx), Reported: f.report,
	}
	g.Proxy.Seed, g.Proxy.Locality = seed(f.id), f.place.Locality
	if f.timers.grace == 0 {
		log.WarnContext(ctx, "nobody has said, by --grace, after how long a gateway that leaves is killed", "drain", f.timers.Longest())
	}
	if f.feed == "" {
		return runSidecar(ctx, &g, f)
	}
	if f.sockets != "" && !strings.HasPrefix(f.sockets, "unix:") {
		return exitError{2, fmt.Errorf("--sockets %s: want unix:PATH", f.sockets)}
	}
	link, err := openFeed(f.feed, g.Log)
	if err != nil {
		return err
	}
	g.Control, g.State = link, f.state
	g.Proxy.Labels = f.labels.all() // by which control has chosen what it serves
	return errors.Join(serveGateway(ctx, &g, f), link.Close())
}

// runSidecar stands in front of one application.
func runSidecar(ctx context.Context, g *gateway.Gateway, f gatewayFlags) error {
	switch {
	case f.address.IsValid():
		return exitError{2, errors.New("--address is for a gateway that follows a control; --inbound says itself where to listen")}
	case f.sockets != "":
		return exitError{2, errors.New("--sockets is for a gateway that follows a control; a sidecar has its ports to itself")}
	}
	fixed, err := inbound(f.inbound)
	if err != nil {
		return exitError{2, err}
	}
	g.Fixed = fixed
	return serveGateway(ctx, g, f)
}

func serveGateway(ctx context.Context, g *gateway.Gateway, f gatewayFlags) error {
	err := beginGateway(ctx, g, f)
	if _, cut := errors.AsType[*serve.CutError](err); cut {
		return exitError{exitCut, err}
	}
	return err
}

// beginGateway opens what the gateway answers at, and runs it. Told to stop before it has begun, it has served nobody,
// and nothing is wrong.
func beginGateway(ctx context.Context, g *gateway.Gateway, f gatewayFlags) error {
	var err error
	if g.Admin, err = admin.Listen(ctx, f.admin); err != nil {
		return unlessDone(ctx, err)
	}
	if f.sockets == "" {
		return g.Run(ctx)
	}
	loan, err := sockets.Borrow(ctx, f.sockets)
	if err != nil {
		return unlessDone(ctx, errors.Join(err, g.Admin.Close()))
	}
	g.Loan = loan
	return errors.Join(g.Run(ctx), loan.Close())
}

// unlessDone returns err, unless ctx has ended.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// seed is where this gateway starts its rotations: different for each, the same after a restart.
func seed(id string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	return h.Sum64()
}

// inbound is the world of a sidecar: for each port one service with the application as its only endpoint.
func inbound(pairs []string) (*fleet.Snapshot, error) {
	s := &fleet.Snapshot{Number: 1}
	for _, pair := range pairs {
		listen, app, ok := strings.Cut(pair, "=")
		at, err := netip.ParseAddrPort(listen)
		to, err2 := netip.ParseAddrPort(app)
		if !ok || err != nil || err2 != nil {
			return nil, fmt.Errorf("--inbound %s: want LISTEN=APP, both as address:port", pair)
		}
		name := fmt.Sprintf("inbound:%d", at.Port())
		s.Services = append(s.Services, fleet.Service{
			Name: name, Port: uint32(at.Port()), Protocol: "http", Inbound: true,
			Pools: []fleet.Pool{{
				Policy:  fleet.Policy{HTTP: fleet.HTTPSame}, // whoever calls knows what the application speaks
				Members: []fleet.Member{{Endpoint: 0, Base: 1}},
			}},
			Endpoints: []fleet.Endpoint{{Name: "app", Incarnation: "app", Address: to, Weight: 1, Stage: fleet.Serving}},
		})
		s.Listeners = append(s.Listeners, fleet.Listener{
			Name: fmt.Sprintf("inbound-%d", at.Port()), Address: listen, Port: uint32(at.Port()),
			Hosts: []fleet.VirtualHost{{
				Domains: []string{"*"},
				Routes:  []fleet.Route{{Name: name, Destinations: []fleet.Destination{{Service: name, Weight: 1}}}},
			}},
		})
	}
	return s, nil
}
