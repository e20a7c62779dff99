package gateway

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
)

// Whoever is called back at once has never left, for people: word of it that comes late is none, and the next leave is
// heard of.
func TestLateWordOfALeave(t *testing.T) {
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	g := w.gateway("", true, func(g *Gateway) { g.Timers = lingering() })
	defer g.loop.LeaveNow("the end of the test")
	g.wait("it serves", func() bool { return isClosed(g.loop.ready) })
	g.must("POST", "/healthcheck/fail", 200)
	g.wait("people hear of it", func() bool { return len(w.events("gateway.draining")) == 1 })
	g.must("POST", "/healthcheck/ok", 200)
	g.loop.moved(t.Context(), drain.LameDuck, false)
	g.must("POST", "/healthcheck/fail", 200)
	g.wait("people hear of the next", func() bool { return len(w.events("gateway.draining")) > 1 })
	g.must("POST", "/healthcheck/ok", 200)
	g.wait("people hear of the end", func() bool { return len(w.events("gateway.serving")) == 2 })
	told := w.events("gateway.draining")
	if len(told) != 2 {
		t.Errorf("people have heard of %d leaves, want 2", len(told))
	}
	for _, e := range told {
		if e.Reason != "POST /healthcheck/fail" {
			t.Errorf("got %+v, which never was", e)
		}
	}
}

// A report that cannot be kept whole is not kept at all: no half of one is left to fill the disk.
func TestNoHalfOfAReport(t *testing.T) {
	taken := t.TempDir() // by a directory that is not empty
	if err := os.Mkdir(filepath.Join(taken, "drain.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := &loop{Gateway: &Gateway{Reported: filepath.Join(taken, "drain.json")}}
	if err := l.write([]byte("{}")); err == nil {
		t.Error("got no error")
	}
	if list, err := os.ReadDir(taken); err != nil || len(list) != 1 {
		t.Errorf("got %v, %v beside it, want nothing", list, err)
	}
}

// However many ask the health port without ever finishing, who is in earnest is answered, and the gateway ends in time.
func TestSlowHealthChecks(t *testing.T) {
	const slow = 4 * healthAtOnce // one after another they would take minutes
	w, a := newTown(t, 0), newApp(t, "one")
	w.run(a)
	health := freeAddress(t)
	g := w.gateway("", true, func(g *Gateway) { g.Health = health })
	g.wait("it is ready", func() bool { status, _ := ask("GET", "http://"+health+"/healthz/ready"); return status == 200 })
	for range slow {
		c, err := net.Dial("tcp", health)
		w.ok(err)
		defer c.Close()
		_, err = io.WriteString(c, "GET /healthz/re")
		w.ok(err)
	}
	if status, body := ask("GET", "http://"+health+"/healthz/ready"); status != 200 {
		t.Errorf("got %d %s beside those who are slow, want 200", status, body)
	}
	ended := make(chan error, 1)
	go func() { ended <- g.stop() }()
	select {
	case err := <-ended:
		w.ok(err)
	case <-time.After(patience):
		t.Error("those who are slow hold the gateway")
	}
}
