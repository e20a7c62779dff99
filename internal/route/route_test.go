package route

import (
	"errors"
	"math"
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// to makes a route that is told apart by its name.
func to(name string, matches ...fleet.StringMatch) fleet.Route {
	r := fleet.Route{Name: name, Destinations: []fleet.Destination{{Service: name, Weight: 1}}}
	for _, m := range matches {
		r.Matches = append(r.Matches, fleet.Match{Path: m})
	}
	return r
}

func host(name string, domains ...string) fleet.VirtualHost {
	return fleet.VirtualHost{Domains: domains, Routes: []fleet.Route{to(name)}}
}

func compile(tb testing.TB, hosts ...fleet.VirtualHost) *Table {
	tb.Helper()
	table, err := Compile(&fleet.Listener{Name: "test", Hosts: hosts})
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

// named returns the name of the route that a request falls under, "" if there is none.
func named(t *Table, host, path string) string {
	return nameOf(t.Match(get(host, path)))
}

func get(host, path string) *Request {
	return &Request{Method: []byte("GET"), Host: []byte(host), Path: []byte(path)}
}

func nameOf(h Hit) string {
	if h.Rule == nil {
		return ""
	}
	return h.Rule.Route.Name
}

type matchCase struct{ host, path, want string }

func check(t *testing.T, table *Table, cases []matchCase) {
	t.Helper()
	for _, c := range cases {
		if got := named(table, c.host, c.path); got != c.want {
			t.Errorf("Match(%q, %q): got %q, want %q", c.host, c.path, got, c.want)
		}
	}
}

func TestExactHostGoesBeforeWildcardAndLongerWildcardBeforeShorter(t *testing.T) {
	table := compile(t,
		host("all", "*"),
		host("com", "*.com"),
		host("example", "*.example.com"),
		host("api", "api.example.com"),
	)
	check(t, table, []matchCase{
		{"api.example.com", "/", "api"},
		{"API.Example.COM", "/", "api"},
		{"api.example.com.", "/", "api"},
		{"www.example.com", "/", "example"},
		{"a.b.example.com", "/", "example"},
		{"example.com", "/", "com"},
		{".example.com", "/", "com"}, // the star stands for at least one character
		{"example.org", "/", "all"},
		{"", "/", "all"},
		{strings.Repeat("a", 300) + ".example.com", "/", "all"},
	})
}

func TestDomainWithPortMatchesOnlyThatPortAndGoesBeforeTheBareOne(t *testing.T) {
	table := compile(t,
		host("9080", "reviews:9080", "*.prod:9080"),
		host("any", "reviews"),
		host("9081", "ratings:9081"),
		host("prod", "*.prod"),
		host("six", "[::1]:80"),
	)
	check(t, table, []matchCase{
		{"reviews:9080", "/", "9080"},
		{"Reviews.:9080", "/", "9080"},
		{"reviews", "/", "any"},
		{"reviews:80", "/", "any"},
		{"ratings:9081", "/", "9081"},
		{"ratings", "/", ""},
		{"ratings:9080", "/", ""},
		{"x.prod:9080", "/", "9080"},
		{"x.prod:9081", "/", "prod"},
		{"[::1]:80", "/", "six"},
		{"[::1]", "/", ""},
		{"reviews:", "/", "any"},
	})
}

func TestExactHostOnAnotherPortFallsBackToTheWildcard(t *testing.T) {
	table := compile(t, host("one", "a.example.com:1"), host("rest", "*.example.com"))
	check(t, table, []matchCase{
		{"a.example.com:1", "/", "one"},
		{"a.example.com:2", "/", "rest"},
		{"a.example.com", "/", "rest"},
	})
}

func TestWithoutCatchAllAnUnknownHostHasNoRoute(t *testing.T) {
	check(t, compile(t, host("a", "a")), []matchCase{{"b", "/", ""}, {"", "/", ""}})
}

func TestFirstRouteInOrderWins(t *testing.T) {
	table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{
		to("short", fleet.StringMatch{Prefix: "/api"}),
		to("long", fleet.StringMatch{Prefix: "/api/v1"}),
		to("exact", fleet.StringMatch{Exact: "/api"}, fleet.StringMatch{Exact: "/login"}),
		to("regex", fleet.StringMatch{Regex: "/v[0-9]+/.*"}),
		to("rest"),
		to("never", fleet.StringMatch{Exact: "/never"}),
	}})
	check(t, table, []matchCase{
		{"h", "/api/v1/products", "short"},
		{"h", "/api", "short"},
		{"h", "/login", "exact"},
		{"h", "/v12/x", "regex"},
		{"h", "/never", "rest"},
		{"h", "/", "rest"},
	})
}

func TestPathMatches(t *testing.T) {
	table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{
		to("exact", fleet.StringMatch{Exact: "/exact"}),
		to("prefix", fleet.StringMatch{Prefix: "/prefix"}),
		to("regex", fleet.StringMatch{Regex: "/a|/b"}),
		to("multi", fleet.StringMatch{Regex: "(?m)/c$"}),
	}})
	check(t, table, []matchCase{
		{"h", "/exact?q=/x", "exact"},
		{"h", "/exact/", ""},
		{"h", "/Exact", ""},
		{"h", "/prefixes?x", "prefix"},
		{"h", "/pre?fix", ""},
		{"h", "/a", "regex"},
		{"h", "/b?c", "regex"},
		{"h", "/ab", ""},
		{"h", "x/a", ""},
		{"h", "/c\nx", ""}, // (?m) does not loosen the anchors
	})
}

func TestVirtualHostWithoutMatchingRouteDoesNotFallBack(t *testing.T) {
	table := compile(t,
		fleet.VirtualHost{Domains: []string{"a"}, Routes: []fleet.Route{to("x", fleet.StringMatch{Exact: "/x"})}},
		host("all", "*"),
	)
	check(t, table, []matchCase{{"a", "/x", "x"}, {"a", "/y", ""}, {"b", "/y", "all"}})
}

func TestEmptyMatchMatchesEverything(t *testing.T) {
	table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{to("all", fleet.StringMatch{})}})
	check(t, table, []matchCase{{"h", "/", "all"}, {"h", "*", "all"}})
}

func TestDestinationFollowsTheWeights(t *testing.T) {
	r := fleet.Route{Destinations: []fleet.Destination{{Weight: 0}, {Weight: 80}, {Weight: 0}, {Weight: 20}, {Weight: 0}}}
	table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{r}})
	rule := table.Rules()[0]
	counts := make([]int, len(r.Destinations))
	const draws = 1000
	for i := range draws { // evenly spaced draws hit each part exactly
		counts[rule.Destination(uint64(i)*(math.MaxUint64/draws)+1<<40)]++
	}
	want := []int{0, 800, 0, 200, 0}
	for i := range want {
		if diff := counts[i] - want[i]; diff < -1 || diff > 1 || (want[i] == 0 && counts[i] != 0) {
			t.Errorf("destination %d: got %d of %d draws, want %d", i, counts[i], draws, want[i])
		}
	}
	if got := rule.Destination(math.MaxUint64); got != 3 {
		t.Errorf("Destination(max): got %d, want 3", got)
	}
	if got := rule.Destination(0); got != 1 {
		t.Errorf("Destination(0): got %d, want 1", got)
	}
}

func TestRulesAreNumberedDensely(t *testing.T) {
	table := compile(t, host("a", "a", "a:1"), host("b", "b"), host("c", "*"))
	if got := len(table.Rules()); got != 3 {
		t.Fatalf("got %d rules, want 3", got)
	}
	for i, r := range table.Rules() {
		if r.Number != i {
			t.Errorf("rule %s: got number %d, want %d", r.Route.Name, r.Number, i)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	regex := func(s string) fleet.VirtualHost {
		return fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{to("r", fleet.StringMatch{Regex: s})}}
	}
	none := fleet.Route{Destinations: []fleet.Destination{{Service: "a"}, {Service: "b"}}}
	for name, c := range map[string]struct {
		hosts []fleet.VirtualHost
		want  error
	}{
		"the same domain twice":           {[]fleet.VirtualHost{host("a", "x"), host("b", "X.")}, ErrDuplicate},
		"the same port twice":             {[]fleet.VirtualHost{host("a", "x:1"), host("b", "x:1")}, ErrDuplicate},
		"two catch-alls":                  {[]fleet.VirtualHost{host("a", "*"), host("b", "*")}, ErrDuplicate},
		"an empty domain":                 {[]fleet.VirtualHost{host("a", "")}, ErrDomain},
		"a port only":                     {[]fleet.VirtualHost{host("a", ":80")}, ErrDomain},
		"port 0":                          {[]fleet.VirtualHost{host("a", "x:0")}, ErrDomain},
		"a port that is none":             {[]fleet.VirtualHost{host("a", "x:http")}, ErrDomain},
		"a star in the middle":            {[]fleet.VirtualHost{host("a", "a.*.com")}, ErrDomain},
		"no weight":                       {[]fleet.VirtualHost{{Domains: []string{"*"}, Routes: []fleet.Route{none}}}, ErrDestination},
		"no destination":                  {[]fleet.VirtualHost{{Domains: []string{"*"}, Routes: []fleet.Route{{}}}}, ErrDestination},
		"a regex that does not compile":   {[]fleet.VirtualHost{regex("[")}, ErrRegex},
		"a regex that escapes its anchor": {[]fleet.VirtualHost{regex("a)|(?:b")}, ErrRegex},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(&fleet.Listener{Hosts: c.hosts}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table := bookinfo(t)
	for _, c := range []matchCase{
		{"Bookinfo.Example.com:8080", "/api/v1/products/1?x=y", "api"},
		{"a.b.example.com", "/v7/things", "regex"},
		{"nobody", "/nothing", ""},
	} {
		q := get(c.host, c.path)
		if got := named(table, c.host, c.path); got != c.want {
			t.Errorf("Match(%q, %q): got %q, want %q", c.host, c.path, got, c.want)
		}
		if got := testing.AllocsPerRun(1000, func() { table.Match(q) }); got != 0 {
			t.Errorf("Match(%q, %q): got %v allocations, want 0", c.host, c.path, got)
		}
	}
}

func bookinfo(tb testing.TB) *Table {
	tb.Helper()
	return compile(tb,
		fleet.VirtualHost{Domains: []string{"bookinfo.example.com"}, Routes: []fleet.Route{
			to("page", fleet.StringMatch{Exact: "/productpage"}, fleet.StringMatch{Prefix: "/static"}),
			to("login", fleet.StringMatch{Exact: "/login"}, fleet.StringMatch{Exact: "/logout"}),
			to("api", fleet.StringMatch{Prefix: "/api/v1/products"}),
		}},
		fleet.VirtualHost{Domains: []string{"*.example.com"}, Routes: []fleet.Route{
			to("regex", fleet.StringMatch{Regex: "/v[0-9]+/[a-z]+"}),
		}},
	)
}
