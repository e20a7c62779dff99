package serve

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// find agrees with the rule in its own words: of the hosts that cover a name, the one that says most of it.
func TestFindFollowsTheRule(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "A", "c1", "xn--p"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".")
	})
	pattern := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "", "*."}).Draw(t, "wild") + name.Draw(t, "name")
	})
	rapid.Check(t, func(t *rapid.T) {
		l := &fleet.Listener{}
		for _, hosts := range rapid.SliceOfN(rapid.SliceOfN(pattern, 1, 3), 1, 5).Draw(t, "servers") {
			if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
				hosts = append(hosts, "*")
			}
			l.TLS = append(l.TLS, fleet.ServerTLS{Hosts: hosts})
		}
		asked := rapid.OneOf(name, rapid.Just(""), rapid.Just("..a"), rapid.Just(strings.Repeat("a.", 200)+"a")).Draw(t, "asked")
		f := newFront(l, newKeyring())
		want, best := -1, -1
		for i := range l.TLS {
			for _, host := range l.TLS[i].Hosts {
				if n := covers(host, asked); n > best {
					want, best = i, n
				}
			}
		}
		got := -1
		if s := f.find([]byte(asked)); s != nil {
			for i := range f.every {
				if f.every[i] == s {
					got = i
				}
			}
		}
		if got != want {
			t.Fatalf("%q: got server %d, want %d of %+v", asked, got, want, l.TLS)
		}
	})
}

// covers says how much of a name a host says, -1 if it is not for that name.
func covers(host, name string) int {
	host, name = strings.ToLower(host), strings.ToLower(name)
	const exact = 1 << 20
	switch rest, wild := strings.CutPrefix(host, "*"); {
	case host == "*":
		return 0
	case len(name) > 255:
		return -1
	case !wild && host == name:
		return exact
	case wild && len(name) > len(rest) && strings.HasSuffix(name, rest):
		return len(rest)
	}
	return -1
}

func TestNameOfAnAuthority(t *testing.T) {
	for authority, want := range map[string]string{
		"shop.test": "shop.test", "shop.test:443": "shop.test", "shop.test.": "shop.test", "shop.test.:1": "shop.test",
		"[::1]": "[::1]", "[::1]:443": "[::1]", "::1": "::1", "": "", ":80": "", "1.2.3.4:5": "1.2.3.4",
	} {
		if got := string(nameOf([]byte(authority))); got != want {
			t.Errorf("%q: got %q, want %q", authority, got, want)
		}
	}
}

func TestServesAllocatesNothing(t *testing.T) {
	k := &socket{}
	k.front.Store(newFront(&fleet.Listener{TLS: []fleet.ServerTLS{{Hosts: []string{"*.example.com"}}, {Hosts: []string{"*"}}}}, newKeyring()))
	c := &secured{k: k, name: []byte("shop.example.com")}
	authority := []byte("Other.Example.Com:8443")
	if got := testing.AllocsPerRun(1000, func() {
		if !c.Serves(authority) {
			t.Error("got a request refused")
		}
	}); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// With a hundred times as many names, finding one takes as long: BenchmarkFind/10 beside BenchmarkFind/1000.
func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10, 1000} {
		f, ring := &fleet.Listener{Name: "a"}, newKeyring()
		for i := range n {
			f.TLS = append(f.TLS, fleet.ServerTLS{Hosts: []string{fmt.Sprintf("shop-%d.example.com", i)}, Certificate: strconv.Itoa(i)})
		}
		front, name := newFront(f, ring), fmt.Appendf(nil, "shop-%d.example.com", n-1)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if front.find(name) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// Requests of one connection ask at once, also while configuration changes under them.
func TestServesForManyAtOnce(t *testing.T) {
	ring := newKeyring()
	fresh := func() *front {
		return newFront(&fleet.Listener{TLS: []fleet.ServerTLS{{Hosts: []string{"*.example.com"}}, {Hosts: []string{"*"}, Certificate: "other.pem"}}}, ring)
	}
	k := &socket{}
	k.front.Store(fresh())
	c := &secured{k: k, name: []byte("shop.example.com")}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 1000 {
				if !c.Serves([]byte("till.example.com")) || c.Serves([]byte("example.org")) {
					t.Error("got the wrong requests refused")
					return
				}
			}
		})
	}
	for range 100 {
		k.front.Store(fresh())
	}
	group.Wait()
}
