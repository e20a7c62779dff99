package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// shop is a configuration with a service in two versions.
const shop = `apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-v1}
spec:
  selector: {matchLabels: {app: shop, version: v1}}
  template:
    metadata: {labels: {app: shop, version: v1}}
    spec:
      containers:
      - command: [./shop]
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: /health, port: 80}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-v2}
spec:
  selector: {matchLabels: {app: shop, version: v2}}
  template:
    metadata: {labels: {app: shop, version: v2}}
    spec:
      containers:
      - command: [./shop]
        ports: [{containerPort: 80}]
        readinessProbe: {httpGet: {path: /readiness, port: 55199}}
`

const routing = `# how shop is reached
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
# all to v1, for now
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - route:
    - destination: {host: shop, subset: v1} # the old one
`

// theStore is an etcd in memory.
type theStore map[string]string

func (s theStore) ListLifecycles(context.Context) (map[string]string, error) {
	return maps.Clone(s), nil
}

func (s theStore) SwapLifecycle(_ context.Context, namespace, name string, was, next *string) (bool, error) {
	key := namespace + "/" + name
	there, is := s[key]
	switch {
	case is != (was != nil) || is && there != *was:
		return false, nil
	case next == nil:
		delete(s, key)
	default:
		s[key] = *next
	}
	return true, nil
}

// newEditor makes an editor of files in a directory.
func newEditor(t testing.TB, files map[string]string) *Editor {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &Editor{Dir: dir, Options: config.Options{MeshAddress: "127.0.0.1:15001"}}
}

func (e *Editor) text(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(e.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

type fataler interface{ Fatal(...any) }

func (e *Editor) put(t fataler, name, text string) {
	if err := os.WriteFile(filepath.Join(e.Dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"lifecycle-shop-v1.yaml", "lifecycle-shop-v2.yaml"} {
		if err := os.Remove(filepath.Join(e.Dir, made)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func (e *Editor) life(t fataler) string {
	data, err := os.ReadFile(filepath.Join(e.Dir, "life.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// loaded is what control would read now.
func (e *Editor) loaded(t *testing.T) *fleet.Desired {
	t.Helper()
	d, findings := config.Load(e.Dir, e.Options)
	if d == nil {
		t.Fatalf("the configuration is broken: %v", findings)
	}
	return d
}

func (e *Editor) documentOf(t testing.TB, id string) *document {
	t.Helper()
	d, err := e.shelf(t.Context()).find(id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentsAreListed(t *testing.T) {
	e := newEditor(t, map[string]string{
		"a/routing.yaml": routing,
		"shop.yaml":      shop + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {password: hunter2}\n",
		"broken.yaml":    "kind: [\n---\nkind: Gateway\nmetadata: {name: web}\n---\nkind: Gateway\nmetadata: {name: web}\n",
		"list.yaml":      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: deep}, data: {password: hunter2}}\n",
		".hidden.yaml":   "kind: Gateway\n",
		"key.yaml":       "x: |\n  -----BEGIN EC PRIVATE KEY-----\n",
	})
	e.Store = theStore{"default/stored": "kind: Lifecycle\nmetadata: {name: stored}\n", "prod/odd": "kind: ["}
	s := e.shelf(t.Context())
	var got []string
	for _, d := range s.documents {
		line := d.ID
		if !d.Writable {
			line += " fixed"
		}
		if d.Hidden {
			line += " hidden"
		}
		got = append(got, line)
	}
	want := []string{
		"DestinationRule.default.shop", "VirtualService.default.shop",
		"~broken.yaml~1", "Gateway.default.web", "Gateway.default.web~2",
		"~key.yaml~1 fixed hidden", "~list.yaml~1 fixed hidden",
		"Service.default.shop fixed", "Deployment.default.shop-v1 fixed", "Deployment.default.shop-v2 fixed", "Secret.default.keys fixed hidden",
		"etcd.Lifecycle.default.stored", "etcd.Lifecycle.prod.odd",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d := s.documents[1]; d.File != "a/routing.yaml" || d.Line != 11 || d.Source != "file" {
		t.Errorf("the VirtualService is at %s:%d, from %s", d.File, d.Line, d.Source)
	}
}

// TestSecretsAreNotShown looks at documents for a page that hold what is not for one.
func TestSecretsAreNotShown(t *testing.T) {
	const deployment = `kind: Deployment
metadata: {name: shop}
spec:
  template:
    spec:
      containers:
      - env:
        - {name: HOST, value: here}
        - {name: DB_PASSWORD, value: hunter2} # really
        - name: apiKey
          value: "hunter2, too"
        - name: TOKEN
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
`
	want := strings.NewReplacer("value: hunter2", `value: "(hidden)"`, `value: "hunter2, too"`, `value: "(hidden)"`).Replace(deployment)
	tests := map[string]struct {
		text   string
		shown  string
		hidden bool
	}{
		"variables":              {deployment, want, false},
		"in JSON":                {`{"kind": "Pod", "metadata": {"name": "a"}, "env": [{"value": "hunter2", "name": "secret"}]}`, `{"kind": "Pod", "metadata": {"name": "a"}, "env": [{"value": "(hidden)", "name": "secret"}]}`, false},
		"of several lines":       {"kind: Pod\nmetadata: {name: a}\nenv:\n- name: PASSWORD\n  value: |\n    hunter2\n", "", true},
		"a Secret":               {"kind: Secret\nmetadata: {name: a}\n", "", true},
		"a Secret in JSON":       {`{"kind":"Secret","metadata":{"name":"a"}}`, "", true},
		"a Secret by an alias":   {"x: &k Secret\nkind: *k\nmetadata: {name: a}\ndata: {password: hunter2}\n", "", true},
		"a broken Secret":        {"kind: Secret\ndata: [", "", true},
		"a broken Deployment":    {"kind: Deployment\nenv: [{name: PASSWORD, value: hunter2}", "", true},
		"a broken thing of ours": {"kind: VirtualService\nheaders: [x-token", "kind: VirtualService\nheaders: [x-token", false},
		"a key":                  {"kind: Gateway\nmetadata: {name: a}\nkey: |\n  -----BEGIN RSA PRIVATE KEY-----\n", "", true},
	}
	for name, test := range tests {
		d := newDocument(test.text)
		if d.Hidden != test.hidden || !d.Hidden && d.shown != test.shown {
			t.Errorf("%s: hidden %t, shown\n%s", name, d.Hidden, d.shown)
		}
		if d.text != test.text {
			t.Errorf("%s: its text is lost", name)
		}
	}
	e := newEditor(t, map[string]string{"shop.yaml": deployment})
	id := "Deployment.default.shop"
	if status, _, body := ask(t, e.Handler(), "GET", "/api/v1/documents/"+id, ""); status != 200 || strings.Contains(body, "hunter2") || !strings.Contains(body, "(hidden)") {
		t.Errorf("%d %s", status, body)
	}
	for _, path := range []string{"check", "delete/check"} { // whose difference would show it
		body := `{"id":"` + id + `","yaml":"kind: Deployment"}`
		if path == "delete/check" {
			body = `{"id":"` + id + `"}`
		}
		if status, _, body := ask(t, e.Handler(), "POST", "/api/v1/documents/"+path, body); status != 403 || strings.Contains(body, "hunter2") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// awayStore is an etcd that nobody reaches.
type awayStore struct{ theStore }

func (awayStore) ListLifecycles(context.Context) (map[string]string, error) {
	return nil, errors.New("no connection")
}

func TestFilesAreEditedWhileEtcdIsAway(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": routing})
	e.Store = awayStore{}
	virtual := e.documentOf(t, "VirtualService.default.shop")
	if _, err := change(e, virtual.ID, virtual.Digest, strings.Replace(virtual.text, "v1", "v2", 1)); err != nil {
		t.Error(err)
	}
	if _, err := e.StartForm(t.Context(), "default/shop-v1"); !errors.Is(err, ErrAway) {
		t.Errorf("a form that may be overruled: %v", err)
	}
	if _, err := change(e, "etcd.Lifecycle.default.x", "", "a: 1\n"); !errors.Is(err, ErrAway) {
		t.Errorf("what is kept there: %v", err)
	}
	if status, _, body := ask(t, e.Handler(), "GET", "/api/v1/documents", ""); status != 200 || !strings.Contains(body, "not in this list") {
		t.Errorf("%d %s", status, body)
	}
}

// change asks for a document to say something else.
func change(e *Editor, id, digest, yaml string) (*Applied, error) {
	return e.apply(context.Background(), "ann", e.proposeText(&documentRequest{ID: id, YAML: yaml}), &digest)
}

func TestADocumentIsChangedInItsFile(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": routing})
	var heard []Change
	e.Changed = func(_ context.Context, c Change) { heard = append(heard, c) }
	was := e.documentOf(t, "VirtualService.default.shop")
	next := strings.Replace(was.text, "subset: v1} # the old one", "subset: v2} # the new one", 1)

	p, err := e.check(t.Context(), e.proposeText(&documentRequest{ID: was.ID, YAML: next}), &was.Digest)
	if err != nil {
		t.Fatal(err)
	}
	wantDiff := `--- routing.yaml
+++ routing.yaml
@@ -16,4 +16,4 @@
   hosts: [shop]
   http:
   - route:
-    - destination: {host: shop, subset: v1} # the old one
+    - destination: {host: shop, subset: v2} # the new one
`
	if diff := cmp.Diff(wantDiff, p.Diff); diff != "" {
		t.Error(diff)
	}
	if !p.OK || !p.Changed || len(p.Findings) != 0 || !slices.Equal(p.Effects, []string{"Requests for shop between services go to shop:80 v2 (before: shop:80 v1)."}) {
		t.Errorf("check: %+v", p.Check)
	}
	if e.text(t, "routing.yaml") != routing {
		t.Error("a check has written")
	}

	done, err := change(e, was.ID, was.Digest, next)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(routing, "subset: v1} # the old one", "subset: v2} # the new one", 1); e.text(t, "routing.yaml") != want {
		t.Errorf("the file is\n%s", e.text(t, "routing.yaml"))
	}
	if now := e.documentOf(t, was.ID); done.Digest != now.Digest || done.Line != 11 || done.File != "routing.yaml" || !done.Changed {
		t.Errorf("%+v, and the document's digest is %s", done, now.Digest)
	}
	if got := e.loaded(t).Listeners; len(got) != 1 || got[0].Hosts[0].Routes[0].Destinations[0].Subset != "v2" {
		t.Errorf("traffic goes by %+v", got)
	}
	// Once more is no other change; somebody else's is refused.
	if again, err := change(e, was.ID, was.Digest, next); err != nil || again.Changed || again.Digest != done.Digest {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	var other *digestError
	if _, err := change(e, was.ID, was.Digest, was.text); !errors.As(err, &other) || other.now != done.Digest {
		t.Errorf("from what is no longer there: %v", err)
	}
	if diff := cmp.Diff([]Change{{"ann", "VirtualService default/shop", "changed", "routing.yaml", 11}}, heard); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsWrongIsRefused(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": routing})
	virtual := e.documentOf(t, "VirtualService.default.shop")
	tests := map[string]struct {
		yaml    string
		field   string
		line    int
		message string
	}{
		"no subset":         {strings.Replace(virtual.text, "subset: v1", "subset: v3", 1), "spec.http[0].route[0].destination.subset", 19, "v3"},
		"no field":          {strings.Replace(virtual.text, "hosts", "host", 1), "spec.host", 16, "unknown field"},
		"no YAML":           {strings.Replace(virtual.text, "[shop]", "[shop", 1), "", 0, "not YAML"},
		"another name":      {strings.Replace(virtual.text, "name: shop", "name: sho", 1), "metadata.name", 14, "to rename it"},
		"another kind":      {strings.Replace(virtual.text, "VirtualService", "DestinationRule", 1), "metadata.name", 14, "to rename it"},
		"what is not here":  {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: evil}\n", "kind", 12, "not edited here"},
		"two documents":     {virtual.text + "---\n" + virtual.text, "", 11, "2 documents"},
		"none":              {"# nothing\n", "", 11, "0 documents"},
		"a secret":          {"kind: Secret\nmetadata: {name: s}\n", "", 11, "secret"},
		"a list":            {"- a\n", "", 11, "mapping"},
		"an exploding list": {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nkind: VirtualService\n", "", 0, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := change(e, virtual.ID, virtual.Digest, test.yaml)
			var refused *refusal
			if !errors.As(err, &refused) {
				t.Fatalf("%v", err)
			}
			f := refused.findings[0]
			if test.line > 0 && (f.Field != test.field || f.Line != test.line || f.File != "routing.yaml" || !f.Here) || !strings.Contains(f.Message, test.message) {
				t.Errorf("%+v", f)
			}
			if e.text(t, "routing.yaml") != routing {
				t.Error("it was written all the same")
			}
		})
	}
}

func TestDocumentsComeAndGo(t *testing.T) {
	const rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\nspec: {host: shop}\n"
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	create := func(r documentRequest) (*Applied, error) { return e.apply(t.Context(), "", e.proposeText(&r), nil) }

	done, err := create(documentRequest{YAML: "---\r\n" + strings.ReplaceAll(rule, "\n", "\r\n")})
	if err != nil || done.File != "destinationrule-shop.yaml" || done.ID != "DestinationRule.default.shop" || e.text(t, done.File) != rule {
		t.Fatalf("%+v, %v, %q", done, err, e.text(t, done.File))
	}
	if again, err := create(documentRequest{YAML: rule}); err != nil || again.Changed {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	var refused *refusal
	if _, err := create(documentRequest{YAML: strings.Replace(rule, "host: shop", "host: shop.default", 1), File: "new.yaml"}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "defined at") {
		t.Errorf("the same name twice: %v", err)
	}
	life := "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: all}\n"
	if done, err = create(documentRequest{YAML: life, File: "shop.yaml"}); err != nil || done.Line != 34 || e.text(t, "shop.yaml") != shop+"---\n"+life {
		t.Errorf("behind the others: %+v, %v\n%s", done, err, e.text(t, "shop.yaml"))
	}
	gone := func(id, digest string) (*Applied, error) { return e.apply(t.Context(), "", proposeDelete(id), &digest) }
	if _, err := gone("Lifecycle.default.all", "old"); !errors.Is(err, ErrDigest) {
		t.Errorf("by an old digest: %v", err)
	}
	if _, err := gone("Lifecycle.default.all", done.Digest); err != nil || e.text(t, "shop.yaml") != shop {
		t.Errorf("%v\n%s", err, e.text(t, "shop.yaml"))
	}
	if _, err := gone("Lifecycle.default.all", done.Digest); !errors.Is(err, ErrUnknown) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := gone("DestinationRule.default.shop", textDigest(rule)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(e.Dir, "destinationrule-shop.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty file stays: %v", err)
	}
	if _, err := gone("Deployment.default.shop-v1", e.documentOf(t, "Deployment.default.shop-v1").Digest); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a Deployment: %v", err)
	}
}

// TestNothingIsWrittenElsewhere tries to leave the directory.
func TestNothingIsWrittenElsewhere(t *testing.T) {
	const rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: shop}\nspec: {host: shop}\n"
	e := newEditor(t, map[string]string{"shop.yaml": shop, "sub/own.yaml": "# mine\n" + rule})
	outside := filepath.Join(t.TempDir(), "theirs.yaml")
	if err := os.WriteFile(outside, []byte("apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: theirs}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"out.yaml": outside, "in.yaml": "sub/.real.txt", "dir": filepath.Dir(outside), "nowhere.yaml": "nothing"} {
		if err := os.Symlink(to, filepath.Join(e.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(e.Dir, "sub/.real.txt"), []byte("apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: linked}\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	life := "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: new}\nspec: {service: shop}\n"
	for _, file := range []string{"../x.yaml", "/tmp/x.yaml", "sub/../../x.yaml", "x.txt", "x", ".x.yaml", ".git/x.yaml", "a\x00.yaml", "dir/x.yaml", "none/x.yaml", `..\x.yaml`, "nowhere.yaml"} {
		if done, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: life, File: file}), nil); !errors.Is(err, ErrRequest) {
			t.Errorf("%q: %+v, %v", file, done, err)
		}
	}
	theirs := e.documentOf(t, "Lifecycle.default.theirs")
	if _, err := change(e, theirs.ID, theirs.Digest, theirs.text+"spec: {service: shop}\n"); !errors.Is(err, ErrRequest) || !strings.Contains(err.Error(), "link to outside") {
		t.Errorf("through a link to outside: %v", err)
	}
	linked := e.documentOf(t, "Lifecycle.default.linked")
	if _, err := change(e, linked.ID, linked.Digest, linked.text+"spec: {service: shop}\n"); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(e.Dir, "in.yaml")); err != nil || to != "sub/.real.txt" {
		t.Errorf("the link is %q now: %v", to, err)
	}
	info, err := os.Stat(filepath.Join(e.Dir, "sub/.real.txt"))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its file is %v: %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(e.Dir, "sub", ".crossfade-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestAChangeOfAnotherIsNotLost has the file changed between reading and writing it.
func TestAChangeOfAnotherIsNotLost(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": routing})
	was := e.documentOf(t, "VirtualService.default.shop")
	propose := e.proposeText(&documentRequest{ID: was.ID, YAML: strings.Replace(was.text, "v1", "v2", 1)})
	slow := func(s *shelf) (proposal, error) {
		p, err := propose(s)
		if err := os.WriteFile(filepath.Join(e.Dir, "routing.yaml"), []byte("# theirs\n"+routing), 0o644); err != nil {
			t.Fatal(err)
		}
		return p, err
	}
	if _, err := e.apply(t.Context(), "", slow, &was.Digest); !errors.Is(err, ErrDigest) {
		t.Errorf("got %v", err)
	}
	if got := e.text(t, "routing.yaml"); got != "# theirs\n"+routing {
		t.Errorf("the file is\n%s", got)
	}
}

// TestEditorsAtOnceLoseNothing has many edit documents of one file at the same time, each its own, and then by what it saw
// before.
func TestEditorsAtOnceLoseNothing(t *testing.T) {
	const life = "# N\napiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: life-N}\nspec:\n  service: shop\n  selector: {matchLabels: {n: \"N\"}}\n  registration: {delay: 0s}\n"
	const editors = 8
	var parts []string
	for i := range editors {
		parts = append(parts, strings.ReplaceAll(life, "N", strconv.Itoa(i)))
	}
	e := newEditor(t, map[string]string{"shop.yaml": shop, "lives.yaml": strings.Join(parts, "---\n")})
	var everybody sync.WaitGroup
	for i := range editors {
		was := e.documentOf(t, fmt.Sprintf("Lifecycle.default.life-%d", i))
		everybody.Go(func() {
			next := strings.Replace(was.text, "delay: 0s", fmt.Sprintf("delay: %ds", i+1), 1)
			if _, err := change(e, was.ID, was.Digest, next); err != nil {
				t.Error(err)
			}
			if _, err := change(e, was.ID, was.Digest, was.text+"# late\n"); !errors.Is(err, ErrDigest) {
				t.Errorf("by what is no longer there: %v", err)
			}
		})
	}
	everybody.Wait()
	for i := range editors {
		parts[i] = strings.Replace(parts[i], "delay: 0s", fmt.Sprintf("delay: %ds", i+1), 1)
	}
	if diff := cmp.Diff(strings.Join(parts, "---\n"), e.text(t, "lives.yaml")); diff != "" {
		t.Error(diff)
	}
}

// TestAConfigurationOfOneFile is edited in that file.
func TestAConfigurationOfOneFile(t *testing.T) {
	e := newEditor(t, map[string]string{"all.yaml": shop + "---\n" + routing})
	dir := e.Dir
	e.Dir = filepath.Join(dir, "all.yaml")
	rule := e.documentOf(t, "DestinationRule.default.shop")
	if rule.File != "all.yaml" {
		t.Errorf("it is in %s", rule.File)
	}
	life := "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: shop}\nspec: {service: shop}\n"
	done, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: life}), nil)
	if err != nil || done.File != "all.yaml" {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := change(e, rule.ID, rule.Digest, strings.Replace(rule.text, "v1, labels", "v0, labels", 1)); err == nil || !strings.Contains(err.Error(), `at all.yaml:`) {
		t.Errorf("what breaks another document: %v", err)
	}
	if _, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: life, File: "other.yaml"}), nil); !errors.Is(err, ErrRequest) {
		t.Errorf("another file: %v", err)
	}
	got, err := os.ReadFile(e.Dir)
	if want := shop + "---\n" + routing + "---\n" + life; err != nil || string(got) != want {
		t.Errorf("%v\n%s", err, got)
	}
}

// TestBrokenConfigurationIsMended goes from one error to the next.
func TestBrokenConfigurationIsMended(t *testing.T) {
	broken := strings.Replace(routing, "subset: v1", "subset: v9", 1)
	broken = strings.Replace(broken, "name: v2, labels", "nam: v2, labels", 1)
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": broken})
	rule := e.documentOf(t, "DestinationRule.default.shop")
	mended := strings.Replace(rule.text, "nam:", "name:", 1)
	p, err := e.check(t.Context(), e.proposeText(&documentRequest{ID: rule.ID, YAML: mended}), nil)
	if err != nil || !p.OK || len(p.Effects) != 1 || !strings.Contains(p.Effects[0], "other errors") {
		t.Fatalf("one error less: %+v, %v", p, err)
	}
	if _, err := change(e, rule.ID, rule.Digest, strings.Replace(rule.text, "host:", "hots:", 1)); err == nil {
		t.Error("one error more is written")
	}
	if _, err := change(e, rule.ID, rule.Digest, mended); err != nil {
		t.Fatal(err)
	}
	virtual := e.documentOf(t, "VirtualService.default.shop")
	p, err = e.check(t.Context(), e.proposeText(&documentRequest{ID: virtual.ID, YAML: strings.Replace(virtual.text, "v9", "v2", 1)}), nil)
	if err != nil || !p.OK || !strings.Contains(p.Effects[0], "without errors again") {
		t.Errorf("the last one: %+v, %v", p, err)
	}
}

// TestADocumentThatCannotBeReadIsMended has a file whose second document hides the third from config.
func TestADocumentThatCannotBeReadIsMended(t *testing.T) {
	parts := strings.SplitAfter(routing, "---\n")
	e := newEditor(t, map[string]string{"shop.yaml": shop, "routing.yaml": parts[0] + "kind: [\n---\n" + parts[1]})
	broken := e.documentOf(t, "~routing.yaml~1")
	life := "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: shop}\nspec: {service: shop}\n"
	done, err := change(e, broken.ID, broken.Digest, life)
	if err != nil || done.ID != "Lifecycle.default.shop" || done.Line != 11 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := e.text(t, "routing.yaml"); got != parts[0]+life+"---\n"+parts[1] {
		t.Errorf("the file is\n%s", got)
	}
	e.loaded(t)
}

func TestJSONStaysJSON(t *testing.T) {
	const life = `{"apiVersion": "crossfade.dev/v1alpha1", "kind": "Lifecycle", "metadata": {"name": "shop"}, "spec": {"service": "shop"}}`
	e := newEditor(t, map[string]string{"shop.yaml": shop, "life.json": life})
	was := e.documentOf(t, "Lifecycle.default.shop")
	if _, err := change(e, was.ID, was.Digest, "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: shop}\n"); err == nil || !strings.Contains(err.Error(), "JSON") {
		t.Errorf("YAML in it: %v", err)
	}
	form := e.startForm(t, "default/shop-v1")
	want := form.Values
	want.WarmupS = 30
	if _, err := e.fillIn(startRequest{"default/shop-v1", &form.Digest, "document", &want}); err == nil || e.text(t, "life.json") != life {
		t.Errorf("a form writes YAML into it: %v\n%s", err, e.text(t, "life.json"))
	}
	if _, err := change(e, was.ID, was.Digest, strings.Replace(life, `"service"`, `"enabled": false, "service"`, 1)); err != nil || !e.loaded(t).Lifecycles[0].Off {
		t.Error(err)
	}
}

func TestLifecyclesInEtcdAreEdited(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	store := theStore{}
	e.Store = store
	const life = "# ours\napiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: shop}\nspec: {service: shop}\n"
	done, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: life, Source: "etcd"}), nil)
	if err != nil || done.ID != "etcd.Lifecycle.default.shop" || store["default/shop"] != life {
		t.Fatalf("%+v, %v, %q", done, err, store)
	}
	p, err := e.check(t.Context(), e.proposeText(&documentRequest{ID: done.ID, YAML: strings.Replace(life, "service: shop", "warmup: {duration: 5s}", 1)}), &done.Digest)
	want := []string{"Instances of default/shop-v1, default/shop-v2 that start from now on have a warm-up of 5 s from 10 %, quadratic (before: 120 s from 10 %, quadratic). Those that run stay as they are."}
	if err != nil || !p.OK || !slices.Equal(p.Effects, want) || !strings.HasPrefix(p.Diff, "--- etcd/default/shop\n") {
		t.Errorf("%+v, %v", p.Check, err)
	}
	if _, err := change(e, done.ID, done.Digest, strings.Replace(life, "service", "servic", 1)); err == nil || !strings.Contains(err.Error(), "spec.servic: unknown field") {
		t.Errorf("a mistake: %v", err)
	}
	if _, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: life + "# other\n", Source: "etcd"}), nil); err == nil {
		t.Error("a new one overwrites one that is there")
	}
	if _, err := e.apply(t.Context(), "", e.proposeText(&documentRequest{YAML: "apiVersion: v1\nkind: Gateway\nmetadata: {name: shop}\n", Source: "etcd"}), nil); err == nil {
		t.Error("a Gateway is put into etcd")
	}
	if _, err := e.apply(t.Context(), "", proposeDelete(done.ID), &done.Digest); err != nil || len(store) != 0 {
		t.Errorf("%v, %v", err, store)
	}
}

// A hastyStore is an etcd in which somebody else changes a document between the look at it and the change of it.
type hastyStore struct{ theStore }

func (s hastyStore) SwapLifecycle(ctx context.Context, namespace, name string, was, next *string) (bool, error) {
	s.theStore[namespace+"/"+name] += "# theirs\n"
	return s.theStore.SwapLifecycle(ctx, namespace, name, was, next)
}

func TestNobodysChangeInEtcdIsLost(t *testing.T) {
	e := newEditor(t, map[string]string{"shop.yaml": shop})
	const life = "apiVersion: crossfade.dev/v1alpha1\nkind: Lifecycle\nmetadata: {name: shop}\nspec: {service: shop}\n"
	store := theStore{"default/shop": life}
	e.Store = hastyStore{store}
	was := e.documentOf(t, "etcd.Lifecycle.default.shop")
	if _, err := change(e, was.ID, was.Digest, life+"# ours\n"); !errors.Is(err, ErrDigest) || store["default/shop"] != life+"# theirs\n" {
		t.Errorf("a change: %v; there is %q", err, store["default/shop"])
	}
	was = e.documentOf(t, "etcd.Lifecycle.default.shop")
	if _, err := e.apply(t.Context(), "", proposeDelete(was.ID), &was.Digest); !errors.Is(err, ErrDigest) || store["default/shop"] == "" {
		t.Errorf("deleting: %v; there is %q", err, store["default/shop"])
	}
}
