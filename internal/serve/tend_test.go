package serve_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"crossfade.dev/internal/serve"
)

// tending counts goroutines that serve a connection, or wait for one.
func tending() int {
	stacks := make([]byte, 4<<20)
	return bytes.Count(stacks[:runtime.Stack(stacks, true)], []byte("serve.(*socket).tend("))
}

// A goroutine whose connection has ended serves the next one; only a few wait for one, and none after the socket has
// been left.
func TestGoroutinesAreUsedAgain(t *testing.T) {
	g := start(t, serve.Options{Timers: quiet(10 * time.Millisecond)}, view(endpoint(t, hello), "outside", anyPort))
	addr := g.addr("outside")
	for range 3 {
		clients := make([]*client, 100)
		for i := range clients {
			clients[i] = mustDial(t, addr)
		}
		for _, c := range clients {
			if _, err := c.post(); err != nil {
				t.Fatal(err)
			}
		}
		if n := tending(); n < len(clients) {
			t.Errorf("got %d goroutines for %d connections", n, len(clients))
		}
		for _, c := range clients {
			_ = c.Close()
		}
		eventually(t, "only a few wait", func() bool { n := tending(); return n > 0 && n <= 16 })
	}
	g.stop()
	if err := <-g.err; err != nil {
		t.Fatal(err)
	}
	eventually(t, "nobody waits for a connection that cannot come", func() bool { return tending() == 0 })
}
