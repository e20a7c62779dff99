package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// An endpoint that always has something to say is parted too: nobody waits for it long enough to be on a list.
func TestPartEndpointThatNeverPauses(t *testing.T) {
	for _, asks := range []fleet.HTTP{fleet.HTTP1, fleet.HTTP2} {
		begun := make(chan bool, 1)
		w := newSecureWorld(t, false, Options{LingerTimeout: 5 * time.Second})
		leaves := handleBoth(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := 0; ; n++ {
				if _, err := fmt.Fprintf(rw, "data: %d\n\n", n); err != nil {
					return
				}
				_ = http.NewResponseController(rw).Flush()
				if n == 10 {
					begun <- true
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		})
		w.apply(w.view("leaves=" + leaves))
		c, url := w.browser(asks)
		a, err := c.Get(url + "/events")
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		w.p.PartEndpoint("leaves")
		if b, err := io.ReadAll(a.Body); err != nil || !strings.HasSuffix(string(b), "\n\n") {
			t.Errorf("asked over %v: got %d bytes that end with %.20q, and %v, want whole events and an end", asks, len(b), b[max(0, len(b)-20):], err)
		}
		_ = a.Body.Close()
	}
}
