package route

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

func exact(s string) fleet.StringMatch  { return fleet.StringMatch{Exact: s} }
func prefix(s string) fleet.StringMatch { return fleet.StringMatch{Prefix: s} }
func regex(s string) fleet.StringMatch  { return fleet.StringMatch{Regex: s} }

// on makes a route that is told apart by its name, from whole matches.
func on(name string, matches ...fleet.Match) fleet.Route {
	r := to(name)
	r.Matches = matches
	return r
}

// request makes a request from "GET http://host/path" and header lines "Name: value".
func request(line string, headers ...string) *Request {
	method, url, _ := strings.Cut(line, " ")
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	q := &Request{Method: []byte(method), Host: []byte(host), Path: []byte("/" + path), HTTPS: scheme == "https"}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		q.Fields = append(q.Fields, http1.Field{Name: []byte(name), Value: []byte(value)})
	}
	return q
}

func TestConditions(t *testing.T) {
	headers := func(name string, v fleet.StringMatch) fleet.Match {
		return fleet.Match{Headers: []fleet.NamedMatch{{Name: name, Value: v}}}
	}
	without := func(name string, v fleet.StringMatch) fleet.Match {
		return fleet.Match{Without: []fleet.NamedMatch{{Name: name, Value: v}}}
	}
	query := func(name string, v fleet.StringMatch) fleet.Match {
		return fleet.Match{Query: []fleet.NamedMatch{{Name: name, Value: v}}}
	}
	labelled := request("GET http://h/")
	labelled.Labels = map[string]string{"app": "reviews", "version": "v2"}
	gateway := request("GET http://h:8080/")
	gateway.Port = 80
	for name, c := range map[string]struct {
		match fleet.Match
		yes   []*Request
		no    []*Request
	}{
		"exact path, in any case": {
			fleet.Match{Path: exact("/Login"), IgnoreCase: true},
			[]*Request{request("GET http://h/login"), request("GET http://h/LOGIN?x")},
			[]*Request{request("GET http://h/login/"), request("GET http://h/logi")},
		},
		"prefix of the path, in any case": {
			fleet.Match{Path: prefix("/API/"), IgnoreCase: true},
			[]*Request{request("GET http://h/api/x"), request("GET http://h/Api/")},
			[]*Request{request("GET http://h/ap"), request("GET http://h/x/api/")},
		},
		"an expression keeps its case": {
			fleet.Match{Path: regex("/a[b]"), IgnoreCase: true},
			[]*Request{request("GET http://h/ab")},
			[]*Request{request("GET http://h/AB")},
		},
		"an expression that is a literal": {
			fleet.Match{Path: regex("/a")},
			[]*Request{request("GET http://h/a?b")},
			[]*Request{request("GET http://h/ab"), request("GET http://h/")},
		},
		"an expression that is a prefix": {
			fleet.Match{Path: regex("/a.*")},
			[]*Request{request("GET http://h/a"), request("GET http://h/abc?d")},
			[]*Request{request("GET http://h/b"), request("GET http://h/a\nb")},
		},
		"an expression that only looks like a prefix": {
			fleet.Match{Path: regex("/a|/b.*")},
			[]*Request{request("GET http://h/a"), request("GET http://h/bc")},
			[]*Request{request("GET http://h/ab")},
		},
		"an escaped dot is not any character": {
			fleet.Match{Path: regex(`/a\.*`)},
			[]*Request{request("GET http://h/a"), request("GET http://h/a...")},
			[]*Request{request("GET http://h/ab")},
		},
		"paths are not decoded": {
			fleet.Match{Path: exact("/a b")}, nil, []*Request{request("GET http://h/a%20b")},
		},
		"scheme": {
			fleet.Match{Scheme: exact("https")},
			[]*Request{request("GET https://h/")},
			[]*Request{request("GET http://h/")},
		},
		"scheme by expression": {
			fleet.Match{Scheme: regex("https?")},
			[]*Request{request("GET https://h/"), request("GET http://h/")},
			nil,
		},
		"method": {
			fleet.Match{Method: regex("GET|HEAD")},
			[]*Request{request("GET http://h/"), request("HEAD http://h/")},
			[]*Request{request("get http://h/"), request("POST http://h/")},
		},
		"authority, with its port and case": {
			fleet.Match{Authority: exact("h:80")},
			[]*Request{request("GET http://h:80/")},
			[]*Request{request("GET http://h/"), request("GET http://H:80/")},
		},
		"a header's value": {
			headers("end-user", exact("jason")),
			[]*Request{request("GET http://h/", "End-User: jason")},
			[]*Request{request("GET http://h/"), request("GET http://h/", "End-User: Jason"), request("GET http://h/", "end-users: jason")},
		},
		"a header that is there": {
			headers("x", fleet.StringMatch{}),
			[]*Request{request("GET http://h/", "X: "), request("GET http://h/", "x: 1", "x: 2")},
			[]*Request{request("GET http://h/", "y: 1")},
		},
		"several lines are one": {
			headers("x", exact("a,b")),
			[]*Request{request("GET http://h/", "X: a", "Y: -", "x: b"), request("GET http://h/", "X: a,b")},
			[]*Request{request("GET http://h/", "X: a, b"), request("GET http://h/", "x: a", "x: b", "x: c"), request("GET http://h/", "x: a")},
		},
		"several lines begin": {
			headers("x", prefix("a,b")),
			[]*Request{request("GET http://h/", "x: a", "x: bc"), request("GET http://h/", "x: a", "x: b", "x: c")},
			[]*Request{request("GET http://h/", "x: ab", "x: c"), request("GET http://h/", "x: a", "x: c")},
		},
		"several lines match an expression": {
			headers("x", regex("a,.*c")),
			[]*Request{request("GET http://h/", "x: a", "x: b", "x: c")},
			[]*Request{request("GET http://h/", "x: a", "x: b")},
		},
		"the Host header is the authority": {
			headers("host", exact("h:1")),
			[]*Request{request("GET http://h:1/", "Host: other")},
			[]*Request{request("GET http://h/", "Host: h:1")},
		},
		"a header that must not match": {
			without("x", exact("1")),
			[]*Request{request("GET http://h/"), request("GET http://h/", "x: 2")},
			[]*Request{request("GET http://h/", "x: 1")},
		},
		"a header that must not be there": {
			without("x", fleet.StringMatch{}),
			[]*Request{request("GET http://h/")},
			[]*Request{request("GET http://h/", "x: ")},
		},
		"a query parameter": {
			query("a", exact("1")),
			[]*Request{request("GET http://h/?a=1"), request("GET http://h/?b=2&a=1&a=2")},
			[]*Request{request("GET http://h/"), request("GET http://h/?a=2&a=1"), request("GET http://h/?A=1"), request("GET http://h/?a=%31"), request("GET http://h/?ba=1")},
		},
		"a query parameter's value may hold =": {
			query("a", exact("b=c")), []*Request{request("GET http://h/?a=b=c")}, []*Request{request("GET http://h/?a=b")},
		},
		"a query parameter that is there": {
			query("a", fleet.StringMatch{}),
			[]*Request{request("GET http://h/?a"), request("GET http://h/?x&&a=")},
			[]*Request{request("GET http://h/?b=a")},
		},
		"the port that is addressed": {
			fleet.Match{Port: 80},
			[]*Request{request("GET http://h/"), request("GET http://h:80/"), gateway},
			[]*Request{request("GET https://h/"), request("GET http://h:8080/")},
		},
		"the scheme's port": {
			fleet.Match{Port: 443}, []*Request{request("GET https://h/")}, []*Request{request("GET http://h/")},
		},
		"the caller's labels": {
			fleet.Match{SourceLabels: map[string]string{"app": "reviews", "version": "v2"}},
			[]*Request{labelled},
			[]*Request{request("GET http://h/")},
		},
		"another label": {
			fleet.Match{SourceLabels: map[string]string{"app": "reviews", "version": "v3"}}, nil, []*Request{labelled},
		},
		"a label that the caller lacks, and the empty value": {
			fleet.Match{SourceLabels: map[string]string{"zone": ""}}, nil, []*Request{labelled},
		},
		"all at once": {
			fleet.Match{Path: prefix("/a"), Method: exact("GET"), Headers: headers("x", exact("1")).Headers, Query: query("q", exact("2")).Query},
			[]*Request{request("GET http://h/a?q=2", "x: 1")},
			[]*Request{
				request("GET http://h/b?q=2", "x: 1"), request("PUT http://h/a?q=2", "x: 1"),
				request("GET http://h/a?q=2", "x: 2"), request("GET http://h/a?q=1", "x: 1"),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{on("r", c.match)}})
			for _, q := range c.yes {
				if table.Match(q).Rule == nil {
					t.Errorf("%s %s%s %q: got no match, want one; %v", q.Method, q.Host, q.Path, q.Fields, table.Explain(q).Steps)
				}
			}
			for _, q := range c.no {
				if table.Match(q).Rule != nil {
					t.Errorf("%s %s%s %q: got a match, want none", q.Method, q.Host, q.Path, q.Fields)
				}
			}
		})
	}
}

func TestPrefixSaysHowMuchOfThePathMatched(t *testing.T) {
	table := compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{
		on("exact", fleet.Match{Path: exact("/exact")}),
		on("prefix", fleet.Match{Path: prefix("/Prefix"), IgnoreCase: true}),
		on("expression", fleet.Match{Path: regex("/e.*")}),
		on("header", fleet.Match{Headers: []fleet.NamedMatch{{Name: "x"}}}),
		to("rest"),
	}})
	for _, c := range []struct {
		q    *Request
		name string
		want int
	}{
		{request("GET http://h/exact?q"), "exact", 6},
		{request("GET http://h/prefixes?q"), "prefix", 7},
		{request("GET http://h/easy?q"), "expression", 5},
		{request("GET http://h/long", "x: 1"), "header", 1},
		{request("GET http://h/long"), "rest", 1},
	} {
		if h := table.Match(c.q); nameOf(h) != c.name || h.Prefix != c.want {
			t.Errorf("%s: got %s for %d bytes, want %s for %d", c.q.Path, nameOf(h), h.Prefix, c.name, c.want)
		}
	}
}

func TestVirtualHostThatWantsHTTPSSaysSoBeforeAnyRoute(t *testing.T) {
	h := host("a", "a")
	h.HTTPS = true
	table := compile(t, h, host("b", "b"))
	for _, c := range []struct {
		url   string
		https bool
		name  string
	}{{"GET http://a/", true, ""}, {"GET https://a/", false, "a"}, {"GET http://b/", false, "b"}} {
		if got := table.Match(request(c.url)); got.HTTPS != c.https || nameOf(got) != c.name {
			t.Errorf("%s: got %t and %q, want %t and %q", c.url, got.HTTPS, nameOf(got), c.https, c.name)
		}
	}
	if e := table.Explain(request("GET http://a/")); !e.HTTPS || e.Domain != "a" || len(e.Steps) != 0 {
		t.Errorf("got %+v, want HTTPS and no step", e)
	}
}

func TestExplainNamesTheFirstConditionThatDoesNotHold(t *testing.T) {
	one := func(name, value string) []fleet.NamedMatch {
		return []fleet.NamedMatch{{Name: name, Value: exact(value)}}
	}
	table := compile(t, host("else", "*"), fleet.VirtualHost{Domains: []string{"reviews", "*.reviews:9080"}, Routes: []fleet.Route{
		on("path", fleet.Match{Path: exact("/a")}, fleet.Match{Path: prefix("/B"), IgnoreCase: true}, fleet.Match{Path: regex("/c+")}),
		on("scheme", fleet.Match{Scheme: exact("https")}),
		on("method", fleet.Match{Method: exact("PUT")}),
		on("authority", fleet.Match{Authority: prefix("r.")}),
		on("port", fleet.Match{Port: 81}),
		on("header", fleet.Match{Headers: one("end-user", "jason")}, fleet.Match{Headers: one("none", "x")}),
		on("without", fleet.Match{Without: []fleet.NamedMatch{{Name: "end-user"}}}),
		on("query", fleet.Match{Query: one("v", "2")}, fleet.Match{Query: one("w", "2")}),
		on("labels", fleet.Match{SourceLabels: map[string]string{"app": "x"}}, fleet.Match{SourceLabels: map[string]string{"zone": "a"}}),
		on("both", fleet.Match{Path: exact("/a")}, fleet.Match{Path: prefix("/x")}, fleet.Match{Path: exact("/y")}),
		to("never"),
	}})
	q := request("GET http://x.Reviews:9080/x?v=1", "End-User: amy")
	q.Labels = map[string]string{"app": "ratings"}
	e := table.Explain(q)
	got := []string{e.Domain}
	for _, s := range e.Steps {
		got = append(got, s.Rule.Route.Name+" "+strconv.FormatBool(s.Matched)+": "+strings.Join(s.Reasons, "; "))
	}
	want := []string{
		"*.reviews:9080",
		`path false: path "/x" is not "/a"; path "/x" does not begin with "/B", in any case; path "/x" does not match "/c+" as a whole`,
		`scheme false: scheme "http" is not "https"`,
		`method false: method "GET" is not "PUT"`,
		`authority false: authority "x.Reviews:9080" does not begin with "r."`,
		`port false: port 9080 is not 81`,
		`header false: header end-user has the value "amy", which is not "jason"; there is no header none`,
		`without false: header end-user has the value "amy", which is excluded`,
		`query false: query parameter v has the value "1", which is not "2"; there is no query parameter w`,
		`labels false: the caller's label app is "ratings", not "x"; the caller has no label zone`,
		`both true: path "/x" is not "/a"; `,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
	if e := table.Explain(request("GET http://nobody/")); e.Domain != "*" || len(e.Steps) != 1 || !e.Steps[0].Matched {
		t.Errorf("got %+v, want the rule of *", e)
	}
	if e := compile(t, host("a", "a")).Explain(request("GET http://b/")); e.Domain != "" || e.Steps != nil {
		t.Errorf("got %+v, want nothing", e)
	}
}

func TestRedirectAndResponseNeedNoDestination(t *testing.T) {
	compile(t, fleet.VirtualHost{Domains: []string{"*"}, Routes: []fleet.Route{
		{Redirect: &fleet.Redirect{Code: 301}}, {Respond: &fleet.Respond{Status: 200}},
	}})
}

// plainly says whether m holds, as its documentation reads.
func plainly(m *fleet.Match, q *Request) bool {
	path, query, _ := strings.Cut(string(q.Path), "?")
	scheme, port := "http", "80"
	if q.HTTPS {
		scheme, port = "https", "443"
	}
	if _, named, ok := strings.Cut(string(q.Host), ":"); ok {
		port = named
	}
	compare := func(s fleet.StringMatch, v string) bool {
		return s == fleet.StringMatch{} || s.Exact != "" && v == s.Exact || s.Prefix != "" && strings.HasPrefix(v, s.Prefix) ||
			s.Regex != "" && regexp.MustCompile("^(?:"+s.Regex+")$").MatchString(v)
	}
	p, at := m.Path, path
	if m.IgnoreCase && p.Regex == "" {
		p, at = fleet.StringMatch{Exact: strings.ToLower(p.Exact), Prefix: strings.ToLower(p.Prefix)}, strings.ToLower(path)
	}
	header := func(n fleet.NamedMatch) bool {
		var values []string
		for _, f := range q.Fields {
			if strings.EqualFold(string(f.Name), n.Name) {
				values = append(values, string(f.Value))
			}
		}
		return values != nil && compare(n.Value, strings.Join(values, ","))
	}
	ok := compare(p, at) && compare(m.Scheme, scheme) && compare(m.Method, string(q.Method)) &&
		compare(m.Authority, string(q.Host)) && (m.Port == 0 || strconv.Itoa(int(m.Port)) == port)
	for _, n := range m.Headers {
		ok = ok && header(n)
	}
	for _, n := range m.Without {
		ok = ok && !header(n)
	}
	for _, n := range m.Query {
		found := false
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if name == n.Name && pair != "" {
				found = compare(n.Value, value)
				break
			}
		}
		ok = ok && found
	}
	for name, value := range m.SourceLabels {
		got, has := q.Labels[name]
		ok = ok && has && got == value
	}
	return ok
}

// words draws text from few letters, so that much of it is alike.
func words(of string, most int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.RuneFrom([]rune(of)), 1, most, -1)
}

func matchText(t *rapid.T, label string, v *rapid.Generator[string]) fleet.StringMatch {
	s := v.Draw(t, label)
	switch rapid.IntRange(0, 4).Draw(t, label+" how") {
	case 0:
		return exact(s)
	case 1:
		return prefix(s)
	case 2:
		return regex(regexp.QuoteMeta(s) + rapid.SampledFrom([]string{"", ".*", "(,.)?", "|b.*", "+"}).Draw(t, label+" rest"))
	default:
		return fleet.StringMatch{}
	}
}

func TestConditionsAgreeWithADumbMatcher(t *testing.T) {
	value, name := words("ab,", 3), rapid.SampledFrom([]string{"x", "y", "x-y"})
	path := rapid.Map(words("abAB/", 3), func(s string) string { return "/" + s })
	authority := rapid.Map(words("ab", 2), func(s string) string { return s })
	sometimes := func(t *rapid.T, what string) bool { return rapid.IntRange(0, 3).Draw(t, what) == 0 }
	namedMatches := func(t *rapid.T, what string) (list []fleet.NamedMatch) {
		if sometimes(t, what) {
			for range rapid.IntRange(1, 2).Draw(t, what+" count") {
				list = append(list, fleet.NamedMatch{Name: name.Draw(t, what), Value: matchText(t, what, value)})
			}
		}
		return list
	}
	labels := rapid.MapOfN(rapid.SampledFrom([]string{"app", "zone"}), words("ab", 1), 0, 2)
	drawMatch := rapid.Custom(func(t *rapid.T) fleet.Match {
		m := fleet.Match{Path: matchText(t, "path", path), IgnoreCase: rapid.Bool().Draw(t, "fold")}
		if sometimes(t, "by method") {
			m.Method = matchText(t, "method", rapid.SampledFrom([]string{"GET", "PUT"}))
		}
		if sometimes(t, "by scheme") {
			m.Scheme = matchText(t, "scheme", rapid.SampledFrom([]string{"http", "https"}))
		}
		if sometimes(t, "by authority") {
			m.Authority = matchText(t, "authority", authority)
		}
		if sometimes(t, "by port") {
			m.Port = rapid.SampledFrom([]uint32{80, 443, 8080}).Draw(t, "port")
		}
		if sometimes(t, "by label") {
			m.SourceLabels = labels.Draw(t, "source")
		}
		m.Headers, m.Without, m.Query = namedMatches(t, "headers"), namedMatches(t, "without"), namedMatches(t, "query")
		return m
	})
	drawRequest := rapid.Custom(func(t *rapid.T) *Request {
		target := path.Draw(t, "target")
		if rapid.Bool().Draw(t, "queried") {
			target += "?" + rapid.SampledFrom([]string{"x=a", "y=b&x=a", "x=b&x=a", "&y", "x-y=a=b", "x==", ""}).Draw(t, "query")
		}
		host := authority.Draw(t, "host") + rapid.SampledFrom([]string{"", ":80", ":8080"}).Draw(t, "at")
		q := request(rapid.SampledFrom([]string{"GET", "PUT"}).Draw(t, "method") + " http://" + host + target)
		q.HTTPS = rapid.Bool().Draw(t, "tls")
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			line := rapid.SampledFrom([]string{"x", "X", "y", "X-Y"}).Draw(t, "name") + ": " + words("ab,", 3).Draw(t, "value")
			q.Fields = append(q.Fields, request("GET http://h/", line).Fields...)
		}
		q.Labels = labels.Draw(t, "caller")
		return q
	})
	rapid.Check(t, func(t *rapid.T) {
		h := fleet.VirtualHost{Domains: []string{"*"}}
		for j := range rapid.IntRange(1, 4).Draw(t, "routes") {
			h.Routes = append(h.Routes, on(strconv.Itoa(j), rapid.SliceOfN(drawMatch, 0, 3).Draw(t, "matches")...))
		}
		table, err := Compile(&fleet.Listener{Hosts: []fleet.VirtualHost{h}})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			q := drawRequest.Draw(t, "request")
			want := ""
		search:
			for i := range h.Routes {
				if len(h.Routes[i].Matches) == 0 {
					want = h.Routes[i].Name
					break
				}
				for j := range h.Routes[i].Matches {
					if plainly(&h.Routes[i].Matches[j], q) {
						want = h.Routes[i].Name
						break search
					}
				}
			}
			hit := table.Match(q)
			if got := nameOf(hit); got != want {
				t.Fatalf("%s %s%s %q: got %q, want %q", q.Method, q.Host, q.Path, q.Fields, got, want)
			}
			wantExplained(t, table.Explain(q), hit)
		}
	})
}

// wantExplained checks that an explanation ends where Match did and gives a reason for everything before.
func wantExplained(t interface{ Fatalf(string, ...any) }, e Explanation, hit Hit) {
	for i, s := range e.Steps {
		last := i == len(e.Steps)-1
		if s.Matched != (last && hit.Rule != nil) || s.Matched && s.Rule != hit.Rule {
			t.Fatalf("step %d of %d: got matched %t, want what Match found", i, len(e.Steps), s.Matched)
		}
		for j, reason := range s.Reasons {
			if (reason == "") != (s.Matched && j == len(s.Reasons)-1) {
				t.Fatalf("step %d, match %d: got reason %q", i, j, reason)
			}
		}
	}
}

func TestMatchingByEverythingDoesNotAllocate(t *testing.T) {
	table := city(t)
	q := browser("s500.example.com", "/else?beta=2")
	q.Fields = append(q.Fields, request("GET http://h/", "end-user: amy", "end-user: jasper").Fields...)
	if got := nameOf(table.Match(q)); got != "19" {
		t.Fatalf("got route %q, want 19", got)
	}
	if got := testing.AllocsPerRun(1000, func() { table.Match(q) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

// FuzzConditions holds any request against conditions of every kind: Match and Explain agree, and neither panics.
func FuzzConditions(f *testing.F) {
	f.Add("GET", "reviews:9080", "/api/v1?x=1&y", "X", "a", "x", "b", true, "/api", "a,b")
	f.Add("", "", "", "", "", "", "", false, "", "")
	f.Add("PUT", "[::1]:80", "*", "host", "\x00", "cookie", "user=x", false, "/*", ".*")
	f.Fuzz(func(t *testing.T, method, host, path, n1, v1, n2, v2 string, tls bool, p, v string) {
		value := []fleet.StringMatch{exact(v), prefix(v), regex(v), {}}
		h := fleet.VirtualHost{Domains: []string{"*"}}
		for i, s := range value {
			if _, err := CompileRegex(s.Regex); err != nil {
				continue
			}
			named := []fleet.NamedMatch{{Name: strings.ToLower(n1), Value: s}}
			h.Routes = append(
				h.Routes,
				on("headers"+strconv.Itoa(i), fleet.Match{Path: prefix(p), Headers: named}),
				on("without"+strconv.Itoa(i), fleet.Match{Path: prefix(p), Without: named}),
				on("query"+strconv.Itoa(i), fleet.Match{Path: exact(p), Query: named, IgnoreCase: tls}),
				on("rest"+strconv.Itoa(i), fleet.Match{Path: s, Method: s}),
			)
		}
		table := compile(t, h)
		q := &Request{Method: []byte(method), Host: []byte(host), Path: []byte(path), HTTPS: tls, Fields: []http1.Field{
			{Name: []byte(n1), Value: []byte(v1)}, {Name: []byte(n2), Value: []byte(v2)},
		}}
		hit := table.Match(q)
		if clean, _, _ := strings.Cut(path, "?"); hit.Prefix > len(clean) {
			t.Errorf("got %d bytes of %q matched", hit.Prefix, clean)
		}
		wantExplained(t, table.Explain(q), hit)
	})
}
