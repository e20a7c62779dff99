package dns

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A zone answers in memory: by name and type, or else by what stands for the whole server. It keeps a list of who
// was asked for what.
type zone struct {
	mu    sync.Mutex
	says  map[string]says // by "name. A", "name. AAAA", "name." or "@server"
	asked []string        // "10.0.0.53 a.example. A"
	busy  int             // queries under way
	most  int             // at once
}

// Says is what an exchange brings.
type says struct {
	addrs  []netip.Addr
	ttl    time.Duration
	code   dnsmessage.RCode
	denied bool
	silent bool          // until the query is given up
	err    error         // instead of an answer
	after  time.Duration // it takes so long
}

func (z *zone) set(key string, s says) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.says == nil {
		z.says = map[string]says{}
	}
	z.says[key] = s
}

func (z *zone) log() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.asked)
}

func (z *zone) exchange(ctx context.Context, server netip.AddrPort, _ bool, q dnsmessage.Question) (reply, error) {
	kind := strings.TrimPrefix(q.Type.String(), "Type")
	z.mu.Lock()
	z.busy++
	z.most = max(z.most, z.busy)
	defer func() {
		z.mu.Lock()
		z.busy--
		z.mu.Unlock()
	}()
	z.asked = append(z.asked, server.Addr().String()+" "+q.Name.String()+" "+kind)
	s := says{code: dnsmessage.RCodeNameError, denied: true, ttl: 10 * time.Second}
	for _, key := range []string{q.Name.String(), q.Name.String() + " " + kind, "@" + server.Addr().String()} {
		if found, ok := z.says[key]; ok {
			s = found
		}
	}
	z.mu.Unlock()
	if s.silent {
		<-ctx.Done()
		return reply{}, ctx.Err()
	}
	if s.after > 0 {
		select {
		case <-time.After(s.after):
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
	r := reply{code: s.code, willing: true, ttl: s.ttl, denied: s.denied}
	for _, a := range s.addrs {
		if a.Is4() == (q.Type == dnsmessage.TypeA) {
			r.addresses = append(r.addresses, a)
		}
	}
	return r, s.err
}

// resolver asks the zone by way of 10.0.0.53, or these servers.
func (z *zone) resolver(servers ...string) *Resolver {
	if len(servers) == 0 {
		servers = []string{"10.0.0.53"}
	}
	return &Resolver{Servers: ports(servers...), HostsFile: "testdata/none", exchange: z.exchange}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLookupWithoutAsking(t *testing.T) {
	var z zone
	r := z.resolver()
	r.HostsFile = file(t, "fd00::9 db\n10.0.0.9 db.\nfd00::8 six\n")
	tests := []struct {
		name, network string
		want          []netip.Addr
		reason        Reason
	}{
		{"10.0.0.1", "", addrs("10.0.0.1"), ""},
		{"::ffff:10.0.0.1", "", addrs("10.0.0.1"), ""},
		{"DB", "", addrs("10.0.0.9", "fd00::9"), ""},
		{"db.", "ip4", addrs("10.0.0.9"), ""},
		{"db", "ip6", addrs("fd00::9"), ""},
		{"a..b", "", nil, BadName},
		{"", "", nil, BadName},
		{strings.Repeat("x", 64), "", nil, BadName},
		{strings.Repeat("x.", 128), "", nil, BadName},
		{"grüße", "", nil, BadName},
	}
	for _, tt := range tests {
		r.Network = tt.network
		got, err := r.Lookup(t.Context(), tt.name)
		if !slices.Equal(got.Addresses, tt.want) || reasonOf(err) != tt.reason {
			t.Errorf("%q over %q: %v, %v; want %v, %q", tt.name, tt.network, got.Addresses, err, tt.want, tt.reason)
		}
	}
	if log := z.log(); log != nil {
		t.Errorf("asked %q, want nothing", log)
	}
	r.Network = "ip4"
	if _, err := r.Lookup(t.Context(), "six"); reasonOf(err) != NoName || len(z.log()) != 1 {
		t.Errorf("six over ip4: %v after %q, want one query: the file has only IPv6 for it", err, z.log())
	}
}

func TestTTLIsBounded(t *testing.T) {
	var z zone
	r := z.resolver()
	for ttl, want := range map[time.Duration]time.Duration{
		0: 5 * time.Second, time.Minute: time.Minute, 24 * time.Hour: time.Hour,
	} {
		z.set("a.", says{addrs: addrs("10.0.0.1"), ttl: ttl})
		if got, err := r.Lookup(t.Context(), "a."); err != nil || got.TTL != want {
			t.Errorf("TTL of an answer with %v: %v, %v; want %v", ttl, got.TTL, err, want)
		}
		z.set("b.", says{code: dnsmessage.RCodeNameError, denied: true, ttl: ttl})
		_, err := r.Lookup(t.Context(), "b.")
		failure, ok := errors.AsType[*LookupError](err)
		if !ok || failure.Reason != NoName || failure.TTL != want {
			t.Errorf("denial with %v: %v for %v; want %q for %v", ttl, err, cmp.Or(failure, &LookupError{}).TTL, NoName, want)
		}
	}
}

func TestSearchList(t *testing.T) {
	var z zone
	r := z.resolver()
	r.Servers = nil
	r.Network = "ip4"
	r.ResolvConf = file(t, "nameserver 10.0.0.53\nsearch one two\noptions ndots:2\n")
	z.set("db.two.", says{addrs: addrs("10.0.0.1"), ttl: time.Minute})
	z.set("bad.one.", says{code: dnsmessage.RCodeServerFailure})
	z.set("bad.two.", says{addrs: addrs("10.6.6.6"), ttl: time.Minute})
	z.set("half.one.", says{denied: true, ttl: 7 * time.Second})
	tests := []struct {
		name   string
		reason Reason
		asked  []string
	}{
		{"db", "", []string{"db.one.", "db.two."}},
		{"a.b.c", NoName, []string{"a.b.c.", "a.b.c.one.", "a.b.c.two."}},
		{"db.two.", "", []string{"db.two."}},
		{"half", NoAddress, []string{"half.one.", "half.two.", "half."}},
		// Another name's address is no substitute for one that could not be asked for.
		{"bad", ServerFailed, []string{"bad.one.", "bad.one."}},
	}
	for _, tt := range tests {
		before := len(z.log())
		_, err := r.Lookup(t.Context(), tt.name)
		if got := reasonOf(err); got != tt.reason {
			t.Errorf("%s: %q (%v), want %q", tt.name, got, err, tt.reason)
		}
		var got []string
		for _, line := range z.log()[before:] {
			got = append(got, strings.Fields(line)[1])
		}
		if !slices.Equal(got, tt.asked) {
			t.Errorf("%s: asked for %q, want %q", tt.name, got, tt.asked)
		}
	}
}

func TestUnreadableResolvConf(t *testing.T) {
	var z zone
	r := z.resolver()
	r.Servers, r.ResolvConf = nil, t.TempDir()
	if _, err := r.Lookup(t.Context(), "a."); reasonOf(err) != ServerFailed {
		t.Errorf("got %v, want %q", err, ServerFailed)
	}
	if log := z.log(); log != nil {
		t.Errorf("asked %q, want nobody: the servers are not known", log)
	}
}

// One family has addresses; what the other does decides whether something is missing, and how long it may take.
func TestOneFamily(t *testing.T) {
	tests := map[string]struct {
		six     says
		missing Reason
		took    time.Duration
	}{
		"denied":            {says{denied: true}, "", 0},
		"name denied":       {says{code: dnsmessage.RCodeNameError}, "", 0},
		"SERVFAIL":          {says{code: dnsmessage.RCodeServerFailure}, ServerFailed, 0},
		"silent":            {says{silent: true}, TimedOut, patience},
		"slow":              {says{addrs: addrs("fd00::1"), ttl: time.Minute, after: patience / 2}, "", patience / 2},
		"slower than we do": {says{addrs: addrs("fd00::1"), ttl: time.Minute, after: 2 * patience}, TimedOut, patience},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var z zone
				z.set("a. A", says{addrs: addrs("10.0.0.1"), ttl: time.Minute})
				z.set("a. AAAA", tt.six)
				start := time.Now()
				got, err := z.resolver().Lookup(t.Context(), "a.")
				if err != nil || got.Addresses[0] != netip.MustParseAddr("10.0.0.1") {
					t.Fatalf("got %v, %v; want 10.0.0.1 first", got.Addresses, err)
				}
				if reason := reasonOf(got.Missing); reason != tt.missing {
					t.Errorf("missing: %q, want %q", reason, tt.missing)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

// Without addresses, what one family denied does not outweigh what the other could not say.
func TestFailureOutweighsDenial(t *testing.T) {
	var z zone
	z.set("a. AAAA", says{code: dnsmessage.RCodeNameError, denied: true})
	z.set("a. A", says{code: dnsmessage.RCodeServerFailure})
	if _, err := z.resolver().Lookup(t.Context(), "a."); reasonOf(err) != ServerFailed {
		t.Errorf("got %v, want %q", err, ServerFailed)
	}
}

func TestSilentServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z zone
		r := z.resolver("10.0.0.1", "10.0.0.2")
		r.Network, r.Timeout = "ip4", 2*time.Second
		z.set("@10.0.0.1", says{silent: true})
		z.set("a.", says{addrs: addrs("10.1.0.1"), ttl: time.Minute})
		took := func() time.Duration {
			start := time.Now()
			if _, err := r.Lookup(t.Context(), "a."); err != nil {
				t.Errorf("got %v, want the second server's answer", err)
			}
			return time.Since(start)
		}
		for i, want := range []time.Duration{2 * time.Second, 0, 0} {
			if got := took(); got != want {
				t.Errorf("lookup %d took %v, want %v: a silent server is asked last for a while", i, got, want)
			}
		}
		time.Sleep(penalty)
		if got := took(); got != r.Timeout {
			t.Errorf("took %v, want %v: the first server has its chance again", got, r.Timeout)
		}
		z.set("@10.0.0.2", says{silent: true})
		start := time.Now()
		_, err := r.Lookup(t.Context(), "a.")
		if got := reasonOf(err); got != TimedOut {
			t.Errorf("got %v, want %q", err, TimedOut)
		}
		if got, want := time.Since(start), 8*time.Second; got != want {
			t.Errorf("took %v, want %v: 2 attempts at 2 servers", got, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := r.Lookup(ctx, "a."); err == nil || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want an error when the context ends", err, time.Since(start))
		}
	})
}

func TestRotate(t *testing.T) {
	var z zone
	z.set("a.", says{addrs: addrs("10.1.0.1"), ttl: time.Minute})
	r := z.resolver()
	r.Servers = nil
	r.ResolvConf = file(t, "nameserver 10.0.0.1\nnameserver 10.0.0.2\noptions rotate")
	for range 64 {
		if _, err := r.Lookup(t.Context(), "a."); err != nil {
			t.Fatal(err)
		}
	}
	count := map[string]int{}
	for _, line := range z.log() {
		count[strings.Fields(line)[0]]++
	}
	if count["10.0.0.1"] < 20 || count["10.0.0.2"] < 20 {
		t.Errorf("servers were asked %v times, want both about 64 times", count)
	}
}
