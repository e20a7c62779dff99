package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

func TestProbesOfFlags(t *testing.T) {
	for text, want := range map[string]*fleet.Probe{
		"http:///ready":             {Check: fleet.Check{Path: "/ready"}},
		"http://:8080/ready?full=1": {Check: fleet.Check{Path: "/ready?full=1", Port: 8080}},
		"https://:8443/":            {Check: fleet.Check{Path: "/", Port: 8443, HTTPS: true}},
		"grpc://":                   {Check: fleet.Check{GRPC: true}},
		"grpc://:9090/shop.Cart":    {Check: fleet.Check{GRPC: true, Port: 9090, Service: "shop.Cart"}},
		"tcp://:5432":               {Check: fleet.Check{Port: 5432}},
		"exec:pg_isready -q":        {Exec: []string{"pg_isready", "-q"}},
		"http://elsewhere/":         nil,
		"http://:0/":                nil,
		"http://:99999/":            nil,
		"tcp://:1/path":             nil,
		"ftp:///":                   nil,
		"exec:":                     nil,
		"/ready":                    nil,
	} {
		got, err := parseProbe(text)
		if (err == nil) != (want != nil) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

// flagged is what a command line says of an agent.
func flagged(t *testing.T, args ...string) (*agentFlags, *pflag.FlagSet, config.Agent) {
	t.Helper()
	var f agentFlags
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	f.add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	said, findings, err := f.agent(flags)
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v: %v %v", args, findings, err)
	}
	said.Command = []string{"true"}
	return &f, flags, said
}

func TestAnAgentOfFlags(t *testing.T) {
	f, _, said := flagged(t, "--service", "web", "--incarnation", "one-two-three", "--address", "10.0.0.5", "--port", "http=8080", "--port", "9090",
		"--label", "version=v2", "--weight", "3", "--locality", "eu/a", "--probe", "http:///ready", "--probe-interval", "5s", "--pre-stop", "sleep:2s", "--grace", "7s")
	a, err := newAgent(f, &said)
	if err != nil {
		t.Fatal(err)
	}
	want := fleet.Instance{
		Name: "web-one-t", Namespace: "default", Incarnation: "one-two-three", Address: netip.MustParseAddr("10.0.0.5"), Weight: 3,
		Ports: map[string]uint32{"http": 8080}, Labels: map[string]string{"app": "web", "version": "v2"}, Locality: fleet.Locality{Region: "eu", Zone: "a"},
		Check: &fleet.Check{Path: "/ready", Interval: 5 * time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3},
	}
	if diff := cmp.Diff(want, a.Instance, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the instance (-want +got):\n%s", diff)
	}
	if a.First != 8080 || a.Grace != 7*time.Second || a.PreStop.Sleep != 2*time.Second || a.Readiness != ":55199" || a.Offline != "127.0.0.1:54199" || a.Front != nil {
		t.Errorf("got %+v", a)
	}
}

func TestAnAgentBehindDoors(t *testing.T) {
	for name, tt := range map[string]struct {
		args  []string
		bind  string
		first uint32
		inner map[uint32]uint32
		check *fleet.Check
	}{
		"by port": {
			[]string{"--inbound", "9080", "--probe", "http:///"},
			"127.0.0.1", 9080,
			map[uint32]uint32{9080: 9080},
			&fleet.Check{Path: "/", Port: 9080},
		},
		"at another port": {
			[]string{"--inbound", "10.0.0.5:80=127.0.0.1:8080", "--port", "80"}, "127.0.0.1", 80, map[uint32]uint32{80: 8080}, nil,
		},
		"with a door for checks": {
			[]string{"--inbound", "10.0.0.5:80=127.2.0.1:80", "--inbound", "10.0.0.5:15021=127.2.0.1:8081", "--probe", "http://:8081/"},
			"127.2.0.1", 80,
			map[uint32]uint32{80: 80},
			&fleet.Check{Path: "/", Port: 15021},
		},
		"by a port that nobody else reaches": {
			[]string{"--inbound", "9080", "--probe", "http://:9999/"}, "127.0.0.1", 9080, map[uint32]uint32{9080: 9080}, nil,
		},
		"by a connection": {
			[]string{"--inbound", "9080", "--probe", "tcp://:9999"}, "127.0.0.1", 9080, map[uint32]uint32{9080: 9080}, &fleet.Check{},
		},
		"by a command": {
			[]string{"--inbound", "9080", "--probe", "exec:true"}, "127.0.0.1", 9080, map[uint32]uint32{9080: 9080}, nil,
		},
		"over TLS": {
			[]string{"--inbound", "9080", "--probe", "https:///"}, "127.0.0.1", 9080, map[uint32]uint32{9080: 9080}, nil,
		},
	} {
		f, _, said := flagged(t, append([]string{"--service", "web", "--address", "10.0.0.5"}, tt.args...)...)
		a, err := newAgent(f, &said)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if tt.check != nil {
			tt.check.Interval, tt.check.Timeout, tt.check.Healthy, tt.check.Unhealthy = time.Second, time.Second, 1, 3
		}
		if diff := cmp.Diff(tt.check, a.Instance.Check); diff != "" {
			t.Errorf("%s: the check (-want +got):\n%s", name, diff)
		}
		if a.Bind.String() != tt.bind || a.First != tt.first || !cmp.Equal(a.Inner, tt.inner) || a.Front == nil || a.DataPlane == nil {
			t.Errorf("%s: got the application at %v, first %d, %v", name, a.Bind, a.First, a.Inner)
		}
	}
}

// Flags change what they say of whichever Lifecycle holds, and nothing else.
func TestFlagsGoBeforeALifecycle(t *testing.T) {
	theirs := fleet.Lifecycle{
		Name: "web", Delay: time.Second, Warmup: fleet.Warmup{Window: time.Minute, Minimum: 0.2, Aggression: 0.25}, Leave: fleet.DefaultLeave(),
	}
	for name, tt := range map[string]struct {
		args []string
		of   fleet.Lifecycle
		want func(*fleet.Lifecycle)
	}{
		"nothing":   {nil, theirs, func(*fleet.Lifecycle) {}},
		"delay":     {[]string{"--delay", "9s"}, theirs, func(l *fleet.Lifecycle) { l.Delay = 9 * time.Second }},
		"a ramp":    {[]string{"--registration-weight", "ramp"}, theirs, func(l *fleet.Lifecycle) { l.Ramp = true }},
		"no ramp":   {[]string{"--registration-weight", "full"}, fleet.Lifecycle{Ramp: true}, func(l *fleet.Lifecycle) { l.Ramp = false }},
		"no delay":  {[]string{"--delay", "0s"}, theirs, func(l *fleet.Lifecycle) { l.Delay = 0 }},
		"window":    {[]string{"--warmup", "9s"}, theirs, func(l *fleet.Lifecycle) { l.Warmup.Window = 9 * time.Second }},
		"curve":     {[]string{"--curve", "linear"}, theirs, func(l *fleet.Lifecycle) { l.Warmup.Aggression = 1 }},
		"minimum":   {[]string{"--minimum", "50"}, theirs, func(l *fleet.Lifecycle) { l.Warmup.Minimum = 0.5 }},
		"readiness": {[]string{"--readiness", "warm"}, theirs, func(l *fleet.Lifecycle) { l.Ready = fleet.ReadyWarm }},
		"drain":     {[]string{"--drain-callers", "1ms"}, theirs, func(l *fleet.Lifecycle) { l.Leave.Callers = time.Millisecond }},
		"a window of its own": {[]string{"--warmup", "9s"}, fleet.Lifecycle{}, func(l *fleet.Lifecycle) {
			l.Warmup = fleet.Warmup{Window: 9 * time.Second, Minimum: 0.1, Aggression: 0.5}
		}},
		"a power": {[]string{"--curve", "power", "--aggression", "2"}, theirs, func(l *fleet.Lifecycle) { l.Warmup.Aggression = 2 }},
	} {
		f, flags, _ := flagged(t, tt.args...)
		adjust, err := f.life.adjust(flags)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, want := tt.of, tt.of
		adjust(&got)
		tt.want(&want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A second agent on one machine is told which flags give it addresses of its own.
func TestATakenAddressSaysWhichFlags(t *testing.T) {
	first, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var out, errs strings.Builder
	code := run(t.Context(), []string{"agent", "--service", "web", "--offline", "", "--readiness-address", first.Addr().String(), "--", "true"}, &out, &errs)
	if got := errs.String(); code != 1 || !strings.Contains(got, first.Addr().String()) || !strings.Contains(got, "--readiness-address, --offline and, with --inbound, --admin") {
		t.Errorf("exit code %d: %s", code, got)
	}
	if other := errors.New("something else"); taken(other) != other { //nolint:errorlint // the same one
		t.Errorf("got %v", taken(other))
	}
}

// An instance is found among those who left by its own name, as everywhere.
func TestGetDrainsOfAnInstance(t *testing.T) {
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/drains" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode([]drain.Report{{ID: "agent/both-2", Stage: drain.Closed}, {ID: "agent/both-1", Stage: drain.Closed}})
	}))
	defer control.Close()
	for _, name := range []string{"both-2", "agent/both-2"} {
		var out, errs strings.Builder
		if code := run(t.Context(), []string{"get", "drains", name, "--control", control.URL}, &out, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		if got := out.String(); !strings.Contains(got, "agent/both-2") || strings.Contains(got, "both-1") {
			t.Errorf("get drains %s: got\n%s", name, got)
		}
	}
	var out, errs strings.Builder
	if code := run(t.Context(), []string{"get", "gateways", "--admin", control.URL}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "is no control's admin API: name that with --control") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestTheServerOfARegistry(t *testing.T) {
	for url, want := range map[string]string{
		"etcd://user@10.0.0.1:2379,10.0.0.2:2379/prefix?ttl=3s": "10.0.0.1:2379", "zookeeper://zk1,zk2": "zk1:9", "nacos://[::1]/ns": "[::1]:9",
		"nacos://[::1]:8848?api=v1": "[::1]:8848", "etcd+unix:///socket": "", "file:///dir": "", "file://dir/x": "", "control": "", "": "",
	} {
		if got := serverOf(url); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}
