package proxy

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// A keyed is a world of some endpoints that say who they are, behind one policy.
type keyed struct {
	*world

	addresses []string
}

func newKeyed(t testing.TB, endpoints int, p fleet.Policy) *keyed {
	t.Helper()
	k := &keyed{}
	for range endpoints {
		k.addresses = append(k.addresses, handle(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	}
	k.world = newWorld(t, Options{Reveal: RevealAlways}, k.addresses...)
	k.policy(p, nil)
	return k
}

// policy puts a policy in force, in a view changed by change.
func (k *keyed) policy(p fleet.Policy, change func(*fleet.View)) {
	v := k.view(k.addresses...)
	v.Services[0].Pools[0].Policy = p
	if change != nil {
		change(&v)
	}
	k.apply(v)
}

// ask sends a request on a connection of its own and returns who answered and which cookie it gave.
func (k *keyed) ask(target, fields string) (endpoint, cookie string) {
	k.t.Helper()
	c := k.dial()
	defer c.Close()
	c.say("GET %s HTTP/1.1\r\nHost: app\r\n%s\r\n", target, fields)
	resp, body := c.answer("GET")
	if resp.StatusCode != 200 || len(resp.Header.Values("Set-Cookie")) > 1 {
		k.t.Fatalf("got %d %q with %v", resp.StatusCode, body, resp.Header)
	}
	return resp.Header.Get("X-Crossfade-Endpoint"), resp.Header.Get("Set-Cookie")
}

// TestEveryKindOfKeyKeepsARequestAtItsEndpoint asks with the same key in different requests, with other keys, and
// without one.
func TestEveryKindOfKeyKeepsARequestAtItsEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		hash fleet.Hash
		same func(n int) [][2]string // targets and fields that have key n
		none [2]string
	}{
		"header": {fleet.Hash{Header: "x-user"}, func(n int) [][2]string {
			return [][2]string{
				{"/", fmt.Sprintf("X-User: u%d\r\n", n)}, {"/other?x=1", fmt.Sprintf("x-user:  u%d\r\nX-Other: %d\r\n", n, n)},
			}
		}, [2]string{"/", "X-Users: u\r\n"}},
		"header on several lines": {fleet.Hash{Header: "x-user"}, func(n int) [][2]string {
			return [][2]string{
				{"/", fmt.Sprintf("X-User: u%d\r\nX-User: v\r\n", n)}, {"/", fmt.Sprintf("X-User: v\r\nX-User: u%d\r\n", n)},
			}
		}, [2]string{"/", ""}},
		"path": {fleet.Hash{Header: ":path"}, func(n int) [][2]string {
			return [][2]string{{fmt.Sprintf("/p/%d?a", n), ""}, {fmt.Sprintf("/x/../p/%d?a", n), "X: 1\r\n"}}
		}, [2]string{}},
		"query": {fleet.Hash{Query: "user"}, func(n int) [][2]string {
			return [][2]string{
				{fmt.Sprintf("/?user=%d", n), ""}, {fmt.Sprintf("/a/b?user2=9&x&user=%d&user=7", n), "X: 1\r\n"},
			}
		}, [2]string{"/?users=1&us", ""}},
		"cookie": {fleet.Hash{Cookie: &fleet.HashCookie{Name: "sid", TTL: -1}}, func(n int) [][2]string {
			return [][2]string{
				{"/", fmt.Sprintf("Cookie: sid=%d\r\n", n)},
				{"/a", fmt.Sprintf("Cookie: a=b; sids=1\r\nCookie: xsid=4; sid=\"%d\"; sid=7\r\n", n)},
			}
		}, [2]string{"/", "Cookie: sid=; Sid=1\r\n"}},
	} {
		for _, algorithm := range []fleet.Algorithm{fleet.RingHash, fleet.Maglev} {
			t.Run(name+" "+algorithm.String(), func(t *testing.T) {
				t.Parallel()
				k := newKeyed(t, 4, fleet.Policy{Algorithm: algorithm, Hash: &tc.hash})
				const keys = 72
				met := map[string]bool{}
				for n := range keys {
					at := ""
					for _, q := range tc.same(n) {
						for range 3 {
							endpoint, _ := k.ask(q[0], q[1])
							if at == "" {
								at = endpoint
							}
							if endpoint != at {
								t.Errorf("key %d: %q went to %s, want %s", n, q, endpoint, at)
							}
						}
					}
					met[at] = true
				}
				if len(met) != 4 { // 4 · (3/4)^72 = 4e-9, and the endpoints are others each time
					t.Errorf("%d keys went to %v, want all four", keys, met)
				}
				if tc.none == ([2]string{}) {
					return
				}
				met = map[string]bool{}
				for range 60 { // 4 · (3/4)^60: once in 10^7
					at, cookie := k.ask(tc.none[0], tc.none[1])
					met[at] = true
					if cookie != "" {
						t.Errorf("got the cookie %q, want none", cookie)
					}
				}
				if len(met) != 4 {
					t.Errorf("requests without a key went to %v, want all four", met)
				}
			})
		}
	}
}

// The key of a connection's address is the same for all of its requests, whatever they say of themselves.
func TestTheSourceAddressIsThatOfTheConnection(t *testing.T) {
	k := newKeyed(t, 4, fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{SourceIP: true}})
	first, _ := k.ask("/", "")
	for n := range 20 {
		if at, _ := k.ask("/", fmt.Sprintf("X-Forwarded-For: 192.0.2.%d\r\n", n)); at != first {
			t.Errorf("got %s, want %s", at, first)
		}
	}
	met := map[string]bool{}
	const addresses = 100      // 4 · (3/4)^100 = 1e-12, and the endpoints are others each time
	for n := range addresses { // every address of 127/8 is this machine
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 3, 0, byte(n+1))}}
		nc, err := dialer.Dial("tcp", k.addr)
		if err != nil {
			t.Skip(err) // a system that has only 127.0.0.1
		}
		fmt.Fprint(nc, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.Close()
		met[resp.Header.Get("X-Crossfade-Endpoint")] = true
	}
	if len(met) != 4 {
		t.Errorf("%d addresses went to %v, want all four", addresses, met)
	}
}

// In the mesh the address is that of the instance that calls.
func TestTheSourceAddressInTheMeshIsTheCallers(t *testing.T) {
	policy := fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{SourceIP: true}}
	k := newKeyed(t, 4, policy)
	const callers = 100
	mesh := func(first int) func(*fleet.View) {
		return func(v *fleet.View) {
			v.Listeners[0].Mesh = true
			for n := range callers {
				v.Instances = append(v.Instances, fleet.Instance{
					Name: fmt.Sprintf("web-%d", first+n), Namespace: "shop", Address: netip.AddrFrom4([4]byte{127, 1, 0, byte(n)}),
				})
			}
		}
	}
	ask := func(n int) string {
		at, _ := k.ask("/", "Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "web-%d:", n))+"\r\n")
		return at
	}
	k.policy(policy, mesh(0))
	met := map[string]bool{}
	var went []string
	for n := range callers {
		went = append(went, ask(n))
		met[went[n]] = true
		if again := ask(n); again != went[n] {
			t.Errorf("web-%d went to %s, then to %s", n, went[n], again)
		}
	}
	if len(met) != 4 {
		t.Errorf("%d callers went to %v, want all four", callers, met)
	}
	k.policy(policy, mesh(100)) // others at the same addresses
	for n := range callers {
		if at := ask(100 + n); at != went[n] {
			t.Errorf("got %s for the address that went to %s", at, went[n])
		}
	}
}

// A client that keeps the cookie it is given stays where its first request went.
func TestAClientIsGivenACookieOnce(t *testing.T) {
	k := newKeyed(t, 4, fleet.Policy{Algorithm: fleet.RingHash, Hash: &fleet.Hash{Cookie: &fleet.HashCookie{
		Name: "sid", Path: "/shop", TTL: 90 * time.Second, Attributes: []fleet.Header{header("Secure", ""), header("SameSite", "Strict")},
	}}})
	met, values := map[string]bool{}, map[string]bool{}
	for range 60 {
		at, cookie := k.ask("/", "Cookie: other=1; sid=\r\n")
		met[at] = true
		pair, attributes, _ := strings.Cut(cookie, "; ")
		if want := "Max-Age=90; Path=/shop; Secure; SameSite=Strict; HttpOnly"; attributes != want || len(pair) != len("sid=")+16 {
			t.Fatalf("got %q, want a value of 16 digits with %q", cookie, want)
		}
		values[pair] = true
		for range 3 {
			next, cookie := k.ask("/other", "Cookie: other=1; "+pair+"\r\n")
			if next != at || cookie != "" {
				t.Errorf("with %s got %s and the cookie %q, want %s and none", pair, next, cookie, at)
			}
		}
	}
	if len(met) != 4 || len(values) != 60 {
		t.Errorf("60 clients were sent to %v with %d cookies, want all four and 60", met, len(values))
	}
}

func TestTheCookieOfASessionHasNoAge(t *testing.T) {
	cookie := fleet.HashCookie{Name: "sid"}
	k := newKeyed(t, 1, fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{Cookie: &cookie}})
	if _, got := k.ask("/", ""); !strings.HasPrefix(got, "sid=") || !strings.HasSuffix(got, "; HttpOnly") || strings.Count(got, ";") != 1 {
		t.Errorf("got %q, want a value and HttpOnly", got)
	}
	// A part of a second lasts a second: 0 would be a session.
	cookie.TTL = time.Millisecond
	k.policy(fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{Cookie: &cookie}}, nil)
	if _, got := k.ask("/", ""); !strings.Contains(got, "; Max-Age=1;") {
		t.Errorf("got %q, want a second", got)
	}
	// Where keys make no difference, nobody needs one.
	k.policy(fleet.Policy{Algorithm: fleet.RoundRobin, Hash: &fleet.Hash{Cookie: &cookie}}, nil)
	if _, got := k.ask("/", ""); got != "" {
		t.Errorf("got %q, want no cookie", got)
	}
	// Configuration has the last word.
	k.policy(fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{Cookie: &cookie}}, func(v *fleet.View) {
		routes := v.Listeners[0].Hosts[0].Routes
		routes[len(routes)-1].Headers.Response.Remove = []string{"set-cookie"}
	})
	if _, got := k.ask("/", ""); got != "" {
		t.Errorf("got %q, want no cookie", got)
	}
}

// A retried request keeps the cookie's value, so that the next one takes the same way; an answer of our own gives
// none.
func TestTheCookieOutlivesARetry(t *testing.T) {
	k := newKeyed(t, 2, fleet.Policy{})
	k.addresses[1] = "127.0.0.1:1" // nobody listens
	policy := fleet.Policy{Algorithm: fleet.Maglev, Hash: &fleet.Hash{Cookie: &fleet.HashCookie{Name: "sid"}}}
	k.policy(policy, nil)
	retries := func() uint64 { return k.p.State().Services()[0].Pools[0].Traffic.Retry.Load() }
	moved := 0
	for range 40 {
		before := retries()
		at, cookie := k.ask("/", "")
		first := retries() - before
		if at != "app-0" || !strings.HasPrefix(cookie, "sid=") {
			t.Fatalf("got %s and the cookie %q", at, cookie)
		}
		pair, _, _ := strings.Cut(cookie, ";")
		k.ask("/", "Cookie: "+pair+"\r\n")
		if next := retries() - before - first; next != first {
			t.Errorf("the request without a cookie was sent again %d times, the next one %d times", first, next)
		}
		moved += int(first)
	}
	if moved == 0 || moved == 40 {
		t.Errorf("%d of 40 were sent again: the test shows nothing", moved)
	}

	k.addresses = k.addresses[1:]
	k.policy(policy, nil)
	c := k.dial()
	c.say("GET / HTTP/1.1\r\nHost: app\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 503 || resp.Header.Get("Set-Cookie") != "" {
		t.Errorf("got %d %q with %v, want 503 and no cookie", resp.StatusCode, body, resp.Header)
	}
}

// In a pool that passes through, a request that names an address goes there, however little its share.
func TestARequestThatNamesAnAddressGoesThere(t *testing.T) {
	k := newKeyed(t, 3, fleet.Policy{Algorithm: fleet.Passthrough})
	ask := func(target, host string) string {
		c := k.dial()
		defer c.Close()
		c.say("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, host)
		resp, _ := c.answer("GET")
		return resp.Header.Get("X-Crossfade-Endpoint")
	}
	check := func() {
		t.Helper()
		for i, address := range k.addresses {
			for range 5 {
				if at := ask("/", address); at != fmt.Sprintf("app-%d", i) {
					t.Errorf("a request to %s went to %s", address, at)
				}
				if at := ask("http://"+address+"/", "app"); at != fmt.Sprintf("app-%d", i) {
					t.Errorf("a request for http://%s/ went to %s", address, at)
				}
			}
		}
	}
	check()
	slow := fleet.Policy{Algorithm: fleet.Passthrough, Warmup: fleet.Warmup{Window: time.Hour, Minimum: 1e-6, Aggression: 0.1}}
	k.policy(slow, func(v *fleet.View) {
		v.Services[0].Endpoints[2].Age, v.Services[0].Endpoints[2].Stage = time.Second, fleet.Warming
	})
	check()
	met := map[string]bool{}
	for range 60 {
		met[ask("/", "app")] = true
	}
	if len(met) != 2 || met["app-2"] {
		t.Errorf("requests that name the service went to %v, want the warm ones", met)
	}
	k.policy(fleet.Policy{Algorithm: fleet.Random}, nil)
	met = map[string]bool{}
	for range 60 {
		met[ask("/", k.addresses[0])] = true
	}
	if len(met) != 3 {
		t.Errorf("elsewhere, requests that name an address went to %v, want all", met)
	}
}

// What may stand in an authority for an address.
func TestAuthoritiesOfAddresses(t *testing.T) {
	endpoints := []fleet.Endpoint{
		{Address: netip.MustParseAddrPort("10.0.0.1:80")}, {Address: netip.MustParseAddrPort("10.0.0.2:8080")}, {Address: netip.MustParseAddrPort("[fd00::1]:80")},
	}
	p := fleet.Pool{Policy: fleet.Policy{Algorithm: fleet.Passthrough}, Members: []fleet.Member{{Endpoint: 0}, {Endpoint: 1}, {Endpoint: 2}}}
	named := namedIn(&p, endpoints)
	for authority, want := range map[string]int{"10.0.0.1": 0, "10.0.0.1:80": 0, "10.0.0.2:8080": 1, "[fd00::1]:80": 2, "[fd00::1]": 2} {
		if got := named[authority]; got != endpoints[want].Address {
			t.Errorf("%s: got %s, want %s", authority, got, endpoints[want].Address)
		}
	}
	if len(named) != 5 {
		t.Errorf("got %v, want five names", named)
	}
}
