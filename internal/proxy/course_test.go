package proxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/route"
)

// route puts routes in force in the place of those that newWorld has.
func (w *world) route(routes ...fleet.Route) {
	w.t.Helper()
	var addresses []string
	for _, e := range w.p.State().services[0].Endpoints {
		addresses = append(addresses, e.Address.String())
	}
	v := w.view(addresses...)
	v.Listeners[0].Port = 80
	v.Listeners[0].Hosts[0].Routes = routes
	w.apply(v)
}

// toApp is a route to "app" for everything.
func toApp(change func(*fleet.Route)) fleet.Route {
	r := fleet.Route{Destinations: []fleet.Destination{{Service: "app:80", Weight: 1}}}
	if change != nil {
		change(&r)
	}
	return r
}

// parrot is an endpoint that answers with the head it got, and with the given fields.
func parrot(t testing.TB, fields ...string) string {
	t.Helper()
	return script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			body := strings.Join(head, "\n") + "\n"
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", strings.Join(append(fields, ""), "\r\n"), len(body), body)
		}
	})
}

// get sends a GET with more header lines and returns the answer.
func (c *client) get(url string, lines ...string) (*http.Response, string) {
	c.t.Helper()
	host, path, _ := strings.Cut(url, "/")
	c.say("GET /%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, strings.Join(append(lines, ""), "\r\n"))
	return c.answer("GET")
}

func header(name, value string) fleet.Header { return fleet.Header{Name: name, Value: value} }

func TestRewrites(t *testing.T) {
	w := newWorld(t, Options{}, parrot(t))
	c := w.dial()
	prefix := func(p string) []fleet.Match { return []fleet.Match{{Path: fleet.StringMatch{Prefix: p}}} }
	for _, tc := range []struct {
		name    string
		matches []fleet.Match
		rewrite fleet.Rewrite
		path    string
		want    string
	}{
		{"prefix", prefix("/api/"), fleet.Rewrite{Path: "/v2/"}, "/api/x?q=/api/", "/v2/x?q=/api/"},
		{"prefix as it stands, as in Envoy", prefix("/api"), fleet.Rewrite{Path: "/"}, "/api/x", "//x"},
		{
			"prefix in any case",
			[]fleet.Match{{Path: fleet.StringMatch{Prefix: "/API"}, IgnoreCase: true}},
			fleet.Rewrite{Path: "/v2"},
			"/Api/X", "/v2/X",
		},
		{
			"the match that held counts",
			[]fleet.Match{{Path: fleet.StringMatch{Exact: "/never"}}, {Path: fleet.StringMatch{Prefix: "/a"}}, {Path: fleet.StringMatch{Prefix: "/a/b"}}},
			fleet.Rewrite{Path: "/z"},
			"/a/b/c", "/z/b/c",
		},
		{"exact", []fleet.Match{{Path: fleet.StringMatch{Exact: "/old"}}}, fleet.Rewrite{Path: "/new"}, "/old?a", "/new?a"},
		{"an expression is matched as a whole", []fleet.Match{{Path: fleet.StringMatch{Regex: "/v[0-9]/.*"}}}, fleet.Rewrite{Path: "/v"}, "/v1/x?a", "/v?a"},
		{"a prefix in an expression's clothes too", []fleet.Match{{Path: fleet.StringMatch{Regex: "/v/.*"}}}, fleet.Rewrite{Path: "/w"}, "/v/x?a", "/w?a"},
		{"no match is one for /", nil, fleet.Rewrite{Path: "/base/"}, "/x", "/base/x"},
		{"a path always begins with a slash", nil, fleet.Rewrite{Path: "x"}, "/y", "/xy"},
		{"expression", nil, fleet.Rewrite{Regex: "/users/([0-9]+)/", Replacement: `/u/\1/$1/\\/`}, "/users/7/users/8/x?/users/9/", `/u/7/$1/\/users/8/x?/users/9/`},
		{"every match of the expression", nil, fleet.Rewrite{Regex: "a+", Replacement: `<\0>`}, "/xaaxa", "/x<aa>x<a>"},
		{"a query of its own goes before the request's", nil, fleet.Rewrite{Path: "/x?a=1&p=/"}, "/y?b=2", "/x?a=1&p=/y&b=2"},
		{"nothing left", nil, fleet.Rewrite{Regex: ".*", Replacement: ""}, "/gone?q", "/?q"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.route(toApp(func(r *fleet.Route) { r.Matches, r.Rewrite = tc.matches, &tc.rewrite }))
			_, got := c.get("app" + tc.path)
			if line, _, _ := strings.Cut(got, "\n"); line != "GET "+tc.want+" HTTP/1.1" {
				t.Errorf("got %q, want the path %s", line, tc.want)
			}
		})
	}
	w.route(toApp(func(r *fleet.Route) { r.Rewrite = &fleet.Rewrite{Path: "/x"} }))
	c.say("OPTIONS * HTTP/1.1\r\nHost: app\r\n\r\n")
	if _, got := c.answer("OPTIONS"); !strings.HasPrefix(got, "OPTIONS * HTTP/1.1\n") {
		t.Errorf("got %q, want * left alone", got)
	}
	w.wantConserved()
}

func TestTheMostSpecificAuthorityWins(t *testing.T) {
	w := newWorld(t, Options{}, parrot(t))
	c := w.dial()
	host := func(name string) fleet.HeaderEdits {
		return fleet.HeaderEdits{Request: fleet.HeaderEdit{Set: []fleet.Header{header(name, name[:4]+".example:81")}}}
	}
	for _, tc := range []struct {
		change func(*fleet.Route)
		want   string
	}{
		{func(*fleet.Route) {}, "app"},
		{func(r *fleet.Route) { r.Headers = host("host") }, "host.example:81"},
		{func(r *fleet.Route) { r.Headers, r.Rewrite = host("host"), &fleet.Rewrite{Authority: "rewritten"} }, "rewritten"},
		{func(r *fleet.Route) {
			r.Rewrite = &fleet.Rewrite{Authority: "rewritten"}
			r.Destinations[0].Headers = fleet.HeaderEdits{Request: fleet.HeaderEdit{Set: []fleet.Header{header(":authority", "own.example")}}}
		}, "own.example"},
	} {
		w.route(toApp(tc.change))
		_, got := c.get("app/")
		if !strings.Contains(got, "\nHost: "+tc.want+"\n") || strings.Count(got, "ost:") != 1 {
			t.Errorf("got %q, want the host %s, once", got, tc.want)
		}
	}
}

func TestHeadersAreEdited(t *testing.T) {
	w := newWorld(t, Options{}, parrot(t, "Server: app", "X-Old: 1", "X-Old: 2", "X-Kept: k"))
	w.route(toApp(func(r *fleet.Route) {
		r.Headers = fleet.HeaderEdits{
			Request: fleet.HeaderEdit{
				Remove: []string{"x-gone", "x-route-removes", "x-request-id"},
				Set:    []fleet.Header{header("x-set", "route"), header("x-both", "route"), header("x-forwarded-proto", "spdy")},
				Add:    []fleet.Header{header("x-add", "route")},
			},
			Response: fleet.HeaderEdit{
				Remove: []string{"x-old"}, Set: []fleet.Header{header("server", "hidden")}, Add: []fleet.Header{header("x-kept", "more")},
			},
		}
		r.Destinations[0].Headers = fleet.HeaderEdits{
			Request: fleet.HeaderEdit{
				Set: []fleet.Header{header("x-both", "destination"), header("x-route-removes", "never")},
				Add: []fleet.Header{header("x-add", "destination"), header("x-set", "never")},
			},
			Response: fleet.HeaderEdit{Add: []fleet.Header{header("x-old", "never"), header("x-destination", "d")}},
		}
	}))
	c := w.dial()
	resp, got := c.get("app/", "X-Gone: 1", "X-Set: client", "X-Both: client", "X-Add: client", "X-Route-Removes: client",
		"X-Request-Id: client", "X-Forwarded-Proto: client")
	lines := map[string][]string{}
	for line := range strings.SplitSeq(got, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		lines[strings.ToLower(name)] = append(lines[strings.ToLower(name)], value)
	}
	for name, want := range map[string]string{
		"x-gone": "", "x-route-removes": "", "x-request-id": "",
		"x-set": "route", "x-both": "route", "x-forwarded-proto": "spdy",
		"x-add": "client|destination|route", // the most specific first
	} {
		if got := strings.Join(lines[name], "|"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"Server": "hidden", "X-Old": "", "X-Kept": "k|more", "X-Destination": "d",
	} {
		if got := strings.Join(resp.Header.Values(name), "|"); got != want {
			t.Errorf("answer's %s: got %q, want %q", name, got, want)
		}
	}
	w.wantConserved()
}

// Whatever an edit says, what is written is one head with the framing and the connection's own fields untouched.
func TestEditsCannotBreakOutOfTheirField(t *testing.T) {
	w := newWorld(t, Options{}, parrot(t))
	evil := fleet.HeaderEdit{
		Remove: []string{"content-length", "host", "connection"},
		Set: []fleet.Header{
			header("x-evil", "a\r\nx-smuggled: 1\r\n\r\nGET /second HTTP/1.1"), header("x-bad name", "1"), header("x\r\nx-smuggled", "1"),
			header("content-length", "7"), header("transfer-encoding", "chunked"), header("connection", "close"), header(":path", "/other"),
		},
		Add: []fleet.Header{header("content-length", "9"), header("te", "trailers"), header("proxy-authorization", "x"), header("", "x")},
	}
	w.route(toApp(func(r *fleet.Route) { r.Headers = fleet.HeaderEdits{Request: evil, Response: evil} }))
	c := w.dial()
	for range 3 {
		resp, got := c.get("app/")
		if want := "a  x-smuggled: 1    GET /second HTTP/1.1"; !strings.Contains(got, "x-evil: "+want+"\n") || resp.Header.Get("X-Evil") != want {
			t.Errorf("got %q and %q, want the control bytes made spaces", got, resp.Header.Get("X-Evil"))
		}
		for _, unwanted := range []string{"\nx-smuggled", "bad name", "\ncontent-length", "hunked", "onnection", "trailers", "roxy"} {
			if strings.Contains(got, unwanted) {
				t.Errorf("got %q, want no %q", got, unwanted)
			}
		}
		if resp.Close || resp.Header.Get("X-Smuggled") != "" {
			t.Errorf("got %v, want nothing smuggled", resp.Header)
		}
	}
	w.wantConserved()
}

func TestRedirects(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.dial()
	for _, tc := range []struct {
		name     string
		redirect fleet.Redirect
		url      string
		want     string
	}{
		{"nothing but the code", fleet.Redirect{Code: 307}, "app:8080/x?y", "http://app:8080/x?y"},
		{"path", fleet.Redirect{Code: 301, Path: "/v2"}, "app/x?y=z", "http://app/v2?y=z"},
		{"path with a query of its own", fleet.Redirect{Code: 301, Path: "/v2?a"}, "app/x?y=z", "http://app/v2?a"},
		{"authority", fleet.Redirect{Code: 302, Authority: "new.example"}, "app:8080/x", "http://new.example/x"},
		{"authority with a port", fleet.Redirect{Code: 302, Authority: "new.example:81"}, "app/x", "http://new.example:81/x"},
		{"scheme", fleet.Redirect{Code: 308, Scheme: "https"}, "app/x", "https://app/x"},
		{"scheme, from its own port", fleet.Redirect{Code: 308, Scheme: "https"}, "app:80/x", "https://app/x"},
		{"scheme, from another port", fleet.Redirect{Code: 308, Scheme: "https"}, "app:8080/x", "https://app:8080/x"},
		{"port", fleet.Redirect{Code: 303, Port: 8443}, "app:8080/x", "http://app:8443/x"},
		{"port of the scheme", fleet.Redirect{Code: 301, Scheme: "https", Port: 443}, "app:8080/x", "https://app/x"},
		{"port of the listener", fleet.Redirect{Code: 301, Scheme: "https", DerivePort: "FROM_REQUEST_PORT"}, "app:8080/x", "https://app:80/x"},
		{"port of the protocol", fleet.Redirect{Code: 301, DerivePort: "FROM_PROTOCOL_DEFAULT"}, "app/x", "http://app/x"},
		{"IPv6", fleet.Redirect{Code: 301, Port: 81}, "[::1]:80/x", "http://[::1]:81/x"},
		{"IPv6 without a port", fleet.Redirect{Code: 301}, "[::1]/x", "http://[::1]/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.route(fleet.Route{Redirect: &tc.redirect, Headers: fleet.HeaderEdits{Response: fleet.HeaderEdit{Set: []fleet.Header{header("x-why", "moved")}}}})
			resp, body := c.get(tc.url)
			if resp.StatusCode != tc.redirect.Code || resp.Header.Get("Location") != tc.want || body != "" || resp.Close {
				t.Errorf("got %d to %q with %q, want %d to %q", resp.StatusCode, resp.Header.Get("Location"), body, tc.redirect.Code, tc.want)
			}
			if resp.Header.Get("X-Why") != "moved" {
				t.Errorf("got %v, want the route's field", resp.Header)
			}
		})
	}
	w.wantConserved()
}

func TestRedirectsOfOddRequests(t *testing.T) {
	w := newWorld(t, Options{})
	w.route(fleet.Route{Redirect: &fleet.Redirect{Code: 301}})
	c := w.dial()
	c.say("OPTIONS * HTTP/1.1\r\nHost: app\r\n\r\n")
	if resp := c.wantAnswer("OPTIONS", 301, ""); resp.Header.Get("Location") != "http://app/" {
		t.Errorf("got %q, want http://app/", resp.Header.Get("Location"))
	}
	c.say("GET //evil.example/ HTTP/1.0\r\n\r\n") // without a host, that would be another server's address
	if resp, _ := c.answer("GET"); resp.StatusCode != 400 || resp.Header.Get("Location") != "" {
		t.Errorf("got %d to %q, want 400", resp.StatusCode, resp.Header.Get("Location"))
	}
	w.wantConserved()
}

func TestPlaintextIsSentToHTTPS(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	v := w.view(w.p.State().services[0].Endpoints[0].Address.String())
	v.Listeners[0].Hosts[0].HTTPS = true
	w.apply(v)
	c := w.dial()
	resp, body := c.get("app:80/nowhere?x")
	if got := resp.Header.Get("Location"); resp.StatusCode != 301 || got != "https://app/nowhere?x" || body != "" {
		t.Errorf("got %d to %q, want 301 to https://app/nowhere?x", resp.StatusCode, got)
	}
	w.wantConserved()
}

func TestDirectResponses(t *testing.T) {
	w := newWorld(t, Options{})
	c := w.dial()
	w.route(fleet.Route{Respond: &fleet.Respond{Status: 418, Body: []byte("short and stout")}})
	resp, body := c.get("app/")
	if resp.StatusCode != 418 || body != "short and stout" || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("got %d %q of %s", resp.StatusCode, body, resp.Header.Get("Content-Type"))
	}
	c.say("HEAD / HTTP/1.1\r\nHost: app\r\n\r\n")
	c.wantAnswer("HEAD", 418, "")
	w.route(fleet.Route{
		Respond: &fleet.Respond{Status: 503, Body: []byte("{}")},
		Headers: fleet.HeaderEdits{Response: fleet.HeaderEdit{Set: []fleet.Header{header("content-type", "application/json"), header("server", "none")}}},
	})
	resp, body = c.get("app/")
	if resp.StatusCode != 503 || body != "{}" || strings.Join(resp.Header.Values("Content-Type"), "|") != "application/json" || resp.Header.Get("Server") != "none" {
		t.Errorf("got %d %q with %v", resp.StatusCode, body, resp.Header)
	}
	// A body that has not come is not waited for.
	c.say("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 1000000\r\n\r\n")
	if resp := c.wantAnswer("POST", 503, "{}"); !resp.Close {
		t.Error("the answer does not say Connection: close")
	}
	w.wantConserved()
}

func TestARouteIsFoundByTheWholeRequest(t *testing.T) {
	w := newWorld(t, Options{Labels: map[string]string{"istio": "ingressgateway"}}, parrot(t))
	answer := func(status int, m fleet.Match) fleet.Route {
		return fleet.Route{Respond: &fleet.Respond{Status: status}, Matches: []fleet.Match{m}}
	}
	w.route(
		answer(201, fleet.Match{Headers: []fleet.NamedMatch{{Name: "end-user", Value: fleet.StringMatch{Exact: "jason"}}}}),
		answer(202, fleet.Match{Query: []fleet.NamedMatch{{Name: "v", Value: fleet.StringMatch{Exact: "2"}}}}),
		answer(203, fleet.Match{Scheme: fleet.StringMatch{Exact: "https"}}),
		answer(205, fleet.Match{Port: 8080}),
		answer(206, fleet.Match{Port: 80, Path: fleet.StringMatch{Exact: "/port"}}),
		answer(207, fleet.Match{SourceLabels: map[string]string{"istio": "egressgateway"}}),
		answer(208, fleet.Match{SourceLabels: map[string]string{"istio": "ingressgateway"}, Path: fleet.StringMatch{Exact: "/labels"}}),
		toApp(nil),
	)
	c := w.dial()
	for _, tc := range []struct {
		url    string
		lines  []string
		status int
	}{
		{"app/", []string{"End-User: jason"}, 201},
		{"app/", []string{"End-User: amy"}, 200},
		{"app/?v=2", nil, 202},
		{"app:8080/port", nil, 206}, // the port that configuration names, wherever it is bound
		{"app/labels", nil, 208},
	} {
		if resp, _ := c.get(tc.url, tc.lines...); resp.StatusCode != tc.status {
			t.Errorf("%s %v: got %d, want %d", tc.url, tc.lines, resp.StatusCode, tc.status)
		}
	}
	w.wantConserved()
}

func TestCallersInTheMeshAreKnownByName(t *testing.T) {
	w := newWorld(t, Options{}, parrot(t))
	v := w.view(w.p.State().services[0].Endpoints[0].Address.String())
	v.Listeners[0].Mesh = true
	v.Listeners[0].Hosts[0].Routes = []fleet.Route{
		{Respond: &fleet.Respond{Status: 201}, Matches: []fleet.Match{{SourceLabels: map[string]string{"version": "v1"}}}},
		{Respond: &fleet.Respond{Status: 202}, Matches: []fleet.Match{{SourceLabels: map[string]string{"version": "v2"}}}},
		{Respond: &fleet.Respond{Status: 206}, Matches: []fleet.Match{{Path: fleet.StringMatch{Exact: "/port"}, Port: 9080}}},
		toApp(nil),
	}
	v.Instances = []fleet.Instance{
		{Name: "web-1", Namespace: "shop", Labels: map[string]string{"version": "v1"}},
		{Name: "web-2", Namespace: "shop", Labels: map[string]string{"version": "v2"}},
		{Name: "bare", Namespace: "shop"},
		{Name: "twin", Namespace: "shop", Labels: map[string]string{"version": "v1"}},
		{Name: "twin", Namespace: "prod", Labels: map[string]string{"version": "v2"}},
		{Name: "again", Namespace: "shop", Labels: map[string]string{"version": "v2"}},
		{Name: "again", Namespace: "shop", Labels: map[string]string{"version": "v1"}, Leaving: true},
	}
	w.apply(v)
	c := w.dial()
	basic := func(user string) string {
		return "Proxy-Authorization: basic " + base64.StdEncoding.EncodeToString([]byte(user))
	}
	for _, tc := range []struct {
		lines  []string
		status int
	}{
		{nil, 200},
		{[]string{basic("web-1:")}, 201},
		{[]string{basic("web-2:secret")}, 202},
		{[]string{basic("web-2")}, 202},
		{[]string{basic("bare:")}, 200},
		{[]string{basic("nobody:")}, 200},
		{[]string{basic("twin:")}, 200},
		{[]string{basic("twin.prod:")}, 202},
		{[]string{basic("again:")}, 202},
		{[]string{basic(strings.Repeat("web-1", 100))}, 200},
		{[]string{"Proxy-Authorization: Basic !"}, 200},
		{[]string{"Proxy-Authorization: Bearer d2ViLTE6"}, 200},
	} {
		resp, got := c.get("app/", tc.lines...)
		if resp.StatusCode != tc.status {
			t.Errorf("%q: got %d, want %d", tc.lines, resp.StatusCode, tc.status)
		}
		if strings.Contains(got, "Proxy-") {
			t.Errorf("got %q, want no Proxy-Authorization passed on", got)
		}
	}
	if resp, _ := c.get("app:9080/port"); resp.StatusCode != 206 {
		t.Errorf("got %d, want the route for the port that the authority names", resp.StatusCode)
	}
	w.wantConserved()
}

func TestCompileRefusesWhatCannotBeWritten(t *testing.T) {
	w := newWorld(t, Options{})
	for name, c := range map[string]struct {
		route fleet.Route
		want  error
	}{
		"a path with a space":      {toApp(func(r *fleet.Route) { r.Rewrite = &fleet.Rewrite{Path: "/a HTTP/1.1"} }), ErrPath},
		"a replacement with CRLF":  {toApp(func(r *fleet.Route) { r.Rewrite = &fleet.Rewrite{Regex: "a", Replacement: "\r\n"} }), ErrPath},
		"a broken expression":      {toApp(func(r *fleet.Route) { r.Rewrite = &fleet.Rewrite{Regex: "("} }), route.ErrRegex},
		"an authority with CRLF":   {toApp(func(r *fleet.Route) { r.Rewrite = &fleet.Rewrite{Authority: "a\r\nx: y"} }), ErrAuthority},
		"a host header with CRLF":  {toApp(func(r *fleet.Route) { r.Destinations[0].Headers.Request.Set = []fleet.Header{header("host", "a b")} }), ErrAuthority},
		"a redirect that is none":  {fleet.Route{Redirect: &fleet.Redirect{Code: 200}}, ErrStatus},
		"a redirect to nonsense":   {fleet.Route{Redirect: &fleet.Redirect{Code: 301, Authority: "a/b"}}, ErrAuthority},
		"a redirect to no path":    {fleet.Route{Redirect: &fleet.Redirect{Code: 301, Path: "/\n"}}, ErrPath},
		"a redirect to no scheme":  {fleet.Route{Redirect: &fleet.Redirect{Code: 301, Scheme: "1:"}}, ErrScheme},
		"an answer that is no end": {fleet.Route{Respond: &fleet.Respond{Status: 101}}, ErrStatus},
	} {
		v := w.view()
		v.Listeners[0].Hosts[0].Routes = []fleet.Route{c.route}
		if _, err := Compile(w.p.State(), v, nil, w.o, time.Now()); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// A request that is sent again after the world has changed goes by the new world's routes, written anew, even when
// its client has sent more meanwhile.
func TestARetryGoesByTheNewestRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var connections atomic.Int64
		swapped := make(chan struct{})
		w, c, r := bubble(t, Options{}, func(c net.Conn, r *bufio.Reader) {
			old := connections.Add(1) == 1
			for n := 1; ; n++ {
				head, err := readHead(r)
				if err != nil {
					return
				}
				if old && n == 2 { // on a connection that was idle: hang up
					<-swapped
					return
				}
				body := strings.Join(head, "\n")
				fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
		})
		answer := func(want ...string) {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("got %d, %v", resp.StatusCode, err)
			}
			for _, line := range want {
				if !strings.Contains(string(got)+"\n", line+"\n") {
					t.Errorf("got %q, want %q in it", got, line)
				}
			}
		}
		say := func(path, mine string) {
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: app\r\nX-Mine: %s\r\n\r\n", path, mine); err != nil {
				t.Fatal(err)
			}
		}
		say("/", "first")
		answer("GET / HTTP/1.1")
		mine := strings.Repeat("m", 100)
		say("/x", mine)
		synctest.Wait()
		say("/y", strings.Repeat("n", 200)) // returns when the proxy has read it, over what it had read before
		v := w.view("127.0.0.1:2")
		v.Services[0].Name = "young:80"
		v.Listeners[0].Hosts[0].Routes = []fleet.Route{{
			Matches:      []fleet.Match{{Headers: []fleet.NamedMatch{{Name: "x-mine", Value: fleet.StringMatch{Regex: "m+|n+"}}}}},
			Destinations: []fleet.Destination{{Service: "young:80", Weight: 1}},
			Headers:      fleet.HeaderEdits{Request: fleet.HeaderEdit{Set: []fleet.Header{header("x-world", "new")}}},
		}}
		w.apply(v)
		close(swapped)
		answer("GET /x HTTP/1.1", "X-Mine: "+mine, "x-world: new")
		answer("GET /y HTTP/1.1", "x-world: new")
		synctest.Wait()
		w.wantSettled()
	})
}

func TestEditsComposeAsIfAppliedOneAfterTheOther(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	headers := rapid.Custom(func(t *rapid.T) []fleet.Header {
		var list []fleet.Header
		for _, n := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "names") {
			list = append(list, header(n, rapid.StringMatching("[a-z]{4}").Draw(t, "value")))
		}
		return list
	})
	draw := rapid.Custom(func(t *rapid.T) fleet.HeaderEdit {
		return fleet.HeaderEdit{
			Remove: rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "remove"),
			Set:    headers.Draw(t, "set"), Add: headers.Draw(t, "add"),
		}
	})
	apply := func(fields map[string]string, e fleet.HeaderEdit) {
		for _, n := range e.Remove {
			delete(fields, n)
		}
		for _, h := range e.Set {
			fields[h.Name] = h.Value
		}
		for _, h := range e.Add {
			fields[h.Name] = strings.TrimPrefix(fields[h.Name]+"|"+h.Value, "|")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		destination, route := draw.Draw(t, "destination"), draw.Draw(t, "route")
		want := map[string]string{"a": "client", "b": "client"}
		apply(want, destination)
		apply(want, route)
		var e http1.Edit
		newEdit(destination, route).join(&e)
		req := http1.Request{Path: []byte("/"), Fields: []http1.Field{
			{Name: []byte("A"), Value: []byte("client")}, {Name: []byte("B"), Value: []byte("client")},
		}}
		got := map[string]string{}
		for line := range strings.SplitSeq(string(http1.AppendRequest(nil, &req, &e)), "\r\n") {
			if n, v, ok := strings.Cut(line, ": "); ok && len(n) == 1 {
				n = strings.ToLower(n)
				got[n] = strings.TrimPrefix(got[n]+"|"+v, "|")
			}
		}
		for _, n := range []string{"a", "b", "c"} {
			if got[n] != want[n] {
				t.Fatalf("%s: got %q, want %q", n, got[n], want[n])
			}
		}
	})
}

func FuzzRewrite(f *testing.F) {
	f.Add("/api", "", "", "/api/x?y", 4)
	f.Add("", "/a(b)?", `\1\\$x`, "/ab/a?", 0)
	f.Add("", ".*", "", "*", 1)
	f.Fuzz(func(t *testing.T, to, regex, replacement, path string, prefix int) {
		r, err := newRewrite(&fleet.Rewrite{Path: to, Regex: regex, Replacement: replacement})
		if err != nil || r == nil || !validPath(path) {
			return
		}
		clean, query, queried := strings.Cut(path, "?")
		got := string(r.append(nil, []byte(path), min(max(prefix, 0), len(clean))))
		switch {
		case !strings.HasPrefix(path, "/"):
			if got != path {
				t.Errorf("got %q, want %q left alone", got, path)
			}
		case !validPath(got) || got[0] != '/' || queried && !strings.HasSuffix(got, query):
			t.Errorf("got %q from %q, want a path with the same query", got, path)
		}
	})
}
