package serve

import (
	"context"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// Start serves view in a goroutine of its own, for tests and for whoever has a fleet that does not change. stop
// drains, waits, and returns what [Server.Run] did; it must be called once.
func Start(ctx context.Context, view fleet.View, po proxy.Options, o Options) (s *Server, stop func() error, err error) {
	state, err := proxy.Compile(nil, view, nil, po, time.Now())
	if err != nil {
		return nil, nil, err
	}
	s = New(proxy.New(po), o)
	ctx, cancel := context.WithCancel(ctx)
	err = s.Apply(ctx, state)
	if err != nil {
		cancel() // what was bound is closed by a Run that ends at once
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = func() error {
		cancel()
		return <-ended
	}
	if err != nil {
		_ = stop() // nobody has been served
		return nil, nil, err
	}
	return s, stop, nil
}
