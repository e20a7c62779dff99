package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

const twoLifecycles = `# How they come up.
apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: a}
spec:
  service: reviews
--- # the second
apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: b, namespace: prod}
spec:
  service: ratings
---
# nothing
`

func TestDocumentsAreKeptOneByOne(t *testing.T) {
	documents, err := separate("two.yaml", []byte(twoLifecycles))
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 2 || documents[0].Name != "a" || documents[1].Name != "b" || documents[1].Namespace != "prod" {
		t.Fatalf("documents: %+v, want a and prod/b", documents)
	}
	for _, d := range documents { // as control reads what apply has put
		read, err := parseLifecycles(d.Name, d.text)
		if err != nil || len(read) != 1 || read[0].Name != d.Name || read[0].Service != d.Service {
			t.Errorf("%s is read as %+v, %v", d.Name, read, err)
		}
	}
	if _, err := parseLifecycles("a", "kind: Lifecycle"); err == nil {
		t.Error("a broken document was read")
	}
}

func TestRegistriesByTheirURLs(t *testing.T) {
	for url, want := range map[string]string{
		"file://" + t.TempDir(): "file", "etcd://127.0.0.1:1": "etcd", ownRegistry("/run/x"): "etcd",
		"zookeeper://127.0.0.1:1,127.0.0.1:2/services": "zookeeper", "nacos://127.0.0.1:1/public": "nacos",
	} {
		r, err := openRegistry(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if r.name != want || r.url != url || r.registrar == nil || r.source == nil || (r.store != nil) != (want == "etcd") || (r.people != nil) != (want == "etcd") {
			t.Errorf("%s is %+v, want %s", url, r, want)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	}
	for _, url := range []string{"", "control", "consul://localhost", "127.0.0.1:2379"} {
		if _, err := openRegistry(url); err == nil || !strings.Contains(err.Error(), "want etcd://HOST:PORT") {
			t.Errorf("%q: %v, want an error that says what it may be", url, err)
		}
	}
}

// A password in a URL is wrong wherever it stands, and no error repeats it.
func TestNoErrorRepeatsAPassword(t *testing.T) {
	for _, scheme := range []string{"etcd", "zookeeper", "nacos", "consul"} {
		_, err := openRegistry(scheme + "://user:hunter2@127.0.0.1:1")
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestSeveralRegistries(t *testing.T) {
	urls := []string{"nacos://127.0.0.1:1/a", "etcd://127.0.0.1:1", "nacos://127.0.0.1:1/b", "etcd://127.0.0.1:2", "nacos://127.0.0.1:1/c"}
	all, err := openRegistries(urls)
	if err != nil {
		t.Fatal(err)
	}
	defer all.close()
	if got, want := all.names(), []string{"nacos", "etcd", "nacos-2", "etcd-2", "nacos-3"}; !slices.Equal(got, want) {
		t.Errorf("they are called %q, want %q", got, want)
	}
	for _, wrong := range [][]string{{urls[0], urls[1], urls[0]}, {urls[0], "consul://localhost"}} {
		if _, err := openRegistries(wrong); err == nil || !strings.Contains(err.Error(), wrong[len(wrong)-1]) {
			t.Errorf("%q: %v, want an error that names the last of them", wrong, err)
		}
	}
	none, err := openRegistries(nil)
	if err != nil || len(none) > 0 {
		t.Errorf("no URL is %v, %v", none, err)
	}
}

func TestWhatIsWarnedOfWithARegistry(t *testing.T) {
	for url, want := range map[string]bool{"": false, "control": false, ownRegistry("/run/x"): false, "etcd://etcd:2379": true, "file:///run/registry": true} {
		f := controlFlags{registries: []string{overFeed}}
		if url != "" {
			f.registries = append(f.registries, url)
		}
		if got := f.options().Registry; got != want {
			t.Errorf("--registry %q: instances of others are expected: %t, want %t", url, got, want)
		}
	}
}

func TestGetLifecycles(t *testing.T) {
	all := []fleet.Lifecycle{
		{
			Name: "reviews", Namespace: "default", Service: "reviews", Labels: map[string]string{"version": "v2", "app": "reviews"},
			Delay: 10 * time.Second, Ramp: true, Warmup: fleet.Warmup{Window: 2 * time.Minute, Minimum: 0.1, Aggression: 0.5},
			Requests: &fleet.WarmupRequests{Requests: make([]fleet.WarmupRequest, 2), Record: &fleet.Record{}},
			Ready:    fleet.ReadyWarm, Front: fleet.FrontLimits{Least: 8, Most: 512}, Origin: fleet.Origin{File: "life.yaml", Line: 3},
		},
		{Name: "off", Namespace: "prod", Off: true, Leave: fleet.Leave{Quiet: time.Second}, Origin: fleet.Origin{Kind: "store"}},
	}
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/lifecycles" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(all)
	}))
	defer control.Close()
	get := func(args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if code := run(t.Context(), append([]string{"get", "lifecycles", "--control", control.URL}, args...), &out, &errs); code != 0 {
			t.Fatalf("%v: exit code %d, %s", args, code, errs.String())
		}
		return strings.Join(strings.Fields(out.String()), " ")
	}
	for _, want := range []string{
		"default/reviews reviews, app=reviews, version=v2 10 s 2 m from 10 %, p^2 2 kinds, recorded warm life.yaml:3",
		"prod/off all none off none registered registry",
	} {
		if got := get(); !strings.Contains(got, want) {
			t.Errorf("get lifecycles: %s\nwant %s", got, want)
		}
	}
	if got := get("off", "-o", "wide"); strings.Contains(got, "reviews") || !strings.Contains(got, "registry full 1 s 1 m 30 s 2 m default") {
		t.Errorf("get lifecycles off -o wide: %s", got)
	}
	if got := get("reviews", "-o", "wide"); !strings.Contains(got, "life.yaml:3 ramp ") {
		t.Errorf("get lifecycles reviews -o wide: %s", got)
	}
	if got := get("-o", "json", "reviews"); !strings.Contains(got, `"delay_ns": 10000000000`) {
		t.Errorf("get lifecycles -o json: %s", got)
	}
}
