package etcd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/registry"
)

func TestURLs(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]place{
		"etcd://127.0.0.1:2379":                       {endpoints: []string{"127.0.0.1:2379"}, prefix: "/crossfade", ttl: 10 * time.Second},
		"etcd://a:1,b:2,[::1]:3/prod/eu/?ttl=3s":      {endpoints: []string{"a:1", "b:2", "[::1]:3"}, prefix: "/prod/eu", ttl: 3 * time.Second},
		"etcds://a:1":                                 {endpoints: []string{"a:1"}, prefix: "/crossfade", ttl: 10 * time.Second, tls: true},
		"etcd://a:1?ca=/ca.pem&server-name=etcd.eu":   {endpoints: []string{"a:1"}, prefix: "/crossfade", ttl: 10 * time.Second, tls: true, name: "etcd.eu"},
		"etcd+unix:///run/x/etcd.sock?prefix=/a":      {endpoints: []string{"unix:///run/x/etcd.sock"}, prefix: "/a", ttl: 10 * time.Second},
		"etcd://eu%40b@a:1?password-file=" + password: {endpoints: []string{"a:1"}, prefix: "/crossfade", ttl: 10 * time.Second, user: "eu@b", password: "s3cret"},
	} {
		got, err := parse(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if !slices.Equal(got.endpoints, want.endpoints) || got.prefix != want.prefix || got.ttl != want.ttl || got.tls != want.tls ||
			got.user != want.user || got.password != want.password || got.name != want.name {
			t.Errorf("%s: %+v, want %+v", raw, got, want)
		}
	}
	t.Setenv(registry.PasswordEnv, "from the environment")
	if p, err := parse("etcd://agent@a:1"); err != nil || p.password != "from the environment" {
		t.Errorf("password %q, %v; want that of the environment", p.password, err)
	}
}

func TestURLsThatSayNothingUseful(t *testing.T) {
	t.Setenv(registry.PasswordEnv, "")
	for raw, want := range map[string]string{
		"":                           "scheme",
		"http://a:1":                 `scheme "http" is not one of etcd, etcds, etcd+unix`,
		"etcd://":                    "no address",
		"etcd:///crossfade":          "no address",
		"etcd://a":                   `address "a": want HOST:PORT`,
		"etcd://a:1,:2":              `address ":2": want HOST:PORT`,
		"etcd://me:secret@a:1":       "seen by everybody",
		"etcd://me@a:1":              "user me has no password",
		"etcd://a:1?ttl=10":          `ttl "10"`,
		"etcd://a:1?ttl=1ms":         `ttl "1ms"`,
		"etcd://a:1?ttl=3s&ttl=4s":   "ttl is there twice",
		"etcd://a:1?cert=/c.pem":     "belong together",
		"etcd://a:1?insecure=true":   `no "insecure"`,
		"etcd+unix://run/etcd.sock":  "want etcd+unix:///",
		"etcd+unix://":               "want etcd+unix:///",
		"etcd://a:1?password-file=x": "x: no such file",
		"etcd://a:1?ca=/no/such.pem": "no such file",
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

// What people write first has no scheme: they read what is wanted, not how a URL is parsed.
func TestServerSaysWhereItCanListen(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:2379", ":2379", "tcp://127.0.0.1:2379", ""} {
		server := Server{Data: t.TempDir(), Listen: listen}
		if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "want unix:///PATH, http://IP:PORT or https://IP:PORT") {
			t.Errorf("listen %q: got %v, want it said what is wanted", listen, err)
		}
	}
}
