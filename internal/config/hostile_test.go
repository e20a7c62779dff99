package config

import (
	"fmt"
	"strings"
	"testing"
)

// hostile are files of which each is small enough to be read, and would take hours if the work on it grew with the
// square of its size, or faster.
func hostile() map[string]string {
	const n = 4_000
	list := func(format string) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, format, i)
		}
		return text.String()
	}
	virtual := func(name, hosts, http string) string {
		return "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: " + name + "}\nspec:\n" + hosts + "  http:\n" + http
	}
	return map[string]string{
		"routes":           virtual("a", "  hosts: [a.com]\n", list("  - {match: [{uri: {exact: /%d}}], directResponse: {status: 200}}\n")),
		"matches":          virtual("a", "  hosts: [a.com]\n", "  - directResponse: {status: 200}\n    match:\n"+list("    - {uri: {regex: \"/%d.*\"}}\n")),
		"delegates":        virtual("a", "  hosts: [a.com]\n", "  - delegate: {name: b}\n    match:\n"+list("    - {headers: {a: {exact: \"%d\"}}}\n")) + virtual("b", "", "  - directResponse: {status: 200}\n    match:\n"+list("    - {headers: {b: {exact: \"%d\"}}}\n")),
		"many delegations": virtual("a", "  hosts: [a.com]\n", list("  - {name: r%d, delegate: {name: b}}\n")) + virtual("b", "", list("  - {name: s%d, directResponse: {status: 200}}\n")),
		"hosts":            gatewayOn("front", 80, `"*"`) + virtual("a", "  gateways: [front]\n  hosts:\n"+list("  - h%d.example.com\n"), "  - directResponse: {status: 200}\n"),
		"hosts on hosts": "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: front}\nspec:\n  servers:\n  - port: {number: 80, name: http, protocol: HTTP}\n    hosts:\n" +
			list("    - h%d.example.com\n") + virtual("a", "  gateways: [front]\n  hosts:\n"+list("  - h%d.example.com\n"), "  - directResponse: {status: 200}\n"),
		"services": list("---\n{apiVersion: v1, kind: Service, metadata: {name: s%d}, spec: {selector: {app: x}, ports: [{port: 80}]}}\n"),
		"rules":    list("---\n{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: r%[1]d}, spec: {host: h%[1]d}}\n"),
		"places": "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: a}\nspec:\n  host: a.com\n  trafficPolicy:\n    loadBalancer:\n      localityLbSetting:\n        distribute:\n        - from: \"*\"\n          to:\n" +
			list("            r%d/z/s: 1\n") + list("        - {from: r%[1]d/z/s, to: {r%[1]d: 100}}\n"),
		"headers": virtual("a", "  hosts: [a.com]\n", "  - directResponse: {status: 200}\n    headers:\n      response:\n        set:\n"+list("          h%d: x\n")),
		"faults":  virtual("a", "  hosts: [a.com]\n", list("  - {unknown%d: x}\n")),
		"lives": list("---\n{apiVersion: crossfade.dev/v1alpha1, kind: Lifecycle, metadata: {name: l%[1]d}, spec: {selector: {matchLabels: {a: v%[1]d}}}}\n") +
			list("---\n{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: w%[1]d}, spec: {address: 10.0.0.1, labels: {a: v%[1]d}}}\n") +
			list("---\n{apiVersion: v1, kind: Service, metadata: {name: s%[1]d}, spec: {selector: {a: v%[1]d}, ports: [{port: 80}]}}\n"),
		"ports": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  ports:\n" + list("  - {name: p%[1]d, port: %[1]d}\n"),
	}
}

// TestNoFileKeepsTheLoaderBusy fails by the test's own time limit.
func TestNoFileKeepsTheLoaderBusy(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, data := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(data) > maxFile {
				t.Fatalf("the file has %d bytes: it would not be read", len(data))
			}
			Parse([]File{{Name: "hostile.yaml", Data: []byte(data)}}, options())
		})
	}
}
