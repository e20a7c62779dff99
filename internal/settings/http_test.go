package settings

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// ask sends a request, and reads the JSON of its answer.
func ask(t *testing.T, h http.Handler, method, target, body string) (int, map[string]any, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body)))
	got := map[string]any{}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s %s: %d %s: %v", method, target, w.Code, w.Body, err)
	}
	return w.Code, got, w.Body.String()
}

func TestTheAPI(t *testing.T) {
	e := newEditor(t, map[string]string{
		"shop.yaml": shop, "routing.yaml": routing, "edge.yaml": edge,
		"secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {password: hunter2}\n",
	})
	var by string
	e.User = func(*http.Request) string { return "ann" }
	e.Changed = func(_ context.Context, c Change) { by = c.By }
	h := e.Handler()
	digestOf := func(id string) string { return e.documentOf(t, id).Digest }
	yamlOf := func(id string) string { return e.documentOf(t, id).text }
	encode := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	virtual := "VirtualService.default.shop"
	next := strings.Replace(yamlOf(virtual), "subset: v1", "subset: v2", 1)
	secretID := url.PathEscape("Secret.default.keys")
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		has                      string
	}{
		{"all", "GET", "/documents", "", 200, `"writable":true`},
		{"all, no secret", "GET", "/documents", "", 200, `"id":"Secret.default.keys"`},
		{"a parameter", "GET", "/documents?x=1", "", 400, `parameter \"x\"`},
		{"a strange query", "GET", "/documents?a;b", "", 400, "parameters"},
		{"one", "GET", "/documents/" + virtual, "", 200, `"yaml":"# all to v1`},
		{"a secret", "GET", "/documents/" + secretID, "", 200, `"hidden":true,"yaml":""`},
		{"none", "GET", "/documents/Gateway.default.x", "", 404, `"suggestions":[]`},
		{"templates", "GET", "/templates", "", 200, `"kind":"Lifecycle"`},
		{"no body", "POST", "/documents/check", "", 400, "body"},
		{"an unknown field", "POST", "/documents/check", `{"yaml":"a","x":1}`, 400, "unknown field"},
		{"two bodies", "POST", "/documents/check", `{"yaml":"a"}{}`, 400, "something follows"},
		{"no yaml", "POST", "/documents/check", `{}`, 400, "yaml"},
		{"too much", "POST", "/documents/check", `{"yaml":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "bytes"},
		{"check", "POST", "/documents/check", encode(map[string]string{"id": virtual, "yaml": next}), 200, `"ok":true`}, // the Secret is an error, and was one before
		{"without a digest", "POST", "/documents/apply", encode(map[string]string{"id": virtual, "yaml": next}), 400, "digest"},
		{"an old digest", "POST", "/documents/apply", encode(map[string]string{"id": virtual, "yaml": next, "digest": "old"}), 409, `"digest":"` + digestOf(virtual)},
		{"of a secret", "POST", "/documents/apply", encode(map[string]string{"id": "Secret.default.keys", "yaml": next, "digest": digestOf("Secret.default.keys")}), 403, "secret"},
		{"delete a secret", "POST", "/documents/delete", encode(map[string]string{"id": "Secret.default.keys", "digest": digestOf("Secret.default.keys")}), 403, "secret"},
		{"of a Deployment", "POST", "/documents/apply", encode(map[string]string{"id": "Deployment.default.shop-v1", "yaml": "kind: Deployment\n", "digest": digestOf("Deployment.default.shop-v1")}), 403, "not edited here"},
		{"out of the directory", "POST", "/documents/apply", encode(map[string]string{"yaml": "kind: Gateway\n", "file": "../x.yaml"}), 400, "directory"},
		{"a form of what is broken", "GET", "/settings/start?workload=default/shop-v1", "", 422, "mend them first"},
	} {
		status, _, body := ask(t, h, step.method, "/api/v1"+step.path, step.body)
		if status != step.status || !strings.Contains(body, step.has) {
			t.Errorf("%s: %d %s, want %d %s", step.name, status, body, step.status, step.has)
		}
		if strings.Contains(body, "hunter2") {
			t.Errorf("%s: the secret is out", step.name)
		}
	}
	e.put(t, "secret.yaml", "# gone\n")
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		has                      string
	}{
		{"apply", "POST", "/documents/apply", encode(map[string]string{"id": virtual, "yaml": next, "digest": digestOf(virtual)}), 200, `"changed":true`},
		{"wrong", "POST", "/documents/apply", encode(map[string]string{"id": virtual, "yaml": strings.Replace(next, "v2", "v9", 1), "digest": textDigest(next)}), 422, `"findings":[{"severity":"error"`},
		{"workloads", "GET", "/settings/start", "", 200, `{"workloads":[{"workload":"default/shop-v1","kind":"deployment","enabled":false,"warmup_s":120}`},
		{"start", "GET", "/settings/start?workload=default%2Fshop-v1", "", 200, `"document":null,"shared":[],"scope":"document"`},
		{"nobody's", "GET", "/settings/start?workload=default/none", "", 404, "none"},
		{"start check", "POST", "/settings/start/check", `{"workload":"default/shop-v1","values":{"enabled":true,"delay_s":1,"warmup_s":2,"curve":"linear","minimum_percent":10,"readiness":"registered"}}`, 200, `"ok":true`},
		{"start without digest", "POST", "/settings/start/apply", `{"workload":"default/shop-v1","values":{"enabled":true}}`, 400, "digest"},
		{"start apply", "POST", "/settings/start/apply", `{"workload":"default/shop-v1","digest":"","values":{"enabled":true,"delay_s":1,"warmup_s":2,"curve":"linear","aggression":1,"minimum_percent":10,"readiness":"registered"}}`, 200, `"file":"lifecycle-shop-v1.yaml"`},
		{"gateways", "GET", "/settings/gateway", "", 200, `{"gateways":[{"gateway":"istio-system/ingressgateway","replicas":1,"graceful_shutdown":false,"timeout_s":30}]}`},
		{"gateway", "GET", "/settings/gateway?name=istio-system/ingressgateway", "", 200, `"limits":{"timeout_least":10,"timeout_most":890,"replicas_least":1,"replicas_most":100}`},
		{"gateway check", "POST", "/settings/gateway/check", `{"gateway":"istio-system/ingressgateway","values":{"graceful_shutdown":true,"timeout_s":9,"replicas":2}}`, 200, `"input":"timeout_s"`},
		{"delete check", "POST", "/documents/delete/check", encode(map[string]string{"id": virtual, "digest": textDigest(next)}), 200, `+++ /dev/null`},
		{"delete", "POST", "/documents/delete", encode(map[string]string{"id": virtual, "digest": textDigest(next)}), 200, `"digest":""`},
	} {
		if status, _, body := ask(t, h, step.method, "/api/v1"+step.path, step.body); status != step.status || !strings.Contains(body, step.has) {
			t.Errorf("%s: %d %s, want %d %s", step.name, status, body, step.status, step.has)
		}
	}
	if by != "ann" {
		t.Errorf("changed by %q", by)
	}
	e.ReadOnly = "the configuration is kept in git"
	if status, got, _ := ask(t, h, "GET", "/api/v1/documents", ""); status != 200 || got["writable"] != false {
		t.Errorf("read-only: %v", got)
	}
	rule := e.documentOf(t, "DestinationRule.default.shop")
	if status, _, body := ask(t, h, "POST", "/api/v1/documents/apply", encode(map[string]string{"id": rule.ID, "digest": rule.Digest, "yaml": rule.text + "# x\n"})); status != 403 || !strings.Contains(body, "git") {
		t.Errorf("read-only: %d %s", status, body)
	}
}
