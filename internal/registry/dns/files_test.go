package dns

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func ports(texts ...string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, a := range addrs(texts...) {
		all = append(all, netip.AddrPortFrom(a, 53))
	}
	return all
}

var alike = cmp.Options{
	cmp.AllowUnexported(conf{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func TestParseConf(t *testing.T) {
	tests := map[string]struct {
		text string
		want conf
	}{
		"nothing": {"", conf{servers: ports("127.0.0.1"), ndots: 1, timeout: 5 * time.Second, attempts: 2}},
		"Kubernetes": {
			"search shop.svc.cluster.local svc.cluster.local. cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
			conf{
				servers: ports("10.96.0.10"), search: []string{"shop.svc.cluster.local", "svc.cluster.local", "cluster.local"},
				ndots: 5, timeout: 5 * time.Second, attempts: 2,
			},
		},
		"all options": {
			"options timeout:2 attempts:3 rotate use-vc ndots:0 edns0 trust-ad\nnameserver ::1\nnameserver fe80::1%eth0",
			conf{servers: ports("::1", "fe80::1%eth0"), timeout: 2 * time.Second, attempts: 3, rotate: true, tcp: true},
		},
		"bounds": {
			"options timeout:900 attempts:0 ndots:99 timeout: attempts:x ndots:-1",
			conf{servers: ports("127.0.0.1"), ndots: 15, timeout: 30 * time.Second, attempts: 1},
		},
		"the last search or domain wins, three servers count": {
			"domain a\nsearch b c\ndomain d e\n# nameserver 1.1.1.1\n; x\n\tnameserver 10.0.0.1 extra\nnameserver no\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\nbogus\nnameserver\n",
			conf{servers: ports("10.0.0.1", "10.0.0.2", "10.0.0.3"), search: []string{"d"}, ndots: 1, timeout: 5 * time.Second, attempts: 2},
		},
		"the root is no search list": {
			"search . a..b", conf{servers: ports("127.0.0.1"), ndots: 1, timeout: 5 * time.Second, attempts: 2},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parseConf([]byte(tt.text)), alike); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	c := conf{search: []string{"shop.svc", "svc"}, ndots: 2}
	tests := map[string][]string{
		"db":                            {"db.shop.svc.", "db.svc.", "db."},
		"db.shop":                       {"db.shop.shop.svc.", "db.shop.svc.", "db.shop."},
		"db.example.com":                {"db.example.com.", "db.example.com.shop.svc.", "db.example.com.svc."},
		"db.":                           {"db."},
		strings.Repeat("abcd.", 50):     {strings.Repeat("abcd.", 50)},
		strings.Repeat("a.", 124) + "b": {strings.Repeat("a.", 124) + "b.", strings.Repeat("a.", 124) + "b.svc."},
	}
	for name, want := range tests {
		if got := c.candidates(name); !slices.Equal(got, want) {
			t.Errorf("candidates of %s: %q, want %q", name, got, want)
		}
	}
}

func TestParseHosts(t *testing.T) {
	got := parseHosts([]byte("127.0.0.1 localhost\n::1 localhost ip6-localhost # comment\n# 1.2.3.4 gone\n" +
		"10.0.0.1\tDB.example. db db\n10.0.0.2 db\n::ffff:10.0.0.1 db\nnonsense db\n10.0.0.9\nfe80::1%lo zone"))
	want := hosts{
		"localhost": addrs("127.0.0.1", "::1"), "ip6-localhost": addrs("::1"), "db.example": addrs("10.0.0.1"),
		"db": addrs("10.0.0.1", "10.0.0.2"), "zone": addrs("fe80::1%lo"),
	}
	if diff := cmp.Diff(want, got, alike); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	var c cached[hosts]
	get := func() *hosts {
		t.Helper()
		table, err := c.get(path, parseHosts)
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	start := time.Now()
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		then := start.Add(-age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	if got := get(); len(*got) != 0 {
		t.Errorf("a missing file names %v, want nothing", *got)
	}
	write("10.0.0.1 a", 0)
	first := get()
	if want := addrs("10.0.0.1"); !slices.Equal(first.of("a"), want) {
		t.Errorf("a is at %v, want %v", first.of("a"), want)
	}
	write("10.0.0.1 a", time.Hour)
	if get() != first {
		t.Error("the same bytes at another time are another table, want the same pointer")
	}
	write("10.0.0.9 a", 0)
	get()
	write("10.0.0.2 a", 0) // so young that the same size and time prove nothing
	if want := addrs("10.0.0.2"); !slices.Equal(get().of("a"), want) {
		t.Errorf("a is at %v, want %v", get().of("a"), want)
	}
	second := get()
	write("10.0.0.3 a", 2*time.Hour)
	if get() == second {
		t.Error("the change was not seen")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := get(); len(*got) != 0 {
		t.Errorf("a file that is gone names %v, want nothing", *got)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if table, err := c.get(path, parseHosts); err == nil || table == nil {
		t.Errorf("a directory in its place: %v, %v; want the table as it was, and an error", table, err)
	}
}

func FuzzConf(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch a b\noptions ndots:5 timeout:1 attempts:9 rotate", "db")
	f.Add("domain .\noptions ndots:99999999999999999999", "a.b.")
	f.Fuzz(func(t *testing.T, text, name string) {
		c := parseConf([]byte(text))
		if n := len(c.servers); n < 1 || n > maxServers {
			t.Errorf("%d servers, want 1 to %d", n, maxServers)
		}
		if c.timeout < time.Second || c.timeout > maxTimeout*time.Second || c.attempts < 1 || c.attempts > maxAttempts {
			t.Errorf("timeout %v, attempts %d: out of bounds", c.timeout, c.attempts)
		}
		if c.ndots < 0 || c.ndots > maxDots {
			t.Errorf("ndots %d, want 0 to %d", c.ndots, maxDots)
		}
		if !askable(name) {
			return
		}
		for _, candidate := range c.candidates(name) {
			if !askable(candidate) || !strings.HasSuffix(candidate, ".") {
				t.Errorf("candidate %q, want an absolute name", candidate)
			}
		}
	})
}

func FuzzHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n::1 localhost # x\n1.2.3.4 A b.c.")
	f.Fuzz(func(t *testing.T, text string) {
		for name, list := range parseHosts([]byte(text)) {
			if name != plain(name) && !strings.HasSuffix(name, ".") {
				t.Errorf("name %q, want it plain", name)
			}
			if len(list) == 0 || len(distinct(slices.Clone(list))) != len(list) {
				t.Errorf("%q is at %v, want one address at least and none twice", name, list)
			}
		}
	})
}
