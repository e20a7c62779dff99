//go:build integration

package e2e

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// How long newcomers warm up here, in a straight line from minimum.
const registriesWindow = 3 * time.Second

const registriesYAML = webYAML + `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 3s, minimumPercent: 10, aggression: 1}}}
`

// A registryKind is one in which plain applications register themselves, and agents do beside theirs.
type registryKind struct {
	kind, url string
	needs     string                                     // what runs its server
	addresses []string                                   // where that listens
	join      func(t *testing.T, host string) membership // as an application registers itself
	forgets   bool                                       // when it is killed, it has to be told again
}

// A membership is a registration that an application has made itself.
type membership struct {
	leave func()             // takes it out
	hold  func() (on func()) // has the application not register again until on, however long its registry has it no more
}

func registryKinds() []registryKind {
	return []registryKind{
		{"zookeeper", "zookeeper://127.0.0.1:2181/services", "/usr/share/java/zookeeper.jar", []string{"127.0.0.1:2181"}, joinZooKeeper, false},
		{"nacos", "nacos://127.0.0.1:8848", root + "/.cache/bin/rnacos", []string{"127.0.0.1:8848", "127.0.0.1:9848"}, joinNacos, true},
	}
}

// A registryWorld is a registry, control and a gateway that follow it, and instances.
type registryWorld struct {
	*spread
	registryKind

	process *exec.Cmd
	agents  map[string]*exec.Cmd // by host
	apps    map[string]*exec.Cmd // that register themselves, by host
	members map[string]membership
}

// newRegistryWorld starts everything but instances. Control follows all of the registries; what is told of one is of the first.
func newRegistryWorld(t *testing.T, kind registryKind, also ...registryKind) *registryWorld {
	t.Helper()
	w := &registryWorld{
		registryKind: kind, agents: map[string]*exec.Cmd{}, apps: map[string]*exec.Cmd{}, members: map[string]membership{},
		spread: &spread{mesh: &mesh{dir: t.TempDir(), state: t.TempDir()}, run: t.TempDir(), output: &transcript{}, registry: kind.url},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the programs said:\n%s", w.output)
		}
	})
	for _, address := range append([]string{ingress, gatewayAdmin, controlAdmin}, kind.addresses...) {
		mustBeFree(t, address)
	}
	w.write(t, "web.yaml", registriesYAML)
	w.process = w.startServer(t, kind)
	follows := []string{"--registry", kind.url}
	for _, other := range also {
		w.startServer(t, other)
		follows = append(follows, "--registry", other.url)
	}
	w.program(t, nil, append([]string{
		binary(t), "control", "-f", w.dir, "--socket", w.socket(), "--state", w.state, "--gateway-address", "127.0.0.1", "--log-level", "warn",
	}, follows...)...)
	w.program(t, nil, binary(t), "gateway", "--feed", "unix:"+w.socket(), "--id", "gateway-1", "--state", w.state, "--log-level", "error",
		"--drain", "2s", "--drain-min", "0s", "--drain-notice", "0s", "--drain-long", "2s", "--drain-quiet", "1s", "--drain-spread", "0s", "--grace", "1m")
	eventually(t, soon, func() string {
		if _, err := everyEndpoint(t); err != nil {
			return err.Error()
		}
		return ""
	})
	return w
}

// startServer starts a registry's server where it was before, with what it has kept.
func (w *registryWorld) startServer(t *testing.T, kind registryKind) *exec.Cmd {
	t.Helper()
	if _, err := os.Stat(kind.needs); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and CI skips nothing: run scripts/setup", kind.needs)
		}
		t.Skipf("%s is missing: run scripts/setup", kind.needs)
	}
	_, port, _ := strings.Cut(kind.addresses[0], ":")
	server := w.program(t, nil, filepath.Join(root, "scripts/servers", kind.kind), filepath.Join(w.state, kind.kind), port)
	eventually(t, soon, func() string {
		for _, address := range kind.addresses {
			if !answers(address) {
				return address + " to listen"
			}
		}
		if kind.kind == "zookeeper" && !serves(kind.addresses[0]) {
			return "ZooKeeper to serve"
		}
		return ""
	})
	return server
}

// serves says whether a ZooKeeper that listens has read its data, too: before that it leaves connections hanging.
func serves(address string) bool {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(nc, "srvr")
	answer, _ := io.ReadAll(nc) // it ends the connection
	return strings.Contains(string(answer), "Mode:")
}

// plain starts an application that registers itself when it can serve.
func (w *registryWorld) plain(t *testing.T, host string) {
	t.Helper()
	w.apps[host] = w.program(t, nil, bookinfo(t), "details", "--listen", host+":"+webPort, "--instance", host)
	eventually(t, soon, func() string {
		if !answers(host + ":" + webPort) {
			return host + " to listen"
		}
		return ""
	})
	w.members[host] = w.join(t, host)
}

// beside starts an application whose agent registers it. Nobody calls it but the gateway.
func (w *registryWorld) beside(t *testing.T, host string) {
	t.Helper()
	w.agents[host] = w.instance(t, nil, host, "--drain-quiet", "1s", "--drain-callers", "2s")
}

// stopPlain has an application leave as they do: it takes itself out, goes on for a moment, and ends.
func (w *registryWorld) stopPlain(t *testing.T, host string) {
	t.Helper()
	w.members[host].leave()
	<-time.After(time.Second)
	terminate(t, w.apps[host], 0)
}

// TestRegistries has a gateway send to instances that stand in a registry: some registered themselves there, by a library of
// theirs or by their own hands, and some have an agent that did. Newcomers of both kinds warm up, both leave, and the registry
// is killed and comes back. Nobody loses anything, and nobody begins anew.
func TestRegistries(t *testing.T) {
	for _, kind := range registryKinds() {
		t.Run(kind.kind, func(t *testing.T) {
			w := newRegistryWorld(t, kind)
			const first, second, third, fourth = "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4"
			w.plain(t, first)
			webs(t, []string{first}, "Serving")
			w.newcomer(t, "one with an agent", second, "details-v1", 1, func() { w.beside(t, second) })
			w.newcomer(t, "one without", third, third, 2, func() { w.plain(t, third) })
			w.saysWhere(t)

			w.unharmed(t, "both kinds leave", func(l *load) {
				w.beside(t, fourth)
				webs(t, []string{first, second, third, fourth}, "Serving")
				w.stopPlain(t, first)
				terminate(t, w.agents[second], 0)
				webs(t, []string{third, fourth}, "Serving")
			})
			if e := newest(t, "gone"); e.Reason != kind.kind+" has it no more" {
				t.Errorf("the newest that is gone is %+v, want that %s has it no more", e, kind.kind)
			}
			both := webs(t, []string{third, fourth}, "Serving")
			w.unharmed(t, "the registry is killed and started again", func(l *load) {
				on := w.members[third].hold()
				kill(t, proc{pid: w.process.Process.Pid})
				_ = w.process.Wait()
				eventually(t, soon, func() string { return told(t, "registry.away") })
				l.seconds(t, 1)
				w.process = w.startServer(t, kind)
				eventually(t, soon, func() string { return told(t, "registry.back") })
				if w.forgets {
					eventually(t, soon, func() string { return told(t, "registration.lost") })
					l.seconds(t, 2)
				}
				on()
				if w.forgets {
					eventually(t, soon, func() string { return told(t, "registration.regained") })
				}
				l.seconds(t, 2)
			})
			older(t, "after the registry was killed", both)
			w.unharmed(t, "one that is not the last leaves", func(*load) {
				terminate(t, w.agents[fourth], 0)
				webs(t, []string{third}, "Serving")
			})
		})
	}
}

// TestOneInTwoRegistries moves an application from ZooKeeper to Nacos as people do: for a while it registers itself in both.
// It is one endpoint all the time, and loses nothing.
func TestOneInTwoRegistries(t *testing.T) {
	kinds := registryKinds()
	w := newRegistryWorld(t, kinds[0], kinds[1])
	const moving, other = "127.0.1.1", "127.0.1.2"
	w.plain(t, moving)
	w.plain(t, other)
	both := webs(t, []string{moving, other}, "Serving")
	w.unharmed(t, "one moves to another registry", func(l *load) {
		kinds[1].join(t, moving)
		eventually(t, soon, func() string {
			if text := cli(t, "explain", "web"); !strings.Contains(text, "It registered itself in nacos and zookeeper:") {
				return "both registries to list " + moving + ", got\n" + text
			}
			return ""
		})
		w.members[moving].leave()
		eventually(t, soon, func() string {
			if text := cli(t, "explain", "web"); !strings.Contains(text, "It registered itself in nacos:") {
				return "Nacos alone to list " + moving + ", got\n" + text
			}
			return ""
		})
		l.seconds(t, 1)
	})
	older(t, "after it has moved", both)
	if e := newest(t, "gone"); e.Kind != "" {
		t.Errorf("%+v, want nobody gone", e)
	}
}

// told is "" once control has told of something.
func told(t *testing.T, kind string) string {
	t.Helper()
	if newest(t, kind).Kind == "" {
		return "the event " + kind
	}
	return ""
}

// unharmed does something under load that must lose nothing.
func (w *registryWorld) unharmed(t *testing.T, what string, during func(*load)) []sighting {
	t.Helper()
	l := beginLoad(t, 100, "--endpoint-header", "x-bookinfo-instance", "http://"+ingress+"/details/0")
	l.seconds(t, 1)
	began := time.Now()
	during(l)
	took := time.Since(began)
	account, shots := l.stop(t)
	gone := lost(shots)
	t.Logf("%s: %v, %d requests, %d lost", what, took.Round(time.Millisecond), account.Sent, len(gone))
	if len(gone) > 0 || account.OK == 0 {
		t.Errorf("%s: %d requests were lost of %d, want none: %v; the first %+v", what, len(gone), account.Sent, account.Lost, gone[:min(3, len(gone))])
	}
	all := make([]sighting, len(shots))
	for i, s := range shots {
		all[i] = sighting{s, l.zero.Add(s.Sent)}
	}
	return all
}

// newcomer starts one more beside so many that are warm, under load, and sees that it gets what the curve gives it.
func (w *registryWorld) newcomer(t *testing.T, what, host, name string, beside int, start func()) {
	t.Helper()
	var born time.Time
	closest := time.Hour
	shots := w.unharmed(t, what+" comes", func(l *load) {
		start()
		eventually(t, late, func() string {
			asked := time.Now()
			all, err := everyEndpoint(t)
			took := time.Since(asked)
			i := slices.IndexFunc(all, func(e endpoint) bool { return e.host() == host && e.Age > 0 })
			if err != nil || i < 0 {
				return fmt.Sprintf("%s, got %+v, %v", host, all, err)
			}
			if took < closest {
				closest, born = took, asked.Add(took/2-all[i].Age)
			}
			if all[i].Stage != "Serving" {
				return host + " to be warm"
			}
			return ""
		})
		l.seconds(t, 1)
	})
	r := recipe{"web", minimum, 1, 1, 1}
	var due, variance float64
	got := 0
	for _, s := range shots {
		age := s.at.Sub(born)
		if s.Endpoint == name && age < -lateSnapshot {
			t.Errorf("%s got a request %v before it was offered", what, -age)
		}
		if age < 0 || age >= registriesWindow {
			continue
		}
		share := r.share(age, registriesWindow)
		p := share / (share + float64(beside))
		due, variance = due+p, variance+p*(1-p)
		if s.Endpoint == name {
			got++
		}
	}
	z := (float64(got) - due) / math.Sqrt(variance)
	t.Logf("%s: %d requests while it warmed up, %.1f were due, z = %.2f", what, got, due, z)
	if !(math.Abs(z) < chance) || got == 0 {
		t.Errorf("%s got %d requests while it warmed up, %.1f were due: z = %.2f, want less than %d", what, got, due, z, chance)
	}
}

// lateSnapshot is how much earlier than a gateway says somebody may have been offered.
const lateSnapshot = time.Second

// saysWhere sees that people are told where instances are from.
func (w *registryWorld) saysWhere(t *testing.T) {
	t.Helper()
	table := cli(t, "get", "endpoints", "-o", "wide")
	byItself := 0
	for line := range strings.Lines(table) {
		if strings.Contains(line, w.kind+", by itself") {
			byItself++
		}
	}
	if byItself != 2 || strings.Count(table, w.kind) < 3 {
		t.Errorf("two have registered themselves, and one was registered by its agent; got\n%s", table)
	}
	if text := cli(t, "explain", "web"); strings.Count(text, "It registered itself in "+w.kind) != 2 || !strings.Contains(text, "It is registered in "+w.kind+".") {
		t.Errorf("explain does not say where they are from:\n%s", text)
	}
	metrics := ask(t, http.MethodGet, "http://"+controlAdmin+"/stats/prometheus")
	for name, want := range map[string]string{"up": "1", "instances": "3", "foreign_instances": "2", "unread_entries": "0", "lost_instances": "0"} {
		line := fmt.Sprintf("crossfade_registry_%s{registry=%q} %s", name, w.kind, want)
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("there is no metric %s", line)
		}
	}
}

// joinZooKeeper registers an application as Curator does, over a session of its own.
func joinZooKeeper(t *testing.T, host string) membership {
	t.Helper()
	conn, _, err := zk.Connect([]string{"127.0.0.1:2181"}, 10*time.Second, zk.WithLogger(silent{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	for _, parent := range []string{"/services", "/services/web"} {
		eventually(t, soon, func() string { // its server may not have come up
			if _, err := conn.Create(parent, nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				return err.Error()
			}
			return ""
		})
	}
	path := "/services/web/" + host
	payload := fmt.Sprintf(`{"name":"web","id":%q,"address":%q,"port":%s,"sslPort":null,"payload":null,"registrationTimeUTC":%d,"serviceType":"DYNAMIC","uriSpec":null}`,
		host, host, webPort, time.Now().UnixMilli())
	if _, err := conn.Create(path, []byte(payload), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatal(err)
	}
	leave := func() {
		if err := conn.Delete(path, -1); err != nil {
			t.Error(err)
		}
	}
	return membership{leave, func() func() { return func() {} }} // its session is kept
}

// joinNacos registers an application over HTTP, as Nacos's clients did before they had gRPC, and beats for it.
func joinNacos(t *testing.T, host string) membership {
	t.Helper()
	const at = "http://127.0.0.1:8848/nacos/v1/ns/instance"
	call := func(method, url string, form url.Values) error {
		req, err := http.NewRequestWithContext(bounded(t), method, url+"?"+form.Encode(), http.NoBody)
		if err != nil {
			return err
		}
		resp, err := fresh().Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s %s: %s, %w: %s", method, url, resp.Status, err, body)
		}
		return nil
	}
	own := url.Values{"serviceName": {"web"}, "ip": {host}, "port": {webPort}, "ephemeral": {"true"}, "weight": {"1"}, "metadata": {"{}"}}
	if err := call(http.MethodPost, at, own); err != nil {
		t.Fatal(err)
	}
	stop, holds := make(chan struct{}), make(chan bool)
	var done sync.WaitGroup
	done.Go(func() {
		again := time.NewTicker(5 * time.Second)
		defer again.Stop()
		beat := fmt.Sprintf(`{"serviceName":"DEFAULT_GROUP@@web","ip":%q,"port":%s,"weight":1,"ephemeral":true,"metadata":{},"scheduled":true}`, host, webPort)
		for held := false; ; {
			select {
			case <-stop:
				return
			case held = <-holds:
			case <-again.C:
			}
			if !held { // one that fails is followed by the next
				_ = call(http.MethodPut, at+"/beat", url.Values{"serviceName": {"DEFAULT_GROUP@@web"}, "beat": {beat}})
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); done.Wait() })
	t.Cleanup(end)
	leave := func() {
		end()
		if err := call(http.MethodDelete, at, own); err != nil {
			t.Error(err)
		}
	}
	return membership{leave, func() func() {
		holds <- true
		return func() { holds <- false }
	}}
}
