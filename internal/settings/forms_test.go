package settings

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

func (e *Editor) startForm(t interface{ Fatal(...any) }, key string) *StartForm {
	form, err := e.StartForm(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	return form
}

// fillIn applies a form.
func (e *Editor) fillIn(r startRequest) (*Applied, error) {
	return e.apply(context.Background(), "ann", e.proposeStart(&r), r.Digest)
}

func TestGracefulStartIsSwitchedOnForOneWorkload(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	form := e.startForm(t, "default/shop-v1")
	usual := Start{false, 0, 120, "quadratic", 0.5, 10, "registered"}
	if form.Values != usual || form.Document != nil || form.From["enabled"].From != "none" || form.From["warmup_s"].From != "default" || !form.Writable {
		t.Errorf("without a Lifecycle: %+v", form)
	}
	if want := (Target{"lifecycle-shop-v1.yaml", "shop-v1", true, "file"}); form.Target != want {
		t.Errorf("target %+v", form.Target)
	}
	if p := form.Probe; p == nil || p.Path != "/health" || p.Port != 80 || p.Agent || p.File != "shop.yaml" || p.Line != 19 {
		t.Errorf("probe %+v", p)
	}
	if p := e.startForm(t, "default/shop-v2").Probe; !p.Agent || p.Line != 32 {
		t.Errorf("the agent's probe %+v", p)
	}

	want := Start{true, 5, 60, "linear", 1, 10, "warm"}
	r := startRequest{Workload: "default/shop-v1", Digest: &form.Digest, Values: &want}
	p, err := e.check(t.Context(), e.proposeStart(&r), r.Digest)
	if err != nil {
		t.Fatal(err)
	}
	sentence := "Instances of default/shop-v1 that start from now on start gracefully (before: start without graceful start); " +
		"register 5 s after they can serve (before: register as soon as they can serve); have a warm-up of 60 s from 10 %, linear (before: none); " +
		"answer on the readiness port once they are warm (before: registered). Those that run stay as they are."
	if diff := cmp.Diff([]string{sentence, "Lifecycle default/shop-v1 is new."}, p.Effects); diff != "" {
		t.Error(diff)
	}
	if done, err := e.fillIn(r); err != nil || !done.Changed || done.File != "lifecycle-shop-v1.yaml" {
		t.Fatalf("%+v, %v", done, err)
	}
	const text = `apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata:
  name: shop-v1
spec:
  selector:
    matchLabels:
      app: shop
      version: v1
  registration:
    delay: 5s
  warmup:
    duration: 60s
    curve: linear
    minimumPercent: 10
  readiness: warm
`
	if diff := cmp.Diff(text, e.text(t, "lifecycle-shop-v1.yaml")); diff != "" {
		t.Error(diff)
	}
	if form = e.startForm(t, "default/shop-v1"); form.Values != want || form.From["delay_s"] != (From{From: "lifecycle", File: "lifecycle-shop-v1.yaml", Line: 11}) {
		t.Errorf("then: %+v", form)
	}
	if other := e.startForm(t, "default/shop-v2").Values; other != usual {
		t.Errorf("the other version has %+v", other)
	}
	if again, err := e.fillIn(r); err != nil || again.Changed {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	want.WarmupS = 61
	if _, err := e.fillIn(r); !errors.Is(err, ErrDigest) {
		t.Errorf("by what was there before: %v", err)
	}
}

const everybody = `# for all of shop
apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: shop} # its name
spec:
  service: shop
  warmup: {duration: 90s, curve: power, aggression: 0.7} # measured
  drain: {quiet: 3s}
  # more to come
`

func TestAFormSaysWhatGoesBeforeIt(t *testing.T) {
	const rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\nspec:\n  host: shop\n" +
		"  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 40s}}}\n"
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	if form := e.startForm(t, "default/shop-v1"); form.Instead == nil || len(form.Instead) > 0 {
		t.Errorf("without a DestinationRule: %q, want an empty list", form.Instead)
	}
	e = newEditor(t, map[string]string{"shop.yaml": shop, "rule.yaml": rule})
	form := e.startForm(t, "default/shop-v1")
	if len(form.Instead) != 1 || !strings.HasPrefix(form.Instead[0], "shop:80 40 s from 10 %, linear, by ") {
		t.Errorf("with a DestinationRule: %q, want its warm-up", form.Instead)
	}
}

func TestASharedLifecycleIsChangedForAllOrLeftForOne(t *testing.T) {
	files := map[string]string{"shop.yaml": shop, "life.yaml": everybody}
	want := Start{true, 2, 90, "quadratic", 0.5, 10, "registered"}
	e := newEditor(t, files)
	form := e.startForm(t, "default/shop-v2")
	if !slices.Equal(form.Shared, []string{"default/shop-v1"}) || form.Scope != "own" || form.Values != (Start{true, 0, 90, "power", 0.7, 10, "registered"}) {
		t.Errorf("%+v", form)
	}
	if _, err := e.fillIn(startRequest{"default/shop-v2", &form.Digest, "document", &want}); err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(everybody, "curve: power, aggression: 0.7", "curve: quadratic", 1)
	edited = strings.Replace(edited, "{quiet: 3s}\n", "{quiet: 3s}\n  registration:\n    delay: 2s\n", 1)
	if diff := cmp.Diff(edited, e.text(t, "life.yaml")); diff != "" {
		t.Error(diff)
	}
	if got := e.startForm(t, "default/shop-v1").Values; got != want {
		t.Errorf("the other one has %+v", got)
	}

	e = newEditor(t, files)
	if _, err := e.fillIn(startRequest{"default/shop-v2", &form.Digest, "", &want}); err != nil {
		t.Fatal(err)
	}
	own := `---
apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: shop-v2} # its name
spec:
  service: shop
  warmup: {duration: 90s, curve: quadratic} # measured
  drain: {quiet: 3s}
  selector:
    matchLabels:
      app: shop
      version: v2
  registration:
    delay: 2s
  # more to come
`
	if diff := cmp.Diff(everybody+own, e.text(t, "life.yaml")); diff != "" {
		t.Error(diff)
	}
	if got := e.startForm(t, "default/shop-v1").Values; got.DelayS != 0 || got.Curve != "power" {
		t.Errorf("the other one has %+v", got)
	}
	if got := e.startForm(t, "default/shop-v2"); got.Values != want || len(got.Shared) > 0 || got.Scope != "document" {
		t.Errorf("it has %+v", got)
	}
}

func TestLabelsGoBeforeTheForm(t *testing.T) {
	labelled := strings.Replace(shop, "metadata: {labels: {app: shop, version: v1}}", `metadata: {labels: {app: shop, version: v1, mse.lossless.enable: "true", mse.lossless.warmupTime: "30"}}`, 1)
	e := newEditor(t, map[string]string{"shop.yaml": labelled})
	form := e.startForm(t, "default/shop-v1")
	if f := form.From["warmup_s"]; form.Values.WarmupS != 30 || !form.Values.Enabled || !f.Fixed || f.From != "label" || f.Line != 14 {
		t.Errorf("%+v", form)
	}
	want := form.Values
	want.WarmupS = 60
	var refused *refusal
	if _, err := e.fillIn(startRequest{Workload: "default/shop-v1", Digest: &form.Digest, Values: &want}); !errors.As(err, &refused) || refused.findings[0].Input != "warmup_s" {
		t.Errorf("against a label: %v", err)
	}
	want = form.Values
	want.DelayS = 7
	if _, err := e.fillIn(startRequest{Workload: "default/shop-v1", Digest: &form.Digest, Values: &want}); err != nil {
		t.Fatal(err)
	}
	if got := e.startForm(t, "default/shop-v1").Values; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAFormSaysWhatIsWrongWithItsFields(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	good := Start{true, 5, 60, "power", 0.5, 10, "registered"}
	for input, spoil := range map[string]func(*Start){
		"delay_s":         func(s *Start) { s.DelayS = -1 },
		"warmup_s":        func(s *Start) { s.WarmupS = 86401 },
		"curve":           func(s *Start) { s.Curve = "cubic" },
		"aggression":      func(s *Start) { s.Aggression = 1000 },
		"minimum_percent": func(s *Start) { s.MinimumPercent = 101 },
		"readiness":       func(s *Start) { s.Readiness = "" },
	} {
		want := good
		spoil(&want)
		var refused *refusal
		_, err := e.fillIn(startRequest{Workload: "default/shop-v1", Values: &want})
		if !errors.As(err, &refused) || refused.findings[0].Input != input {
			t.Errorf("%s: %v %+v", input, err, refused)
		}
	}
	if _, err := e.fillIn(startRequest{Workload: "default/none", Values: &good}); !errors.Is(err, ErrUnknown) {
		t.Errorf("nobody's form: %v", err)
	}
	if _, err := e.fillIn(startRequest{Workload: "default/shop-v1"}); !errors.Is(err, ErrRequest) {
		t.Errorf("no values: %v", err)
	}
}

// TestWorkloadsOfAgentsHaveAForm is about instances that nobody here runs.
func TestWorkloadsOfAgentsHaveAForm(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: far}\nspec:\n  selector: {app: far}\n  ports: [{port: 80}]\n"})
	e.Store = theStore{"default/far": "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: far}\nspec: {service: far}\n"}
	e.Snapshot = func() *fleet.Snapshot {
		labels := map[string]string{"app": "far", "pod": "1"}
		other := maps.Clone(labels)
		other["pod"] = "2"
		return &fleet.Snapshot{Instances: []fleet.Instance{
			{Namespace: "default", Workload: "far", Labels: labels}, {Namespace: "default", Workload: "far", Labels: other},
		}}
	}
	form := e.startForm(t, "default/far")
	if form.Kind != "agent" || form.Document == nil || form.Document.ID != "etcd.Lifecycle.default.far" || form.Values.WarmupS != 120 || form.Probe != nil {
		t.Fatalf("%+v", form)
	}
	want := form.Values
	want.WarmupS = 30
	if _, err := e.fillIn(startRequest{Workload: "default/far", Digest: &form.Digest, Values: &want}); err != nil {
		t.Fatal(err)
	}
	if got := e.Store.(theStore)["default/far"]; got != "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: far}\nspec: {service: far, warmup: {duration: 30s}}\n" {
		t.Errorf("etcd has %s", got)
	}
}

// starts is what there is to know of each workload.
func (e *Editor) starts(t fataler) map[string]*startState {
	s, d, err := e.everything(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*startState{}
	for _, w := range e.workloads(d) {
		if all[w.key()], err = e.startOf(s, d, w.key()); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestFormsSayWhatHoldsThen fills forms in at random, over Lifecycles written in several ways: what is loaded then is what
// the form said, comments stay, and a form that is sent again changes nothing.
func TestFormsSayWhatHoldsThen(t *testing.T) {
	lives := []string{
		"",
		everybody,
		"apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: all} # everybody\n",
		"# v1\napiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata:\n  name: v1\nspec:\n  selector: {matchLabels: {version: v1}}\n\n  # soon\n  enabled: false\n  registration: {delay: 1500ms, weight: ramp}\n  warmup:\n    # as measured\n    duration: 10s\n  readiness: warm # at last\n",
	}
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	rapid.Check(t, func(t *rapid.T) {
		life := rapid.SampledFrom(lives).Draw(t, "life")
		e.put(t, "life.yaml", life)
		key := rapid.SampledFrom([]string{"default/shop-v1", "default/shop-v2"}).Draw(t, "workload")
		other := map[string]string{"default/shop-v1": "default/shop-v2", "default/shop-v2": "default/shop-v1"}[key]
		want := Start{
			Enabled: rapid.Bool().Draw(t, "enabled"), DelayS: float64(rapid.IntRange(0, 5000).Draw(t, "delay")) / 1000, WarmupS: rapid.SampledFrom([]float64{0, 0.5, 10, 86400}).Draw(t, "warm-up"),
			Curve: rapid.SampledFrom([]string{"quadratic", "linear", "power"}).Draw(t, "curve"), Aggression: rapid.SampledFrom([]float64{0.01, 0.33, 2, 100}).Draw(t, "aggression"),
			MinimumPercent: rapid.SampledFrom([]float64{0, 7, 12.5, 100}).Draw(t, "minimum"), Readiness: rapid.SampledFrom([]string{"registered", "warm"}).Draw(t, "readiness"),
		}
		scope := rapid.SampledFrom([]string{"", "own", "document"}).Draw(t, "scope")
		before := e.starts(t)
		digest := ""
		if d := before[key].document; d != nil {
			digest = d.Digest
		}
		r := startRequest{key, &digest, scope, &want}
		if _, err := e.fillIn(r); err != nil {
			t.Fatalf("%v of\n%s", err, e.life(t))
		}
		now := e.starts(t)
		got, meant := now[key].values(), want
		if meant.Curve != "power" {
			meant.Aggression = got.Aggression
		}
		if got.Enabled != meant.Enabled || meant.Enabled && got != meant {
			t.Fatalf("got  %+v\nwant %+v\nin\n%s", got, want, e.life(t))
		}
		if was, is := before[other].values(), now[other].values(); was != is && (len(before[key].shared) == 0 || scope != "document") {
			t.Fatalf("%s has %+v, and had %+v", other, is, was)
		}
		text := e.life(t)
		if again, err := e.fillIn(r); err != nil || again.Changed || e.life(t) != text {
			t.Fatalf("again: %+v, %v", again, err)
		}
		for line := range strings.Lines(life) {
			if _, comment, ok := strings.Cut(line, "#"); ok && !strings.Contains(e.life(t), "#"+comment) {
				t.Fatalf("%q is gone from\n%s", comment, e.life(t))
			}
		}
	})
}

const edge = `# the door
apiVersion: istio.alibabacloud.com/v1
kind: IstioGateway
metadata:
  name: ingressgateway
  namespace: istio-system
spec:
  gatewayType: ingress
  maxReplicas: 1 # for now
`

func TestAGatewayIsSet(t *testing.T) {
	const web = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n  selector: {istio: ingressgateway}\n  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]\n"
	set := func(e *Editor, v GatewayValues) (*Check, *Applied, error) {
		form, err := e.GatewayForm(context.Background(), "istio-system/ingressgateway")
		if err != nil {
			t.Fatal(err)
		}
		r := gatewayRequest{"istio-system/ingressgateway", &form.Digest, &v}
		p, err := e.check(t.Context(), e.proposeGateway(&r), r.Digest)
		if err != nil {
			return nil, nil, err
		}
		done, err := e.apply(t.Context(), "", e.proposeGateway(&r), r.Digest)
		return &p.Check, done, err
	}
	e := newEditor(t, map[string]string{"web.yaml": web, "edge.yaml": edge})
	p, _, err := set(e, GatewayValues{true, 60, 3})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(edge, "istio-system\n", "istio-system\n  annotations:\n    asm.alibabacloud.com/gateway-drain-timeout-seconds: \"60\"\n", 1)
	want = strings.Replace(want, "maxReplicas: 1 # for now\n", "maxReplicas: 3 # for now\n  replicaCount: 3\n", 1)
	if diff := cmp.Diff(want, e.text(t, "edge.yaml")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"Gateway istio-system/ingressgateway runs 3 replicas (before: 1); who leaves serves what is open to it.",
		"When a replica of gateway istio-system/ingressgateway leaves, open requests have 60 s (before: the time that its program was started with). No replica is restarted for it.",
	}, p.Effects); diff != "" {
		t.Error(diff)
	}
	if g := e.loaded(t).Groups[0]; g.Replicas != 3 || g.Drain.Seconds() != 60 {
		t.Errorf("loaded: %+v", g)
	}
	if _, done, err := set(e, GatewayValues{true, 60, 3}); err != nil || done.Changed {
		t.Errorf("again: %+v, %v", done, err)
	}
	var refused *refusal
	if _, _, err := set(e, GatewayValues{true, 891, 3}); !errors.As(err, &refused) || refused.findings[0].Input != "timeout_s" || !strings.Contains(refused.findings[0].Message, "10 to 890") {
		t.Errorf("too long: %v", err)
	}
	if _, _, err := set(e, GatewayValues{true, 60, 0}); !errors.As(err, &refused) || refused.findings[0].Input != "replicas" {
		t.Errorf("no replicas: %v", err)
	}
	if _, _, err := set(e, GatewayValues{false, 0, 1}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Replace(edge, "# for now\n", "# for now\n  replicaCount: 1\n", 1), e.text(t, "edge.yaml")); diff != "" {
		t.Error(diff)
	}

	older := strings.Replace(edge, "spec:\n", "spec:\n  serviceAnnotations: {service.beta.kubernetes.io/alibaba-cloud-loadbalancer-connection-drain: 'on', service.beta.kubernetes.io/alibaba-cloud-loadbalancer-connection-drain-timeout: '20'}\n", 1)
	e = newEditor(t, map[string]string{"web.yaml": web, "edge.yaml": older})
	if form, err := e.GatewayForm(t.Context(), "istio-system/ingressgateway"); err != nil || form.Values != (GatewayValues{true, 20, 1}) || form.From["timeout_s"].Line != 8 {
		t.Errorf("the older way: %+v, %v", form, err)
	}
	if _, _, err := set(e, GatewayValues{true, 25, 1}); err != nil {
		t.Fatal(err)
	}
	if got := e.text(t, "edge.yaml"); strings.Contains(got, "loadbalancer-connection-drain") || !strings.Contains(got, `seconds: "25"`) {
		t.Errorf("the older way stays:\n%s", got)
	}

	e = newEditor(t, map[string]string{"web.yaml": web})
	if _, done, err := set(e, GatewayValues{false, 0, 2}); err != nil || done.File != "istiogateway-ingressgateway.yaml" {
		t.Fatalf("%+v, %v", done, err)
	}
	if g := e.loaded(t).Groups[0]; g.Replicas != 2 || g.Drain != 0 || g.Revision != "" {
		t.Errorf("made anew: %+v", g)
	}
}

// TestTemplatesAreWithoutMistakes tries each by itself on a configuration that has nothing of the kind.
func TestTemplatesAreWithoutMistakes(t *testing.T) {
	rule := ""
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	for _, template := range templates(e.loaded(t)) {
		if template.Kind == "DestinationRule" {
			rule = template.YAML
		}
	}
	seen := map[string]bool{}
	for _, template := range templates(e.loaded(t)) {
		files := map[string]string{"shop.yaml": shop, "web.yaml": "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n  selector: {istio: ingressgateway}\n  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]\n"}
		switch template.Kind {
		case "VirtualService":
			files["rule.yaml"] = rule // that names its subsets
		case "Gateway":
			delete(files, "web.yaml")
		}
		e := newEditor(t, files)
		p, err := e.check(t.Context(), e.proposeText(&documentRequest{YAML: template.YAML}), nil)
		if err != nil {
			t.Fatal(err)
		}
		here := slices.DeleteFunc(p.Findings, func(f Finding) bool { return !f.Here || strings.Contains(f.Message, "no VirtualService is bound") })
		if !p.OK || len(here) > 0 || len(p.Effects) == 0 || p.Effects[0] == "Nothing that is in force changes." {
			t.Errorf("%s: %+v", template.Title, p.Check)
		}
		seen[template.Kind] = true
	}
	if want := len(writableTable); len(seen) != want {
		t.Errorf("there are templates of %d kinds, want %d", len(seen), want)
	}
}
