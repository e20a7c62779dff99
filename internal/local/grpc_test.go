package local

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// A probe by gRPC asks the application itself, and control asks it through the sidecar.
func TestReadinessByGRPC(t *testing.T) {
	w := web(1)
	w.Readiness = &fleet.Probe{Check: fleet.Check{GRPC: true, Service: "shop.Cart", Port: 90, Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}}
	play(t, func(s *theatre) {
		s.after(5500 * time.Millisecond)
		s.want("web-1 Warming 127.1.0.1")
		s.failing["127.2.0.1"] = true
		s.after(3 * time.Second)
		s.want("web-1 Starting 127.1.0.1")
		want := []string{"instance.started", "probe.passed", `probe.failed: "shop.Cart" at port 90: gRPC NOT_SERVING`}
		if diff := cmp.Diff(want, s.told()); diff != "" {
			s.t.Errorf("events (-want +got):\n%s", diff)
		}
		check := w.Readiness.Check
		check.Port = 15021
		if diff := cmp.Diff(&check, s.instances[0].Check); diff != "" {
			s.t.Errorf("what control looks at (-want +got):\n%s", diff)
		}
	}, w)
}

func TestThisMachineAsksByGRPC(t *testing.T) {
	var status atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		_, _ = fmt.Fprint(w, "\x00\x00\x00\x00\x02\x08", status.Load())
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	status.Store("\x01")
	if err := thisMachine().ask(t.Context(), at, "shop.Cart"); err != nil {
		t.Errorf("got %v of one that serves", err)
	}
	status.Store("\x02")
	if err := thisMachine().ask(t.Context(), at, "shop.Cart"); err == nil || err.Error() != "gRPC NOT_SERVING" {
		t.Errorf("got %v of one that does not", err)
	}
}

// Checks that the application itself must answer go through the sidecar, on a port apart from its traffic.
func TestSidecarPassesChecksOn(t *testing.T) {
	for name, c := range map[string]struct {
		check fleet.Check
		want  []string
	}{
		"HTTP":            {fleet.Check{Path: "/health"}, []string{"127.1.0.1:80=127.2.0.1:80", "127.1.0.1:15021=127.2.0.1:80"}},
		"HTTP, elsewhere": {fleet.Check{Path: "/health", Port: 81}, []string{"127.1.0.1:80=127.2.0.1:80", "127.1.0.1:15021=127.2.0.1:81"}},
		"gRPC":            {fleet.Check{GRPC: true, Port: 90}, []string{"127.1.0.1:80=127.2.0.1:80", "127.1.0.1:15021=127.2.0.1:90"}},
		"TCP":             {fleet.Check{Port: 80}, []string{"127.1.0.1:80=127.2.0.1:80"}},
	} {
		w := web(1)
		w.Readiness = &fleet.Probe{Check: c.check}
		in := &instance{workload: &w, home: home{public: netip.MustParseAddr("127.1.0.1"), private: netip.MustParseAddr("127.2.0.1")}}
		var got []string
		args := in.sidecar().Args
		for i, arg := range args {
			if arg == "--inbound" {
				got = append(got, args[i+1])
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
