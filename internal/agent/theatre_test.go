package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
	"crossfade.dev/internal/registry"
)

// patient bounds waits for what must happen; nothing is measured against it.
const patient = 30 * time.Second

// The test binary, started with an actor's name in this variable, plays that actor.
const actorVariable = "CROSSFADE_ACTOR"

func TestMain(m *testing.M) {
	if actor := os.Getenv(actorVariable); actor != "" {
		os.Exit(play(actor))
	}
	os.Exit(m.Run())
}

func play(actor string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP)
	switch actor {
	case "server": // serves at $AT while the file $UP exists, ends with SIGTERM
		server := http.Server{Addr: os.Getenv("AT"), ReadHeaderTimeout: patient, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if _, err := os.Stat(os.Getenv("UP")); err != nil {
				http.Error(w, "not up", http.StatusServiceUnavailable)
			}
		})}
		go func() {
			<-signals
			_ = server.Close()
		}()
		if err := server.ListenAndServe(); err != http.ErrServerClosed { //nolint:errorlint // it is returned as it is
			return 1
		}
		return 0
	case "deaf": // hears no SIGTERM, and writes $DEAF when it does not any more
		signal.Ignore(syscall.SIGTERM)
		if os.WriteFile(os.Getenv("DEAF"), nil, 0o600) != nil {
			return 1
		}
		for range signals {
		}
	case "hung up": // ends with SIGHUP
		for s := range signals {
			if s == syscall.SIGHUP {
				return 5
			}
		}
	case "short": // ends by itself
		return 7
	}
	return 99
}

// A memory is a registry in memory, that may be away.
type memory struct {
	mu   sync.Mutex
	away bool
	all  map[string]fleet.Instance
	puts []fleet.Instance // everything that was put
	bell chan struct{}    // rung after every change; size one
}

func newMemory() *memory {
	return &memory{all: map[string]fleet.Instance{}, bell: make(chan struct{}, 1)}
}

func (m *memory) change(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away {
		return fmt.Errorf("memory: %w", registry.ErrAway)
	}
	f()
	select {
	case m.bell <- struct{}{}:
	default:
	}
	return nil
}

func (m *memory) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

func (m *memory) Put(_ context.Context, in fleet.Instance) error {
	return m.change(func() { m.all[in.Incarnation] = in; m.puts = append(m.puts, in) })
}

func (m *memory) Remove(_ context.Context, incarnation string) error {
	return m.change(func() { delete(m.all, incarnation) })
}

func (m *memory) Run(ctx context.Context, _ func(error)) error {
	<-ctx.Done()
	return nil
}

// await waits until what is listed is as it is wanted.
func (m *memory) await(t *testing.T, what string, ok func(map[string]fleet.Instance) bool) {
	t.Helper()
	after := time.After(patient)
	for {
		m.mu.Lock()
		is := ok(m.all)
		m.mu.Unlock()
		if is {
			return
		}
		select {
		case <-m.bell:
		case <-after:
			t.Fatalf("the registry never had %s", what)
		}
	}
}

func (m *memory) listed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all)
}

// A diary is a log that only remembers what happened to the instance.
type diary struct {
	slog.Handler

	mu    sync.Mutex
	kinds []string
	why   []string
	said  map[string]int // what was said that is no event, and how often
	bell  chan struct{}
}

func newDiary() *diary {
	return &diary{Handler: slog.DiscardHandler, said: map[string]int{}, bell: make(chan struct{}, 1)}
}

func (d *diary) Enabled(context.Context, slog.Level) bool { return true }

func (d *diary) Handle(_ context.Context, r slog.Record) error { //nolint:gocritic // slog's interface.
	kind, why := "", ""
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "event":
			kind = a.Value.String()
		case "reason":
			why = a.Value.String()
		}
		return true
	})
	d.mu.Lock()
	if kind == "" {
		d.said[r.Message]++
		d.mu.Unlock()
		return nil
	}
	d.kinds, d.why = append(d.kinds, kind), append(d.why, why)
	d.mu.Unlock()
	select {
	case d.bell <- struct{}{}:
	default:
	}
	return nil
}

// count returns how often something was said.
func (d *diary) count(message string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said[message]
}

// told returns the kinds of what has happened, in order.
func (d *diary) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.kinds)
}

// reason returns why something happened last.
func (d *diary) reason(kind string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, k := range slices.Backward(d.kinds) {
		if k == kind {
			return d.why[i]
		}
	}
	return ""
}

// await waits until something has happened.
func (d *diary) await(t *testing.T, kind string) {
	t.Helper()
	after := time.After(patient)
	for !slices.Contains(d.told(), kind) {
		select {
		case <-d.bell:
		case <-after:
			t.Fatalf("%s never happened: %v", kind, d.told())
		}
	}
}

// A run is an agent at work beside an actor.
type run struct {
	*Agent
	memory *memory
	diary  *diary
	up     string // the file while which a server serves
	stop   context.CancelCauseFunc
	done   chan struct{}
	exit   process.Exit
	err    error
}

// beside returns an agent beside an actor; set changes it before it begins.
func beside(t *testing.T, actor string, set func(*run)) *run {
	t.Helper()
	port := freePort(t)
	r := &run{memory: newMemory(), diary: newDiary(), up: t.TempDir() + "/up", done: make(chan struct{})}
	if err := os.WriteFile(r.up, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Agent = &Agent{
		Instance: fleet.Instance{
			Name: "web-1", Namespace: "default", Incarnation: "web-1-0", Address: netip.MustParseAddr("127.0.0.1"), Weight: 1, Labels: map[string]string{"app": "web"},
		},
		First: uint32(port), Services: []string{"web"}, Registrar: r.memory, Log: slog.New(r.diary),
		App: process.Spec{Name: actor, Path: os.Args[0], Env: append(os.Environ(),
			actorVariable+"="+actor, fmt.Sprintf("AT=127.0.0.1:%d", port), "UP="+r.up)},
		Adjust: func(l *fleet.Lifecycle) { l.Leave.Callers = time.Millisecond },
	}
	if actor != "server" {
		r.First = 0
	}
	if set != nil {
		set(r)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	r.stop = stop
	go func() {
		defer close(r.done)
		r.exit, r.err = r.Agent.Run(ctx)
	}()
	t.Cleanup(func() {
		stop(nil)
		<-r.done
	})
	return r
}

// wait waits for the end.
func (r *run) wait(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patient):
		t.Fatalf("the agent has not ended; %v", r.diary.told())
	}
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }
