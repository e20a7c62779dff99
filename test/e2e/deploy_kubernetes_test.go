//go:build integration

package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
)

// kubeletsTime is what of a pod's grace period is not the gateway's: starting preStop, and killing.
const kubeletsTime = 10 * time.Second

// Manifests are what is in deploy/kubernetes, by kind.
type manifests struct {
	gateway    apps.Deployment
	service    core.Service
	config     core.ConfigMap
	account    core.ServiceAccount
	namespace  core.Namespace
	disruption policy.PodDisruptionBudget
}

// readManifests reads all of them, each once, into the types that the Kubernetes API has for them. What these do not
// know, or spell otherwise, fails the test.
func readManifests(t *testing.T) *manifests {
	t.Helper()
	m := &manifests{}
	wanted := map[string]any{
		"apps/v1 Deployment": &m.gateway, "v1 Service": &m.service, "v1 ConfigMap": &m.config, "v1 ServiceAccount": &m.account,
		"v1 Namespace": &m.namespace, "policy/v1 PodDisruptionBudget": &m.disruption,
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy", "kubernetes", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var document map[string]any
			if err := documents.Decode(&document); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			kind := fmt.Sprint(document["apiVersion"], " ", document["kind"])
			into, ok := wanted[kind]
			if !ok {
				t.Fatalf("%s: a %s that nothing is known of, or a second one", file, kind)
			}
			delete(wanted, kind)
			understand(t, kind, document, into)
		}
	}
	for kind := range wanted {
		t.Fatalf("there is no %s", kind)
	}
	return m
}

// understand decodes a document, and sees that nothing of it is left behind.
func understand(t *testing.T, kind string, document map[string]any, into any) {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if text, err = json.Marshal(into); err != nil {
		t.Fatal(err)
	}
	var back any
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	for _, path := range absent(document, back, "") {
		t.Errorf("%s: Kubernetes knows no %s", kind, path)
	}
}

// absent lists the paths in a document that are not in what was understood of it.
func absent(document, understood any, path string) (paths []string) {
	switch document := document.(type) {
	case map[string]any:
		known, _ := understood.(map[string]any)
		for key, value := range document {
			if known[key] == nil {
				paths = append(paths, path+"."+key)
				continue
			}
			paths = append(paths, absent(value, known[key], path+"."+key)...)
		}
	case []any:
		known, _ := understood.([]any)
		for i, value := range document {
			if i >= len(known) {
				return append(paths, fmt.Sprintf("%s[%d]", path, i))
			}
			paths = append(paths, absent(value, known[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return paths
}

// pod is what the gateway's pods are made from; gateway and control are their containers.
func (m *manifests) pod() (spec core.PodSpec, gateway, control core.Container) {
	spec = m.gateway.Spec.Template.Spec
	return spec, spec.Containers[0], spec.InitContainers[0]
}

// TestKubernetesManifests sees that the manifests are what the API takes, that they agree with each other, and that
// they hold what a release without loss rests on.
func TestKubernetesManifests(t *testing.T) {
	m := readManifests(t)
	spec, gateway, control := m.pod()
	labels := m.gateway.Spec.Template.Labels
	for what, selector := range map[string]map[string]string{
		"Deployment": m.gateway.Spec.Selector.MatchLabels, "Service": m.service.Spec.Selector,
		"PodDisruptionBudget": m.disruption.Spec.Selector.MatchLabels, "spread": spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		for name, value := range selector {
			if labels[name] != value {
				t.Errorf("%s selects %s=%s, the pods have %v", what, name, value, labels)
			}
		}
	}
	if spec.ServiceAccountName != m.account.Name {
		t.Errorf("the pods run as %q, there is %q", spec.ServiceAccountName, m.account.Name)
	}
	for _, o := range []string{m.gateway.Namespace, m.service.Namespace, m.config.Namespace, m.account.Namespace, m.disruption.Namespace} {
		if o != m.namespace.Name {
			t.Errorf("something is in namespace %q, want %q", o, m.namespace.Name)
		}
	}
	for _, port := range m.service.Spec.Ports {
		if !slices.ContainsFunc(gateway.Ports, func(p core.ContainerPort) bool {
			return p.Name == port.TargetPort.StrVal && p.ContainerPort == port.Port+8000
		}) {
			t.Errorf("nobody serves the Service's port %d at +8000: %v", port.Port, gateway.Ports)
		}
	}
	for _, c := range []core.Container{gateway, control} {
		for _, mount := range c.VolumeMounts {
			if !slices.ContainsFunc(spec.Volumes, func(v core.Volume) bool { return v.Name == mount.Name }) {
				t.Errorf("%s mounts %s, which there is not", c.Name, mount.Name)
			}
		}
		if c.Image != gateway.Image {
			t.Errorf("%s has image %s, the gateway %s", c.Name, c.Image, gateway.Image)
		}
	}
	t.Run("order", func(t *testing.T) { wantOrder(t, m) })
	t.Run("grace", func(t *testing.T) { wantGrace(t, m) })
	t.Run("configuration", func(t *testing.T) {
		dir := t.TempDir()
		mountConfig(t, dir, m.config.Data)
		cli(t, "validate", dir)
	})
	if full() { // it compiles everything, the standard library too
		t.Run("image", func(t *testing.T) { wantImage(t, m) })
	}
}

// wantOrder looks at what says who comes and goes before whom.
func wantOrder(t *testing.T, m *manifests) {
	t.Helper()
	spec, gateway, control := m.pod()
	update := m.gateway.Spec.Strategy.RollingUpdate
	if update == nil || update.MaxUnavailable.IntValue() != 0 || update.MaxSurge.IntValue() < 1 {
		t.Errorf("strategy %+v: a new pod must be ready before an old one leaves", m.gateway.Spec.Strategy)
	}
	if m.gateway.Spec.MinReadySeconds <= 0 {
		t.Errorf("minReadySeconds %d", m.gateway.Spec.MinReadySeconds)
	}
	if most := m.disruption.Spec.MaxUnavailable; most == nil || most.IntValue() >= int(*m.gateway.Spec.Replicas) {
		t.Errorf("of %d replicas %v may be taken away at a time", *m.gateway.Spec.Replicas, most)
	}
	if control.RestartPolicy == nil || *control.RestartPolicy != core.ContainerRestartPolicyAlways {
		t.Errorf("control is no sidecar: it would be stopped together with the gateway")
	}
	probe := gateway.ReadinessProbe
	if probe.HTTPGet.Path != "/healthz/ready" || probe.HTTPGet.Port.StrVal != "health" || !slices.Contains(gateway.Args, "--health=0.0.0.0:15021") ||
		!slices.ContainsFunc(gateway.Ports, func(p core.ContainerPort) bool { return p.Name == "health" && p.ContainerPort == 15021 }) {
		t.Errorf("readiness %+v asks something else than the health port of %v, %v", probe.HTTPGet, gateway.Args, gateway.Ports)
	}
	// Who is found unready while it is terminating is sent nothing any more, not even by the last node that can.
	notice, err := time.ParseDuration(flagOf(gateway.Args, "--drain-notice"))
	if unready := time.Duration(probe.PeriodSeconds*probe.FailureThreshold) * time.Second; err != nil || unready < notice {
		t.Errorf("a pod is found unready after %v of 503, before its lame duck of %v is over (%v)", unready, notice, err)
	}
	if spec.SecurityContext.RunAsUser == nil || control.SecurityContext.RunAsUser != nil || gateway.SecurityContext.RunAsUser != nil {
		t.Errorf("control and gateway must be the same user: the feed is for one")
	}
}

var drainMayTake = regexp.MustCompile(`the drain may take ((?:\d+[hms])+)`)

// wantGrace has the gateway itself say what its flags need, and compares that with the grace period.
func wantGrace(t *testing.T, m *manifests) {
	t.Helper()
	spec, gateway, _ := m.pod()
	grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	if told, err := time.ParseDuration(flagOf(gateway.Args, "--grace")); err != nil || told != grace {
		t.Errorf("the gateway is told a grace period of %v (%v), the pod's is %v", told, err, grace)
	}
	_, err := try(t, append(slices.Clone(gateway.Args), "--grace=1s")...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("with a grace period of 1 s the gateway ended with %v, want exit code 2", err)
	}
	found := drainMayTake.FindStringSubmatch(err.Error())
	if found == nil {
		t.Fatalf("no sum in: %v", err)
	}
	sum, err := time.ParseDuration(found[1])
	if err != nil || sum+kubeletsTime != grace {
		t.Errorf("a drain takes %v at most (%v), and the kubelet %v: terminationGracePeriodSeconds is %v", sum, err, kubeletsTime, grace)
	}
}

// flagOf returns the value of a flag that is written as --name=value.
func flagOf(args []string, name string) string {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	return ""
}

// mountConfig writes a ConfigMap as the kubelet does: names are links into a directory that is replaced as a whole.
func mountConfig(t *testing.T, dir string, data map[string]string) {
	t.Helper()
	version := filepath.Join(dir, fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.Mkdir(version, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range data {
		if err := os.WriteFile(filepath.Join(version, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	fresh := filepath.Join(dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

var dockerBuild = regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*) -o /crossfade (\S+)$`)

// wantImage builds the program as the Dockerfile does, and sees that it needs nothing that an empty image has not.
func wantImage(t *testing.T, m *manifests) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	build := dockerBuild.FindSubmatch(text)
	if build == nil {
		t.Fatalf("no build in the Dockerfile")
	}
	program := filepath.Join(t.TempDir(), "crossfade")
	sh := exec.CommandContext(bounded(t), "sh", "-c", fmt.Sprintf("VERSION=from-image; %s -o %s %s", build[1], program, build[2]))
	sh.Dir = root
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", sh, err, out)
	}
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the program needs %v, %v: want none", libraries, err)
	}
	if out, err := exec.CommandContext(bounded(t), program, "--version").CombinedOutput(); err != nil || !strings.Contains(string(out), "from-image") {
		t.Errorf("--version says %s, %v", out, err)
	}
	spec, gateway, _ := m.pod()
	for _, line := range []string{
		fmt.Sprintf("USER %d:%d", *spec.SecurityContext.RunAsUser, *spec.SecurityContext.RunAsGroup),
		fmt.Sprintf("ENTRYPOINT [%q]", gateway.Lifecycle.PreStop.Exec.Command[0]),
		"FROM scratch",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the Dockerfile does not say %s", line)
		}
	}
}
