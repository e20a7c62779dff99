package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
)

// gatewayEffects are those of testdata/good/asm-gateway.yaml.
var gatewayEffects = []effect{
	{"IstioGateway metadata.name", "  name: edge\n", "  name: rim\n", "error", "IstioGateway istio-system/rim at everything.yaml:2 does not carry istio=edge"},
	{"IstioGateway metadata.namespace", "  namespace: istio-system\n", "  namespace: other\n", "Groups/edge/namespace", `"other"`},
	{"IstioGateway " + drainAt, drainSeconds + `: "30"`, drainSeconds + `: "890"`, "Groups/edge/drain_ns", "890000000000"},
	{"IstioGateway spec.serviceAnnotations", "    " + drainSeconds + ": \"30\"\n", "", "Groups/edge/drain_ns", "15000000000"}, // the older pair is left
	{"IstioGateway spec.serviceType", "serviceType: LoadBalancer", "serviceType: ClusterIP", "error", "a Service of type ClusterIP has no load balancer that could drain"},
	{"IstioGateway spec.replicaCount", "replicaCount: 10\n  minReplicas: 10\n  maxReplicas: 10", "replicaCount: 1", "Groups/edge/replicas", "1"},
	{"IstioGateway spec.minReplicas", "minReplicas: 10", "minReplicas: 2", "error", "replicas that follow the load are not supported yet, and replicaCount is 10"},
	{"IstioGateway spec.maxReplicas", "maxReplicas: 10", "maxReplicas: 12", "error", "replicas that follow the load are not supported yet, and replicaCount is 10"},
	{"IstioGateway spec.podLabels", "podLabels: {tier: front}", "podLabels: {tier: back}", "Groups/edge/labels", `{"app":"istio-edge","istio":"edge","tier":"back"}`},
	{"IstioGateway spec.podLabels", "podLabels: {tier: front}", "podLabels: {tier: back}", "Groups/edge/revision", ""},
}

// istioGatewayOf is an IstioGateway, with the Gateway that selects it.
func istioGatewayOf(annotations, spec string) string {
	return fmt.Sprintf("---\n{apiVersion: istio.alibabacloud.com/v1, kind: IstioGateway, metadata: {name: ingressgateway, annotations: {%s}}, spec: {%s}}\n", annotations, spec)
}

func selecting(labels string) string {
	return istio("Gateway", "front", "default", "selector: {"+labels+`}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"], tls: {httpsRedirect: true}}]`)
}

// groupOf parses documents and returns the only group there is, nil where they do not load, and the rules and fields of the findings.
func groupOf(o Options, documents ...string) (*fleet.GatewayGroup, []string) {
	d, findings := Parse([]File{{Name: "test.yaml", Data: []byte(strings.Join(documents, ""))}}, o)
	lines := []string{}
	for _, f := range findings {
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Severity, f.Rule, f.Field))
	}
	switch {
	case d == nil:
		return nil, lines
	case len(d.Groups) == 0:
		return &fleet.GatewayGroup{}, lines
	}
	return &d.Groups[0], lines
}

// TestDrainTimeouts is what ASM allows each type of gateway to say, and what holds where it is said in two ways.
func TestDrainTimeouts(t *testing.T) {
	const (
		newer  = "metadata.annotations[" + drainSeconds + "]"
		turned = "spec.serviceAnnotations[" + drainSwitch + "]"
		older  = "spec.serviceAnnotations[" + drainOlder + "]"
	)
	asm := func(text string) string { return fmt.Sprintf("%s: %q", drainSeconds, text) }
	pair := func(state, text string) string {
		return fmt.Sprintf("serviceAnnotations: {%s: %q, %s: %q}", drainSwitch, state, drainOlder, text)
	}
	for _, c := range []struct {
		annotations, spec string
		want              time.Duration // -1: does not load
		finding           string        // the only one; "" for none
	}{
		{"", "", 0, ""},
		{asm("10"), "", 10 * time.Second, ""},
		{asm("890"), "serviceType: LoadBalancer", 890 * time.Second, ""},
		{asm("891"), "", -1, "error invalid " + newer},
		{asm("9"), "", -1, "error invalid " + newer},
		{asm("9"), "serviceType: ClusterIP", -1, "error invalid " + newer},
		{asm("10"), "serviceType: NodePort", 10 * time.Second, ""},
		{asm("86400"), "serviceType: ClusterIP", 24 * time.Hour, ""},
		{asm("2147483647"), "serviceType: NodePort", 2147483647 * time.Second, ""},
		{asm("2147483648"), "serviceType: NodePort", -1, "error invalid " + newer},
		{asm("30s"), "", -1, "error invalid " + newer},
		{asm("30.5"), "", -1, "error invalid " + newer},
		{asm("-30"), "", -1, "error invalid " + newer},
		{asm("+30"), "", -1, "error invalid " + newer},
		{asm(""), "", -1, "error invalid " + newer},
		{drainSeconds + ": 30", "", -1, "error wrong-type " + newer},

		{"", pair("on", "10"), 10 * time.Second, "warning deprecated " + older},
		{"", pair("on", "30"), 30 * time.Second, "warning deprecated " + older},
		{"", pair("on", "31"), -1, "error invalid " + older},
		{"", pair("on", "9"), -1, "error invalid " + older},
		{"", pair("off", "30"), 0, "warning unused " + older},
		{"", pair("off", "31"), -1, "error invalid " + older},
		{"", pair("yes", "30"), -1, "error invalid " + turned},
		{"", fmt.Sprintf("serviceAnnotations: {%s: 'on'}", drainSwitch), -1, "error missing " + older},
		{"", fmt.Sprintf("serviceAnnotations: {%s: 'off'}", drainSwitch), 0, ""},
		{"", fmt.Sprintf("serviceAnnotations: {%s: '30'}", drainOlder), -1, "error missing " + turned},
		{"", "serviceType: ClusterIP, " + pair("on", "30"), 0, "warning unused " + turned},

		{asm("600"), pair("on", "30"), 600 * time.Second, "warning unused " + older},
		{asm("30"), pair("on", "30"), 30 * time.Second, "warning unused " + older},
		{asm("600"), pair("off", "30"), 600 * time.Second, "warning unused " + older},
		{asm("600"), fmt.Sprintf("serviceAnnotations: {%s: 'off'}", drainSwitch), 600 * time.Second, ""},
		{asm("5"), pair("on", "30"), -1, "error invalid " + newer},
	} {
		g, findings := groupOf(options(), istioGatewayOf(c.annotations, c.spec), selecting("istio: ingressgateway"))
		got := time.Duration(-1)
		if g != nil {
			got = g.Drain
		}
		mentioned := c.finding == "" && len(findings) == 0 || slices.Contains(findings, c.finding)
		if got != c.want || !mentioned || slices.ContainsFunc(findings, func(f string) bool { return f != c.finding && c.want >= 0 }) {
			t.Errorf("%s, %s: got %v with %q, want %v with %q", c.annotations, c.spec, got, findings, c.want, c.finding)
		}
	}
}

// TestWhatToWriteForADrainTimeout: whoever does what a message says has no second one.
func TestWhatToWriteForADrainTimeout(t *testing.T) {
	const (
		bare     = `write a whole number of seconds in quotes, 10 to 890 (10 or more for serviceType ClusterIP and NodePort), as in "30"`
		balanced = `must be a whole number of seconds, 10 to 890 for a gateway of serviceType LoadBalancer`
		freely   = "; ClusterIP and NodePort have no upper limit"
	)
	for _, c := range []struct{ annotation, spec, want string }{
		{"30", "", `must be a string, not 30; write "30"`},
		{"9", "", "must be a string, not 9; " + bare},
		{"891", "", "must be a string, not 891; " + bare},
		{"1.5", "", "must be a string, not 1.5; " + bare},
		{"true", "", "must be a string, not true; " + bare},
		{`"9"`, "", `"9" ` + balanced + " (the default)" + freely},
		{`"9"`, "serviceType: LoadBalancer", `"9" ` + balanced + freely},
		{`"9"`, "serviceType: NodePort", `"9" must be a whole number of seconds, 10 or more`},
		{"30s", "", `"30s" ` + balanced + " (the default)" + freely + `; write "30"`},
		{"2m", "serviceType: LoadBalancer", `"2m" ` + balanced + freely + `; write "120"`},
		{"900s", "", `"900s" ` + balanced + " (the default)" + freely},
		{"900s", "serviceType: ClusterIP", `"900s" must be a whole number of seconds, 10 or more; write "900"`},
		{"10.5s", "", `"10.5s" ` + balanced + " (the default)" + freely},
		{"-30s", "", `"-30s" ` + balanced + " (the default)" + freely},
	} {
		text := istioGatewayOf(drainSeconds+": "+c.annotation, c.spec)
		_, findings := Parse([]File{{Name: "test.yaml", Data: []byte(text)}}, options())
		i := slices.IndexFunc(findings, func(f Finding) bool { return f.Field == drainAt })
		if i < 0 || findings[i].Message != c.want {
			t.Errorf("%s, %s: got %v, want %s", c.annotation, c.spec, findings, c.want)
			continue
		}
		lines := strings.SplitAfter(text, "\n")
		if at := strings.Index(lines[findings[i].Line-1], drainSeconds) + 1; findings[i].Column != at {
			t.Errorf("%s: got column %d, want %d: whatever is wrong with it", c.annotation, findings[i].Column, at)
		}
	}
	_, findings := groupOf(options(), istioGatewayOf("", "serviceAnnotations: {"+drainSwitch+": 'on', "+drainOlder+": 60}"))
	if want := "error wrong-type " + olderDrainAt; !slices.Contains(findings, want) {
		t.Errorf("got %q, want %q among them", findings, want)
	}
}

// TestGatewaysSelectByTheNameOfTheIstioGateway: its name and its podLabels are what Gateways select, beside what
// control was started with.
func TestGatewaysSelectByTheNameOfTheIstioGateway(t *testing.T) {
	other := options()
	other.Labels = DefaultLabels()
	other.Labels["tier"] = "front"
	named := strings.Replace(istioGatewayOf("", "podLabels: {stage: canary}"), "name: ingressgateway", "name: web", 1)
	for _, c := range []struct {
		gateway, selector string
		loads             bool
	}{
		{"", "istio: ingressgateway, tier: front", true},
		{"", "istio: web", false},
		{named, "istio: web", true},
		{named, "app: istio-web, stage: canary, tier: front", true},
		{named, "istio: ingressgateway", false},
		{named, "stage: blue", false},
		{named, "", true},
	} {
		g, findings := groupOf(other, c.gateway, selecting(c.selector))
		if loads := g != nil; loads != c.loads {
			t.Errorf("%s selected by %s: loads: got %v, want %v; findings %q", c.gateway, c.selector, loads, c.loads, findings)
		}
	}
	g, _ := groupOf(other, named, selecting("istio: web"))
	want := map[string]string{"istio": "web", "app": "istio-web", "stage": "canary", "tier": "front"}
	if g == nil || !maps.Equal(g.Labels, want) {
		t.Errorf("got %+v, want the labels %v", g, want)
	}
	other.Labels["istio"] = "else"
	if g, findings := groupOf(other, named, selecting("istio: web")); g != nil || !slices.Contains(findings, "error conflict metadata.name") {
		t.Errorf("got %+v with %q, want that --label istio=else contradicts the name", g, findings)
	}
}

// TestAnIstioGatewayAsUsualChangesNoRevision: whoever writes down the gateway that is there does not restart it.
func TestAnIstioGatewayAsUsualChangesNoRevision(t *testing.T) {
	usual, findings := groupOf(options(), istioGatewayOf(drainSeconds+": '60'", "replicaCount: 4"), selecting("istio: ingressgateway"))
	if usual == nil || usual.Revision != "" || len(findings) != 0 {
		t.Fatalf("got %+v with %q, want no revision of its own", usual, findings)
	}
	want := fleet.GatewayGroup{
		Name: fleet.DefaultGroup, Namespace: fleet.GatewayNamespace, Labels: DefaultLabels(), Replicas: 4, Drain: time.Minute,
		Origin: fleet.Origin{File: "test.yaml", Line: 2, Kind: "IstioGateway", Name: "istio-system/ingressgateway"},
	}
	if diff := cmp.Diff(want, *usual); diff != "" {
		t.Errorf("group (-want +got):\n%s", diff)
	}
	labelled, _ := groupOf(options(), istioGatewayOf("", "podLabels: {a: b}"), selecting("istio: ingressgateway"))
	again, _ := groupOf(options(), istioGatewayOf(drainSeconds+": '60'", "podLabels: {a: b}, replicaCount: 7"), selecting("istio: ingressgateway"))
	if labelled.Revision == "" || labelled.Revision != again.Revision {
		t.Errorf("got revisions %q and %q, want one that only labels change", labelled.Revision, again.Revision)
	}
}

// TestWhatIsNullIsNotGiven, as in Kubernetes.
func TestWhatIsNullIsNotGiven(t *testing.T) {
	g, findings := groupOf(options(), istioGatewayOf("", "replicaCount: null, minReplicas: null, serviceType: null, gatewayType: null"), selecting("istio: ingressgateway"))
	if g == nil || g.Replicas != 1 || len(findings) != 0 {
		t.Errorf("got %+v with %q, want 1 replica and nothing to say", g, findings)
	}
}

// TestADrainTimeoutIsANewConfiguration: it is in the digest, so that control sees it change.
func TestADrainTimeoutIsANewConfiguration(t *testing.T) {
	digest := func(seconds string) string {
		return mustParse(t, istioGatewayOf(drainSeconds+": '"+seconds+"'", ""), selecting("istio: ingressgateway")).Digest
	}
	if digest("30") == digest("31") {
		t.Error("the digest did not change with the drain timeout")
	}
}
