package nacos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/secure"
	wire "crossfade.dev/internal/wire/nacos"
)

func TestURLs(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	usual := place{
		servers: []server{{"nacos:8848", "nacos:9848"}}, namespace: "public", group: "DEFAULT_GROUP", instances: "DEFAULT", path: "/nacos", ttl: 10 * time.Second,
		files: secure.Files{Side: "nacos"},
	}
	with := func(change func(*place)) place {
		p := usual
		change(&p)
		return p
	}
	for url, want := range map[string]place{
		"nacos://nacos":       usual,
		"nacos://nacos:8848/": usual,
		"nacos://a:1,[::1]:2,c/team-7?group=G&service=reviews&cluster=sh&api=v3&ttl=3s&path=/&grpc-offset=7": with(func(p *place) {
			p.servers = []server{{"a:1", "a:8"}, {"[::1]:2", "[::1]:9"}, {"c:8848", "c:8855"}}
			p.namespace, p.group, p.service, p.instances, p.api, p.ttl, p.path = "team-7", "G", "reviews", "sh", wire.V3, 3*time.Second, ""
		}),
		"nacoss://nacos?server-name=n":                 with(func(p *place) { p.tls, p.name = true, "n" }),
		"nacos://nacos?ca=ca.pem":                      with(func(p *place) { p.tls, p.files.CA = true, "ca.pem" }),
		"nacos://me%40x@nacos?password-file=" + secret: with(func(p *place) { p.user, p.password = "me@x", "s3cret" }),
	} {
		got, err := parse(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{}, server{})); diff != "" {
			t.Errorf("%s (-want +parsed):\n%s", url, diff)
		}
	}
}

func TestURLsThatAreNone(t *testing.T) {
	for url, want := range map[string]string{
		"nacos://":                              "no address",
		"nacos://:8848":                         "want HOST or HOST:PORT",
		"nacos://nacos:http":                    "want HOST or HOST:PORT",
		"nacos://nacos:65000":                   "grpc-offset",
		"nacos://nacos/a/b":                     "want one id",
		"nacos://nacos?api=v4":                  "grpc, v1, v2, v3",
		"nacos://nacos?ttl=1s":                  "want a duration of 2s",
		"nacos://nacos?namespace=x":             `there is no "namespace": there are api, ca`,
		"nacos://nacos?group=a&group=b":         "group is there twice",
		"nacos://nacos?cert=x":                  "belong together",
		"nacos://me:secret@nacos":               "password-file",
		"nacos://me@nacos":                      "me has no password",
		"nacos://nacos?password-file=/dev/null": "no user",
		"nacos://nacos?password-file=/nowhere":  "/nowhere",
		"zookeeper://nacos":                     "is not one of nacos, nacoss",
	} {
		_, err := Dial(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("the error has the password: %v", err)
		}
	}
}
