package serve_test

import (
	"testing"

	"crossfade.dev/internal/serve"
)

// Clients that keep their connections leave descriptors for those to endpoints, and those from outside leave some for
// the mesh. Whoever was let in is served, and others are let in when there is room again.
func TestDescriptorsAreLeft(t *testing.T) {
	const all = 600 // of which a test binary takes a few at the start
	v := view(endpoint(t, hello), "outside", anyPort, "mesh", "localhost:0")
	v.Listeners[1].Mesh = true
	g := start(t, serve.Options{Descriptors: all, MaxConns: all}, v)
	refused := func(listener string) uint64 { return g.s.Proxy().State().Listener(listener).Traffic.Overflow.Load() }
	crowd := func(listener string) (in []*client) {
		t.Helper()
		for len(in) < all {
			c := mustDial(t, g.addr(listener))
			if _, err := c.post(); err != nil {
				if n := refused(listener); n != 1 {
					t.Fatalf("%s: %v; %d are counted as refused, want 1", listener, err, n)
				}
				return in
			}
			in = append(in, c)
		}
		t.Fatalf("%s let in all of %d clients", listener, all)
		return nil
	}
	outside := crowd("outside")
	mesh := crowd("mesh") // there is room for others here
	if len(outside) < all/4 || len(mesh) < all/20 {
		t.Errorf("let %d in from outside and %d of the mesh; want room for more", len(outside), len(mesh))
	}
	for _, c := range append(outside, mesh...) {
		c.mustPost(t)
	}
	for _, c := range mesh {
		_ = c.Close()
	}
	for _, c := range outside {
		_ = c.Close()
	}
	active := &g.s.Proxy().State().Listener("outside").Traffic.ActiveConnects
	eventually(t, "the clients are gone", func() bool { return active.Load() == 0 })
	mustDial(t, g.addr("outside")).mustPost(t)
}
