package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// The test binary plays an application, an agent or a whole runtime when it is started as one.
const actorVariable = "CROSSFADE_ACTOR"

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "agent":
		err = playAgent(ctx, os.Args[2:])
	case os.Getenv(actorVariable) == "app":
		err = playApp(ctx)
	case os.Getenv(actorVariable) == "runtime":
		err = playRuntime(ctx)
	default:
		stop()
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// playApp serves where it is told to, and answers with what it was told.
func playApp(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/pid", servePid)
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/told", func(w http.ResponseWriter, _ *http.Request) {
		for _, name := range []string{"HOST", "PORT", "POD_IP", "POD_NAME", "HTTP_PROXY"} {
			fmt.Fprintf(w, "%s=%s\n", name, os.Getenv(name))
		}
		fmt.Fprintln(w, os.Args[1:])
	})
	return serveUntil(ctx, net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")), mux)
}

// playAgent runs an application, passes connections on to it, and ends with it.
func playAgent(ctx context.Context, args []string) error {
	told, err := read(args[slices.Index(args, "--config")+1])
	if err != nil {
		return err
	}
	command := args[slices.Index(args, "--")+1:]
	app, err := process.Start(process.Spec{Name: "app", Path: command[0], Args: command[1:], Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		return err
	}
	for _, inbound := range told.Inbound {
		public, private, _ := strings.Cut(inbound, "=")
		l, err := net.Listen("tcp", public)
		if err != nil {
			return err
		}
		go pass(l, private)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/pid", servePid)
	go func() { _ = serveUntil(ctx, told.Admin, mux) }()
	select {
	case <-app.Done():
		os.Exit(app.Exit().Code)
	case <-ctx.Done():
	}
	return app.Stop(10 * time.Second)
}

func read(path string) (*config.Agent, error) {
	told, findings := config.LoadAgent(path)
	if told == nil {
		return &config.Agent{}, fmt.Errorf("%v", findings)
	}
	return told, nil
}

func pass(l net.Listener, to string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			app, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer app.Close()
			go func() { _, _ = io.Copy(app, conn) }()
			_, _ = io.Copy(conn, app)
		}()
	}
}

func servePid(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) }

func serveUntil(ctx context.Context, address string, handler http.Handler) error {
	server := http.Server{Addr: address, Handler: handler}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ours is the theatre's workload, played by this binary.
func ours(replicas int) fleet.Workload {
	w := web(replicas)
	w.Command = []string{os.Args[0], "$(POD_NAME)"}
	w.Env = []fleet.EnvVar{{Name: actorVariable, Value: "app"}, {Name: "GORACE", Value: "atexit_sleep_ms=0"}}
	w.Ports[0].Number = 19080
	w.Readiness.Interval = 100 * time.Millisecond
	w.Readiness.Timeout = 10 * time.Second // the machine may be busy
	return w
}

// real is this machine; what its agents would say of themselves, they have the theatre say.
func (s *theatre) real() *machine {
	m := thisMachine()
	m.start = func(spec process.Spec) (process.Process, error) {
		told, err := read(spec.Args[slices.Index(spec.Args, "--config")+1])
		if err != nil {
			return nil, err
		}
		child, err := process.Start(spec)
		if err != nil {
			return nil, err
		}
		a := &actor{theatre: s, name: spec.Name, told: told, public: told.Address.String(), hurry: make(chan struct{}), done: make(chan struct{})}
		s.mu.Lock()
		s.actors[a.public] = a
		s.mu.Unlock()
		go func() {
			a.put(func(*fleet.Instance) {})
			for waiting := true; waiting; {
				waiting = a.lasts(10*time.Millisecond) && ask(a.public+":19080/health") != ""
			}
			a.put(func(in *fleet.Instance) { in.Ready = true })
		}()
		go func() {
			<-child.Done()
			a.end(child.Exit())
		}()
		return child, nil
	}
	return m
}

// playRuntime runs two replicas, writes down every process and waits to be killed.
func playRuntime(ctx context.Context) error {
	s := newTheatre(ours(2))
	go func() {
		for _, in := range s.await(serving) {
			fmt.Fprintln(os.Stdout, ask(fmt.Sprintf("%v:%d/pid", in.Address, adminPort)), ask(in.Address.String()+":19080/pid"))
		}
		os.Stdout.Close()
	}()
	rt := Runtime{Feed: s, Agents: Agents{Self: os.Args[0], Dir: os.Getenv("AGENTS")}, machine: s.real()}
	return rt.Run(ctx)
}

// await waits until what control knows passes a test, and returns it.
func (s *theatre) await(ok func(*theatre) bool) []fleet.Instance {
	for {
		s.mu.Lock()
		passed, instances, bell, reports := ok(s), s.instances, s.bell, s.reports
		s.mu.Unlock()
		if passed {
			return instances
		}
		select {
		case <-bell:
		case <-reports:
		}
	}
}

// serving tests that two instances are offered and nobody else is there.
func serving(s *theatre) bool {
	for _, in := range s.instances {
		if !s.stages[in.Incarnation].Offered() {
			return false
		}
	}
	return len(s.instances) == 2
}

// ask returns the answer of a URL, or the error in words.
func ask(url string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The whole of it with real processes: start, crash, a killed agent, a rollout, the end.
func TestRealProcesses(t *testing.T) {
	s := newTheatre(ours(2))
	s.drain = 10 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rt := Runtime{
		Feed: s, Agents: Agents{Self: os.Args[0], Dir: t.TempDir()}, Mesh: "127.0.0.1:15001", Output: t.Output(), machine: s.real(),
	}
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()

	first := s.await(serving)[0]
	public := first.Address.String()
	private := strings.Replace(public, "127.1.", "127.2.", 1)
	wantTold := fmt.Sprintf("HOST=%s\nPORT=19080\nPOD_IP=%s\nPOD_NAME=web-1\nHTTP_PROXY=http://web-1:@127.0.0.1:15001\n[web-1]\n", private, public)
	if diff := cmp.Diff(wantTold, ask(public+":19080/told")); diff != "" {
		t.Errorf("what the application was told (-want +got):\n%s", diff)
	}

	ask(public + ":19080/exit")
	again := s.await(func(s *theatre) bool {
		return serving(s) && s.instances[0].Incarnation != first.Incarnation
	})[0]
	if again.Address != first.Address || again.Name != first.Name {
		t.Errorf("got %s at %v after a crash, want %s at %v", again.Name, again.Address, first.Name, first.Address)
	}

	app := number(t, ask(public+":19080/pid"))
	if err := syscall.Kill(number(t, ask(fmt.Sprintf("%s:%d/pid", public, adminPort))), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.await(func(s *theatre) bool {
		return slices.ContainsFunc(s.events, happened("instance.died", "its agent was ended by SIGKILL")) && serving(s) && s.dead[again.Incarnation]
	})
	awaitEnd(t, app)

	s.mu.Lock()
	s.change(func(w *fleet.Workload) { w.Revision = "2" })
	s.mu.Unlock()
	fresh := s.await(func(s *theatre) bool {
		return serving(s) && s.instances[0].Revision == "2" && s.instances[1].Revision == "2"
	})
	if fresh[0].Address == first.Address || fresh[1].Address == first.Address {
		t.Error("an address is used again at once")
	}

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(s.events, happened("instance.starting", "exit code 3")) {
		t.Errorf("got %v, want that one is started again after code 3", s.events)
	}
	for _, in := range fresh {
		if got := ask(in.Address.String() + ":19080/pid"); !strings.Contains(got, "connection refused") {
			t.Errorf("got %q from %v after the end, want that nobody answers", got, in.Address)
		}
	}
}

func happened(kind, how string) func(fleet.Event) bool {
	return func(e fleet.Event) bool { return e.Kind == kind && strings.Contains(e.Reason, how) }
}

func TestKilledRuntimeLeavesNobody(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), actorVariable+"=runtime", "AGENTS="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var processes []*os.Process
	for words := bufio.NewScanner(out); words.Scan(); {
		for word := range strings.FieldsSeq(words.Text()) {
			p, err := os.FindProcess(number(t, word))
			if err != nil {
				t.Fatal(err)
			}
			processes = append(processes, p)
		}
	}
	if len(processes) != 4 {
		t.Fatalf("got %d processes, want two agents and two applications", len(processes))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		awaitEnd(t, p.Pid)
	}
}

// awaitEnd waits until a process that is not ours to wait for runs no more: it is gone, or a zombie.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 12_000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return
		}
		<-tick.C
	}
	t.Errorf("process %d still runs", pid)
}
