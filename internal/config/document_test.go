package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// read is what LoadAgent makes of what an agent's document says.
func read(t rapid.TB, file string, a *Agent) *Agent {
	t.Helper()
	data, err := a.Document()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, findings := LoadAgent(file)
	if got == nil {
		t.Fatalf("what was written is not read:\n%s\n%s", text(findings), data)
	}
	return got
}

// asWritten compares agents but for where they came from.
func asWritten() cmp.Options {
	return cmp.Options{
		cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), cmpopts.EquateApprox(1e-12, 0), cmpopts.IgnoreTypes(fleet.Origin{}),
		cmpopts.IgnoreFields(fleet.Lifecycle{}, "Name", "Namespace"),
	}
}

// A document says all that the file says which it came from.
func TestADocumentOfAFile(t *testing.T) {
	a, findings := LoadAgent("testdata/agent/agent.yaml")
	if a == nil {
		t.Fatal(text(findings))
	}
	a.OfflineToken = "/run/token"
	if diff := cmp.Diff(a, read(t, filepath.Join(t.TempDir(), "a.yaml"), a), asWritten()); diff != "" {
		t.Errorf("what is read of what was written (-want +got):\n%s", diff)
	}
}

// Whatever an agent may be told is read as it was written.
func TestDocuments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	rapid.Check(t, func(t *rapid.T) {
		a := drawAgent(t)
		if diff := cmp.Diff(a, read(t, file, a), asWritten()); diff != "" {
			t.Errorf("what is read of what was written (-want +got):\n%s", diff)
		}
	})
}

func TestADocumentThatHasNoWords(t *testing.T) {
	a := Agent{Name: "web", StartTimeout: time.Second}
	if data, err := a.Document(); err == nil {
		t.Errorf("got %s, want an error", data)
	}
}

func drawSpan(t *rapid.T, name string) time.Duration {
	return time.Duration(rapid.IntRange(1, 3_600_000).Draw(t, name)) * time.Millisecond
}

func drawName(t *rapid.T, name string) string {
	return rapid.StringMatching(`[a-z]([a-z0-9]{0,8}[a-z0-9])?`).Draw(t, name)
}

func drawAgent(t *rapid.T) *Agent {
	words := rapid.SliceOfN(rapid.StringMatching(`[ -~äß]{1,8}`), 1, 3)
	a := &Agent{
		Service: drawName(t, "service"), Namespace: drawName(t, "namespace"), Name: drawName(t, "name"), Incarnation: drawName(t, "incarnation"),
		Weight: rapid.Uint32Range(0, 1000).Draw(t, "weight"), Workload: drawName(t, "workload"), Revision: drawName(t, "revision"),
		Labels: map[string]string{"app": drawName(t, "app")}, Grace: drawSpan(t, "grace"),
		Registry: rapid.SampledFrom([]string{"", "control", "etcd://a:1/b?ttl=3s"}).Draw(t, "registry"), Feed: "unix:/feed.sock",
		Hold:    rapid.SampledFrom([][]string{nil, {"etcd://a:1,b:2/c?listen=127.0.0.1:3&prefix=/d"}}).Draw(t, "hold"),
		Command: words.Draw(t, "command"),
	}
	if rapid.Bool().Draw(t, "placed") {
		a.Address, a.Locality = netip.MustParseAddr("2001:db8::7"), fleet.Locality{Region: "eu", Zone: "a"}
		a.Inbound, a.Admin, a.Readiness, a.Offline = []string{"9080"}, "127.0.0.1:15000", ":55199", "127.0.0.1:54199"
		a.Ports = []fleet.ContainerPort{{Name: "http", Number: 80}, {Number: 65535}}
	}
	port := rapid.SampledFrom([]uint32{0, 80}).Draw(t, "port")
	if kind := rapid.IntRange(0, 5).Draw(t, "probe"); kind > 0 {
		a.Probe = &fleet.Probe{Check: fleet.Check{
			InitialDelay: drawSpan(t, "delay") - time.Millisecond, Interval: drawSpan(t, "interval"), Timeout: drawSpan(t, "timeout"), Healthy: 2, Unhealthy: 1000,
		}}
		a.StartTimeout = drawSpan(t, "start")
		switch kind {
		case 1:
			a.Probe.Path, a.Probe.Port = "/ready?a=b", port
		case 2:
			a.Probe.Path, a.Probe.HTTPS, a.Probe.Port = "/", true, port
		case 3:
			a.Probe.GRPC, a.Probe.Service, a.Probe.Port = true, "a.B", port
		case 4:
			a.Probe.Port = port
		case 5:
			a.Probe.Exec = words.Draw(t, "exec")
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "preStop") {
	case 1:
		a.PreStop = &fleet.PreStop{Sleep: drawSpan(t, "sleep")}
	case 2:
		a.PreStop = &fleet.PreStop{Path: "/bye", Port: port}
	case 3:
		a.PreStop = &fleet.PreStop{Exec: words.Draw(t, "hook")}
	}
	if rapid.Bool().Draw(t, "lifecycle") {
		a.Lifecycle = drawLifecycle(t)
	}
	return a
}

func drawLifecycle(t *rapid.T) *fleet.Lifecycle {
	l := fleet.DefaultLifecycle()
	l.Off, l.Ramp = rapid.Bool().Draw(t, "off"), rapid.Bool().Draw(t, "ramp")
	l.Delay = drawSpan(t, "delay") - time.Millisecond
	l.Warmup = fleet.Warmup{
		Window: drawSpan(t, "window") - time.Millisecond, Minimum: rapid.Float64Range(0, 1).Draw(t, "minimum"),
		Aggression: rapid.SampledFrom([]float64{0.01, 0.5, 1, 2.25, 100}).Draw(t, "aggression"),
	}
	l.Ready = rapid.SampledFrom([]fleet.ReadyWhen{"", fleet.ReadyRegistered, fleet.ReadyWarm}).Draw(t, "ready")
	quiet := drawSpan(t, "quiet")
	l.Leave = fleet.Leave{Quiet: quiet, Callers: quiet + time.Second, Timeout: quiet + time.Minute}
	l.Front = fleet.FrontLimits{Least: 1, Most: rapid.IntRange(1, 1000).Draw(t, "most"), MaxWait: drawSpan(t, "wait")}
	if rapid.Bool().Draw(t, "requests") {
		l.Requests = &fleet.WarmupRequests{
			Requests: []fleet.WarmupRequest{
				{Protocol: "http2", Method: "POST", Path: "/a?b", Host: "c", Headers: []fleet.Header{{Name: "d", Value: "e"}, {Name: "f", Value: ""}}, Body: []byte{0xff}, Port: 80, Weight: 3},
				{Protocol: "grpc", Method: "a.B/C", Body: rapid.SliceOf(rapid.Byte()).Draw(t, "message"), Weight: 1},
			},
			Record: &fleet.Record{Paths: []string{"/"}, Keep: 7}, Time: drawSpan(t, "time"), Concurrency: 9,
			Count: rapid.IntRange(0, 10).Draw(t, "count"), Refuse: rapid.Bool().Draw(t, "refuse"),
		}
	}
	return &l
}
