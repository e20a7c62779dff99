package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/config"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/health"
	"crossfade.dev/internal/registry/dns"
	"crossfade.dev/internal/store/file"
)

// controlFlags are what control is told on its command line.
type controlFlags struct {
	dir        string
	socket     string
	state      string
	admin      string
	address    string
	mesh       string
	privileged bool
	strict     bool
	told       bool // whoever started this tells people what the events about the configuration say
	place      localityFlag
	labels     labelFlags
	alone      bool // there is one gateway, and place is where it is
	registries []string
	remote     remoteFeedFlags
	console    consoleFlags
	prometheus string
	logs       logFlags
}

func newControlCommand() *cobra.Command {
	var f controlFlags
	cmd := &cobra.Command{
		Use:   "control -f DIR --socket PATH",
		Short: "Run the one writer: configuration and reports in, numbered snapshots out",
		Long: `control watches a directory of configuration, folds it with what gateways and local runtimes
report into numbered snapshots, and serves them over the feed, a Unix socket that only this user can open.
It keeps the last snapshot on disk and goes on from it after a restart. Broken configuration never replaces
good configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.alone, f.console.asked = cmd.Flags().Changed("locality"), cmd.Flags().Changed("console")
			return runControl(cmd.Context(), f, f.logs.logger(cmd.ErrOrStderr()))
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.dir, "file", "f", "", "directory (or file) of configuration")
	flags.StringVar(&f.socket, "socket", "", "path of the feed's Unix socket")
	flags.StringVar(&f.state, "state", defaultState(), "directory for the last good snapshot")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:15014", "address of the admin API")
	flags.StringVar(&f.address, "gateway-address", "0.0.0.0", "address on which gateways serve their ports")
	flags.StringVar(&f.mesh, "mesh", "127.0.0.1:15001", "address on which gateways serve calls between services")
	flags.BoolVar(&f.privileged, "privileged-ports", false, "serve gateway ports below 1024 as they are, not at +8000")
	flags.BoolVar(&f.strict, "strict", true, "refuse configuration whose policies are not enforced yet; false warns of them")
	flags.StringArrayVar(&f.registries, "registry", nil, "where instances register, given again for each: "+registryHelp+"; the first etcd also keeps what control must not forget")
	f.remote.add(cmd)
	f.console.add(cmd)
	flags.StringVar(&f.prometheus, "prometheus", "", prometheusHelp)
	f.place.add(flags)
	flags.Lookup("locality").Usage = "where the gateway stands if there is only one, so that control warns of what that makes useless: REGION[/ZONE[/SUBZONE]]"
	f.labels.add(flags)
	f.logs.add(flags)
	flags.BoolVar(&f.told, "told", false, "whoever starts this tells people of mistakes in the configuration: do not log them")
	flags.Lookup("told").Hidden = true
	require(cmd, "file", "socket")
	return cmd
}

func (f controlFlags) options() config.Options {
	o := config.Options{
		Labels: f.labels.all(), Locality: f.place.Locality, Alone: f.alone,
		Address: f.address, MeshAddress: f.mesh, PortOffset: portOffset, Lenient: !f.strict,
		// In an etcd behind a socket only those register whom up runs itself.
		Registry: f.remote.listen != "" || slices.ContainsFunc(f.registries, func(url string) bool {
			return url != overFeed && !strings.HasPrefix(url, socketScheme)
		}),
	}
	if f.privileged {
		o.PortOffset = 0
	}
	return o
}

func runControl(ctx context.Context, f controlFlags, log *slog.Logger) error {
	path := filepath.Join(f.state, "control.json")
	last, _, err := file.Load(path, time.Now())
	if err != nil && !errors.Is(err, file.ErrNone) {
		log.WarnContext(ctx, "the last snapshot cannot be used; ages start anew", "err", err)
	}
	c := control.New(last, log)
	registered, err := openRegistries(f.registries)
	if err != nil {
		return err
	}
	defer registered.close()
	c.Await(registered.names()...)
	checker := &health.Checker{OnVerdict: func(v health.Verdict) {
		if err := c.Verdict(ctx, v.Key, v.Healthy, v.Reason); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "verdict", "err", err)
		}
	}}
	watcher := config.Watcher{Dir: f.dir, Options: f.options(), Log: log}
	reader := reader{control: c, log: log, told: f.told}
	names := dns.Watcher{Known: known(last.Snapshot)}
	listener, err := admin.Listen(ctx, f.admin)
	if err != nil {
		return err
	}
	looker, err := newOnlooker(ctx, &f, c, registered, log)
	if err != nil {
		return err
	}
	server := feed.Server{Control: looker, Path: f.socket, Log: log}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.Run(ctx) })
	group.Go(func() error { return checker.Run(ctx) })
	group.Go(func() error { return server.Run(ctx) })
	if f.remote.listen != "" {
		group.Go(func() error { return f.remote.server(looker, log).Run(ctx) })
	}
	group.Go(func() error {
		return names.Run(ctx, func(results []dns.Result) { resolve(ctx, c, results, log) })
	})
	group.Go(func() error { return newAdmin(looker, listener, log).Run(ctx) })
	group.Go(func() error { return looker.run(ctx) })
	group.Go(func() error {
		return watcher.Run(ctx, func(d *fleet.Desired, findings []config.Finding) {
			reader.read(ctx, d, findings)
		})
	})
	group.Go(func() error {
		return ended(ctx, c.Watch(ctx, func(v fleet.View) {
			checker.Set(targets(c.Checks(v)))
			names.Set(queries(v))
		}))
	})
	group.Go(func() error { return ended(ctx, keepLatest(ctx, c, path, log)) })
	group.Go(func() error { return registered.follow(ctx, c, log) })
	return group.Wait()
}

// newAdmin is control's admin API.
func newAdmin(c *onlooker, listener net.Listener, log *slog.Logger) *admin.Server {
	commands := c.shown(c.Handler())
	return &admin.Server{Listener: listener, Log: log, Handler: admin.Handler(admin.Config{
		Program: "control", ID: "control", Version: version, Started: time.Now(), Log: log,
		World: func() admin.World {
			return admin.World{View: c.View(), Ready: true, AgentEvents: c.AgentEvents(), Registries: c.Registries()}
		},
		Mounts: []admin.Mount{
			{Pattern: "POST /api/v1/scale", Help: "set the replicas of a deployment or a gateway", Handler: commands},
			{Pattern: "POST /api/v1/restart", Help: "replace a deployment's instances, or a gateway's replicas", Handler: commands},
			{Pattern: "POST /api/v1/upgrade", Help: "replace a gateway's replicas by ones that run a new program", Handler: commands},
			{Pattern: "POST /api/v1/warmup", Help: "skip, pause, resume or restart an endpoint's warm-up", Handler: commands},
			{Pattern: "POST /api/v1/weight", Help: "multiply an endpoint's weight", Handler: commands},
			{Pattern: "GET /api/v1/workloads", Help: "how far every deployment is, as JSON", Handler: c.Handler()},
			{Pattern: "GET /api/v1/gateways", Help: "how far every gateway is, as JSON", Handler: c.Handler()},
			{Pattern: "GET /api/v1/lifecycles", Help: "how instances come up and leave, as JSON", Handler: c.Handler()},
			{Pattern: "GET /api/v1/drains", Help: "what the latest leaves of gateways came to, as JSON", Handler: c.Handler()},
		},
	})}
}

// rooted makes the paths of TLS files absolute: gateways may run in another directory.
func rooted(d *fleet.Desired) {
	for i := range d.Listeners {
		for j := range d.Listeners[i].TLS {
			t := &d.Listeners[i].TLS[j]
			for _, file := range []*string{&t.Certificate, &t.Key, &t.ClientCA} {
				if path, err := filepath.Abs(*file); err == nil && *file != "" {
					*file = path
				}
			}
		}
	}
}

// targets are endpoints to look at.
func targets(endpoints []*fleet.Endpoint) []health.Target {
	list := make([]health.Target, len(endpoints))
	for i, e := range endpoints {
		list[i] = health.NewTarget(e)
	}
	return list
}

// queries lists the names to look up.
func queries(v fleet.View) []dns.Query {
	var list []dns.Query
	for i := range v.Services {
		for _, r := range v.Services[i].Resolve {
			list = append(list, dns.Query{Name: r.Host, First: r.One})
		}
	}
	return list
}

// known is what the last snapshot knew of names, held until something better is known.
func known(s *fleet.Snapshot) []dns.Result {
	var list []dns.Result
	for _, r := range control.Known(s) {
		list = append(list, dns.Result{Query: dns.Query{Name: r.Host, First: r.One}, Addresses: r.Addresses})
	}
	return list
}

// resolve hands control the addresses of names.
func resolve(ctx context.Context, c *control.Control, results []dns.Result, log *slog.Logger) {
	list := make([]control.Resolved, len(results))
	for i, r := range results {
		list[i] = control.Resolved{Host: r.Name, One: r.First, Addresses: r.Addresses}
		if r.Err != nil {
			list[i].Reason = r.Err.Error()
		}
	}
	if err := c.Resolve(ctx, list); err != nil && ctx.Err() == nil {
		log.ErrorContext(ctx, "names", "err", err)
	}
}

// ended is nil when an error is only that ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
