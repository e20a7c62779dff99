package hold

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAURL(t *testing.T) {
	for raw, want := range map[string]URL{
		"zookeeper://zk1:2181,zk2?listen=127.0.0.1:2181&paths=/a": {
			Scheme: "zookeeper", Addresses: []string{"zk1:2181", "zk2"}, Listen: netip.MustParseAddrPort("127.0.0.1:2181"),
			Annotate: true, Rest: map[string]string{"paths": "/a"},
		},
		"nacos://app@[2001:db8::1]:8848/nacos?listen=[::1]:8848&annotate=false&away=open": {
			Scheme: "nacos", User: "app", Addresses: []string{"[2001:db8::1]:8848"}, Path: "/nacos", Listen: netip.MustParseAddrPort("[::1]:8848"),
			FailOpen: true, Rest: map[string]string{},
		},
		"etcd://10.0.0.1?listen=0.0.0.0:2379&expose=true&annotate=true&away=closed": {
			Scheme: "etcd", Addresses: []string{"10.0.0.1"}, Listen: netip.MustParseAddrPort("0.0.0.0:2379"), Annotate: true, Rest: map[string]string{},
		},
	} {
		got, err := ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
}

func TestWhatIsNoURL(t *testing.T) {
	for raw, want := range map[string]string{
		"zk1:2181":                                                   "want SCHEME://",
		"://zk1":                                                     "want SCHEME://",
		"zookeeper://zk1:2181":                                       "Say listen=ADDRESS:PORT",
		"zookeeper://?listen=:2181":                                  `address ""`,
		"zookeeper://zk1,?listen=:2181":                              `address ""`,
		"zookeeper://a:b:c?listen=127.0.0.1:2181":                    `address "a:b:c"`,
		"zookeeper://a:0?listen=127.0.0.1:2181":                      `address "a:0"`,
		"zookeeper://a:?listen=127.0.0.1:2181":                       `address "a:"`,
		"zookeeper://u:p@a?listen=127.0.0.1:2181":                    "a password in a URL",
		"zookeeper://zk1?listen=2181":                                "want ADDRESS:PORT",
		"zookeeper://zk1?listen=localhost:2181":                      "want ADDRESS:PORT",
		"zookeeper://zk1?listen=0.0.0.0:2181":                        "expose=true",
		"zookeeper://zk1?listen=127.0.0.1:1&listen=127.0.0.1:2":      "listen is there twice",
		"zookeeper://zk1?listen=127.0.0.1:2181&annotate=no":          "annotate=no: want true or false",
		"zookeeper://zk1?listen=127.0.0.1:2181&away=closing":         "away=closing: want closed or open",
		"zookeeper://zk1?listen=127.0.0.1:2181&expose=":              "expose=: want false or true",
		"zookeeper://zk1?listen=127.0.0.1:2181;annotate=false":       "semicolon",
		"zookeeper://zk1/%zz?listen=127.0.0.1:2181&annotate=false":   "%zz",
		"zookeeper://%zz@zk1?listen=127.0.0.1:2181&annotate=false":   "%zz",
		"zookeeper://[::1]:x?listen=127.0.0.1:2181&annotate=false":   `address "[::1]:x"`,
		"zookeeper://[::1]:9,b:?listen=127.0.0.1:1&annotate=false":   `address "b:"`,
		"zookeeper://zk1:99999?listen=127.0.0.1:2181&annotate=false": `address "zk1:99999"`,
	} {
		if got, err := ParseURL(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v, want an error with %q", raw, got, err, want)
		}
	}
}

func TestParametersOfOneKind(t *testing.T) {
	u, err := ParseURL("etcd://a,[::1],b:1?listen=127.0.0.1:2379&prefix=/x&paths=/y")
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Only("prefix", "paths"); err != nil {
		t.Error(err)
	}
	if err := u.Only("prefix"); err == nil || err.Error() != `there is no "paths": there are annotate, away, expose, listen, prefix` {
		t.Errorf("got %v", err)
	}
	got, err := u.At("2379")
	if diff := cmp.Diff([]string{"a:2379", "[::1]:2379", "b:1"}, got); diff != "" || err != nil {
		t.Errorf("addresses: %v (-want +got):\n%s", err, diff)
	}
	if got := u.String(); got != "etcd://a,[::1],b:1" {
		t.Errorf("got %s", got)
	}
}

// A proxy whose registry is itself would call itself for ever.
func TestAProxyDoesNotCallItself(t *testing.T) {
	for raw, itself := range map[string]bool{
		"zookeeper://127.0.0.1:2181?listen=127.0.0.1:2181":                     true,
		"zookeeper://zk1,127.0.0.1?listen=127.0.0.1:2181":                      true,
		"zookeeper://localhost?listen=127.0.0.1:2181":                          true,
		"zookeeper://localhost:2181?listen=[::1]:2181":                         true,
		"zookeeper://[::1]?listen=[::1]:2181":                                  true,
		"zookeeper://[::ffff:127.0.0.1]:2181?listen=127.0.0.1:2181":            true,
		"zookeeper://127.0.0.1:2181?listen=0.0.0.0:2181&expose=true":           true,
		"zookeeper://127.0.0.1:2181?listen=127.0.0.2:2181":                     false,
		"zookeeper://localhost?listen=127.0.0.2:2181":                          false,
		"zookeeper://127.0.0.1:2181?listen=127.0.0.1:2182":                     false,
		"zookeeper://127.0.0.1:2182,zk1?listen=127.0.0.1:2181":                 false,
		"zookeeper://192.0.2.1:2181,192.0.2.2?listen=0.0.0.0:2181&expose=true": false,
	} {
		u, err := ParseURL(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if _, err := u.At("2181"); (err != nil) != itself {
			t.Errorf("%s: got %v", raw, err)
		}
	}
}

// Whatever people write, what is read of it can be used: somewhere to listen, and servers with a port.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{
		"zookeeper://zk1:2181,zk2/a?listen=127.0.0.1:2181&paths=/x", "nacos://u@[::1]?listen=[::1]:8848&away=open", "etcd://a:b:c?listen=0.0.0.0:1&expose=true",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			return
		}
		if !u.Listen.IsValid() || u.Scheme == "" || len(u.Addresses) == 0 {
			t.Errorf("%q: got %+v", raw, u)
		}
		servers, err := u.At("2181")
		if err != nil {
			return
		}
		for _, server := range servers {
			if host, port, err := net.SplitHostPort(server); err != nil || host == "" || port == "" {
				t.Errorf("%q: got the server %q", raw, server)
			}
		}
	})
}
