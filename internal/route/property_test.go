package route

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

// dumb does what Match promises in the plainest way there is: it ranks every domain of every virtual host.
func dumb(l *fleet.Listener, authority, path string) string {
	name, port := strings.ToLower(authority), ""
	if i := strings.IndexByte(name, ':'); i >= 0 {
		name, port = name[:i], name[i+1:]
	}
	best, found := 0, -1
	for i, h := range l.Hosts {
		for _, d := range h.Domains {
			if r := rank(d, name, port); r > best {
				best, found = r, i
			}
		}
	}
	if found < 0 {
		return ""
	}
	path, _, _ = strings.Cut(path, "?")
	for _, r := range l.Hosts[found].Routes {
		if len(r.Matches) == 0 {
			return r.Name
		}
		for _, m := range r.Matches {
			p := m.Path
			if p.Exact != "" && p.Exact == path ||
				p.Prefix != "" && strings.HasPrefix(path, p.Prefix) ||
				p.Regex != "" && regexp.MustCompile("^(?:"+p.Regex+")$").MatchString(path) {
				return r.Name
			}
		}
	}
	return ""
}

// rank says how well a domain fits, 0 if it does not.
func rank(domain, name, port string) int {
	pattern, want, _ := strings.Cut(domain, ":")
	if want != "" && want != port {
		return 0
	}
	r := 0
	switch {
	case pattern == "*":
		r = 1
	case pattern[0] == '*' && len(name) > len(pattern)-1 && strings.HasSuffix(name, pattern[1:]):
		r = 10 * len(pattern)
	case pattern == name:
		r = 100_000
	}
	if r > 0 && want != "" {
		r++
	}
	return r
}

func TestMatchAgreesWithADumbMatcher(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "ab", "c"})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(label, 1, 3).Draw(t, "labels"), ".")
	})
	port := rapid.SampledFrom([]string{"", ":80", ":9080"})
	path := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(label, 0, 3).Draw(t, "segments"), "/")
	})
	matches := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fleet.Match {
		p := path.Draw(t, "path")
		return fleet.Match{Path: []fleet.StringMatch{
			{Exact: p}, {Prefix: p}, {Regex: p + "(/[ab])?"},
		}[rapid.IntRange(0, 2).Draw(t, "how")]}
	}), 0, 3)

	rapid.Check(t, func(t *rapid.T) {
		l := &fleet.Listener{Name: "test"}
		taken := map[string]bool{}
		for i := range rapid.IntRange(0, 5).Draw(t, "hosts") {
			h := fleet.VirtualHost{}
			for range rapid.IntRange(1, 3).Draw(t, "domains") {
				d := rapid.SampledFrom([]string{"", "*.", "*"}).Draw(t, "star") + name.Draw(t, "name")
				if rapid.IntRange(0, 9).Draw(t, "all") == 0 {
					d = "*"
				}
				d += port.Draw(t, "port")
				if !taken[d] {
					taken[d] = true
					h.Domains = append(h.Domains, d)
				}
			}
			for j := range rapid.IntRange(0, 4).Draw(t, "routes") {
				r := to(strconv.Itoa(i) + "/" + strconv.Itoa(j))
				r.Matches = matches.Draw(t, "matches")
				h.Routes = append(h.Routes, r)
			}
			l.Hosts = append(l.Hosts, h)
		}
		table, err := Compile(l)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			authority := name.Draw(t, "host") + port.Draw(t, "at")
			if rapid.Bool().Draw(t, "upper") {
				authority = strings.ToUpper(authority)
			}
			target := path.Draw(t, "target") + rapid.SampledFrom([]string{"", "?a=/b"}).Draw(t, "query")
			if got, want := named(table, authority, target), dumb(l, authority, target); got != want {
				t.Fatalf("Match(%q, %q): got %q, want %q", authority, target, got, want)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("Bookinfo.Example.com:8080", "/api/v1/products/1?x=y")
	f.Add("[::1]:80", "*")
	f.Add("a:b:c", "")
	f.Add(":::", "/\x00")
	table := bookinfo(f)
	f.Fuzz(func(t *testing.T, host, path string) {
		r := table.Match(get(host, path))
		upper := strings.Map(func(c rune) rune {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			return c
		}, host)
		if again := table.Match(get(upper, path)); utf8.ValidString(host) && again != r {
			t.Errorf("case of %q changed the rule", host)
		}
	})
}
