package config

import (
	"fmt"
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// TestDelegatesTakePartOfWhatIsDelegated goes through what Istio documents about roots and delegates.
func TestDelegatesTakePartOfWhatIsDelegated(t *testing.T) {
	for _, c := range []struct{ root, leaf, want string }{ // matches, and the paths or headers that come of them
		{"", "", "[everything]"},
		{"uri: {prefix: /a}", "", "prefix=/a"},
		{"", "uri: {prefix: /a}", "prefix=/a"},
		{"uri: {prefix: /a}", "uri: {prefix: /a/b}", "prefix=/a/b"},
		{"uri: {prefix: /a}", "uri: {exact: /a/b}", "exact=/a/b"},
		{"uri: {prefix: /a}", "uri: {prefix: /b}", "nothing"},
		{"uri: {prefix: /a}", "uri: {prefix: /}", "nothing"},
		{"uri: {exact: /a}", "uri: {prefix: /a}", "nothing"},
		{"uri: {exact: /a}", "uri: {exact: /a}", "exact=/a"},
		{"uri: {regex: /a.*}", "uri: {exact: /ab}", "nothing"}, // regular expressions never go together
		{"uri: {prefix: /a}", "uri: {regex: /a/b}", "nothing"},
		{"uri: {prefix: /a}, ignoreUriCase: true", "uri: {prefix: /a}", "nothing"},
		{"uri: {prefix: /a}", "headers: {x: {exact: y}}", "prefix=/a x=y"},
		{"headers: {x: {prefix: y}}", "headers: {x: {exact: yea}}", "x=yea"},
		{"headers: {x: {exact: y}}", "headers: {x: {exact: z}}", "nothing"},
		{"headers: {x: {exact: y}}", "headers: {z: {exact: z}}", "x=y z=z"},
		{"port: 80", "port: 81", "nothing"},
		{"method: {exact: GET}", "method: {exact: PUT}", "nothing"},
		{"sourceLabels: {a: b}", "sourceLabels: {a: c}", "nothing"},
		{"gateways: [mesh]", "gateways: [mesh, other]", "nothing"},
		{"uri: {prefix: /a}}, {uri: {prefix: /b}", "uri: {prefix: /b/1}}, {uri: {prefix: /a/1}", "prefix=/b/1 | prefix=/a/1"},
		{"uri: {prefix: /a}}, {uri: {prefix: /b}", "uri: {prefix: /a/1}}, {uri: {prefix: /c}", "nothing"}, // one lies outside of both
		{"uri: {prefix: /a}}, {uri: {prefix: /b}", "headers: {x: {exact: y}}", "prefix=/a x=y | prefix=/b x=y"},
	} {
		list := func(matches string) string {
			if matches == "" {
				return ""
			}
			return "match: [{" + matches + "}],"
		}
		d, findings := Parse([]File{{Name: "test.yaml", Data: []byte(service("a", "default", 80) + service("b", "default", 80) +
			gatewayOn("other", 80, `"*"`) +
			istio("VirtualService", "root", "default", "hosts: [a], gateways: [mesh, other], http: [{"+list(c.root)+" delegate: {name: leaf}}, {match: [{uri: {exact: /rest}}], route: [{destination: {host: b}}]}]") +
			istio("VirtualService", "leaf", "default", "http: [{"+list(c.leaf)+" route: [{destination: {host: a}}]}]"))}}, options())
		if d == nil {
			t.Errorf("%q, %q: does not load:\n%s", c.root, c.leaf, text(findings))
			continue
		}
		if got := routesTo(d, "a:80"); got != c.want {
			t.Errorf("root %q, delegate %q: got %s, want %s", c.root, c.leaf, got, c.want)
		}
		if warned := strings.Contains(text(findings), "never takes effect"); warned != (c.want == "nothing") {
			t.Errorf("root %q, delegate %q: warned: %v", c.root, c.leaf, warned)
		}
	}
}

// routesTo writes the matches of the mesh's routes of host "a" to a service.
func routesTo(d *fleet.Desired, service string) string {
	for i := range d.Listeners {
		for _, h := range d.Listeners[i].Hosts {
			if !d.Listeners[i].Mesh || h.Domains[0] != "a:80" {
				continue
			}
			for _, r := range h.Routes {
				if r.Destinations[0].Service == service {
					return matchesText(r.Matches)
				}
			}
		}
	}
	return "nothing"
}

func matchesText(matches []fleet.Match) string {
	if len(matches) == 0 {
		return "[everything]"
	}
	var list []string
	for _, m := range matches {
		var parts []string
		if m.Path != (fleet.StringMatch{}) {
			parts = append(parts, kindOf(m.Path)+"="+m.Path.Exact+m.Path.Prefix+m.Path.Regex)
		}
		for _, h := range m.Headers {
			parts = append(parts, fmt.Sprintf("%s=%s", h.Name, h.Value.Exact+h.Value.Prefix))
		}
		list = append(list, strings.Join(parts, " "))
	}
	return strings.Join(list, " | ")
}

func TestDelegatesTakeOverWhatTheyDoNotSay(t *testing.T) {
	d := mustParse(t, service("a", "default", 80),
		istio("VirtualService", "root", "default", `hosts: [a], http: [{name: root, match: [{name: m, uri: {prefix: /a}}], timeout: 3s, rewrite: {uri: /r},
			headers: {request: {remove: [x]}}, delegate: {name: leaf}}]`),
		istio("VirtualService", "leaf", "default", `http: [{name: own, match: [{name: n, uri: {prefix: /a/b}}], timeout: 5s, rewrite: {uri: /l},
			headers: {response: {remove: [y]}}, route: [{destination: {host: a}}]}, {route: [{destination: {host: a}}]}]`),
	)
	routes := d.Listeners[0].Hosts[0].Routes
	if len(routes) != 2 {
		t.Fatalf("got %d routes, want 2", len(routes))
	}
	describe := func(r fleet.Route) string {
		return fmt.Sprint(r.Name, " ", r.Matches[0].Name, " ", r.Timeout, " ", r.Rewrite.Path, " ", r.Headers.Request.Remove, r.Headers.Response.Remove)
	}
	for i, want := range []string{"root-own m-n 5s /l [] [y]", "root m 3s /r [x] []"} {
		if got := describe(routes[i]); got != want {
			t.Errorf("route %d: got %q, want %q", i, got, want)
		}
	}
}

func TestExportToHidesFromAllOrFromNobody(t *testing.T) {
	other := service("b", "prod", 80)
	for _, c := range []struct{ to, around, want string }{
		{`["*"]`, other, "applied"},
		{`[.]`, "", "applied"}, // there is nobody else
		{`[default]`, "", "applied"},
		{`[., prod]`, other, "applied"},
		{`["~"]`, other, "hidden"},
		{`[.]`, other, "refused"},
		{`[prod]`, other, "refused"},
		{`["~", .]`, other, "refused"},
	} {
		d, _ := Parse([]File{{Name: "test.yaml", Data: []byte(service("a", "default", 80) + c.around +
			istio("DestinationRule", "a", "default", "host: a, exportTo: "+c.to+", trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"))}}, options())
		got := "refused"
		if d != nil {
			got = map[fleet.Algorithm]string{fleet.RoundRobin: "applied", fleet.LeastRequest: "hidden"}[d.Services[0].Pools[0].Policy.Algorithm]
		}
		if got != c.want {
			t.Errorf("exportTo %s: got %s, want %s", c.to, got, c.want)
		}
	}
}

func TestSourceLabelsOfAGatewayAreItsOwn(t *testing.T) {
	d := mustParse(t, service("a", "default", 80), gatewayOn("front", 80, `"*"`),
		istio("VirtualService", "a", "default", `hosts: [a.com], gateways: [front], http: [
			{match: [{sourceLabels: {app: caller}}], route: [{destination: {host: a}}]},
			{match: [{sourceLabels: {istio: ingressgateway}, uri: {prefix: /x}}], route: [{destination: {host: a}}]}]`))
	routes := d.Listeners[0].Hosts[0].Routes
	if len(routes) != 1 || routes[0].Matches[0].Path.Prefix != "/x" || routes[0].Matches[0].SourceLabels != nil {
		t.Errorf("got routes %+v, want the second, without labels", routes)
	}
}
