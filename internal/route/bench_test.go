package route

import (
	"fmt"
	"strconv"
	"testing"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

func BenchmarkMatch(b *testing.B) {
	table := bookinfo(b)
	for name, q := range map[string]*Request{
		"exact": get("Bookinfo.Example.com:8080", "/api/v1/products/1?x=y"),
		"regex": get("a.b.example.com", "/v7/things"),
		"none":  get("nobody", "/nothing"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match(q)
			}
		})
	}
}

// BenchmarkCity matches in the middle of 1,000 virtual hosts with 20 routes of all kinds each: first, last, and a
// request that nothing matches.
func BenchmarkCity(b *testing.B) {
	table := city(b)
	for _, c := range []struct {
		name string
		q    *Request
		want string
	}{
		{"first", browser("s500.example.com", "/api/v0/x"), "0"},
		{"median", browser("s500.example.com", "/r10/x"), "10"},
		{"last", browser("s500.example.com", "/else"), "19"},
		{"wildcard", browser("x.w1.example.net", "/r10/x"), "10"},
	} {
		if got := nameOf(table.Match(c.q)); got != c.want {
			b.Fatalf("%s: got route %q, want %q", c.name, got, c.want)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Match(c.q)
			}
		})
	}
}

// browser is a request with the fields that browsers send.
func browser(host, path string) *Request {
	q := get(host, path)
	for _, line := range [][2]string{
		{"Host", host},
		{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"},
		{"Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{"Accept-Encoding", "gzip, deflate, br"},
		{"Accept-Language", "en-GB,en;q=0.9"},
		{"Cookie", "session=0f3a9c1b7d; user=tester; theme=dark"},
		{"X-Forwarded-For", "192.0.2.7"},
		{"X-Request-Id", "6f1c0a52-7c2c-4ab7-9a55-6a7a0cf0a001"},
	} {
		q.Fields = append(q.Fields, http1.Field{Name: []byte(line[0]), Value: []byte(line[1])})
	}
	return q
}

// city is a gateway with 990 exact and 10 wildcard virtual hosts of 20 routes each.
func city(tb testing.TB) *Table {
	tb.Helper()
	var hosts []fleet.VirtualHost
	for i := range 1000 {
		domain := fmt.Sprintf("s%d.example.com", i)
		if i >= 990 {
			domain = fmt.Sprintf("*.w%d.example.net", i-990)
		}
		h := fleet.VirtualHost{Domains: []string{domain}}
		for j := range 20 {
			r := to(strconv.Itoa(j))
			prefix := fleet.StringMatch{Prefix: fmt.Sprintf("/r%d/", j)}
			switch {
			case j == 19: // everything
			case j == 0:
				r.Matches = []fleet.Match{{Path: fleet.StringMatch{Prefix: "/api/v0"}, Method: fleet.StringMatch{Exact: "GET"}}}
			case j%5 == 1:
				r.Matches = []fleet.Match{{Headers: []fleet.NamedMatch{{Name: "end-user", Value: fleet.StringMatch{Exact: "jason"}}}}}
			case j%5 == 2:
				r.Matches = []fleet.Match{{Path: fleet.StringMatch{Regex: fmt.Sprintf("/v%d/[a-z]+", j)}}}
			case j%5 == 3:
				r.Matches = []fleet.Match{{Path: fleet.StringMatch{Exact: fmt.Sprintf("/page%d", j)}}, {Path: fleet.StringMatch{Prefix: "/static"}}}
			case j%5 == 4:
				r.Matches = []fleet.Match{{Query: []fleet.NamedMatch{{Name: "beta", Value: fleet.StringMatch{Exact: "1"}}}}}
			default:
				r.Matches = []fleet.Match{{Path: prefix}}
			}
			h.Routes = append(h.Routes, r)
		}
		hosts = append(hosts, h)
	}
	return compile(tb, hosts...)
}
