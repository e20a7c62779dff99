package local

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/process"
)

// writtenFor is what configuration reads of what an agent of the workload is told.
func writtenFor(t *testing.T, w fleet.Workload) (*config.Agent, process.Spec) {
	t.Helper()
	in := &instance{
		key: "shop/web-1", name: "web-1", uid: "abc", workload: &w, service: "web", home: homeAt(5), machine: thisMachine(),
		agents: Agents{Self: "/bin/crossfade", Dir: t.TempDir(), Feed: "unix:/run/feed.sock", Registry: "control"}, inherited: []string{"HOST=old"},
		now: state{incarnation: "abc-7"},
	}
	spec, err := in.spec()
	if err != nil {
		t.Fatal(err)
	}
	agent, findings := config.LoadAgent(in.file())
	for _, finding := range findings {
		t.Error(finding)
	}
	if agent == nil {
		t.FailNow()
	}
	return agent, spec
}

func TestWhatAnAgentIsTold(t *testing.T) {
	w := web(1)
	w.Namespace = "shop"
	w.Labels = map[string]string{"app": "web", "istio-locality": "eu.a.1", "number": "1"}
	w.Ports = []fleet.ContainerPort{{Name: "http", Number: 80}, {Number: 90}}
	w.Readiness.Port, w.Readiness.InitialDelay = 90, 5*time.Second
	w.PreStop = &fleet.PreStop{Exec: []string{"/bin/bye", "$(POD_NAME)"}}
	got, spec := writtenFor(t, w)
	want := &config.Agent{
		Service: "web", Namespace: "shop", Name: "web-1", Incarnation: "abc-7", Address: netip.MustParseAddr("127.1.0.5"),
		Ports: w.Ports, Labels: w.Labels, Weight: 1, Locality: fleet.Locality{Region: "eu", Zone: "a", SubZone: "1"}, Workload: "web", Revision: "1",
		Probe: &fleet.Probe{Check: fleet.Check{
			Path: "/health", Port: 90, InitialDelay: 5 * time.Second, Interval: time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3,
		}},
		PreStop: &fleet.PreStop{Exec: []string{"/bin/bye", "web-1"}},
		Grace:   30 * time.Second,
		Inbound: []string{"127.1.0.5:80=127.2.0.5:80", "127.1.0.5:90=127.2.0.5:90", "127.1.0.5:15021=127.2.0.5:90"},
		Admin:   "127.1.0.5:15000", Readiness: "127.1.0.5:55199", Offline: "127.1.0.5:54199",
		Registry: "control", Feed: "unix:/run/feed.sock",
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(config.Agent{}, "Origin")); diff != "" {
		t.Errorf("what it is told (-want +got):\n%s", diff)
	}
	wantArgs := []string{
		"agent", "--config", spec.Args[2], "--bind", "127.2.0.5", "--start-timeout", "0s", "--log-level", "error", "--", "/bin/app",
	}
	if diff := cmp.Diff(wantArgs, spec.Args); diff != "" {
		t.Errorf("how it is started (-want +got):\n%s", diff)
	}
	if filepath.Base(spec.Args[2]) != "web-1-abc.yaml" {
		t.Errorf("got %s, want a name by which people know whose it is", spec.Args[2])
	}
	if info, err := os.Stat(spec.Args[2]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v: want a file that is nobody else's", info.Mode(), err)
	}
	if last := slices.Index(spec.Env, "HOST=127.2.0.5"); last < slices.Index(spec.Env, "HOST=old") {
		t.Errorf("got %q, want what the application is told after what it inherits", spec.Env)
	}
}

// Each kind of probe and hook arrives as it was meant, and checks that the application itself must answer come in at
// a port apart from its traffic.
func TestProbesAndHooksArrive(t *testing.T) {
	const traffic, checks = "127.1.0.5:80=127.2.0.5:80", "127.1.0.5:15021=127.2.0.5:"
	plain := fleet.Check{Port: 80, Interval: 10 * time.Second, Timeout: time.Second, Healthy: 1, Unhealthy: 3}
	with := func(f func(*fleet.Check)) fleet.Check {
		c := plain
		f(&c)
		return c
	}
	for name, tt := range map[string]struct {
		probe   *fleet.Probe
		hook    *fleet.PreStop
		want    *fleet.Probe
		hooked  *fleet.PreStop
		inbound []string
	}{
		"none": {nil, nil, nil, nil, []string{traffic}},
		"HTTP": {
			&fleet.Probe{Check: fleet.Check{Path: "health"}}, &fleet.PreStop{Path: "bye", Port: 81},
			&fleet.Probe{Check: with(func(c *fleet.Check) { c.Path = "/health" })}, &fleet.PreStop{Path: "/bye", Port: 81},
			[]string{traffic, checks + "80"},
		},
		"HTTPS, elsewhere": {
			&fleet.Probe{Check: fleet.Check{Path: "/", HTTPS: true, Port: 81}}, &fleet.PreStop{Path: "/bye"},
			&fleet.Probe{Check: with(func(c *fleet.Check) { c.Path, c.HTTPS, c.Port = "/", true, 81 })}, &fleet.PreStop{Path: "/bye", Port: 80},
			[]string{traffic, checks + "81"},
		},
		"gRPC": {
			&fleet.Probe{Check: fleet.Check{GRPC: true, Port: 90, Service: "shop.Cart", Interval: 1500 * time.Millisecond, Healthy: 2, Unhealthy: 1}},
			&fleet.PreStop{Sleep: 3 * time.Second},
			&fleet.Probe{Check: fleet.Check{
				GRPC: true, Port: 90, Service: "shop.Cart", Interval: 1500 * time.Millisecond, Timeout: time.Second, Healthy: 2, Unhealthy: 1,
			}},
			&fleet.PreStop{Sleep: 3 * time.Second},
			[]string{traffic, checks + "90"},
		},
		"TCP": {&fleet.Probe{Check: fleet.Check{Port: 81}}, nil, &fleet.Probe{Check: with(func(c *fleet.Check) { c.Port = 81 })}, nil, []string{traffic}},
		"command": {
			&fleet.Probe{Exec: []string{"/bin/true", "$(PORT)"}}, &fleet.PreStop{Exec: []string{"nobody-has-this"}},
			&fleet.Probe{Check: with(func(c *fleet.Check) { c.Port = 0 }), Exec: []string{"/bin/true", "80"}},
			&fleet.PreStop{Exec: []string{"nobody-has-this"}}, // that it is not there is told when it is wanted
			[]string{traffic},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := web(1)
			w.Readiness, w.PreStop = tt.probe, tt.hook
			got, _ := writtenFor(t, w)
			if diff := cmp.Diff(tt.want, got.Probe); diff != "" {
				t.Errorf("probe (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.hooked, got.PreStop); diff != "" {
				t.Errorf("preStop (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.inbound, got.Inbound); diff != "" {
				t.Errorf("inbound (-want +got):\n%s", diff)
			}
		})
	}
}
