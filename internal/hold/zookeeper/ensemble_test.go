package zookeeper

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/wire/jute"
)

// A session goes from server to server, with what is held in it, and what was released.
func TestServersGo(t *testing.T) {
	t.Parallel()
	ensemble := newEnsemble(t)
	var addresses []string
	for _, s := range ensemble {
		addresses = append(addresses, s.address())
	}
	p := open(t, strings.Join(addresses, ","), "")
	g := run(t, p, &hold.Gate{})
	app := speak(t, p.Addr())
	app.do(create("/services/a/1", "x"))
	if code, seen := app.look(jute.OpGetData, "/services/a/1", true); code != jute.OK || seen.Stat.Owner != app.session {
		t.Fatalf("while it is held: %v, %+v", code, seen.Stat)
	}

	// The server that has its session goes, and it does not see that.
	first := serving(t, p, ensemble)
	first.stop()
	again(t, app)
	if !app.exists("/services/a/1") {
		t.Error("it does not find itself over another server")
	}
	put(t, g, instance(0))
	second := serving(t, p, ensemble)
	other := speak(t, second.address())
	if code, seen := other.look(jute.OpExists, "/services/a/1", false); code != jute.OK || seen.Stat.Owner != app.session {
		t.Errorf("others see %v, %+v, want that it is of session %d", code, seen.Stat, app.session)
	}

	// Without a leader nothing is made, or taken out.
	second.stop()
	eventually(t, "the registry is away", func() bool {
		app.connect()
		return p.isAway() != nil
	})
	if err := g.Remove(t.Context(), "a-1"); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Remove: %v, want %v", err, registry.ErrAway)
	}

	// It is back: nothing of the application is.
	first.start()
	remove(t, g)
	if other := speak(t, first.address()); other.exists("/services/a/1") {
		t.Error("it is there after its leave")
	}
	again(t, app)
	if !app.exists("/services/a/1") {
		t.Error("it does not find itself")
	}
	if got := app.heard(); got != "" {
		t.Errorf("it has heard %s", got)
	}
}

// serving is the server that has the application's session.
func serving(t *testing.T, p *Proxy, ensemble []*server) *server {
	t.Helper()
	for _, s := range ensemble {
		if s.address() == p.order()[0] {
			return s
		}
	}
	t.Fatalf("no server is %s", p.order()[0])
	return nil
}

// again has an application go on in its session.
func again(t *testing.T, app *speaker) {
	t.Helper()
	session := app.session
	eventually(t, "it goes on in session "+strconv.FormatInt(session, 16), func() bool { return app.connect().TimeoutMS > 0 })
	if app.session != session {
		t.Fatalf("it has another session")
	}
}

// A server that has lost its leader makes nothing: what it refuses is not held, as the session goes with its server.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go answering(l, jute.Connected{TimeoutMS: 4000, Session: 7, Password: make([]byte, 16), HasReadOnly: true, ReadOnly: true}, func(q jute.Request) jute.Code {
		if q.Op.Changes() {
			return jute.NotReadOnly
		}
		return jute.NoNode
	})
	p := open(t, l.Addr().String(), "")
	g := run(t, p, &hold.Gate{})
	app := speak(t, p.Addr())
	if code, _ := app.do(create("/services/a/1", "x")); code != jute.NotReadOnly {
		t.Errorf("create: %v, want %v", code, jute.NotReadOnly)
	}
	if c := g.Count(); c.Held != 0 || app.exists("/services/a/1") {
		t.Errorf("it is held: %+v", c)
	}
}
