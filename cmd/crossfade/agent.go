package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/agent"
	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/warmer"
)

// Where an agent answers, unless somebody says otherwise: as MSE's does.
const (
	defaultReadiness = ":55199"
	defaultOffline   = "127.0.0.1:54199"
)

// overFeed is the registry of who registers with control itself.
const overFeed = "control"

func newAgentCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "agent [flags] -- COMMAND [ARGS]",
		Short: "Run an application, in any language, so that it comes up warm and leaves clean",
		Long: `agent runs an application and stands beside it for as long as that runs. It registers the instance only when it
can serve (--probe), has been sent its warm-up requests and has waited (--delay); until then readiness is answered with
500. Told to stop, or by /offline, it first takes the instance out of the registry, waits until nobody sends to it any
more, and only then stops the application: --pre-stop, SIGTERM, and SIGKILL after --grace. A second signal waits for
nothing. With --inbound it stands in front of the application, too: it counts what is open, says with every answer that
the instance leaves, and lets no more through than a cold instance can take.
With --hold the application goes on registering itself, in its own registry, through the agent: what it registers is held
back and taken out again in the same way. docs/guides/registration-proxies.md says how.
With --feed it goes by the Lifecycle that control has for it, and hears when no gateway sends to it any more.
Signals, input, output and environment are the application's, and its exit code is the agent's. When the agent is killed,
so is the application. docs/guides/agent.md says what happens in which order.`,
		Example: `  crossfade agent --service reviews --port 9080 --registry file:///tmp/registry -- java -jar reviews.jar
  crossfade agent --service reviews --port 9080 --probe http:///health --delay 10s --registry etcd://127.0.0.1:2379 -- ./reviews
  crossfade agent --service reviews --port 9080 --hold 'zookeeper://zk1:2181?listen=127.0.0.1:2181' -- java -Dzk=127.0.0.1:2181 -jar reviews.jar
  crossfade agent --config reviews.yaml --inbound 9080 --feed unix:/run/crossfade/feed.sock -- ./reviews`,
		RunE: func(cmd *cobra.Command, args []string) error {
			said, findings, err := f.agent(cmd.Flags())
			for _, finding := range findings {
				fmt.Fprintln(cmd.ErrOrStderr(), finding)
			}
			if err != nil {
				return err
			}
			if len(args) > 0 {
				said.Command = args
			}
			return runAgent(cmd.Context(), &f, &said, cmd)
		},
	}
	f.add(cmd.Flags())
	completeFlag(cmd, "curve", cobra.FixedCompletions([]string{"quadratic", "linear", "power"}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "registration-weight", cobra.FixedCompletions([]string{fullWeight, rampedWeight}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(cmd, "readiness", cobra.FixedCompletions([]string{string(fleet.ReadyRegistered), string(fleet.ReadyWarm)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func runAgent(ctx context.Context, f *agentFlags, said *config.Agent, cmd *cobra.Command) error {
	if len(said.Command) == 0 {
		return exitError{2, errors.New("what is to run? crossfade agent [flags] -- COMMAND [ARGS]")}
	}
	a, err := newAgent(f, said)
	if err != nil {
		return exitError{2, err}
	}
	a.Adjust, err = f.life.adjust(cmd.Flags())
	if err != nil {
		return exitError{2, err}
	}
	log := f.logs.logger(cmd.ErrOrStderr()).With("instance", a.Instance.Name, "incarnation", a.Instance.Incarnation)
	a.Log, a.Hurry = log, hurries(ctx)
	a.Bar = func() agent.Bar { return newBar(cmd.ErrOrStderr()) }
	signals, stop := passedSignals()
	defer stop()
	a.Signals = signals
	closeAll, err := connect(a, said)
	if err != nil {
		return err
	}
	closeHolds, err := openHolds(ctx, a, said.Hold)
	if err != nil {
		return errors.Join(err, closeAll())
	}
	exit, err := a.Run(ctx)
	if err := errors.Join(closeHolds(), closeAll()); err != nil {
		log.WarnContext(ctx, "the agent's links are not closed", "error", err)
	}
	if err != nil {
		return exitError{1, taken(err)}
	}
	if exit.Code != 0 {
		return exitError{code: exit.Code}
	}
	return nil
}

// newBar shows how warm-up requests go on.
func newBar(w io.Writer) *warmer.Bar {
	file, is := w.(*os.File)
	return warmer.NewBar(w, is && warmer.Terminal(file))
}

// passedSignals are those that an application may mean something by. The others are ours, or nobody's.
func passedSignals() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT, syscall.SIGWINCH, syscall.SIGCONT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup's is nobody's
		signal.Notify(c, syscall.SIGHUP)
	}
	broken := make(chan os.Signal, 1) // who reads our log may be gone before us; to ignore it would pass to the application
	signal.Notify(broken, syscall.SIGPIPE)
	return c, func() { signal.Stop(c); signal.Stop(broken) }
}

// newAgent puts an agent together, but for whom it talks to.
func newAgent(f *agentFlags, said *config.Agent) (*agent.Agent, error) {
	path, err := process.Find(said.Command[0], "")
	if err != nil {
		return nil, err
	}
	in, err := instanceOf(said)
	if err != nil {
		return nil, err
	}
	a := &agent.Agent{
		Instance: in, Services: []string{said.Service}, Bind: f.bind, Probe: said.Probe, Patience: said.StartTimeout,
		App:     process.Spec{Name: said.Command[0], Path: path, Args: said.Command[1:], Env: ownEnvironment()},
		PreStop: said.PreStop, Grace: said.Grace, Lifecycle: said.Lifecycle, Readiness: said.Readiness, Offline: said.Offline,
	}
	if len(said.Ports) > 0 {
		a.First = said.Ports[0].Number
	}
	if said.OfflineToken != "" {
		if a.Token, err = readToken(said.OfflineToken); err != nil {
			return nil, err
		}
	}
	seen := func(port uint32) (uint32, bool) { return port, true }
	if len(said.Inbound) > 0 {
		doors, err := doorsOf(said.Inbound, in.Address)
		if err != nil {
			return nil, err
		}
		seen = doors.standBefore(a)
		if err := addFront(a, said, doors); err != nil {
			return nil, err
		}
	}
	if a.Front == nil || said.Probe == nil || !said.Probe.HTTPS { // what stands in front speaks no TLS
		a.Instance.Check = agent.CheckOf(said.Probe, seen)
	}
	return a, nil
}

// ownEnvironment is ours, but for what is no business of the application's.
func ownEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CROSSFADE_REGISTRY_PASSWORD=") })
}

func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the token for /offline: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("%s: the token for /offline is empty", path)
	}
	return token, nil
}

// instanceOf is the instance that an agent is beside.
func instanceOf(said *config.Agent) (in fleet.Instance, err error) {
	const short = 5 // of an incarnation, in a name
	if said.Service == "" && said.Name == "" {
		return in, errors.New("--service NAME: whose instance is it?")
	}
	in = fleet.Instance{
		Name: said.Name, Namespace: cmp.Or(said.Namespace, "default"), Incarnation: said.Incarnation,
		Labels: maps.Clone(said.Labels), Weight: cmp.Or(said.Weight, 1), Locality: said.Locality,
		Workload: said.Workload, Revision: said.Revision, Ports: map[string]uint32{}, Address: said.Address,
	}
	if in.Incarnation == "" {
		in.Incarnation = strings.ToLower(rand.Text()[:13])
	}
	if in.Name == "" {
		in.Name = said.Service + "-" + in.Incarnation[:min(short, len(in.Incarnation))]
	}
	if in.Labels == nil {
		in.Labels = map[string]string{}
	}
	if _, has := in.Labels["app"]; !has && said.Service != "" {
		in.Labels["app"] = said.Service
	}
	for _, p := range said.Ports {
		if p.Name != "" {
			in.Ports[p.Name] = p.Number
		}
	}
	if len(said.Ports) > 0 && len(in.Ports) == 0 {
		in.Ports["http"] = said.Ports[0].Number // registries of others want to know one
	}
	if in.Locality == (fleet.Locality{}) {
		if in.Locality, err = fleet.LocalityOf(in.Labels); err != nil {
			return in, err
		}
	}
	if !in.Address.IsValid() {
		in.Address, err = ownAddress(said.Registry)
	}
	return in, err
}

// ownAddress is where others reach this machine: what Kubernetes says, or by which it reaches its registry.
func ownAddress(registry string) (netip.Addr, error) {
	if pod, err := netip.ParseAddr(os.Getenv("POD_IP")); err == nil {
		return pod, nil
	}
	server := serverOf(registry)
	if server == "" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	conn, err := net.Dial("udp", server) //nolint:noctx // nothing is sent: it asks which address would be used
	if err != nil {
		return netip.Addr{}, fmt.Errorf("--address: how others reach this machine cannot be told (%w); say it", err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return local.Addr().Unmap(), err
}

// serverOf is the first server of the registry that a URL names, as HOST:PORT; "" where that is none on a network.
func serverOf(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	server, _, _ := strings.Cut(rest[strings.LastIndexByte(rest, '@')+1:], ",")
	if server == "" || scheme == "file" {
		return ""
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		const discard = "9" // nothing is sent to it
		server = net.JoinHostPort(strings.Trim(server, "[]"), discard)
	}
	return server
}

// connect has the agent talk to its registry and to control. What it returns ends that.
func connect(a *agent.Agent, said *config.Agent) (closeAll func() error, err error) {
	if said.Registry == "" && said.Feed != "" {
		said.Registry = overFeed
	}
	if said.Registry == overFeed && said.Feed == "" {
		return nil, exitError{2, errors.New("--registry control: which? Say --feed unix:PATH, too")}
	}
	closeAll = func() error { return nil }
	if said.Feed != "" {
		link, err := openFeed(said.Feed, a.Log)
		if err != nil {
			return nil, err
		}
		a.Control, closeAll = link, link.Close
	}
	if said.Registry == "" || said.Registry == overFeed {
		return closeAll, nil
	}
	closeLink := closeAll
	opened, err := openRegistry(said.Registry)
	if err != nil {
		return nil, errors.Join(exitError{2, err}, closeLink())
	}
	a.Registrar, a.Foreign = opened.registrar, opened.foreign
	if opened.people != nil {
		a.Lifecycles = func(ctx context.Context) ([]fleet.Lifecycle, error) { return lifecyclesOf(ctx, opened.people, a.Log) }
	}
	return func() error { return errors.Join(closeLink(), opened.close()) }, nil
}
