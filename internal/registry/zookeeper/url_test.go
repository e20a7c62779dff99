package zookeeper

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

func TestURLs(t *testing.T) {
	t.Setenv(registry.PasswordEnv, "from the environment")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := place{servers: []string{"a:2181"}, root: "/services", layout: curator, protocol: "dubbo", ttl: 10 * time.Second, acl: "world"}
	for raw, change := range map[string]func(*place){
		"zookeeper://a":                 func(*place) {},
		"zookeeper://a/?layout=curator": func(*place) {},
		"zookeeper://a:1,b,[::1]:3,[::2]/eu/apps/?ttl=3s": func(p *place) {
			p.servers, p.root, p.ttl = []string{"a:1", "b:2181", "[::1]:3", "[::2]:2181"}, "/eu/apps", 3*time.Second
		},
		"zookeeper://a?layout=dubbo&service=org.example.Greeter&protocol=tri": func(p *place) {
			p.layout, p.root, p.service, p.protocol = dubbo, "/dubbo", "org.example.Greeter", "tri"
		},
		"zookeeper://a?layout=dubbo-app&port=grpc": func(p *place) { p.layout, p.port = dubboApp, "grpc" },
		"zookeepers://a": func(p *place) { p.tls = true },
		"zookeeper://a?ca=/ca.pem&server-name=zk":                            func(p *place) { p.tls, p.name = true, "zk" },
		"zookeeper://a?auth=digest:me":                                       func(p *place) { p.user, p.password, p.acl = "me", "from the environment", "read" },
		"zookeeper://a?auth=digest:me&acl=creator&password-file=" + password: func(p *place) { p.user, p.password, p.acl = "me", "s3cret", "creator" },
	} {
		want := plain
		change(&want)
		got, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		servers := slices.Equal(got.servers, want.servers)

		if !servers || !equal(got, want) {
			t.Errorf("%s: %+v, want %+v", raw, got, want)
		}
	}
}

func equal(a, b place) bool {
	return a.root == b.root && a.layout == b.layout && a.service == b.service && a.port == b.port && a.protocol == b.protocol && a.ttl == b.ttl &&
		a.user == b.user && a.password == b.password && a.acl == b.acl && a.tls == b.tls && a.name == b.name
}

func TestURLsThatSayNothingUseful(t *testing.T) {
	t.Setenv(registry.PasswordEnv, "")
	for raw, want := range map[string]string{
		"":                                          "scheme",
		"etcd://a":                                  `scheme "etcd" is not one of zookeeper, zookeepers`,
		"zookeeper://":                              "no address",
		"zookeeper:///services":                     "no address",
		"zookeeper://a,,b":                          `address ""`,
		"zookeeper://a:":                            `address "a:"`,
		"zookeeper://me:secret@a":                   "seen by everybody",
		"zookeeper://me@a":                          "?auth=digest:USER",
		"zookeeper://a?auth=digest:me:secret":       "seen by everybody",
		"zookeeper://a?auth=digest:me":              "user me has no password",
		"zookeeper://a?auth=kerberos:me":            "want digest:USER",
		"zookeeper://a?acl=read":                    "want ?auth= too",
		"zookeeper://a?password-file=url_test.go":   "no user",
		"zookeeper://a?password-file=x":             "x: no such file",
		"zookeeper://a?layout=kratos":               `layout "kratos": want curator, dubbo or dubbo-app`,
		"zookeeper://a?ttl=10":                      `ttl "10"`,
		"zookeeper://a?ttl=3s&ttl=4s":               "ttl is there twice",
		"zookeeper://a?prefix=/x":                   `no "prefix"`,
		"zookeeper://a?cert=/c.pem":                 "belong together",
		"zookeeper://a?service=a/b":                 "has no slash",
		"zookeeper://a/x//y":                        `root "/x//y"`,
		"zookeeper://a/../y":                        `root "/../y"`,
		"zookeeper://a?ca=/no/such.pem":             "no such file",
		"zookeeper://a?auth=digest:me:secret&ttl=x": "registry zookeeper://a?auth=digest:me&ttl=x",
	} {
		c, err := Dial(raw)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", raw, c, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error repeats the password: %v", raw, err)
		}
	}
}

// What cannot be registered says what to do about it.
func TestPortsThatAreNotThere(t *testing.T) {
	for raw, want := range map[string]string{
		"zookeeper://a":           "it has no port: give it one",
		"zookeeper://a?port=grpc": `it has no port "grpc", as port= says; it has admin, http`,
	} {
		p, err := parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		in := fleet.Instance{Incarnation: "a", Address: netip.MustParseAddr("127.0.0.1"), Weight: 1, Labels: map[string]string{"app": "web"}}
		if p.port != "" {
			in.Ports = map[string]uint32{"http": 80, "admin": 81}
		}
		if _, err := p.node(in); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}
