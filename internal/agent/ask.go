package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/health"
	"crossfade.dev/internal/process"
)

// An asker asks an application whether it can serve, by no proxy, and runs commands beside it.
type asker struct {
	bind   netip.Addr // where it listens
	first  uint32     // of its ports; 0 is none
	inner  map[uint32]uint32
	beside process.Spec
	client *http.Client
}

func newAsker(a *Agent) *asker {
	beside := a.App
	beside.Inherit = true
	return &asker{
		bind: a.bind(), first: a.First, inner: a.Inner, beside: beside,
		client: &http.Client{
			Transport: &http.Transport{
				DisableKeepAlives: true,                                  // and no proxy
				TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a probe asks whether it serves, not who it is; as Kubernetes'.
			},
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse // a redirection is an answer, and a good one
			},
		},
	}
}

// probe makes one readiness probe.
func (a *asker) probe(p *fleet.Probe) func(context.Context) error {
	switch {
	case p == nil && a.first == 0:
		return nil
	case p == nil:
		return func(ctx context.Context) error { return dial(ctx, a.at(0)) }
	case len(p.Exec) > 0:
		return func(ctx context.Context) error { return a.execute(ctx, p.Exec) }
	case p.GRPC:
		return func(ctx context.Context) error { return health.AskGRPC(ctx, a.at(p.Port), p.Service) }
	case p.Path != "":
		return func(ctx context.Context) error { return a.get(ctx, a.url(p.HTTPS, p.Port, p.Path)) }
	}
	return func(ctx context.Context) error { return dial(ctx, a.at(p.Port)) }
}

// at returns where the application has a port that others send to, the first one for 0.
func (a *asker) at(port uint32) netip.AddrPort {
	if port == 0 {
		port = a.first
	}
	if inner, other := a.inner[port]; other {
		port = inner
	}
	return netip.AddrPortFrom(a.bind, uint16(port))
}

func (a *asker) url(secure bool, port uint32, path string) string {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/%s", scheme, a.at(port), strings.TrimPrefix(path, "/"))
}

func (a *asker) get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "crossfade-probe")
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // what was read is enough
	const most = 10 << 10       // as much of an answer as Kubernetes reads
	_, _ = io.CopyN(io.Discard, response.Body, most)
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

func dial(ctx context.Context, address netip.AddrPort) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// execute runs a command where the application runs, to its end or that of ctx.
func (a *asker) execute(ctx context.Context, command []string) error {
	spec, err := a.spec(command)
	if err != nil {
		return err
	}
	p, err := process.Start(spec)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Stop(0) // it is killed, as it is told to
		return context.Cause(ctx)
	}
	if exit := p.Exit(); !exit.OK() {
		return fmt.Errorf("%s: %v", command[0], exit)
	}
	return nil
}

// spec returns how a command is run where the application is.
func (a *asker) spec(command []string) (process.Spec, error) {
	spec := a.beside
	path, err := process.Find(command[0], spec.Dir)
	if err != nil {
		return spec, err
	}
	spec.Name, spec.Path, spec.Args = command[0], path, command[1:]
	return spec, nil
}

// preStop does what is to be done before SIGTERM.
func (a *asker) preStop(ctx context.Context, hook *fleet.PreStop) error {
	switch {
	case len(hook.Exec) > 0:
		return a.execute(ctx, hook.Exec)
	case hook.Path != "":
		return a.get(ctx, a.url(false, hook.Port, hook.Path))
	case process.Pause(ctx, hook.Sleep):
		return nil
	}
	return context.Cause(ctx)
}

// preStopExtra is what an application has between SIGTERM and SIGKILL at least, even when its preStop has
// used up the grace period, as in Kubernetes.
const preStopExtra = 2 * time.Second

var (
	errGraceOver  = errors.New("the grace period is over")
	errEndedEarly = errors.New("the application ended first")
)

// A stopped is how stopping an application went.
type stopped struct {
	hook    error // of its preStop
	hooked  bool  // it has one
	killed  bool
	patient time.Duration
}

// stop ends an application: preStop, SIGTERM, and SIGKILL when the grace period is over.
func (a *asker) stop(ctx context.Context, app process.Process, hook *fleet.PreStop, grace time.Duration) (s stopped) {
	s.patient = grace
	deadline := time.Now().Add(grace)
	if hook != nil {
		s.hooked = true
		s.hook = a.hooked(ctx, app, hook, deadline)
		deadline = later(deadline, time.Now().Add(preStopExtra))
	}
	s.killed = errors.Is(app.Stop(time.Until(deadline)), process.ErrKilled)
	return s
}

// hooked runs a preStop until the deadline, or the application's end.
func (a *asker) hooked(ctx context.Context, app process.Process, hook *fleet.PreStop, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errGraceOver)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.preStop(ctx, hook) }()
	select {
	case err := <-ended:
		return err
	case <-app.Done():
		cancel()
		if err := <-ended; err != nil {
			return errEndedEarly
		}
		return nil
	}
}
