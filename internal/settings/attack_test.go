package settings

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const intruder = `apiVersion: apps/v1
kind: Deployment
metadata: {name: intruder}
spec:
  selector: {matchLabels: {app: intruder}}
  template:
    metadata: {labels: {app: intruder}}
    spec: {containers: [{name: a, command: [sh, -c, "id"]}]}
`

const harmless = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec: {hosts: [x.example], http: [{directResponse: {status: 200}}]}
`

// What a Deployment says runs on this machine: nobody brings one in as part of something that is edited.
func TestADocumentBringsNoOtherIn(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"by itself":                  {harmless, 200},
		"a Deployment":               {intruder, 422},
		"behind a marker":            {harmless + "---\n" + intruder, 422},
		"behind an end":              {harmless + "...\n" + intruder, 422},
		"behind a directive":         {harmless + "...\n%YAML 1.1\n---\n" + intruder, 422},
		"behind a carriage return":   {harmless + "#\r---\r" + strings.ReplaceAll(intruder, "\n", "\r"), 422},
		"behind a next line":         {harmless + "#\u0085---\n" + intruder, 422},
		"behind a line separator":    {harmless + "#\u2028---\n" + intruder, 422},
		"behind a paragraph's end":   {harmless + "#\u2029---\n" + intruder, 422},
		"behind a byte order mark":   {harmless + "\ufeff---\n" + intruder, 422},
		"with two kinds":             {strings.Replace(intruder, "kind: Deployment", "kind: VirtualService\nkind: Deployment", 1), 422},
		"with a kind that is merged": {strings.Replace(intruder, "kind: Deployment", "<<: {kind: Deployment}\nkind: VirtualService", 1), 422},
		"in a list":                  {"kind: VirtualService\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(intruder), "\n", "\n  ") + "\n", 422},
		"in what cannot be read":     {harmless + "x: [\n", 422},
	} {
		for _, file := range []string{"", "kind: [\n"} { // also where nothing can be read as it is
			e := newEditor(t, map[string]string{"a.yaml": "# nothing\n", "broken.yaml": file})
			body, err := json.Marshal(map[string]string{"yaml": c.text, "file": "a.yaml"})
			if err != nil {
				t.Fatal(err)
			}
			status, _, text := ask(t, e.Handler(), "POST", "/api/v1/documents/apply", string(body))
			if status != c.want {
				t.Errorf("%s, beside %q: got %d %s, want %d", name, file, status, text, c.want)
			}
			if odd := unusual(c.text); odd && !strings.Contains(text, "end of a line") {
				t.Errorf("%s: nobody says what is wrong: %s", name, text)
			}
			if file != "" {
				continue
			}
			if d, findings := e.load(nil, nil); d == nil || len(d.Workloads) != 0 {
				t.Errorf("%s: it came in: %v", name, findings)
			}
		}
	}
}

// What YAML reads as several documents where we see one is not shown, since the second may hold anything; nor is it edited.
func TestDocumentsThatOnlyYAMLTellsApartAreNotShown(t *testing.T) {
	e := newEditor(t, map[string]string{"a.yaml": harmless + "#\u2028---\n" + strings.Replace(intruder, "command:", "env: [{name: PASSWORD, value: hunter2}], command:", 1)})
	_, got, text := ask(t, e.Handler(), "GET", "/api/v1/documents", "")
	list, ok := got["documents"].([]any)
	if !ok || len(list) != 1 {
		t.Fatalf("got %s", text)
	}
	row, ok := list[0].(map[string]any)
	if !ok || row["writable"] != false || row["hidden"] != true {
		t.Errorf("got %s", text)
	}
	id, ok := row["id"].(string)
	if !ok {
		t.Fatalf("got %s", text)
	}
	if status, _, text := ask(t, e.Handler(), "GET", "/api/v1/documents/"+id, ""); status != 200 || strings.Contains(text, "hunter2") {
		t.Errorf("got %d %s", status, text)
	}
}

// TestSecretsAreFoundWhereverTheyStand looks at what people write into documents that are not edited here.
func TestSecretsAreFoundWhereverTheyStand(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		hidden bool // all of it
	}{
		"an URL with a password":      {"env: [{name: DATABASE, value: 'postgres://shop:hunter2@db/shop'}]\n", false},
		"an argument":                 {"args: [--port, '80', --password, hunter2]\n", false},
		"an argument with its value":  {"args: [--api-key=hunter2]\n", false},
		"a script":                    {"command: [sh, -c, 'export TOKEN=hunter2; exec ./shop']\n", false},
		"a bearer":                    {"command: [curl, -H, 'Authorization: Bearer hunter2']\n", false},
		"a field":                     {"data:\n  db-password: hunter2\n", false},
		"what kubectl applied":        {"annotations:\n  last-applied: '{\"env\":[{\"name\":\"a\",\"token\":\"hunter2\"}]}'\n", false},
		"what kubectl applied, long":  {"annotations:\n  last-applied: |\n    {\"token\":\"hunter2\"}\n", true},
		"an alias":                    {"x: &x hunter2\nenv: [{name: PASSWORD, value: *x}]\n", true},
		"behind an odd end of a line": {"a: 1 #\u2028\u2028\nenv:\n- name: PASSWORD\n  value: \"hunter2\"\n- name: B\n  value: \"b\"\n", true},
	} {
		d := newDocument("kind: Deployment\nmetadata: {name: a}\n" + c.text)
		if d.Hidden != c.hidden || !c.hidden && (strings.Contains(d.shown, "hunter2") || !strings.Contains(d.shown, "(hidden)")) {
			t.Errorf("%s: hidden %t, shown\n%s", name, d.Hidden, d.shown)
		}
		if d.Digest == textDigest(d.text) {
			t.Errorf("%s: its digest tells who guesses that it is right", name)
		}
	}
	plain := "kind: Deployment\nmetadata: {name: a}\nspec: {serviceAccountName: token-reader, automountServiceAccountToken: true, tls: {secretName: a}, args: [--token-file, /run/token]}\n"
	if d := newDocument(plain); d.Hidden || d.shown != plain || d.Digest != textDigest(plain) {
		t.Errorf("where a secret lies is none:\n%s", d.shown)
	}
}

// Whoever may only look sees no credential of what is edited here. Whoever edits it sees what they write.
func TestCredentialsAreForThoseWhoMayChangeThem(t *testing.T) {
	const lifecycle = `apiVersion: crossfade.dev/v1
kind: Lifecycle
metadata: {name: shop}
spec:
  warmupRequests:
    requests:
    - {path: /cart, headers: {accept: application/json, Authorization: Bearer hunter2, x-mine: hunter2}}
    - {path: "/login?token=hunter2", method: POST, body: "hunter2"}
`
	const route = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  hosts: [x.example]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    headers: {request: {set: {authorization: Basic hunter2}}}
    directResponse: {status: 200}
`
	const several = "kind: WarmupRequests\nmetadata: {name: w}\nspec:\n  requests:\n  - path: /\n    body: |\n      hunter2\n"
	e := newEditor(t, map[string]string{"lifecycle.yaml": lifecycle, "route.yaml": route, "w.yaml": several, "plain.yaml": strings.ReplaceAll(harmless, "name: v", "name: plain")})
	e.Trusted = func(*http.Request) bool { return false }
	viewer := e.Handler()
	editor := Editor{Dir: e.Dir, Options: e.Options, Trusted: func(*http.Request) bool { return true }}
	operator := editor.Handler()
	digests := func(h http.Handler) map[string]any {
		_, got, _ := ask(t, h, "GET", "/api/v1/documents", "")
		all := map[string]any{}
		list, _ := got["documents"].([]any)
		for _, d := range list {
			if row, ok := d.(map[string]any); ok {
				all[row["id"].(string)] = row["digest"]
			}
		}
		return all
	}
	theirs, ours := digests(operator), digests(viewer)
	for id, keeps := range map[string]string{
		"Lifecycle.default.shop": "application/json", "VirtualService.default.v": "jason", "WarmupRequests.default.w": "", "VirtualService.default.plain": "x.example",
	} {
		secret := id != "VirtualService.default.plain"
		path := "/api/v1/documents/" + id
		if status, got, text := ask(t, viewer, "GET", path, ""); status != 200 || strings.Contains(text, "hunter2") || !strings.Contains(text, keeps) || got["digest"] != ours[id] {
			t.Errorf("%s for who looks: %d %s", id, status, text)
		}
		if status, got, text := ask(t, operator, "GET", path, ""); status != 200 || strings.Contains(text, "hunter2") != secret || got["digest"] != theirs[id] {
			t.Errorf("%s for who edits: %d %s", id, status, text)
		}
		if (ours[id] == theirs[id]) == secret {
			t.Errorf("%s: digests %v and %v", id, ours[id], theirs[id])
		}
	}
}
