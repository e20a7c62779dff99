package config

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/route"
)

// Small objects, to be put together.
func service(name, namespace string, ports ...int) string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprintf("{name: http-%d, port: %d}", p, p))
	}
	return fmt.Sprintf("---\n{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {app: %s}, ports: [%s]}}\n",
		name, namespace, name, strings.Join(list, ", "))
}

func istio(kind, name, namespace, spec string) string {
	return fmt.Sprintf("---\n{apiVersion: networking.istio.io/v1, kind: %s, metadata: {name: %s, namespace: %s}, spec: {%s}}\n", kind, name, namespace, spec)
}

func gatewayOn(name string, port int, hosts string) string {
	return istio("Gateway", name, "default", fmt.Sprintf("servers: [{port: {number: %d, name: http, protocol: HTTP}, hosts: [%s]}]", port, hosts))
}

func mustParse(t *testing.T, documents ...string) *fleet.Desired {
	t.Helper()
	d, findings := Parse([]File{{Name: "test.yaml", Data: []byte(strings.Join(documents, ""))}}, options())
	if d == nil {
		t.Fatalf("does not load:\n%s", text(findings))
	}
	return d
}

// sends returns where a request goes: the services and subsets of the rule that it falls under.
func sends(t *testing.T, d *fleet.Desired, listener, host, path string) string {
	t.Helper()
	i := slices.IndexFunc(d.Listeners, func(l fleet.Listener) bool { return l.Name == listener })
	if i < 0 {
		t.Fatalf("there is no listener %s", listener)
	}
	table, err := route.Compile(&d.Listeners[i])
	if err != nil {
		t.Fatal(err)
	}
	r := table.Match(&route.Request{Method: []byte("GET"), Host: []byte(host), Path: []byte(path)}).Rule
	if r == nil {
		return ""
	}
	var list []string
	for _, to := range r.Route.Destinations {
		list = append(list, strings.Trim(to.Service+"/"+to.Subset, "/"))
	}
	return strings.Join(list, " ")
}

type request struct{ listener, host, path, want string }

func checkSends(t *testing.T, d *fleet.Desired, requests []request) {
	t.Helper()
	for _, r := range requests {
		if got := sends(t, d, r.listener, r.host, r.path); got != r.want {
			t.Errorf("%s %s%s: got %q, want %q", r.listener, r.host, r.path, got, r.want)
		}
	}
}

func TestServicesAnswerToEverySpelling(t *testing.T) {
	d := mustParse(t, service("reviews", "default", 9080), service("reviews", "prod", 80, 9080))
	checkSends(t, d, []request{
		{"mesh", "reviews:9080", "/", "reviews:9080"},
		{"mesh", "reviews", "/", "reviews:9080"}, // its only port
		{"mesh", "reviews.default.svc:9080", "/", "reviews:9080"},
		{"mesh", "reviews.default.svc.cluster.local", "/", "reviews:9080"},
		{"mesh", "reviews:80", "/", "reviews:9080"},
		{"mesh", "reviews.prod:9080", "/", "reviews.prod:9080"},
		{"mesh", "reviews.prod", "/", "reviews.prod:80"}, // port 80 goes without saying
		{"mesh", "reviews.staging:9080", "/", ""},
	})
}

func TestShortNamesMeanTheNamespaceOfWhoWritesThem(t *testing.T) {
	d := mustParse(t, service("reviews", "default", 9080), service("reviews", "prod", 9080),
		gatewayOn("front", 80, `"*"`),
		istio("VirtualService", "a", "default", "hosts: [a.com], gateways: [front], http: [{route: [{destination: {host: reviews}}]}]"),
		istio("VirtualService", "b", "prod", "hosts: [b.com], gateways: [default/front], http: [{route: [{destination: {host: reviews}}]}]"),
		istio("VirtualService", "c", "prod", "hosts: [c.com], gateways: [front.default.svc.cluster.local], http: [{route: [{destination: {host: reviews.default.svc.cluster.local}}]}]"),
	)
	checkSends(t, d, []request{
		{"http-80", "a.com", "/", "reviews:9080"},
		{"http-80", "b.com:8080", "/", "reviews.prod:9080"},
		{"http-80", "c.com", "/", "reviews:9080"},
		{"http-80", "d.com", "/", ""},
	})
}

func TestMeshVirtualServiceReplacesTheDefaultRouteOfItsHost(t *testing.T) {
	d := mustParse(t, service("reviews", "default", 9080), service("ratings", "default", 80, 9080),
		istio("DestinationRule", "reviews", "default", "host: reviews, subsets: [{name: v1, labels: {version: v1}}]"),
		istio("VirtualService", "reviews", "default", "hosts: [reviews, outside.example.com], http: [{match: [{uri: {prefix: /v1}}], route: [{destination: {host: reviews, subset: v1}}]}]"),
		istio("VirtualService", "ratings", "default", `hosts: ["*.default.svc.cluster.local"], http: [{route: [{destination: {host: ratings}}]}]`),
	)
	checkSends(t, d, []request{
		{"mesh", "reviews:9080", "/v1/x", "reviews:9080/v1"},
		{"mesh", "reviews:9080", "/other", ""}, // as in Istio: its routes are all there are
		{"mesh", "outside.example.com", "/v1", "reviews:9080/v1"},
		{"mesh", "ratings:9080", "/", "ratings:9080"}, // the port that the request names
		{"mesh", "ratings", "/", "ratings:80"},
	})
}

func TestGatewayAndVirtualServiceShareTheNarrowerHost(t *testing.T) {
	d := mustParse(t, service("a", "default", 80),
		gatewayOn("front", 80, `"*.example.com", shop.example.org`),
		istio("VirtualService", "all", "default", `hosts: ["*"], gateways: [front], http: [{match: [{uri: {exact: /all}}], route: [{destination: {host: a}}]}]`),
		istio("VirtualService", "www", "default", `hosts: [www.example.com], gateways: [front], http: [{route: [{destination: {host: a}}]}]`),
		istio("VirtualService", "net", "default", `hosts: [www.example.net], gateways: [front], http: [{route: [{destination: {host: a}}]}]`),
	)
	checkSends(t, d, []request{
		{"http-80", "x.example.com", "/all", "a:80"},
		{"http-80", "shop.example.org", "/all", "a:80"},
		{"http-80", "www.example.com", "/x", "a:80"},
		{"http-80", "example.com", "/all", ""},
		{"http-80", "www.example.net", "/", ""},
	})
}

func TestVirtualServicesOfOneHostAreMergedAndTheCatchAllGoesLast(t *testing.T) {
	d := mustParse(t, service("a", "default", 80), service("b", "default", 80),
		gatewayOn("front", 80, `"*"`),
		istio("VirtualService", "a", "default", `hosts: [x.com], gateways: [front], http: [{route: [{destination: {host: a}}]}]`),
		istio("VirtualService", "b", "default", `hosts: [x.com], gateways: [front], http: [{match: [{uri: {prefix: /b}}], route: [{destination: {host: b}}]}]`),
	)
	checkSends(t, d, []request{
		{"http-80", "x.com", "/b/1", "b:80"},
		{"http-80", "x.com", "/a", "a:80"},
	})
}

func TestGatewaysOnOnePortShareAListener(t *testing.T) {
	d := mustParse(t, service("a", "default", 80),
		gatewayOn("one", 80, "a.com"), gatewayOn("two", 80, "b.com"), gatewayOn("three", 9000, `"*"`),
		istio("VirtualService", "a", "default", `hosts: ["*"], gateways: [one, two, three], http: [{route: [{destination: {host: a}}]}]`),
	)
	var got []string
	for _, l := range d.Listeners {
		got = append(got, l.Name+" "+l.Address)
	}
	want := []string{"http-80 0.0.0.0:8080", "http-9000 0.0.0.0:9000", "mesh 127.0.0.1:15001"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	checkSends(t, d, []request{
		{"http-80", "a.com", "/", "a:80"},
		{"http-80", "b.com", "/", "a:80"},
		{"http-80", "c.com", "/", ""},
		{"http-9000", "c.com", "/", "a:80"},
	})
}

func TestMostSpecificDestinationRuleHolds(t *testing.T) {
	d := mustParse(t, service("a", "default", 80), service("b", "default", 80), service("c", "prod", 80),
		istio("DestinationRule", "all", "default", `host: "*.svc.cluster.local", trafficPolicy: {loadBalancer: {warmup: {duration: 1s}}}`),
		istio("DestinationRule", "here", "default", `host: "*.default.svc.cluster.local", trafficPolicy: {loadBalancer: {warmup: {duration: 2s}}}`),
		istio("DestinationRule", "a", "default", `host: a, trafficPolicy: {loadBalancer: {warmup: {duration: 3s}}}`),
	)
	got := map[string]string{}
	for _, s := range d.Services {
		got[s.Name] = s.Pools[0].Policy.Warmup.Window.String()
	}
	want := map[string]string{"a:80": "3s", "b:80": "2s", "c.prod:80": "1s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("windows (-want +got):\n%s", diff)
	}
}

func TestSubsetsLoadBalancerReplacesTheRulesWhole(t *testing.T) {
	d := mustParse(t, service("a", "default", 80), istio("DestinationRule", "a", "default",
		`host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 2s, aggression: 3}}},
		subsets: [{name: same}, {name: own, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}, {name: default, trafficPolicy: {}}]`))
	curve := fleet.Policy{
		Algorithm: fleet.RoundRobin,
		Warmup:    fleet.Warmup{Window: 2_000_000_000, Minimum: 0.1, Aggression: 3},
	}
	for i, want := range []fleet.Policy{curve, curve, {Algorithm: fleet.LeastRequest}, curve} {
		if diff := cmp.Diff(want, d.Services[0].Pools[i].Policy); diff != "" {
			t.Errorf("pool %q (-want +got):\n%s", d.Services[0].Pools[i].Subset, diff)
		}
	}
}

func TestDigestFollowsWhatIsAskedForAndNotTheOrderOfFiles(t *testing.T) {
	a := File{Name: "a.yaml", Data: []byte(service("a", "default", 80))}
	b := File{Name: "b.yaml", Data: []byte(service("b", "default", 80))}
	digestOf := func(files ...File) string {
		d, findings := Parse(files, options())
		if d == nil {
			t.Fatalf("does not load:\n%s", text(findings))
		}
		return d.Digest
	}
	one, other := digestOf(a, b), digestOf(b, a)
	if one != other {
		t.Errorf("the order of files changed the digest: %s, %s", one, other)
	}
	b.Data = []byte(service("b", "default", 81))
	if changed := digestOf(a, b); changed == one {
		t.Errorf("the digest did not change: %s", one)
	}
}

func TestEveryVersionOfIstiosAPIIsRead(t *testing.T) {
	for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
		rule := strings.Replace(istio("DestinationRule", "a", "default", "host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"), "/v1", "/"+version, 1)
		d := mustParse(t, service("a", "default", 80), rule)
		if got := d.Services[0].Pools[0].Policy.Algorithm; got != fleet.RoundRobin {
			t.Errorf("%s: got %v, want ROUND_ROBIN", version, got)
		}
	}
}

func TestSnakeCaseIsForIstiosFieldsOnly(t *testing.T) {
	mustParse(t, service("a", "default", 80), istio("DestinationRule", "a", "default",
		"host: a, traffic_policy: {load_balancer: {warmup: {duration: 1s, minimum_percent: 5}}}"))
	_, findings := Parse([]File{{Name: "x", Data: []byte("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {a: b}, ports: [{port: 80, target_port: 81}]}}")}}, options())
	if got := text(findings); !strings.Contains(got, `target_port: unknown field; did you mean "targetPort"?`) {
		t.Errorf("got %s", got)
	}
}

func TestJSONIsRead(t *testing.T) {
	d, findings := Parse([]File{{Name: "a.json", Data: []byte("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\"},\n\t\"spec\": {\"selector\": {\"app\": \"a\"}, \"ports\": [{\"port\": 80}]}\n}\n")}}, options())
	if d == nil || len(d.Services) != 1 {
		t.Errorf("does not load:\n%s", text(findings))
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abcd", 1}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"warmUp", "warmup", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q): got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// FuzzParse makes sure that nothing in a file can stop the loader, and that what it lets pass can be compiled.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/broken/*.yaml"} {
		for _, file := range glob(f, pattern) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, findings := Parse([]File{{Name: "fuzz.yaml", Data: data}}, options())
		if (d == nil) != HasErrors(findings) {
			t.Errorf("desired is nil: %v, findings: %s", d == nil, text(findings))
		}
		if d == nil {
			return
		}
		for i := range d.Listeners {
			if _, err := route.Compile(&d.Listeners[i]); err != nil {
				t.Error(err)
			}
		}
		for _, g := range d.Groups {
			if g.Name == "" || g.Namespace == "" || g.Replicas < 1 || g.Replicas > fleet.MaxGatewayReplicas || g.Drain < 0 || g.Labels["istio"] != g.Name {
				t.Errorf("gateway %+v", g)
			}
		}
		for _, s := range d.Services {
			if len(s.Pools) == 0 || s.Port == 0 || s.Port > 65535 {
				t.Errorf("service %+v", s)
			}
			for i := range s.Pools {
				if wrong := wellFormed(&s.Pools[i].Policy); wrong != "" {
					t.Errorf("service %s: %s: %+v", s.Name, wrong, s.Pools[i].Policy)
				}
			}
		}
	})
}

// BenchmarkParse loads 1,000 VirtualServices of 20 routes each on one gateway.
func BenchmarkParse(b *testing.B) {
	var yaml strings.Builder
	yaml.WriteString(service("a", "default", 80) + gatewayOn("front", 80, `"*"`))
	for i := range 1000 {
		fmt.Fprintf(&yaml, "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: v%d\nspec:\n  hosts: [h%d.example.com]\n  gateways: [front]\n  http:\n", i, i)
		for j := range 20 {
			fmt.Fprintf(&yaml, "  - match:\n    - uri:\n        prefix: /r%d\n    route:\n    - destination:\n        host: a\n", j)
		}
	}
	files := []File{{Name: "many.yaml", Data: []byte(yaml.String())}}
	for b.Loop() {
		if d, findings := Parse(files, options()); d == nil {
			b.Fatal(text(findings))
		}
	}
}

func TestAnchorsAndMergeKeysAreWrittenOut(t *testing.T) {
	d := mustParse(t, `
apiVersion: v1
kind: Service
metadata: {name: a, labels: &labels {app: a}, annotations: &more {app: b, tier: web}}
spec:
  selector: {<<: [*labels, *more], tier: db}
  ports: [{port: 80}]
`)
	// A key of the mapping itself goes before those merged in, and of these the first.
	want := map[string]string{"app": "a", "tier": "db"}
	if diff := cmp.Diff(want, d.Services[0].Selector); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
}

func TestGatewayHostForItsOwnNamespace(t *testing.T) {
	route := `gateways: [default/front], http: [{route: [{destination: {host: a.default.svc.cluster.local}}]}]`
	d := mustParse(t, service("a", "default", 80), gatewayOn("front", 80, `"./*"`),
		istio("VirtualService", "here", "default", "hosts: [here.com], "+route),
		istio("VirtualService", "there", "prod", "hosts: [there.com], "+route),
	)
	checkSends(t, d, []request{{"http-80", "here.com", "/", "a:80"}, {"http-80", "there.com", "/", ""}})
}

func TestProbePathDefaultsToTheRoot(t *testing.T) {
	d := mustParse(t, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers:
      - command: [a]
        readinessProbe: {httpGet: {port: 80}}
`)
	want := fleet.Check{Path: "/", Port: 80, Interval: 10e9, Timeout: 1e9, Healthy: 1, Unhealthy: 3}
	if diff := cmp.Diff(want, d.Workloads[0].Readiness.Check); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
}

func TestBooleansAreThoseOfKubernetes(t *testing.T) {
	for text, want := range map[string]string{
		"true": "true", "False": "false", "yes": "true", "On": "true", "no": "false", "off": "false",
		`"yes"`: "none", "1": "none", "y": "none", `"true"`: "none",
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		got := "none"
		if value, ok := boolean(doc.Content[0]); ok {
			got = strconv.FormatBool(value)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestTwoObjectsWithOneNameForPeople(t *testing.T) {
	_, findings := Parse([]File{{Name: "x.yaml", Data: []byte(service("a", "prod", 80) + istio("ServiceEntry", "e", "default",
		"hosts: [a.prod], resolution: STATIC, ports: [{number: 80, name: http}], endpoints: [{address: 127.0.0.1}]"))}}, Options{})
	if got := text(findings); !strings.Contains(got, "a.prod:80 is a name of") {
		t.Errorf("got %s", got)
	}
}
