package nacos

import (
	"context"
	"testing"

	"crossfade.dev/internal/hold/holdtest"
)

// worlds returns a world for each test: with the server that all share, or one of its own.
func worlds(t *testing.T, app func(t *testing.T, address string, port int) holdtest.App) func(*testing.T, bool) holdtest.World {
	t.Helper()
	shared := newServer(t)
	return func(t *testing.T, alone bool) holdtest.World {
		t.Helper()
		s := shared
		if alone {
			s = newServer(t)
		}
		return holdtest.World{
			Open: func() holdtest.Proxy { return openProxy(t, s.address()) },
			App: func(address string, port int) holdtest.App {
				if address == "" {
					address = s.address()
				}
				return app(t, address, port)
			},
			Peer: func(ctx context.Context, service string) ([]holdtest.Seen, error) { return s.peer(ctx, service) },
			Stop: s.stop, Start: s.start,
			Room: holdtest.Room{Metadata: true, Weight: true, Leaving: true, Self: true},
		}
	}
}

func rpc(t *testing.T, address string, port int) holdtest.App {
	t.Helper()
	return newRPCApp(t, address, port)
}

func web(t *testing.T, address string, port int) holdtest.App {
	t.Helper()
	return newWebApp(t, address, port)
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	holdtest.Run(t, worlds(t, rpc))
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	holdtest.Run(t, worlds(t, web))
}

func TestCostOfGRPC(t *testing.T) { holdtest.Cost(t, worlds(t, rpc)) }
func TestCostOfHTTP(t *testing.T) { holdtest.Cost(t, worlds(t, web)) }
