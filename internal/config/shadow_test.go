package config

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/route"
)

// Few words, so that conditions and requests meet often.
var (
	words = rapid.SampledFrom([]string{"a", "ab", "abc", "b", "A"})
	paths = rapid.SampledFrom([]string{"/", "/a", "/ab", "/A", "/a/b", "/b"})
)

func anyString(t *rapid.T, what string, word *rapid.Generator[string]) fleet.StringMatch {
	w := word.Draw(t, what)
	return []fleet.StringMatch{{}, {Exact: w}, {Prefix: w}, {Regex: w + ".*"}, {Regex: ".*"}}[rapid.IntRange(0, 4).Draw(t, what+" kind")]
}

func anyNamed(t *rapid.T, what string) []fleet.NamedMatch {
	var list []fleet.NamedMatch
	for _, name := range []string{"x", "y"} {
		if rapid.IntRange(0, 3).Draw(t, what+name) == 0 {
			list = append(list, fleet.NamedMatch{Name: name, Value: anyString(t, what, words)})
		}
	}
	return list
}

func anyMatch(t *rapid.T, what string) fleet.Match {
	m := fleet.Match{
		Path: anyString(t, what+" path", paths), IgnoreCase: rapid.Bool().Draw(t, what+" case"),
		Headers: anyNamed(t, what+" header"), Without: anyNamed(t, what+" without"), Query: anyNamed(t, what+" query"),
	}
	if rapid.IntRange(0, 3).Draw(t, what+" with method") == 0 {
		m.Method = anyString(t, what+" method", words)
	}
	return m
}

func matches(t *rapid.T, m fleet.Match, q *route.Request) bool {
	table, err := route.Compile(&fleet.Listener{Hosts: []fleet.VirtualHost{{
		Domains: []string{"*"}, Routes: []fleet.Route{{Matches: []fleet.Match{m}, Respond: &fleet.Respond{Status: 200}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return table.Match(q).Rule != nil
}

// TestShadowedRoutesAreNeverReached holds what the check of routes says against what the matcher does: a route that is
// said to be shadowed by another gets no request that the other one does not match.
func TestShadowedRoutesAreNeverReached(t *testing.T) {
	said := 0
	rapid.Check(t, func(t *rapid.T) {
		a, b := planMatch{Match: anyMatch(t, "a")}, planMatch{Match: anyMatch(t, "b")}
		if rapid.Bool().Draw(t, "related") { // otherwise one rarely encloses the other
			b.Match = a.Match
			b.Headers = append(anyNamed(t, "more"), b.Headers...)
			if b.Path.Prefix != "" {
				b.Path.Prefix += "b"
			}
		}
		s := shader{regexes: map[string]*regexp.Regexp{}}
		if !s.encloses(&a, &b) {
			return
		}
		said++
		for range 10 {
			q := &route.Request{Method: []byte(words.Draw(t, "method")), Host: []byte("a"), Path: []byte(paths.Draw(t, "path"))}
			var query []string
			for _, name := range []string{"x", "y"} {
				if rapid.Bool().Draw(t, "has header") {
					q.Fields = append(q.Fields, http1.Field{Name: []byte(name), Value: []byte(words.Draw(t, "header"))})
				}
				if rapid.Bool().Draw(t, "has parameter") {
					query = append(query, name+"="+words.Draw(t, "parameter"))
				}
			}
			if len(query) > 0 {
				q.Path = append(q.Path, "?"+strings.Join(query, "&")...)
			}
			if matches(t, b.Match, q) && !matches(t, a.Match, q) {
				t.Fatalf("%s %s %v falls under %+v, but not under %+v", q.Method, q.Path, q.Fields, b.Match, a.Match)
			}
		}
	})
	if said == 0 {
		t.Error("nothing was said to be shadowed")
	}
}
