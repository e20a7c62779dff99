package proxy

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
)

// A keep-alive GET goes through without an allocation of ours. Client and endpoint are in the same process, so
// neither may allocate either.
func TestGetAllocatesNothing(t *testing.T) {
	wantNoAllocations(t, nil)
}

func wantNoAllocations(t *testing.T, change func(*fleet.View)) {
	t.Helper()
	wantNone(t, keepAlive(t, change))
}

func wantNone(t *testing.T, once func()) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for range 100 {
		once()
	}
	if got := testing.AllocsPerRun(2000, once); got != 0 {
		t.Errorf("got %v allocations per request, want 0", got)
	}
}

// Nor does one whose route is found by headers, query and caller, is rewritten, and edits five fields.
func TestGetWithEditsAllocatesNothing(t *testing.T) {
	wantNoAllocations(t, edited)
}

// Nor does one whose key is worked out, wherever that is, with the cookie that the client is given.
func TestGetByKeyAllocatesNothing(t *testing.T) {
	for name, policy := range keyPolicies() {
		t.Run(name, func(t *testing.T) {
			wantNoAllocations(t, func(v *fleet.View) { v.Services[0].Pools[0].Policy = policy })
		})
	}
}

func keyPolicies() map[string]fleet.Policy {
	ring := func(h fleet.Hash) fleet.Policy { return fleet.Policy{Algorithm: fleet.RingHash, Hash: &h} }
	return map[string]fleet.Policy{
		"header":       ring(fleet.Hash{Header: "user-agent", Bound: 1.5}),
		"query":        ring(fleet.Hash{Query: "user"}),
		"source":       ring(fleet.Hash{SourceIP: true}),
		"given cookie": ring(fleet.Hash{Cookie: &fleet.HashCookie{Name: "sid", Path: "/", TTL: time.Hour}}),
		"maglev":       {Algorithm: fleet.Maglev, Hash: &fleet.Hash{Header: "user-agent"}},
		"passthrough":  {Algorithm: fleet.Passthrough},
	}
}

// edited gives a view's only route conditions, a rewrite and edits.
func edited(v *fleet.View) {
	v.Instances = []fleet.Instance{{Name: "web-1", Namespace: "shop", Workload: "web", Labels: map[string]string{"app": "web"}}}
	v.Listeners[0].Mesh = true
	r := toApp(func(r *fleet.Route) {
		r.Matches = []fleet.Match{{
			Path:         fleet.StringMatch{Prefix: "/index"},
			Headers:      []fleet.NamedMatch{{Name: "user-agent", Value: fleet.StringMatch{Regex: "te.t"}}},
			SourceLabels: map[string]string{"app": "web"},
		}}
		r.Rewrite = &fleet.Rewrite{Path: "/page", Authority: "inner"}
		r.Headers.Request = fleet.HeaderEdit{Set: []fleet.Header{header("x-a", "1"), header("x-b", "2")}, Add: []fleet.Header{header("x-c", "3")}}
		r.Destinations[0].Headers.Response = fleet.HeaderEdit{Remove: []string{"server"}, Set: []fleet.Header{header("x-d", "4")}}
	})
	v.Listeners[0].Hosts[0].Routes = []fleet.Route{r, {Respond: &fleet.Respond{Status: 500}}}
}

func BenchmarkGetWithEdits(b *testing.B) {
	once := keepAlive(b, edited)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

func BenchmarkGet(b *testing.B) {
	once := keepAlive(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// keepAlive returns a function that, in a view changed by change, sends one request over a connection that stays and reads its answer.
func keepAlive(t testing.TB, change func(*fleet.View)) func() {
	t.Helper()
	return keepAliveBy(t, Options{}, change)
}

// keepAliveBy is keepAlive of a proxy with options.
func keepAliveBy(t testing.TB, o Options, change func(*fleet.View)) func() {
	t.Helper()
	body := bytes.Repeat([]byte{'x'}, 200)
	answer := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n"), body...)
	addr := script(t, func(_ int, c *net.TCPConn, _ *bufio.Reader) {
		b := make([]byte, 4096)
		for {
			if _, err := c.Read(b); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	w := newWorld(t, o, addr)
	if change != nil {
		v := w.view(addr)
		change(&v)
		w.apply(v)
	}
	c := w.dial()
	request := []byte("GET /index.html?user=me HTTP/1.1\r\nHost: app\r\nUser-Agent: test\r\nAccept: */*\r\nProxy-Authorization: Basic d2ViLTE6\r\n\r\n")
	got := make([]byte, 4096)
	return func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; !bytes.HasSuffix(got[:n], body); {
			m, err := c.Read(got[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
	}
}
