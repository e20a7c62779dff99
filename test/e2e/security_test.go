//go:build integration

package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// feedAddress is where control is followed from other machines.
const feedAddress = "127.0.0.1:15012"

// A guarded is a control that is followed over TLS, and those who follow it.
type guarded struct {
	*spread
	ours *authority
}

func guard(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{&spread{mesh: &mesh{dir: t.TempDir(), state: t.TempDir()}, run: t.TempDir(), output: &transcript{}}, newAuthority(t, "ours")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the programs said:\n%s", g.output)
		}
	})
	g.write(t, "web.yaml", webYAML)
	own := g.ours.bearer(t, "control")
	g.program(t, nil, binary(t), "control", "-f", g.dir, "--socket", g.socket(), "--state", g.state, "--gateway-address", "127.0.0.1", "--log-level", "warn",
		"--feed-listen", feedAddress, "--feed-cert", own.cert, "--feed-key", own.key, "--feed-ca", g.ours.file)
	eventually(t, soon, func() string {
		if !answers(feedAddress) {
			return "control at " + feedAddress
		}
		return ""
	})
	return g
}

// feed is what --feed says for who shows a certificate and believes in an authority.
func (b bearer) feed(believes *authority) string {
	said := url.Values{"cert": {b.cert}, "key": {b.key}, "ca": {believes.file}}
	return "tls://" + feedAddress + "?" + said.Encode()
}

// gateway starts a gateway that follows control as it is told to.
func (g *guarded) gateway(t *testing.T, id, feed string, more ...string) {
	t.Helper()
	g.program(t, nil, append([]string{
		binary(t), "gateway", "--feed", feed, "--id", id, "--state", t.TempDir(), "--log-level", "error", "--drain", "2s", "--drain-min", "0s",
		"--drain-notice", "0s", "--drain-long", "2s", "--drain-quiet", "1s", "--drain-spread", "0s", "--grace", "1m",
	}, more...)...)
}

// agent starts httpbin with a front before it at an address.
func (g *guarded) agent(t *testing.T, address, feed string) {
	t.Helper()
	inner := strings.Replace(address, "127.0.1.", "127.0.2.", 1)
	app, err := filepath.Abs(filepath.Join(root, "bin", "httpbin"))
	if err != nil {
		t.Fatal(err)
	}
	g.program(t, nil, binary(t), "agent", "--service", "web", "--name", "web-"+address, "--incarnation", "incarnation-"+address, "--address", address, "--port", webPort,
		"--inbound", address+":"+webPort+"="+inner+":"+webPort, "--admin", inner+":15000", "--readiness-address", address+":55199", "--offline", inner+":54199",
		"--feed", feed, "--warmup", "0s", "--drain-callers", "100ms", "--drain-quiet", "1ms", "--log-level", "error", "--", app, "--listen", inner+":"+webPort)
}

// TestFeedOverTLS lets programs with all kinds of certificates follow one control.
func TestFeedOverTLS(t *testing.T) {
	g, theirs := guard(t), newAuthority(t, "theirs")
	g.gateway(t, "gateway-1", g.ours.bearer(t, "gateway", "gateway").feed(g.ours))
	g.program(t, nil, binary(t), "supervise", "--feed", g.ours.bearer(t, "both", "supervisor", "gateway").feed(g.ours), "--state", t.TempDir(), "--address", "127.0.0.2",
		"--admin", "127.0.0.2:15000", "--log-level", "error", "--drain", "2s", "--drain-min", "0s", "--drain-notice", "0s", "--drain-long", "2s", "--drain-quiet", "1s",
		"--drain-spread", "0s", "--grace", "1m")
	good := g.ours.bearer(t, "agent", "agent")
	const first, second = "127.0.1.1", "127.0.1.2"
	g.agent(t, first, good.feed(g.ours))
	g.agent(t, second, good.feed(g.ours))
	for _, at := range []string{ingress, "127.0.0.2:8080"} {
		eventually(t, soon, func() string {
			if got := g.status(t, "http://"+at+"/headers"); got != http.StatusOK {
				return fmt.Sprintf("what a gateway that follows over TLS serves at %s: got %d", at, got)
			}
			return ""
		})
	}
	both := webs(t, []string{first, second}, "Serving")

	t.Run("who is refused", func(t *testing.T) {
		g.agent(t, "127.0.1.11", g.ours.bearer(t, "nobody").feed(g.ours))
		g.agent(t, "127.0.1.12", g.ours.bearer(t, "edge", "gateway").feed(g.ours))
		g.agent(t, "127.0.1.13", theirs.bearer(t, "foreign", "agent").feed(g.ours))
		g.agent(t, "127.0.1.14", good.feed(theirs))
		g.gateway(t, "gateway-2", good.feed(g.ours), "--address", "127.0.0.3", "--admin", "127.0.0.3:15000")
		for who, says := range map[string]string{
			"control of the foreign one":               `"peer":"127\.0\.0\.1:.*signed by unknown authority`,
			"the agent without a role":                 `web-127\.0\.1\.11.*its certificate .*CN=nobody.* names no role in OU`,
			"the agent with a gateway's":               `web-127\.0\.1\.12.*its certificate is for gateway \(OU\), not for .*agent`,
			"the agent of another authority":           `web-127\.0\.1\.13.*remote error: tls: unknown certificate authority`,
			"the agent that believes in somebody else": `web-127\.0\.1\.14.*tls: failed to verify certificate: x509: certificate signed by unknown authority`,
			"the gateway with an agent's":              `gateway-2.*its certificate is for agent \(OU\), not for .*gateway`,
		} {
			pattern := regexp.MustCompile(says)
			eventually(t, soon, func() string {
				if !pattern.MatchString(g.output.String()) {
					return who + " to say " + says
				}
				return ""
			})
		}
		if answers("127.0.0.3:8080") {
			t.Error("the gateway that is refused serves what control has")
		}
	})
	t.Run("a rogue agent", func(t *testing.T) { g.rogue(t, good, "incarnation-"+first) })
	t.Run("fields of ours", func(t *testing.T) { g.fields(t, first, "incarnation-"+second) })
	after := webs(t, []string{first, second}, "Serving")
	for address, was := range both {
		if is := after[address]; is.Incarnation != was.Incarnation || is.Age < was.Age || is.Ramp.Share != 1 {
			t.Errorf("after all that got %+v, want what was there, older, and whole: %+v", is, was)
		}
	}
}

// rogue says of another incarnation whatever can be said, with the certificate of an agent, and instances with others'.
func (g *guarded) rogue(t *testing.T, agent bearer, victim string) {
	t.Helper()
	say := func(with bearer, report map[string]any) error {
		own, err := tls.LoadX509KeyPair(with.cert, with.key)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := grpc.NewClient(feedAddress, grpc.WithDefaultCallOptions(grpc.ForceCodec(inJSON{})),
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: g.ours.pool(), Certificates: []tls.Certificate{own}})))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.Invoke(bounded(t), "/crossfade.feed.v1.Feed/Report", report, &map[string]any{})
	}
	type report = map[string]any
	leaving := []report{{"incarnation": victim, "name": "web", "namespace": "default", "address": "127.0.1.9", "weight": 1000, "leaving": true}}
	edge, looker := g.ours.bearer(t, "edge-1", "gateway"), g.ours.bearer(t, "looker", "observer")
	for what, tt := range map[string]struct {
		with bearer
		says report
	}{
		"another one's instance":             {agent, report{"from": "agent/rogue", "role": "agent", "instances": leaving}},
		"another one's death":                {agent, report{"from": "agent/rogue", "role": "agent", "dead": []string{victim}}},
		"another one's event":                {agent, report{"from": "agent/rogue", "role": "agent", "events": []report{{"kind": "instance.died", "incarnation": victim}}}},
		"that a gateway has left":            {agent, report{"from": "gateway-1", "role": "agent", "leaving": true}},
		"as a gateway, that it has left":     {agent, report{"from": "gateway-1", "role": "gateway", "leaving": true}},
		"as who runs instances, one":         {agent, report{"from": "local", "role": "local", "instances": leaving}},
		"an instance, and is a gateway":      {edge, report{"from": "gateway-9", "role": "gateway", "instances": leaving}},
		"a death, and is a gateway":          {edge, report{"from": "gateway-9", "role": "gateway", "dead": []string{victim}}},
		"replicas, and is a gateway":         {edge, report{"from": "gateway-9", "role": "gateway", "replicas": []report{{"id": "gateway-1"}}}},
		"an agent's leave, and is a gateway": {edge, report{"from": "agent/" + victim, "role": "gateway", "leaving": true}},
		"an instance, and is an observer":    {looker, report{"from": "looker", "role": "observer", "instances": leaving}},
		"a gateway's end, and only looks":    {looker, report{"from": "gateway-1", "role": "observer", "leaving": true}},
	} {
		err := say(tt.with, tt.says)
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("who reports %s: got %v, want that control refuses", what, err)
		}
	}
	if err := say(agent, report{"from": "agent/rogue", "role": "agent"}); err != nil {
		t.Errorf("who reports nothing of others: %v", err)
	}
}

// inJSON is how messages of the feed are written.
type inJSON struct{}

func (inJSON) Marshal(v any) ([]byte, error)   { return json.Marshal(v) }
func (inJSON) Unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }
func (inJSON) Name() string                    { return "json" }

// ourFields are what our programs tell each other in heads.
var ourFields = []string{"Crossfade-Gateway", "Crossfade-Drain", "Crossfade-Refused", "Endpoint-Load-Metrics", "Endpoint-Load-Metrics-Bin"}

// fields sends fields of ours through a gateway, both ways. The front at address shows that they are there to be stripped.
func (g *guarded) fields(t *testing.T, address, other string) {
	t.Helper()
	get := func(target string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, target, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range ourFields {
			req.Header.Set(name, "from-a-client")
		}
		req.Header.Set("X-Stays", "from-a-client")
		resp, err := fresh().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: got %s, %v", target, resp.Status, err)
		}
		return resp, string(body)
	}
	answer := url.Values{"X-Stays": {"from-the-application"}}
	for _, name := range ourFields {
		answer.Set(name, other)
	}
	for range 20 { // whichever of the two is asked
		_, heard := get("http://" + ingress + "/headers")
		if strings.Count(heard, "from-a-client") != 1 || !strings.Contains(heard, "X-Stays") {
			t.Fatalf("the application was told %s, want X-Stays and nothing of ours", heard)
		}
		resp, _ := get("http://" + ingress + "/response-headers?" + answer.Encode())
		for _, name := range ourFields {
			if got := resp.Header.Values(name); len(got) > 0 {
				t.Fatalf("the client was told %s: %q", name, got)
			}
		}
		if got := resp.Header.Get("X-Stays"); got != "from-the-application" {
			t.Fatalf("its neighbour is %q", got)
		}
	}
	if resp, _ := get("http://" + net.JoinHostPort(address, webPort) + "/headers"); resp.Header.Get("Endpoint-Load-Metrics") == "" {
		t.Errorf("the front itself reports no load: %v", resp.Header)
	}
}

// TestReadinessFromElsewhere asks an agent at an address that other machines reach.
func TestReadinessFromElsewhere(t *testing.T) {
	besides(t)
	_, registry := alone(t)
	registered(t, registry, 1)
	for _, path := range []string{"/readiness", "/health", "/liveness"} {
		resp, err := fresh().Get("http://" + nearNet + ":55199" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || len(body) > 0 || resp.Header.Get("Content-Type") != "" {
			t.Errorf("%s from elsewhere: got %s, %v, %q, want 200 and nothing else", path, resp.Status, resp.Header, body)
		}
		if here := ask(t, http.MethodGet, "http://"+aloneReadiness+path); !strings.Contains(here, `"stage":`) {
			t.Errorf("%s here: got %q, want its stage", path, here)
		}
	}
	if answers(nearNet + ":54199") {
		t.Error("/offline can be asked from elsewhere")
	}
}

// s3cret is in everything that must not show it.
const s3cret = "s3cret-that-nobody-sees"

// TestSecretsOfAnAgent gives an agent a token and a password, and looks where others may look.
func TestSecretsOfAnAgent(t *testing.T) {
	dir := t.TempDir()
	token, password := filepath.Join(dir, "token"), filepath.Join(dir, "password")
	for _, path := range []string{token, password} {
		if err := os.WriteFile(path, []byte(s3cret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := &transcript{}
	cmd := exec.Command(binary(t), "agent", "--service", "details", "--address", "127.0.0.1", "--inbound", "127.0.0.1:9081="+aloneApp, "--drain-callers", "100ms",
		"--registry", "etcd://root@127.0.0.1:1/?password-file="+password, "--offline-token-file", token, "--log-level", "debug",
		"--", bookinfo(t), "details", "--listen", aloneApp)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Env = append(os.Environ(), "CROSSFADE_REGISTRY_PASSWORD="+s3cret)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, soon, func() string {
		if !answers(gatewayAdmin) || !answers(aloneOffline) || !strings.Contains(said.String(), "the registry is away") {
			return "the agent's doors, and that the registry is away: " + said.String()
		}
		return ""
	})
	shown := map[string]string{"its log": said.String(), "readiness": ask(t, http.MethodGet, "http://"+aloneReadiness+"/liveness")}
	for _, path := range []string{"/config_dump", "/stats", "/clusters", "/server_info", "/api/v1/endpoints"} {
		shown[path] = ask(t, http.MethodGet, "http://"+gatewayAdmin+path)
	}
	for _, p := range append(descendants(t, cmd.Process.Pid), proc{args: argsOf(t, cmd.Process.Pid)}) {
		shown["ps: "+p.String()] = strings.Join(p.args, " ")
		shown["what the application is told"] += p.env["CROSSFADE_REGISTRY_PASSWORD"]
	}
	for _, with := range []string{"", "Bearer another"} {
		req, err := http.NewRequestWithContext(bounded(t), http.MethodPost, "http://"+aloneOffline+"/offline", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", with)
		resp, err := fresh().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if shown["/offline with "+with] = string(body); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("/offline with %q is %d, want 401", with, resp.StatusCode)
		}
	}
	_, err := try(t, "agent", "--service", "web", "--registry", "etcd://root:"+s3cret+"@127.0.0.1:1/", "--", "true")
	if err == nil || !strings.Contains(err.Error(), "password-file") {
		t.Errorf("a password in the URL: got %v, want that a file is wanted", err)
	} else if _, stderr, _ := strings.Cut(err.Error(), "\n"); true { // the first line is this test's own
		shown["the refusal"] = stderr
	}
	for where, text := range shown {
		if strings.Contains(text, s3cret) {
			t.Errorf("%s shows the secret:\n%s", where, text)
		}
	}
	terminate(t, cmd, 0)
}

// TestUpKeepsToItself looks at the doors and papers of everything that `up` runs, with a secret in the configuration.
func TestUpKeepsToItself(t *testing.T) {
	m := launch(t, "httpbin", func(m *mesh) {
		m.rewriteIn(t, "gateway.yaml", regexp.MustCompile(`replicaCount: 10`), "replicaCount: 1")
		m.rewriteIn(t, "httpbin.yaml", regexp.MustCompile(`        ports:\n`), "        env: [{name: PASSWORD, value: "+s3cret+"}]\n$0")
	})
	replica := await(t, "httpbin", "Serving", "Warming")
	var socket string
	for _, p := range m.find(t, func(p proc) bool { return strings.HasPrefix(p.name(), "crossfade") }) {
		if text := strings.Join(p.args, " "); strings.Contains(text, s3cret) {
			t.Errorf("ps shows the secret: %s", text)
		}
		for _, at := range listening(t, p.pid) {
			if !at.IsLoopback() {
				t.Errorf("%s listens on %v, want loopback only", p, at)
			}
		}
		if isGateway(p) {
			socket = strings.TrimPrefix(p.after("--feed"), "unix:")
		}
	}
	for _, at := range []string{gatewayAdmin, controlAdmin, replica.host() + ":15000"} {
		if dump := ask(t, http.MethodGet, "http://"+at+"/config_dump"); strings.Contains(dump, s3cret) {
			t.Errorf("http://%s/config_dump shows the secret:\n%s", at, dump)
		}
	}
	run := filepath.Dir(socket)
	documents, err := filepath.Glob(filepath.Join(run, "agents", "*.yaml"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("no agent's document in %s: %v", run, err)
	}
	// The directory guards what is in it; within it, and in the state, nobody else may write.
	for path, want := range map[string]os.FileMode{run: 0o700, socket: 0o600, filepath.Join(run, "etcd.sock"): 0o755, documents[0]: 0o600, filepath.Join(m.state, "etcd"): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^want != 0 {
			t.Errorf("%s: got %v, %v, want no more than %o", path, info.Mode(), err, want)
		}
	}
}
