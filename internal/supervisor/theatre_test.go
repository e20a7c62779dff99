package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// A theatre is a supervisor on virtual time whose replicas, control and sockets are played.
type theatre struct {
	*testing.T

	s    *Supervisor
	stop context.CancelFunc // as SIGTERM
	done chan error         // what Run returned

	views   chan fleet.View
	number  uint64
	doors   *doors
	console *pipes
	hurry   chan struct{}
	roll    chan struct{}
	settled []string

	mu       sync.Mutex // guards the following
	actors   []*actor   // in the order in which they were started
	script   func(*actor)
	broken   error // why nobody can be started
	report   fleet.Report
	events   []fleet.Event
	answered []string // POSTs to replicas
}

// An actor plays one replica.
type actor struct {
	Order

	pid   int
	born  time.Time
	ready time.Duration // after its start; less than 0: never
	takes time.Duration // to leave
	exit  process.Exit  // when it has left
	dies  time.Duration // by itself, after its start; 0: never
	firm  bool          // it does not stay

	mu    sync.Mutex // guards the following
	heard []syscall.Signal
	left  time.Time
	hangs bool // it answers nobody
	sum   admin.Sum
	once  sync.Once
	done  chan struct{}
	how   process.Exit
}

func (a *actor) Pid() int              { return a.pid }
func (a *actor) Done() <-chan struct{} { return a.done }
func (a *actor) Exit() process.Exit    { return a.how }

func (a *actor) end(how process.Exit) {
	a.once.Do(func() {
		a.how = how
		close(a.done)
	})
}

func (a *actor) Signal(sig syscall.Signal) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard = append(a.heard, sig)
	switch {
	case sig == syscall.SIGKILL:
		a.end(process.Exit{Code: 137, Signal: sig})
	case len(a.heard) == 1:
		a.left = time.Now()
		time.AfterFunc(a.takes, func() { a.end(a.exit) })
	}
	return nil
}

func (a *actor) Stop(time.Duration) error { return errors.New("the supervisor signals by itself") }

// doors are what becomes of the sockets.
type doors struct {
	mu      sync.Mutex
	kept    []string
	retired time.Time
}

func (d *doors) Run(ctx context.Context, _ *net.UnixListener) error {
	<-ctx.Done()
	return nil
}

func (d *doors) Keep(addresses []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = slices.Clone(addresses)
}

func (d *doors) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = time.Time{}
}

func (d *doors) Retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = time.Now()
}

// pipes is a listener without a network.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 15000} }

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// perform plays a piece in a bubble. The usual actor is ready after a second and takes two to leave.
func perform(t *testing.T, piece func(*theatre)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		th := &theatre{
			T: t, stop: stop, done: make(chan error, 1), views: make(chan fleet.View), doors: new(doors), hurry: make(chan struct{}), roll: make(chan struct{}),
			console: &pipes{conns: make(chan net.Conn), done: make(chan struct{})}, script: func(*actor) {},
		}
		th.s = &Supervisor{
			ID: "supervisor", Control: th, Health: "127.0.0.1:15021", Timers: drain.Timers{Requests: 10 * time.Second},
			Admin: th.console, Replicas: netip.MustParseAddrPort("127.53.0.1:20100"), Sockets: th.doors, Start: th.start,
			Transport: th, Hurry: th.hurry, Roll: th.roll, Log: slog.New(slog.DiscardHandler),
			Settled: th.hears,
		}
		go func() { th.done <- th.s.Run(ctx) }()
		piece(th)
		stop()
		if len(th.done) == 0 {
			select {
			case err := <-th.done:
				th.done <- err
			case <-time.After(time.Hour):
				t.Error("the supervisor does not end")
			}
		}
	})
}

// recast says what those are like who are started from now on.
func (th *theatre) recast(script func(*actor)) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.script = script
}

// want has control say what is wanted.
func (th *theatre) want(groups ...fleet.GatewayGroup) {
	th.number++
	th.views <- fleet.View{Taken: time.Now(), Snapshot: &fleet.Snapshot{
		Number: th.number, Groups: groups, Listeners: []fleet.Listener{{Name: "http-80", Address: "127.0.0.1:8080"}},
		Services: []fleet.Service{{Name: "reviews:9080", Host: "reviews", Port: 9080, Pools: []fleet.Pool{{}}}},
	}}
	synctest.Wait()
}

func ingress(replicas int, revision string) fleet.GatewayGroup {
	return fleet.GatewayGroup{Name: "ingressgateway", Namespace: "istio-system", Replicas: replicas, Revision: revision}
}

func (th *theatre) Follow(ctx context.Context, who feed.Hello, apply func(fleet.View)) error {
	if who.Role != "supervisor" {
		th.Errorf("got a follower as %+v, want a supervisor", who)
	}
	for {
		select {
		case v := <-th.views:
			apply(v)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (th *theatre) Report(_ context.Context, r fleet.Report) error {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.report = r
	th.events = append(th.events, r.Events...)
	return nil
}

func (th *theatre) start(o Order) (Child, error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.broken != nil {
		return nil, th.broken
	}
	a := &actor{Order: o, pid: 1000 + len(th.actors), born: time.Now(), ready: time.Second, takes: 2 * time.Second, done: make(chan struct{})}
	th.script(a)
	th.actors = append(th.actors, a)
	if a.dies > 0 {
		time.AfterFunc(a.dies, func() { a.end(process.Exit{Code: 1}) })
	}
	return a, nil
}

// RoundTrip is the admin APIs of all actors.
func (th *theatre) RoundTrip(r *http.Request) (*http.Response, error) {
	th.mu.Lock()
	i := slices.IndexFunc(th.actors, func(a *actor) bool { return a.Admin == r.URL.Host && a.lives() })
	if i < 0 {
		th.mu.Unlock()
		return nil, syscall.ECONNREFUSED
	}
	a := th.actors[i]
	if r.Method == http.MethodPost {
		th.answered = append(th.answered, a.ID+" "+r.URL.RequestURI())
	}
	th.mu.Unlock()
	if a.silent() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status, body := http.StatusOK, "OK\n"
	switch r.URL.RequestURI() {
	case "/healthcheck/ok":
		if a.firm {
			status, body = http.StatusConflict, `{"error": "it accepts nothing any more"}`
		}
	case "/ready":
		if a.ready < 0 || time.Since(a.born) < a.ready {
			status, body = http.StatusServiceUnavailable, "NOT READY: it warms its hands\n"
		}
	case "/api/v1/sum", "/api/v1/sum?last=1":
		if r.URL.RawQuery != "" {
			select {
			case <-a.done:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		a.mu.Lock()
		text, err := json.Marshal(&a.sum)
		a.mu.Unlock()
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewBufferString(body)), Request: r}, nil
}

func (a *actor) lives() bool {
	select {
	case <-a.done:
		return false
	default:
		return true
	}
}

// hang has it answer nobody any more, or everybody again.
func (a *actor) hang(hangs bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hangs = hangs
}

func (a *actor) silent() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hangs
}

// signals are what it has heard.
func (a *actor) signals() []syscall.Signal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.heard)
}

// told is when it heard the first.
func (a *actor) told() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left
}

// last is the newest report.
func (th *theatre) last() fleet.Report {
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.report
}

// started are all who were ever started.
func (th *theatre) started() []*actor {
	th.mu.Lock()
	defer th.mu.Unlock()
	return slices.Clone(th.actors)
}

// told are the POSTs that replicas got, in order of their names.
func (th *theatre) told() []string {
	th.mu.Lock()
	defer th.mu.Unlock()
	return slices.Sorted(slices.Values(th.answered))
}

// hears has Settled's words.
func (th *theatre) hears(err error) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.settled = append(th.settled, fmt.Sprint(err))
}

func (th *theatre) heard() []string {
	th.mu.Lock()
	defer th.mu.Unlock()
	return slices.Clone(th.settled)
}

// state is what the sockets were told last.
func (d *doors) state() (kept []string, retired time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept, d.retired
}

// counts has an actor count answers with status 200 at a listener.
func (a *actor) counts(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := new(evidence.Downstream)
	for range n {
		d.Requests.Answered(http.StatusOK, time.Millisecond)
	}
	a.sum = admin.Sum{Of: 1, Listeners: map[string]*evidence.Downstream{"http-80": d}}
}

// after lets time pass.
func (th *theatre) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// cast is who lives: "1a 2a 3b-" are two of revision a, and one of revision b that was told to leave.
func (th *theatre) cast() string {
	th.mu.Lock()
	defer th.mu.Unlock()
	var words []string
	for _, r := range th.report.Replicas {
		word := strings.TrimPrefix(r.ID, "ingressgateway-") + r.Revision
		switch {
		case r.Leaving:
			word += "-"
		case !r.Ready:
			word += "?"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func (th *theatre) wantCast(want string) {
	th.Helper()
	synctest.Wait()
	if got := th.cast(); got != want {
		th.Errorf("%v: got %q, want %q", time.Now().Format("05.000"), got, want)
	}
}

// said returns the reasons of the events of a kind.
func (th *theatre) said(kind string) (reasons []string) {
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, e := range th.events {
		if e.Kind == kind {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

// actor returns the newest of that name.
func (th *theatre) actor(id string) *actor {
	th.Helper()
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, a := range slices.Backward(th.actors) {
		if a.ID == id {
			return a
		}
	}
	th.Fatalf("there was no %s", id)
	return nil
}

// ask asks the supervisor's own admin API.
func (th *theatre) ask(method, path string) (int, string) {
	th.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: th.console.dial, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(th.Context(), method, "http://127.0.0.1"+path, http.NoBody)
	if err != nil {
		th.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		th.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		th.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
