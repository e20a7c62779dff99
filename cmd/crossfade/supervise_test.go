package main

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/supervisor"
)

// A replica's command line is one that `crossfade gateway` understands, and says what the supervisor was told.
func TestReplicaIsToldWhatItsSupervisorWas(t *testing.T) {
	f := superviseFlags{
		feed: "unix:/run/f.sock", state: "/var/lib/s", health: "", address: netip.MustParseAddr("127.0.0.9"),
		timers: timerFlags{Timers: drain.Timers{Min: 1, Notice: time.Second, Quiet: 3, Requests: 4, Long: 5, Spread: 6}, grace: time.Minute},
		labels: labelFlags{"zone": "a", "team": "shop"},
	}
	if err := f.place.Set("eu/a"); err != nil {
		t.Fatal(err)
	}
	spec := f.replica(supervisor.Order{
		ID: "egress-2", Group: "istio-system/egress", Labels: map[string]string{"istio": "egress", "zone": "b"}, Binary: "/opt/crossfade", Admin: "127.0.0.1:15102",
	}, "/run/d.sock")
	if spec.Name != "egress-2" || spec.Path != "/opt/crossfade" || spec.Orphan != syscall.SIGTERM {
		t.Errorf("got %+v", spec)
	}
	cmd := newGatewayCommand()
	if spec.Args[0] != cmd.Name() {
		t.Errorf("got the command %s, want %s", spec.Args[0], cmd.Name())
	}
	if err := cmd.ParseFlags(spec.Args[1:]); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{
		"id", "group", "feed", "state", "admin", "sockets", "health", "address", "locality", "label", "log-level",
		"drain", "drain-min", "drain-notice", "drain-quiet", "drain-long", "drain-spread", "grace",
	} {
		flag := cmd.Flags().Lookup(name)
		if !flag.Changed {
			t.Errorf("--%s is not said", name)
		}
		got[name] = flag.Value.String()
	}
	want := map[string]string{
		"id": "egress-2", "group": "istio-system/egress", "feed": f.feed, "state": f.state, "admin": "127.0.0.1:15102", "sockets": "unix:/run/d.sock",
		"health": "", "address": "127.0.0.9", "locality": "eu/a", "label": "istio=egress,team=shop,zone=b", "log-level": "INFO",
		"drain": "4ns", "drain-min": "1ns", "drain-notice": "1s", "drain-quiet": "3ns", "drain-long": "5ns", "drain-spread": "6ns", "grace": "1m0s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplicasAreAboveTheirSupervisor(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:15000": "127.0.0.1:15100", "localhost:25000": "127.0.0.1:25100"} {
		if got, err := replicasAt(address); err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", address, got, err, want)
		}
	}
	for _, address := range []string{"nowhere", "127.0.0.1:65500"} {
		if got, err := replicasAt(address); err == nil {
			t.Errorf("%s: got %v, want an error: there is no room for replicas", address, got)
		}
	}
}

func TestReplicasAreNotSystemds(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	t.Setenv("KEPT", "yes")
	env := environment()
	if !slices.Contains(env, "KEPT=yes") || slices.ContainsFunc(env, func(pair string) bool { return strings.HasPrefix(pair, "NOTIFY_SOCKET=") }) {
		t.Errorf("got %q, want it without NOTIFY_SOCKET: a replica that is ready is not the service", env)
	}
}

func TestSuperviseSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		args, want string
		code       int
	}{
		{"supervise", "feed", 2},
		{"supervise --feed http://10.0.0.1:15012", "want unix:PATH, or tls://HOST:PORT", 2},
		{"supervise --feed tls://10.0.0.1:15012", "want a certificate", 2},
		{"supervise --feed unix:/run/f.sock --grace 1s", "1s", 2},
		{"supervise --feed unix:/run/f.sock --admin 0.0.0.0:0", "loopback only", 1},
	} {
		code, _, stderr := crossfade(t.Context(), strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: got exit code %d, %q; want %d, %q", tt.args, code, stderr, tt.code, tt.want)
		}
	}
}
