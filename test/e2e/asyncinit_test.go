//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// initialized is how long examples/asyncinit needs after its port is open, and a while.
const initialized = 10 * time.Second

// TestAsyncInit adds an instance whose port is open long before it can serve. Taken for ready it answers with errors; with
// a delay, or with a probe that asks it, nobody hears any.
func TestAsyncInit(t *testing.T) {
	m := launch(t, "asyncinit", nil)
	services := []string{"naive", "delay", "probed"}
	loads := map[string]*load{}
	for _, service := range services {
		await(t, service, "Serving")
		eventually(t, soon, func() string {
			if got := m.status(t, "http://"+ingress+"/"+service+"/"); got != http.StatusOK {
				return fmt.Sprintf("%s to answer 200, got %d", service, got)
			}
			return ""
		})
	}
	for _, service := range services {
		loads[service] = beginLoad(t, 40, "http://"+ingress+"/"+service+"/")
	}
	loads["naive"].seconds(t, 1)
	scaled := time.Now()
	for _, service := range services {
		scale(t, service, 2)
	}
	for _, service := range services {
		awaitAll(t, service, 2, func(e endpoint) bool { return e.Stage == "Serving" })
		t.Logf("%s: the newcomer served after %v", service, time.Since(scaled).Round(100*time.Millisecond))
	}
	loads["naive"].until(t, scaled.Add(initialized))
	loads["delay"].seconds(t, 2) // both answer
	for _, service := range services {
		account, shots := loads[service].stop(t)
		t.Logf("%s: %d requests, %d lost", service, account.Sent, len(lost(shots)))
		switch n := len(lost(shots)); {
		case service == "naive" && n == 0:
			t.Errorf("invalid run: %s lost nothing of %d, although an instance that cannot serve was taken for ready", service, account.Sent)
		case service != "naive" && n > 0:
			t.Errorf("%s lost %d of %d, want 0: %v", service, n, account.Sent, account.Lost)
		}
	}
}
