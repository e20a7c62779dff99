package zookeeper

import (
	"context"
	"syscall"
	"testing"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/hold/holdtest"
)

// Both layouts, by the client that programs in Go have.
func TestSuite(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]layout{"curator": curator(), "dubbo": dubbo()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holdtest.Run(t, worlds(l))
		})
	}
}

func TestCost(t *testing.T) { holdtest.Cost(t, worlds(curator())) }

func worlds(l layout) func(t *testing.T, alone bool) holdtest.World {
	return func(t *testing.T, alone bool) holdtest.World {
		t.Helper()
		if alone {
			return world(t, newServer(t), l)
		}
		return world(t, shared(t), l)
	}
}

func world(t *testing.T, s *server, l layout) holdtest.World {
	t.Helper()
	conn, _, err := zk.Connect([]string{s.address(), s.address()}, sessionTimeout, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return holdtest.World{
		Open: func() holdtest.Proxy { return open(t, s.address(), "") },
		App: func(address string, port int) holdtest.App {
			if address == "" {
				address = s.address()
			}
			return newApp(t, l, address, port)
		},
		Peer:  func(_ context.Context, service string) ([]holdtest.Seen, error) { return peer(t, conn, l, service) },
		Stop:  s.stop,
		Start: s.start,
		Room:  l.room,
	}
}

// A server that takes connections and says nothing is away, too.
func TestARegistryThatHangs(t *testing.T) {
	t.Parallel()
	holdtest.Away(t, func(t *testing.T) holdtest.World {
		t.Helper()
		s := newServer(t)
		w := world(t, s, curator())
		signal := func(what syscall.Signal) {
			if err := s.cmd.Process.Signal(what); err != nil {
				t.Error(err)
			}
		}
		w.Stop = func() { signal(syscall.SIGSTOP) }
		w.Start = func() { signal(syscall.SIGCONT) }
		return w
	})
}
