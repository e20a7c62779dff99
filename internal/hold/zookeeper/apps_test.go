package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/hold/holdtest"
	wire "crossfade.dev/internal/wire/zookeeper"
)

// A layout is how an application registers.
type layout struct {
	parent func(service string) string
	node   func(service string, port int) (name, data string)
	seen   func(t *testing.T, name, data string) holdtest.Seen
	room   holdtest.Room
}

// started is when all instances were, as they say: Curator's time is that of the registration.
const started = 1_700_000_000_000

func curator() layout {
	return layout{
		parent: func(service string) string { return "/services/" + service },
		node: func(service string, port int) (string, string) {
			id := "id-" + strconv.Itoa(port)
			return id, fmt.Sprintf(`{"name":%q,"id":%q,"address":"127.0.0.1","port":%d,"sslPort":null,"payload":{"@class":%q,"id":%q,"name":%q,"metadata":{"instance_status":"UP","weight":"100"}},"registrationTimeUTC":%d,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]}}`,
				service, id, port, wire.SpringClass, id, service, started)
		},
		seen: func(t *testing.T, name, data string) holdtest.Seen {
			t.Helper()
			i, err := wire.ParseInstance([]byte(data))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return holdtest.Seen{}
			}
			weight, _ := i.Weight()
			return holdtest.Seen{Port: int(i.Port), Metadata: i.Metadata, Weight: float64(weight) / 100, Leaving: !i.Status(), Raw: name + " " + data}
		},
		room: holdtest.Room{Metadata: true, Weight: true, Leaving: true, Self: true},
	}
}

func dubbo() layout {
	return layout{
		parent: func(service string) string { return "/dubbo/" + service + "/providers" },
		node: func(service string, port int) (string, string) {
			return url.QueryEscape(fmt.Sprintf("dubbo://127.0.0.1:%d/%s?application=a&interface=%s&methods=hi&weight=100&side=provider&timestamp=%d", port, service, service, started)), "127.0.0.1"
		},
		seen: func(t *testing.T, name, data string) holdtest.Seen {
			t.Helper()
			p, err := wire.ParseProvider(name)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return holdtest.Seen{}
			}
			return holdtest.Seen{Port: int(p.Port), Metadata: p.Parameters(), Weight: float64(p.Weight()) / 100, Leaving: p.Weight() == 0, Raw: name + " " + data}
		},
		room: holdtest.Room{Metadata: true, Weight: true, Leaving: true, Self: true},
	}
}

// An app is a program with the client that programs in Go have. What it does when a session has ended is what Curator and
// Dubbo do: it registers again.
type app struct {
	t      *testing.T
	layout layout
	port   int
	conn   *zk.Conn
	events <-chan zk.Event

	mu    sync.Mutex
	dead  bool
	wires []net.Conn
	in    []string
}

// sessionTimeout is short, so that a killed application is soon gone, and longer than a client takes to come back.
const sessionTimeout = 4 * time.Second

func newApp(t *testing.T, l layout, address string, port int) *app {
	t.Helper()
	a := &app{t: t, layout: l, port: port}
	// One address, twice: the client waits for a second before it begins with its list again.
	conn, events, err := zk.Connect([]string{address, address}, sessionTimeout, zk.WithLogger(silent{}), zk.WithDialer(a.dial))
	if err != nil {
		t.Fatal(err)
	}
	a.conn, a.events = conn, events
	t.Cleanup(a.Kill)
	go a.redo()
	return a
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (a *app) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return nil, errors.New("killed")
	}
	conn, err := net.DialTimeout(network, address, timeout)
	if err == nil {
		a.wires = append(a.wires, conn)
	}
	return conn, err
}

func (a *app) redo() {
	expired := false
	for e := range a.events {
		switch e.State {
		case zk.StateExpired:
			expired = true
		case zk.StateHasSession:
			if !expired {
				continue
			}
			expired = false
			a.mu.Lock()
			in := slices.Clone(a.in)
			a.mu.Unlock()
			for _, service := range in {
				_ = a.create(service)
			}
		default:
		}
	}
}

// create makes the node. One that is there already, of another session, is deleted first, as Curator and Dubbo do.
func (a *app) create(service string) error {
	name, data := a.layout.node(service, a.port)
	dir := a.layout.parent(service)
	for range 3 {
		_, err := a.conn.Create(path.Join(dir, name), []byte(data), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		switch {
		case errors.Is(err, zk.ErrNoNode):
			if err := a.mkdir(dir); err != nil {
				return err
			}
		case errors.Is(err, zk.ErrNodeExists):
			_, stat, err := a.conn.Exists(path.Join(dir, name))
			if err != nil || stat.EphemeralOwner == a.conn.SessionID() {
				return err
			}
			if err := a.conn.Delete(path.Join(dir, name), -1); err != nil && !errors.Is(err, zk.ErrNoNode) {
				return err
			}
		default:
			return err
		}
	}
	return errors.New("it cannot be made")
}

func (a *app) mkdir(dir string) error {
	for i := 1; i <= len(dir); i++ {
		if i == len(dir) || dir[i] == '/' {
			if _, err := a.conn.Create(dir[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err
			}
		}
	}
	return nil
}

// persist tries again while the client has no connection, as programs do.
func (a *app) persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		var broken *net.OpError // the client says what it saw of a connection
		if !errors.Is(err, zk.ErrConnectionClosed) && !errors.Is(err, zk.ErrNoServer) && !errors.Is(err, zk.ErrSessionExpired) &&
			!errors.As(err, &broken) || ctx.Err() != nil {
			return err
		}
		pause(a.t)
	}
}

func (a *app) Register(ctx context.Context, service string) error {
	a.mu.Lock()
	if !slices.Contains(a.in, service) {
		a.in = append(a.in, service)
	}
	a.mu.Unlock()
	return a.persist(ctx, func() error { return a.create(service) })
}

func (a *app) Deregister(ctx context.Context, service string) error {
	a.mu.Lock()
	a.in = slices.DeleteFunc(a.in, func(s string) bool { return s == service })
	a.mu.Unlock()
	name, _ := a.layout.node(service, a.port)
	return a.persist(ctx, func() error {
		err := a.conn.Delete(path.Join(a.layout.parent(service), name), -1)
		if errors.Is(err, zk.ErrNoNode) {
			return nil
		}
		return err
	})
}

func (a *app) Sees(_ context.Context, service string) (bool, error) {
	name, _ := a.layout.node(service, a.port)
	there, _, err := a.conn.Exists(path.Join(a.layout.parent(service), name))
	return there, err
}

// Reconnect breaks its connections, and returns when it has a session again, and has asked something in it.
func (a *app) Reconnect(ctx context.Context) error {
	a.cut()
	err := a.persist(ctx, func() error {
		_, _, err := a.conn.Exists("/")
		return err
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	in := slices.Clone(a.in)
	a.mu.Unlock()
	for _, service := range in { // as Curator's discovery does on RECONNECTED
		if err := a.persist(ctx, func() error { return a.create(service) }); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.wires {
		w.Close()
	}
	a.wires = nil
}

func (a *app) Kill() {
	a.mu.Lock()
	before := a.dead
	a.dead = true
	a.mu.Unlock()
	a.cut()
	if !before {
		go a.conn.Close()
	}
}

// peer returns what another client finds.
func peer(t *testing.T, conn *zk.Conn, l layout, service string) ([]holdtest.Seen, error) {
	t.Helper()
	names, _, err := conn.Children(l.parent(service))
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	var all []holdtest.Seen
	for _, name := range names {
		data, _, err := conn.Get(path.Join(l.parent(service), name))
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, l.seen(t, name, string(data)))
	}
	return all, err
}
