package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/sockets"
	"crossfade.dev/internal/supervisor"
)

// doorName is that of the socket, in a run directory, at which replicas borrow listening sockets.
const doorName = "sockets.sock"

// replicaPorts is how far above its own port a supervisor begins with the admin APIs of its replicas.
const replicaPorts = 100

type superviseFlags struct {
	id      string
	feed    string
	state   string
	admin   string
	group   string
	health  string
	address netip.Addr
	timers  timerFlags
	place   localityFlag
	labels  labelFlags
	logs    logFlags
}

func newSuperviseCommand() *cobra.Command {
	var f superviseFlags
	cmd := &cobra.Command{
		Use:   "supervise --feed PLACE",
		Short: "Run gateways in replicas that share their listening sockets",
		Long: `supervise owns the listening sockets of gateways, and runs each gateway's replicas as processes that share them:
as many as its IstioGateway says, or one. Replicas come and go (crossfade scale, rollout restart, upgrade; or one dies)
while connections wait in the sockets' queues, which belong to nobody of them. Its admin API shows the sum of its
replicas; theirs are on the same address, from 101 ports above. They follow control as it does: where that is over TLS,
its certificate is for the roles supervisor and gateway.

SIGHUP replaces every replica by one of the program that is at our own path by then. Told to stop, it has all replicas
leave as "crossfade gateway" would; its exit code is 3 when one had to cut something. Under systemd it takes sockets
that it is handed, and says when it is ready.`,
		Example: "  crossfade supervise --feed unix:/run/crossfade/feed.sock --grace 160s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("health") {
				f.health = (&gatewayFlags{address: f.address}).healthAddress()
			}
			return runSupervise(cmd.Context(), f, cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.id, "id", "supervisor", "name of this supervisor, unique among those that follow one control")
	flags.StringVar(&f.feed, "feed", "", "where control's feed is: "+feed.OpenHelp)
	flags.StringVar(&f.state, "state", defaultState(), "directory for the last good snapshots")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:15000", "address of the admin API; those of the replicas are 101 ports above and on")
	flags.StringVar(&f.group, "group", "", "run this gateway only: NAMESPACE/NAME (default: all there are)")
	flags.StringVar(&f.health, "health", "", "address for the checks of load balancers, GET /healthz/ready (default port 15021 at --address, or at 127.0.0.1; none with \"\")")
	flags.TextVar(&f.address, "address", netip.Addr{}, "IP address on which to serve every port, instead of where control says")
	f.timers.add(flags)
	f.place.add(flags)
	f.labels.add(flags)
	f.logs.add(flags)
	require(cmd, "feed")
	return cmd
}

func runSupervise(ctx context.Context, f superviseFlags, stderr io.Writer) error {
	if err := f.timers.check(); err != nil {
		return err
	}
	log := f.logs.logger(stderr)
	link, err := openFeed(f.feed, log)
	if err != nil {
		return err
	}
	return errors.Join(superviseBy(ctx, link, f, stderr, log), link.Close())
}

// superviseBy runs a supervisor that follows control by link.
func superviseBy(ctx context.Context, link feed.Control, f superviseFlags, stderr io.Writer, log *slog.Logger) error {
	inherited, err := sockets.Inherited()
	if err != nil {
		log.WarnContext(ctx, "a socket that was handed over is of no use", "err", err)
	}
	run, err := makeRunDir(os.TempDir())
	if err != nil {
		return err
	}
	defer os.RemoveAll(run) //nolint:errcheck // a directory left in the temporary directory harms nobody.
	s, err := f.supervisor(ctx, run, inherited, stderr, log)
	if err != nil {
		return err
	}
	s.Control, s.Hurry = link, hurries(ctx)
	defer notifies(ctx, s, log)()
	err = s.Run(ctx)
	if _, cut := errors.AsType[*supervisor.CutError](err); cut {
		return exitError{exitCut, err}
	}
	return err
}

// supervisor returns a supervisor as the flags want it, all but what it follows. Its replicas borrow at a socket in run.
func (f *superviseFlags) supervisor(ctx context.Context, run string, inherited map[string]*os.File, output io.Writer, log *slog.Logger) (*supervisor.Supervisor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	at, err := replicasAt(f.admin)
	if err != nil {
		return nil, err
	}
	listener, err := admin.Listen(ctx, f.admin)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(run, doorName)
	door, err := sockets.Door(ctx, path)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	env := environment()
	return &supervisor.Supervisor{
		ID: f.id, State: f.state, Group: f.group, Address: f.address, Health: f.health, Locality: f.place.Locality,
		Timers: f.timers.Timers, Version: version, Admin: listener, Replicas: at, Door: door, Log: log,
		Sockets: sockets.NewOwner(sockets.OwnerOptions{Inherited: inherited, Log: log}),
		Start: func(o supervisor.Order) (supervisor.Child, error) {
			spec := f.replica(o, path)
			if spec.Env, spec.Stdout, spec.Stderr = env, output, output; spec.Path == "" {
				spec.Path = self
			}
			return process.Start(spec)
		},
	}, nil
}

// replica is the command line of one replica, which borrows at door. The kernel tells it to leave when we are killed.
func (f *superviseFlags) replica(o supervisor.Order, door string) process.Spec {
	labels := labelFlags{}
	maps.Copy(labels, f.labels)
	maps.Copy(labels, o.Labels)
	args := []string{
		"gateway", "--id", o.ID, "--feed", f.feed, "--state", f.state, "--admin", o.Admin, "--sockets", "unix:" + door,
		"--group", o.Group, "--health=" + f.health, "--locality=" + f.place.String(), "--log-level", f.logs.level.String(),
	}
	if f.address.IsValid() {
		args = append(args, "--address", f.address.String())
	}
	for _, label := range labels.list() {
		args = append(args, "--label", label)
	}
	return process.Spec{Name: o.ID, Path: o.Binary, Args: append(args, f.timers.args()...), Orphan: syscall.SIGTERM}
}

// replicasAt is below where the admin APIs of replicas are, whose supervisor's is at address.
func replicasAt(address string) (netip.AddrPort, error) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--admin %s: %w", address, err)
	}
	own := at.AddrPort()
	if own.Port() > math.MaxUint16-replicaPorts-supervisor.Slots {
		return netip.AddrPort{}, fmt.Errorf("--admin %s: the replicas' are on the ports from %d on: there are too few", address, int(own.Port())+replicaPorts+1)
	}
	return netip.AddrPortFrom(own.Addr().Unmap(), own.Port()+replicaPorts), nil
}

// environment is ours without what is between us and systemd.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}, name)
	})
}

// notifies keeps systemd informed, if we were started by it, and has the supervisor replace its replicas at SIGHUP.
// It returns what ends that.
func notifies(ctx context.Context, s *supervisor.Supervisor, log *slog.Logger) (stop func()) {
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.WarnContext(ctx, "systemd is not told", "state", state, "err", err)
		}
	}
	ready := false
	s.Settled = func(err error) {
		status := daemon.SdNotifyReady + "\nSTATUS=all replicas serve"
		if err != nil {
			status = "STATUS=" + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if err != nil && ready { // those that are there serve on
			status = daemon.SdNotifyReady + "\n" + status
		}
		ready = ready || err == nil
		tell(status)
	}
	stopping := context.AfterFunc(ctx, func() { tell(daemon.SdNotifyStopping) })
	hup, roll, done := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	s.Roll = roll
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-hup:
			}
			if ctx.Err() != nil {
				continue // what is new is for who comes after us
			}
			tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
			select {
			case roll <- struct{}{}:
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hup)
		close(done)
		stopping()
	}
}
