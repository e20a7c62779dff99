package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/sockets"
)

// lingering are timers by which only lame duck lasts.
func lingering() drain.Timers {
	return drain.Timers{Min: time.Hour, Notice: time.Hour, Quiet: 10 * time.Millisecond, Requests: time.Minute, Long: time.Minute}
}

// ask asks an address on a connection of its own, and returns the status and whether the answer is the last; 0 where there
// is none.
func ask(method, url string) (status int, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	req, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

func (g *live) admin(method, path string) (status int, body string) {
	return ask(method, "http://"+g.loop.Admin.Addr().String()+path)
}

func (g *live) must(method, path string, want int) string {
	g.t.Helper()
	status, body := g.admin(method, path)
	if status != want {
		g.t.Fatalf("%s %s: got %d %s, want %d", method, path, status, body, want)
	}
	return body
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// events are those of a kind that control has heard.
func (w *town) events(kind string) (list []fleet.Event) {
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	_ = w.control.Follow(ctx, fleet.Hello{ID: "test", Role: "test"}, func(v fleet.View) {
		for _, e := range v.Events {
			if e.Kind == kind {
				list = append(list, e)
			}
		}
		stop()
	})
	return list
}

// The health port says from the first moment on that clients should go elsewhere, and stays until the end; who is called
// back is healthy again. The admin API is asked as Envoy's would be.
func TestHealthPortAndTriggers(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	health := freeAddress(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "deep", "drain.json")
	g := w.gateway("", true, func(g *Gateway) { g.Health, g.Timers, g.Reported = health, lingering(), file })
	url := "http://" + health + "/healthz/ready"
	checks := func(want int) {
		t.Helper()
		g.wait(fmt.Sprintf("the health port says %d", want), func() bool { status, _ := ask("GET", url); return status == want })
	}
	checks(200)
	for path, want := range map[string]int{"/healthz/ready?x=1": 200, "/": 404, "/healthz": 404, "/stats": 404} {
		if got, body := ask("GET", "http://"+health+path); got != want || body != "" {
			t.Errorf("GET %s: got %d %q, want %d and nothing more", path, got, body, want)
		}
	}
	if got, _ := ask("POST", url); got != 405 {
		t.Errorf("POST: got %d, want 405", got)
	}

	g.must("POST", "/healthcheck/ok", 200) // nothing to undo
	g.must("GET", "/healthcheck/fail", 405)
	g.must("POST", "/healthcheck/fail?now", 400)
	g.must("POST", "/drain_listeners?graceful=perhaps", 400)
	g.must("POST", "/drain_listeners?inboundonly", 400)
	checks(200)

	g.must("POST", "/healthcheck/fail", 200)
	checks(503)
	if got := g.get(); got != "one" {
		t.Errorf("got %q of a gateway that only fails its checks", got)
	}
	if body := g.must("GET", "/ready", 503); !strings.Contains(body, "POST /healthcheck/fail") {
		t.Errorf("got %q, want who is not ready to say why", body)
	}
	g.must("POST", "/healthcheck/ok", 200)
	checks(200)

	g.wait("what was asked is counted", func() bool { return g.loop.Report().Protocols[drain.HTTP1].Ever.Open == 0 })
	g.must("POST", "/drain_listeners?graceful&skip_exit", 200)
	checks(503)
	if got := g.get(); got != "one" {
		t.Errorf("got %q in lame duck", got)
	}
	if metrics := g.must("GET", "/stats/prometheus", 200); !strings.Contains(metrics, "crossfade_drain_stage 1\n") || !strings.Contains(metrics, `crossfade_drain_seconds{stage="lame duck"}`) {
		t.Errorf("metrics in lame duck:\n%s", metrics)
	}
	g.must("POST", "/drain_listeners", 200)
	g.wait("it has left", func() bool { return g.loop.server.Stage() == drain.Closed })
	checks(503) // it stays, for people and balancers
	if body := g.must("POST", "/healthcheck/ok", 409); !strings.Contains(body, "stopped accepting") {
		t.Errorf("got %q, want a sentence", body)
	}
	var r drain.Report
	if err := json.Unmarshal([]byte(g.must("GET", "/api/v1/drain", 200)), &r); err != nil || r.ID != "gateway-1" || r.Stage != drain.Closed || r.Reason != "POST /drain_listeners?graceful" {
		t.Errorf("got %+v, %v", r, err)
	}
	if n := r.Protocols[drain.HTTP1].Leave; n.Completed != 1 || n.Cut != 0 {
		t.Errorf("got %+v, want the request of lame duck", n)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	if status, _ := ask("GET", url); status != 0 {
		t.Errorf("got %d from the health port of a gateway that has ended", status)
	}
	written, err := os.ReadFile(file)
	var kept drain.Report
	if err = errors.Join(err, json.Unmarshal(written, &kept)); err != nil || kept.Reason != r.Reason || kept.Stage != drain.Closed {
		t.Errorf("got %+v, %v in the file, want %+v", kept, err, r)
	}
	for kind, want := range map[string]int{"gateway.draining": 2, "gateway.serving": 1, "gateway.drained": 1, "gateway.cut": 0} {
		if got := w.events(kind); len(got) != want {
			t.Errorf("got %v, want %d of %s", got, want, kind)
		}
	}
}

// Told to stop, it reports to control how far it is, and what it came to; what is cut is an event, and an error.
func TestWhatIsCutIsReported(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	arrived := make(chan struct{})
	a.server.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		close(arrived)
		<-r.Context().Done()
	})
	w.run(a)
	g := w.gateway("", true, func(g *Gateway) {
		g.Timers = drain.Timers{Requests: 50 * time.Millisecond, Long: 50 * time.Millisecond}
	})
	g.wait("it serves", func() bool { return isClosed(g.loop.ready) })
	go g.get()
	<-arrived
	var cut *serve.CutError
	if err := g.stop(); !errors.As(err, &cut) || cut.Requests != 1 {
		t.Errorf("got %v, want one request cut", err)
	}
	if got := w.events("gateway.cut"); len(got) != 1 || !strings.Contains(got[0].Reason, "1 request was cut (connections: 1 when it began, 0 since)") {
		t.Errorf("got %v, want the event", got)
	}
}

// The log warns of what costs requests, or is not as it was asked for; of the rest of a leave it only tells.
func TestWhichEventsAreWarnings(t *testing.T) {
	for kind, want := range map[string]string{
		"gateway.cut": "WARN", "gateway.drain.refused": "WARN", "gateway.draining": "INFO", "gateway.drained": "INFO",
	} {
		var log strings.Builder
		l := newLoop(&Gateway{ID: "gateway-1", Log: slog.New(slog.NewTextHandler(&log, nil)), Timers: lingering()})
		l.notice(t.Context(), fleet.Event{Kind: kind}, time.Now())
		if !strings.Contains(log.String(), "level="+want+" ") {
			t.Errorf("got %s, want %s", log.String(), want)
		}
	}
}

// A drain timeout that the gateway's group is given holds from then on; one that does not fit is refused, and told.
func TestDrainTimeoutOfTheGroup(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	usual := drain.Timers{Requests: 5 * time.Second, Long: 10 * time.Second}
	g := w.gateway("", true, func(g *Gateway) {
		g.Timers, g.Grace, g.Group = usual, time.Minute, "istio-system/edge"
	})
	at := g.loop
	next := func(groups ...fleet.GatewayGroup) {
		t.Helper()
		next := *w.desired
		next.Digest += "+"
		next.Groups = groups
		w.desired = &next
		w.ok(w.control.Configure(t.Context(), &next))
	}
	holds := func(want time.Duration) {
		t.Helper()
		g.wait(fmt.Sprintf("open requests have %v", want), func() bool { return at.server.Report().Timers.Requests == want })
	}
	edge := fleet.GatewayGroup{Name: "edge", Namespace: "istio-system", Replicas: 1, Declared: 1}
	other := fleet.GatewayGroup{Name: "other", Namespace: "istio-system", Replicas: 1, Declared: 1, Drain: 7 * time.Second}
	g.wait("it serves", func() bool { return isClosed(at.ready) })
	holds(5 * time.Second)
	edge.Drain = 20 * time.Second
	next(edge, other)
	holds(20 * time.Second)
	edge.Drain = 890 * time.Second
	next(edge, other)
	g.wait("it is refused", func() bool { return len(w.events("gateway.drain.refused")) == 1 })
	if got := w.events("gateway.drain.refused")[0].Reason; !strings.Contains(got, "14m55s") || !strings.Contains(got, "grace period of 1m0s") {
		t.Errorf("got %q, want the sum and the grace period", got)
	}
	holds(20 * time.Second)
	edge.Drain = 0
	next(edge, other)
	holds(5 * time.Second)
	g.wait("an event tells of each that took effect", func() bool { return len(w.events("gateway.drain.changed")) == 2 })
}

// A drain timeout takes effect while the gateway leaves, without a restart: what had an hour is cut. The control, with
// nothing said or as much for another gateway, keeps what its flag says.
func TestDrainTimeoutFollowsTheAnnotation(t *testing.T) {
	for group, want := range map[string]int{"edge": 1, "other": 0} {
		w, a := newTown(t, 0), newApp(t, "one")
		arrived, proceed := make(chan struct{}), make(chan struct{})
		a.server.Config.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				return
			}
			close(arrived)
			select {
			case <-proceed:
			case <-r.Context().Done():
			}
		})
		w.run(a)
		g := w.gateway("", true, func(g *Gateway) {
			g.Timers, g.Group = drain.Timers{Requests: time.Hour, Long: time.Hour}, "istio-system/edge"
		})
		g.wait("it serves", func() bool { return isClosed(g.loop.ready) })
		go g.get()
		<-arrived
		ended := make(chan error, 1)
		go func() { ended <- g.stop() }()
		g.wait("it drains", func() bool { return g.loop.server.Stage() == drain.Draining })
		next := *w.desired
		next.Digest = "two"
		next.Groups = []fleet.GatewayGroup{{Name: group, Namespace: "istio-system", Replicas: 1, Declared: 1, Drain: time.Millisecond}}
		w.ok(w.control.Configure(t.Context(), &next))
		g.wait("the snapshot is applied", func() bool { return g.loop.proxy.State().View().Config == "two" })
		if want == 0 {
			close(proceed)
		}
		err := <-ended
		cut, _ := errors.AsType[*serve.CutError](err)
		if cut == nil {
			cut = &serve.CutError{}
		}
		if cut.Requests != want {
			t.Errorf("%s: got %v, want %d requests cut", group, err, want)
		}
	}
}

// A lender is an owner of sockets who says what a test wants.
type lender struct {
	shared bool
	lost   chan struct{}
}

func (l *lender) Listen(ctx context.Context, address string) (net.Listener, error) {
	return sockets.Open(ctx, address)
}
func (l *lender) Shared() bool          { return l.shared }
func (l *lender) Lost() <-chan struct{} { return l.lost }

// Where others serve, the health port is left to them at once; alone, it says 503 until the end. A gateway whose sockets
// nobody owns leaves by itself.
func TestBorrowedSockets(t *testing.T) {
	for _, shared := range []bool{true, false} {
		w, a := newTown(t, 0), newApp(t, "one")
		w.run(a)
		health := freeAddress(t)
		l := &lender{shared, make(chan struct{})}
		timers := lingering()
		timers.Requests = time.Hour
		hurry := make(chan struct{})
		g := w.gateway("", true, func(g *Gateway) { g.Health, g.Loan, g.Timers, g.Hurry = health, l, timers, hurry })
		check := func() int { status, _ := ask("GET", "http://"+health+"/healthz/ready"); return status }
		g.wait("it is healthy", func() bool { return check() == 200 })
		open, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		w.ok(err)
		defer open.Close()
		_, err = io.WriteString(open, "POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 2\r\n\r\nh") // half a request keeps it draining
		w.ok(err)
		g.wait("the request is open", func() bool { return g.loop.server.Report().Protocols[drain.HTTP1].Ever.Open == 1 })
		close(l.lost)
		g.wait("it leaves", func() bool { return g.loop.server.Stage() != drain.Serving })
		if got := g.loop.server.Report().Reason; got != "its supervisor is gone" {
			t.Errorf("got the reason %q", got)
		}
		want := map[bool]int{true: 0, false: 503}[shared]
		g.wait(fmt.Sprintf("shared %v: checks get %d", shared, want), func() bool { return check() == want })
		if stage := g.loop.server.Stage(); (stage == drain.LameDuck) == shared {
			t.Errorf("shared %v: got %v", shared, stage)
		}
		_, err = io.WriteString(open, "i")
		w.ok(err)
		if resp, err := http.ReadResponse(bufio.NewReader(open), nil); err != nil || resp.StatusCode != 200 || !resp.Close {
			t.Errorf("got %v, %v, want an answer that says close", resp, err)
		}
		close(hurry)
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	}
}

// A listener hears what is reported to control.
type listener struct {
	feed.Control

	mu   sync.Mutex
	list []drain.Stage
}

func (l *listener) Report(ctx context.Context, r fleet.Report) error {
	l.mu.Lock()
	stage := drain.Serving
	if r.Drain != nil {
		stage = r.Drain.Stage
	}
	l.list = append(l.list, stage)
	l.mu.Unlock()
	return l.Control.Report(ctx, r)
}

func (l *listener) stages() []drain.Stage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// Control hears in every report how far the leave is.
func TestReportsSayHowFarTheLeaveIs(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	heard := &listener{Control: w.control}
	g := w.gateway("", true, func(g *Gateway) { g.Control, g.Timers = heard, lingering() })
	g.wait("it reports", func() bool { return len(heard.stages()) > 0 })
	g.loop.Leave("a test")
	g.wait("lame duck is reported", func() bool { return slices.Contains(heard.stages(), drain.LameDuck) })
	g.loop.LeaveNow("a test")
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	stages := heard.stages()
	if !slices.IsSorted(stages) || stages[0] != drain.Serving || stages[len(stages)-1] != drain.Closed {
		t.Errorf("got %v, want every stage in its order, and closed at last", stages)
	}
}
