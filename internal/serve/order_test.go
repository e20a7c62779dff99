package serve_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/serve"
)

// While a request from outside is open, the service that answers it can still call others through the mesh, over
// new connections: the mesh is left only when nobody from outside is served any more.
func TestTheMeshIsLeftLast(t *testing.T) {
	free, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	mesh := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	var inner atomic.Bool
	arrived, proceed := make(chan struct{}), make(chan struct{})
	called := make(chan error, 1)
	v := view(endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if !inner.Swap(true) { // from outside: it calls another service before it answers
			close(arrived)
			<-proceed
			c, err := dial(mesh)
			if err == nil {
				_, err = c.post()
			}
			called <- err
		}
		hello(w, r)
	}), "outside", anyPort, "mesh", mesh)
	v.Listeners[1].Mesh = true
	g := start(t, serve.Options{Timers: quiet(50 * time.Millisecond)}, v)
	outside := g.addr("outside")
	c := mustDial(t, outside)
	answered := make(chan error, 1)
	go func() {
		_, err := c.post()
		answered <- err
	}()
	<-arrived
	g.stop()
	eventually(t, "nothing is accepted from outside", func() bool {
		nc, err := net.Dial("tcp", outside)
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	})
	close(proceed)
	if err := <-called; err != nil {
		t.Errorf("a call between services during the drain: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the request from outside: %v", err)
	}
	if err := <-g.err; err != nil {
		t.Errorf("Run = %v, want nothing cut", err)
	}
	if nc, err := new(net.Dialer).DialContext(context.Background(), "tcp", mesh); err == nil {
		_ = nc.Close()
		t.Error("the mesh is still open after Run")
	}
}
