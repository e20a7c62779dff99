package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/local"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/supervisor"
)

// programGrace is what control has to end in.
const programGrace = 40 * time.Second

// localGrace bounds draining the gateway, and then the local instances, when everything is told to stop.
const localGrace = 10 * time.Second

// localTimers are how a gateway leaves that no load balancer stands before. Who supervises it waits as long as it takes.
func localTimers() timerFlags {
	const spread, patience = 2 * time.Second, 24 * time.Hour
	return timerFlags{
		Timers: drain.Timers{Quiet: drain.Defaults().Quiet, Requests: localGrace, Long: localGrace, Spread: spread},
		grace:  patience,
	}
}

type upFlags struct {
	controlFlags
	gatewayAdmin string
	ownsRegistry bool // it is run here
	stateless    bool // nothing survives a restart
}

func newUpCommand() *cobra.Command {
	f := upFlags{controlFlags: controlFlags{alone: true}}
	cmd := &cobra.Command{
		Use:   "up -f DIR",
		Short: "Run everything on this machine: control, gateways, and every Deployment as local processes",
		Long: `up starts control and the replicas of gateways as processes of their own, runs each Deployment's command on
loopback addresses with an agent in front of every replica, and keeps all of them running until it is stopped. Then
everything drains before it ends. It owns the gateways' listening sockets itself, so their replicas may come and go.
A replica that leaves here does not wait for load balancers, gives open requests the time that its IstioGateway says or
10 s, and everything that lasts, such as WebSockets, 10 s. The exit code is 3 when a gateway had to cut something at the
end; the last line says how much.`,
		Example: "  crossfade up -f examples/bookinfo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.console.asked = cmd.Flags().Changed("console")
			return runUp(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.dir, "file", "f", "", "directory (or file) of configuration")
	flags.StringVar(&f.state, "state", "", "directory for what survives a restart (default: one for this configuration, below "+defaultState()+")")
	flags.StringVar(&f.admin, "control", "127.0.0.1:15014", "address of control's admin API")
	flags.StringVar(&f.gatewayAdmin, "admin", "127.0.0.1:15000", "address of the gateway's admin API; those of its replicas are 101 ports above and on")
	flags.StringVar(&f.address, "gateway-address", "127.0.0.1", "address on which gateways serve their ports")
	flags.StringVar(&f.mesh, "mesh", "127.0.0.1:15001", "address for calls between services")
	flags.BoolVar(&f.privileged, "privileged-ports", false, "serve gateway ports below 1024 as they are, not at +8000")
	flags.BoolVar(&f.strict, "strict", true, "refuse configuration whose policies are not enforced yet; false warns of them")
	flags.StringArrayVar(&f.registries, "registry", nil, "where replicas register: "+registryHelp+`, or "control" for none (default: an etcd of its own); given again, where others do`)
	f.console.add(cmd)
	flags.StringVar(&f.prometheus, "prometheus", "", prometheusHelp)
	f.place.add(flags)
	f.labels.add(flags)
	f.logs.add(flags)
	f.logs.level = slog.LevelWarn
	require(cmd, "file")
	return cmd
}

func runUp(ctx context.Context, f upFlags, stdout, stderr io.Writer) error {
	desired, findings := config.Load(f.dir, f.options())
	for _, finding := range findings {
		fmt.Fprintln(stderr, finding)
	}
	if desired == nil {
		return exitError{1, fmt.Errorf("%s: nothing was started; mend the errors above (crossfade validate %s shows them again)", f.dir, f.dir)}
	}
	if err := free(ctx, f, desired.Listeners); err != nil {
		return err
	}
	f.state = cmp.Or(f.state, stateOf(f.dir))
	lock, err := lockState(f.state)
	switch {
	case errors.Is(err, errStateTaken):
		return err
	case err != nil: // whoever keeps state says so by itself
		fmt.Fprintln(stderr, "nothing will survive a restart:", err)
		f.stateless = true
	default:
		defer lock.Close() //nolint:errcheck // nothing was written
	}
	if err := f.console.check(ctx, f.state, f.logs.logger(stderr)); err != nil {
		return err
	}
	ctx, stop := untilHangup(ctx)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	run, err := makeRunDir(os.TempDir())
	if err != nil {
		return err
	}
	defer os.RemoveAll(run) //nolint:errcheck // a directory left in the temporary directory harms nobody.
	f.socket = filepath.Join(run, socketName)
	if len(f.registries) == 0 {
		f.registries, f.ownsRegistry = []string{ownRegistry(run)}, true
	}
	link, err := feed.Dial(f.socket)
	if err != nil {
		return err
	}
	out := newOutput(stderr)
	err = errors.Join(supervise(ctx, f, self, run, link, stdout, out), link.Close())
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	out.Close(patience.Done())
	return err
}

// untilHangup returns a context that ends also when the terminal is closed, unless nobody is to mind (nohup): everything
// drains then as at a Ctrl-C.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return context.WithCancel(ctx)
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// supervise runs the programs. They end from the front to the back: the gateway drains while everything behind
// it still serves, then the instances leave, control last.
func supervise(ctx context.Context, f upFlags, self, run string, link *feed.Client, stdout, stderr io.Writer) error {
	log := f.logs.logger(stderr)
	front, err := f.front(ctx, run, link, stderr, log)
	if err != nil {
		return err
	}
	level, place := "--log-level="+f.logs.level.String(), "--locality="+f.place.String()
	agents, err := f.agents(self, run)
	if err != nil {
		return err
	}
	runtime := local.Runtime{
		Feed: link, Agents: agents, PathDirs: []string{filepath.Dir(self)}, Mesh: f.mesh, Env: os.Environ(), Output: stderr, Quit: localGrace, Log: log,
	}
	control := process.Spec{Name: "control", Path: self, Stdout: stderr, Stderr: stderr, Args: []string{
		"control", "--file", f.dir, "--socket", f.socket, "--state", f.state, "--admin", f.admin, "--mesh", f.mesh, "--gateway-address", f.address,
		fmt.Sprintf("--privileged-ports=%t", f.privileged), fmt.Sprintf("--strict=%t", f.strict), "--told", place, level,
		"--prometheus=" + f.prometheus,
	}}
	control.Args = append(control.Args, f.console.args()...)
	for _, label := range f.labels.list() {
		control.Args = append(control.Args, "--label", label)
	}
	for _, url := range f.registries {
		if url != overFeed {
			control.Args = append(control.Args, "--registry", url)
		}
	}
	var group errgroup.Group
	var cut error // what the gateways could not let end
	instances, stopInstances := context.WithCancel(context.WithoutCancel(ctx))
	writer, stopWriter := context.WithCancel(context.WithoutCancel(ctx))
	registry, stopRegistry := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopInstances()
		err := front.Run(ctx)
		if lost, ok := errors.AsType[*supervisor.CutError](err); ok {
			cut, err = lost, nil
		}
		return err
	})
	group.Go(func() error {
		defer stopWriter()
		return runtime.Run(instances)
	})
	group.Go(func() error {
		defer stopRegistry()
		return keep(writer, control, log)
	})
	if f.ownsRegistry {
		group.Go(func() error { return keep(registry, f.ownEtcd(self, run, stderr), log) })
	}
	group.Go(func() error { return announce(ctx, f, link, stdout) })
	err = group.Wait()
	if err == nil {
		err = farewell(stdout, cut)
	}
	return err
}

// agents is how the agents of replicas are run.
func (f upFlags) agents(self, run string) (local.Agents, error) {
	dir := filepath.Join(run, "agents")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return local.Agents{}, err
	}
	return local.Agents{Self: self, Dir: dir, Feed: "unix:" + f.socket, Registry: f.registries[0]}, nil
}

// front is what runs the gateways.
func (f upFlags) front(ctx context.Context, run string, link *feed.Client, output io.Writer, log *slog.Logger) (*supervisor.Supervisor, error) {
	flags := superviseFlags{
		id: "supervisor", feed: "unix:" + f.socket, state: f.state, admin: f.gatewayAdmin, health: f.health(),
		timers: localTimers(), place: f.place, labels: f.labels, logs: f.logs,
	}
	s, err := flags.supervisor(ctx, run, nil, output, log)
	if err != nil {
		return nil, err
	}
	s.Control, s.Hurry = link, hurries(ctx)
	return s, nil
}

// health is where load balancers would look.
func (f upFlags) health() string {
	at, err := netip.ParseAddr(f.address)
	if err != nil || at.IsUnspecified() { // each agent has its own
		at = netip.Addr{}
	}
	return (&gatewayFlags{address: at}).healthAddress()
}

// farewell says what became of the requests that were open when everything was told to stop, and asks for the exit code.
func farewell(w io.Writer, cut error) error {
	if cut == nil {
		_, err := fmt.Fprintln(w, "stopped: everything was drained, 0 requests were cut")
		return err
	}
	if _, err := fmt.Fprintln(w, "stopped:", cut); err != nil {
		return err
	}
	return exitError{code: exitCut}
}

// keep runs a program until ctx ends, and starts it again whenever it dies.
func keep(ctx context.Context, spec process.Spec, log *slog.Logger) error {
	keeper := process.Keeper{
		Start:   func() (process.Process, error) { return process.Start(spec) },
		Backoff: process.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second, Reset: 10 * time.Second},
		Grace:   programGrace,
		Exited: func(exit process.Exit, wait time.Duration) {
			log.ErrorContext(ctx, "a program ended and is started again", "name", spec.Name, "how", exit.String(), "in", wait)
		},
	}
	return keeper.Run(ctx)
}

// stateOf is where what belongs to one configuration survives a restart.
func stateOf(dir string) string {
	path, err := filepath.Abs(dir)
	if err != nil {
		path = dir
	}
	h := fnv.New32a()
	h.Write([]byte(path))
	return filepath.Join(defaultState(), fmt.Sprintf("%s-%08x", filepath.Base(path), h.Sum32()))
}

// free says which address is taken, before anything is started.
func free(ctx context.Context, f upFlags, listeners []fleet.Listener) error {
	addresses := map[string]string{f.admin: "--control", f.gatewayAdmin: "--admin", f.health(): "health checks"}
	for _, l := range listeners {
		addresses[l.Address] = "listener " + l.Name
	}
	var lc net.ListenConfig
	for address, what := range addresses {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s (%s) cannot be served: %w; is another crossfade up?", address, what, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}
