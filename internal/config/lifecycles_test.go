package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// lifecycleYAML is a Lifecycle.
func lifecycleYAML(name, namespace, spec string) string {
	return "---\napiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec: {" + spec + "}\n"
}

func TestParseLifecycles(t *testing.T) {
	text := lifecycleYAML("b", "x", "service: b, registration: {delay: 3s}") + lifecycleYAML("a", "x", "enabled: false") + lifecycleYAML("z", "a", "")
	list, findings := ParseLifecycles("/lifecycles/x", []byte(text))
	var names []string
	for _, l := range list {
		names = append(names, l.Namespace+"/"+l.Name)
	}
	if want := []string{"a/z", "x/a", "x/b"}; !slices.Equal(names, want) || len(findings) > 0 {
		t.Fatalf("got %v, want %v\n%v", names, want, findings)
	}
	want := fleet.DefaultLifecycle()
	want.Name, want.Namespace, want.Service, want.Delay, want.Ready = "b", "x", "b", 3*time.Second, ""
	want.Origin = fleet.Origin{File: "/lifecycles/x", Line: 2, Kind: "Lifecycle", Name: "x/b"}
	if diff := cmp.Diff(want, list[2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestParseLifecyclesRefuses names what does not belong into a store, and where it stands.
func TestParseLifecyclesRefuses(t *testing.T) {
	for text, want := range map[string]string{
		lifecycleYAML("a", "x", "warmupRequests: {file: w.yaml}"): "s:5:31: error: spec.warmupRequests.file: nothing lies beside a document in a store; write requests",
		service("a", "x", 80): "is not kept in a store; a Lifecycle is",
		lifecycleYAML("a", "x", "") + lifecycleYAML("a", "x", ""):                     "Lifecycle x/a is defined at s:2 already; rename or remove one",
		lifecycleYAML("a", "x", "service: s") + lifecycleYAML("b", "x", "service: s"): "Lifecycle x/a at s:2 is for the same instances; put both into one",
		"# nothing":                             "s: error: there is no object of kind Lifecycle here",
		"a: [":                                  "not YAML",
		lifecycleYAML("a", "x", "servic: s"):    `unknown field; did you mean "service"?`,
		lifecycleYAML("a", "x", "readiness: 5"): "must be one of registered, warm, not 5",
	} {
		list, findings := ParseLifecycles("s", []byte(text))
		if list != nil || !HasErrors(findings) || !strings.Contains(lines(findings), want) {
			t.Errorf("%s\ngot %v, findings\n%swant %s", text, list, lines(findings), want)
		}
	}
}

func lines(findings []Finding) string { return text(findings) }

// FuzzParseLifecycles: what is taken can be lived by, whatever it was written like.
func FuzzParseLifecycles(f *testing.F) {
	for _, file := range []string{"good/lifecycle.yaml", "broken/lifecycle.yaml", "broken/warmup-requests.yaml"} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		for document := range strings.SplitSeq(string(data), "---\n") {
			f.Add([]byte(document))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, findings := ParseLifecycles("s", data)
		if list == nil != HasErrors(findings) {
			t.Fatalf("%d Lifecycles, findings:\n%s", len(list), text(findings))
		}
		for _, l := range list {
			if fault := livable(l); fault != "" {
				t.Errorf("%s: %+v", fault, l)
			}
		}
	})
}

// livable says what nobody could live by.
func livable(l fleet.Lifecycle) string {
	within := func(d time.Duration) bool { return d >= 0 && d <= fleet.MaxLifecycleTime }
	switch {
	case l.Name == "" || l.Namespace == "":
		return "it has no name"
	case !within(l.Delay) || !within(l.Warmup.Window) || !within(l.Leave.Timeout) || !within(l.Front.MaxWait):
		return "a time is out of bounds"
	case !(l.Warmup.Minimum >= 0 && l.Warmup.Minimum <= 1) || !(l.Warmup.Aggression >= 0.01 && l.Warmup.Aggression <= 100):
		return "the curve is none"
	case l.Leave.Quiet <= 0 || l.Leave.Quiet > l.Leave.Callers || l.Leave.Callers > l.Leave.Timeout:
		return "it never leaves as it should"
	case l.Front.Most > 0 && l.Front.Least > l.Front.Most:
		return "its front takes less the warmer it is"
	}
	if r := l.Requests; r != nil {
		if !within(r.Time) || r.Time == 0 || r.Concurrency < 1 || r.Count < 0 || len(r.Requests) == 0 && r.Record == nil {
			return "its warm-up requests never begin or end"
		}
		for _, q := range r.Requests {
			if q.Weight == 0 || q.Method == "" || q.Protocol != "grpc" && !strings.HasPrefix(q.Path, "/") {
				return "a request cannot be sent"
			}
		}
	}
	return ""
}

// TestLifecycleIsWhatWasWritten draws Lifecycles, writes them down and reads them.
func TestLifecycleIsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 90 * time.Second, 24 * time.Hour}).Draw(t, "window")
		percent := rapid.Float64Range(0, 100).Draw(t, "percent")
		aggression := rapid.Float64Range(0.01, 100).Draw(t, "aggression")
		curve := rapid.SampledFrom([]string{"quadratic", "linear", "power"}).Draw(t, "curve")
		spec := "warmup: {duration: " + window.String() + ", minimumPercent: " + jsonOf(percent) + ", curve: " + curve
		want := map[string]float64{"quadratic": 0.5, "linear": 1, "power": aggression}[curve]
		if curve == "power" {
			spec += ", aggression: " + jsonOf(aggression)
		}
		delay := time.Duration(rapid.Int64Range(0, 86_400_000).Draw(t, "delay")) * time.Millisecond
		spec += "}, registration: {delay: " + delay.String() + "}"
		list, findings := ParseLifecycles("s", []byte(lifecycleYAML("a", "x", spec)))
		if len(list) != 1 {
			t.Fatalf("%s:\n%s", spec, text(findings))
		}
		if got := list[0]; got.Warmup != (fleet.Warmup{Window: window, Minimum: percent / 100, Aggression: want}) || got.Delay != delay {
			t.Errorf("%s: got %+v, delay %v", spec, got.Warmup, got.Delay)
		}
	})
}

// TestRequestsOfAFile: a file that a Lifecycle names is read wherever it is, and a change of it is a change.
func TestRequestsOfAFile(t *testing.T) {
	dir, aside := t.TempDir(), t.TempDir()
	requests := func(path string) string {
		return "apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: w}\nspec: {requests: [{path: " + path + "}]}\n"
	}
	file := filepath.Join(aside, "w.yaml")
	write(t, file, requests("/a")+service("not-mine", "default", 80))
	write(t, filepath.Join(dir, "a.yaml"), a("a")+lifecycleYAML("a", "default", "service: a, warmupRequests: {file: "+file+"}"))
	l := looker{loader: newLoader(options())}
	if !l.look(dir) {
		t.Fatal("the first look shows nothing")
	}
	first, findings := l.loader.build()
	if first == nil || len(first.Services) != 1 || first.Lifecycles[0].Requests.Requests[0].Path != "/a" {
		t.Fatalf("got %+v\n%s", first, text(findings))
	}
	write(t, file, requests("/b"))
	if l.look(dir) || !l.look(dir) {
		t.Fatal("a changed file of requests does not count as a change")
	}
	second, _ := l.loader.build()
	if second.Digest == first.Digest || second.Lifecycles[0].Requests.Requests[0].Path != "/b" {
		t.Errorf("got %+v", second.Lifecycles)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.look(dir)
	l.look(dir)
	if none, findings := l.loader.build(); none != nil || !strings.Contains(text(findings), file+" cannot be read: no such file or directory") {
		t.Errorf("without the file:\n%s", text(findings))
	}
}

// TestLoadWarmupRequests reads a file of requests by itself.
func TestLoadWarmupRequests(t *testing.T) {
	list, findings := LoadWarmupRequests("testdata/good/requests/reviews.yaml")
	if len(list) != 3 || len(findings) > 0 || list[0].Path != "/reviews/0" {
		t.Errorf("got %+v\n%s", list, text(findings))
	}
	file := filepath.Join(t.TempDir(), "w.yaml")
	for content, want := range map[string]string{
		"":                 "there is no object of kind WarmupRequests here",
		agentYAML("a", ""): "does not belong into a file of requests",
		"apiVersion: crossfade.dev/v1alpha1\nkind: WarmupRequests\nmetadata: {name: w}\nspec: {requests: [{}]}\n": "spec.requests[0].path: is missing",
	} {
		write(t, file, content)
		if list, findings := LoadWarmupRequests(file); list != nil || !strings.Contains(text(findings), want) {
			t.Errorf("%q: got %+v\n%swant %s", content, list, text(findings), want)
		}
	}
}

// TestRegistryMayHaveInstances: that configuration knows of none is worth a word only where there is no registry.
func TestRegistryMayHaveInstances(t *testing.T) {
	files := []File{{Name: "a.yaml", Data: []byte(service("a", "default", 80) + istio("DestinationRule", "a", "default", "host: a, subsets: [{name: v1, labels: {version: v1}}]"))}}
	for registry, want := range map[bool]bool{false: true, true: false} {
		o := options()
		o.Registry = registry
		d, findings := Parse(files, o)
		if got := strings.Contains(text(findings), "will have no endpoints"); d == nil || got != want {
			t.Errorf("with a registry %v:\n%s", registry, text(findings))
		}
	}
}
