package config

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func jsonOf(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// TestLoadAgent reads an agent's file that says everything; the golden file holds what comes of it.
func TestLoadAgent(t *testing.T) {
	a, findings := LoadAgent("testdata/agent/agent.yaml")
	if a == nil || len(findings) > 0 {
		t.Fatalf("findings:\n%s", text(findings))
	}
	data, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/agent/agent.golden.json", string(data)+"\n")
}

// TestLoadAgentTakesLittle: one name is enough.
func TestLoadAgentTakesLittle(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	write(t, file, agentYAML("reviews", ""))
	a, findings := LoadAgent(file)
	if a == nil || len(findings) > 0 {
		t.Fatalf("findings:\n%s", text(findings))
	}
	if a.Service != "reviews" || a.Namespace != "default" || a.Weight != 1 || a.Address.IsValid() || a.Probe != nil || a.Lifecycle != nil || len(a.Ports) != 0 {
		t.Errorf("got %+v", a)
	}
}

func agentYAML(name, spec string) string {
	return "---\napiVersion: crossfade.dev/v1alpha1\nkind: Agent\nmetadata: {name: " + name + "}\nspec: {" + spec + "}\n"
}

func TestLoadAgentRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files fstest.MapFS
		want  string
	}{
		{"nothing", nil, "a.yaml: error: cannot be read: no such file or directory"},
		{"no agent", fstest.MapFS{"a.yaml": {Data: []byte("# nothing")}}, "a.yaml: error: there is no object of kind Agent here"},
		{"two", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", "") + agentYAML("b", ""))}}, "Agent default/a at a.yaml:2 is there already; an agent is told one"},
		{"another kind", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", "") + lifecycleYAML("l", "default", ""))}}, "a.yaml:8:7: error: kind: does not belong into the file of an agent"},
		{"its label", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", `labels: {mse.lossless.delayTime: "x"}`))}}, `"x" must be a whole number of seconds, "0" to "86400"`},
		{"a proxy", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", `hold: ["zookeeper://zk1:2181"]`))}}, `a.yaml:5:15: error: spec.hold[0]: "zookeeper://zk1:2181": where does it listen? Say listen=ADDRESS:PORT`},
		{"a weight", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", `lifecycle: {registration: {weight: half}}`))}}, "spec.lifecycle.registration.weight: must be one of full, ramp, not half"},
		{"no requests", fstest.MapFS{"a.yaml": {Data: []byte(agentYAML("a", "lifecycle: {warmupRequests: {file: w.yaml}}"))}}, "w.yaml cannot be read: no such file or directory"},
		{
			"bad requests", fstest.MapFS{
				"a.yaml": {Data: []byte(agentYAML("a", "lifecycle: {warmupRequests: {file: w.yaml}}"))},
				"w.yaml": {Data: []byte("apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: w}\nspec: {requests: [{path: a}]}\n")},
			}, `w.yaml:4:26: error: spec.requests[0].path: "a" is no path of a request`,
		},
	} {
		dir := t.TempDir()
		for name, f := range tt.files {
			write(t, filepath.Join(dir, name), string(f.Data))
		}
		a, findings := LoadAgent(filepath.Join(dir, "a.yaml"))
		if got := strings.ReplaceAll(text(findings), dir+"/", ""); a != nil || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %+v\n%swant %s", tt.name, a, got, tt.want)
		}
	}
}
