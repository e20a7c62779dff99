package effects

import "strings"

// base is a gateway with two services behind it: one.example.com and two.example.com, whose endpoints are at
// 127.0.1.1:80 and 127.0.1.2:80.
const base = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec:
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one}
spec:
  hosts: [one.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.1.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two}
spec:
  hosts: [two.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [front]
  http:
`

const (
	toOne = "  - route: [{destination: {host: one.example.com}}]\n"
	toTwo = "  - route: [{destination: {host: two.example.com}}]\n"
	shop  = "http://shop.example.com/"
)

// vs names fields of VirtualService.
func vs(fields ...string) []string { return of("VirtualService", fields...) }

func of(kind string, fields ...string) []string {
	var list []string
	for _, f := range fields {
		list = append(list, kind+" "+f)
	}
	return list
}

// matching are the effects of conditions: requests go to one while they hold and to two when they do not.
func matching() []effect {
	condition := func(field, holds, not string, q ask) effect {
		return effect{
			vs("spec.http[].match[]." + field),
			base + "  - match: [{" + holds + "}]\n    route: [{destination: {host: one.example.com}}]\n" + toTwo,
			"{" + holds + "}", "{" + not + "}", q, "at 127.0.1.1:80", "at 127.0.1.2:80",
		}
	}
	text := func(field string, around func(string) string, q ask, exact, prefix, regex string) []effect {
		var list []effect
		for how, holds := range map[string]string{"exact": exact, "prefix": prefix, "regex": regex} {
			list = append(list, condition(field+"."+how, around("{"+how+`: "`+holds+`"}`), around("{"+how+`: "`+strings.Replace(holds, "e", "o", 1)+`"}`), q))
		}
		return list
	}
	plain := func(name string) func(string) string { return func(m string) string { return name + ": " + m } }
	inside := func(name, key string) func(string) string {
		return func(m string) string { return name + ": {" + key + ": " + m + "}" }
	}
	var list []effect
	list = append(list, text("uri", plain("uri"), ask{url: shop + "reviews/1?x"}, "/reviews/1", "/re", "/r[e]views/[0-9]+")...)
	list = append(list, text("authority", plain("authority"), ask{url: "http://shop.example.com:80/"}, "shop.example.com:80", "shop.e", "shop.e.*:80")...)
	list = append(list, text("headers[]", inside("headers", "end-user"), ask{url: shop, header: "End-User: tester"}, "tester", "te", "[t]este.")...)
	list = append(list, text("queryParams[]", inside("queryParams", "v"), ask{url: shop + "?v=beta"}, "beta", "be", "[b]et.")...)
	list = append(list,
		condition("scheme.exact", "scheme: {exact: http}", "scheme: {exact: https}", ask{url: shop}),
		condition("scheme.prefix", "scheme: {prefix: htt}", "scheme: {prefix: https}", ask{url: shop}),
		condition("scheme.regex", `scheme: {regex: "https?"}`, `scheme: {regex: "https+"}`, ask{url: shop}),
		condition("method.exact", "method: {exact: PUT}", "method: {exact: GET}", ask{url: shop, method: "PUT"}),
		condition("method.prefix", "method: {prefix: PU}", "method: {prefix: P0}", ask{url: shop, method: "PUT"}),
		condition("method.regex", `method: {regex: "P.T"}`, `method: {regex: "P..T"}`, ask{url: shop, method: "PUT"}),
		condition("withoutHeaders[].exact", "withoutHeaders: {v: {exact: beta}}", "withoutHeaders: {v: {exact: alpha}}", ask{url: shop, header: "v: alpha"}),
		condition("withoutHeaders[].prefix", "withoutHeaders: {v: {prefix: b}}", "withoutHeaders: {v: {prefix: al}}", ask{url: shop, header: "v: alpha"}),
		condition("withoutHeaders[].regex", `withoutHeaders: {v: {regex: "b.*a"}}`, `withoutHeaders: {v: {regex: "a.*a"}}`, ask{url: shop, header: "v: alpha"}),
		condition("port", "port: 80", "port: 81", ask{url: shop}),
		condition("ignoreUriCase", "uri: {prefix: /Reviews}, ignoreUriCase: true", "uri: {prefix: /Reviews}, ignoreUriCase: false", ask{url: shop + "reviews"}),
		condition("sourceLabels", "sourceLabels: {istio: ingressgateway}", "sourceLabels: {istio: egressgateway}", ask{url: shop}),
		condition("gateways", "gateways: [front]", "gateways: [mesh]", ask{url: shop}),
	)
	return list
}

// acting are the effects of what a route does.
func acting() []effect {
	var list []effect
	// sets adds an effect of a route in which from is replaced.
	sets := func(field, route, from, to, path, was, now string) {
		list = append(list, effect{vs("spec.http[]." + field), base + route, from, to, ask{url: shop + path}, was, now})
	}
	const moved = "  - redirect: {uri: /there, authority: new.example.com, scheme: https, port: 8443, redirectCode: 308}\n"
	sets("redirect.uri", moved, "/there", "/here", "x", "< location: https://new.example.com:8443/there\n", "< location: https://new.example.com:8443/here\n")
	sets("redirect.authority", moved, "new.example.com", "newer.example.com", "x", "< location: https://new.example.com:8443/there\n", "< location: https://newer.example.com:8443/there\n")
	sets("redirect.scheme", moved, "scheme: https", "scheme: http", "x", "< location: https://new.example.com:8443/there\n", "< location: http://new.example.com:8443/there\n")
	sets("redirect.port", moved, "port: 8443", "port: 443", "x", "< location: https://new.example.com:8443/there\n", "< location: https://new.example.com/there\n")
	sets("redirect.redirectCode", moved, "308", "302", "x", "status 308\n", "status 302\n")
	sets("redirect.derivePort", "  - redirect: {derivePort: FROM_REQUEST_PORT, scheme: https}\n", "FROM_REQUEST_PORT", "FROM_PROTOCOL_DEFAULT", "x",
		"< location: https://shop.example.com:80/x\n", "< location: https://shop.example.com/x\n")

	const teapot = "  - directResponse: {status: 418, body: {string: short}}\n"
	sets("directResponse.status", teapot, "418", "503", "", "status 418\n", "status 503\n")
	sets("directResponse.body.string", teapot, "short", "stout", "", "short\n", "stout\n")
	sets("directResponse.body.bytes", "  - directResponse: {status: 200, body: {bytes: aGVsbG8=}}\n", "aGVsbG8=", "aGk=", "", "hello\n", "hi\n")

	rewritten := func(match, what string) string {
		return "  - match: [{uri: {" + match + "}}]\n    rewrite: {" + what + "}\n" + strings.Replace(toOne, "- ", "  ", 1)
	}
	sets("rewrite.uri", rewritten("prefix: /old/", "uri: /new/"), "uri: /new/", "uri: /newer/", "old/x?y", "> GET /new/x?y HTTP/1.1\n", "> GET /newer/x?y HTTP/1.1\n")
	sets("rewrite.uri", rewritten("exact: /old/x", "uri: /new/"), "uri: /new/", "uri: /newer/", "old/x?y", "> GET /new/?y HTTP/1.1\n", "> GET /newer/?y HTTP/1.1\n")
	sets("rewrite.authority", rewritten("prefix: /", "authority: inner.example.com"), "inner", "outer", "", "> host: inner.example.com\n", "> host: outer.example.com\n")
	versions := rewritten("prefix: /v", `uriRegexRewrite: {match: "^/v([0-9])/", rewrite: "/version-\\1/"}`)
	sets("rewrite.uriRegexRewrite.match", versions, "v([0-9])/", "v([a-z])/", "v2/v2/x?y", "> GET /version-2/v2/x?y HTTP/1.1\n", "> GET /v2/v2/x?y HTTP/1.1\n")
	sets("rewrite.uriRegexRewrite.rewrite", versions, `/version-\\1/`, `/\\1th/`, "v2/x", "> GET /version-2/x HTTP/1.1\n", "> GET /2th/x HTTP/1.1\n")

	sets("timeout", "  - timeout: 1ms\n"+strings.Replace(toOne, "- ", "  ", 1), "1ms", "1h", "slow", "status 504\n", "status 200\n")
	sets("name", "  - name: checkout\n"+strings.Replace(toOne, "- ", "  ", 1), "checkout", "basket", "", "route checkout\n", "route basket\n")
	sets("match[].name", "  - name: checkout\n    match: [{name: testers, uri: {prefix: /}}]\n"+strings.Replace(toOne, "- ", "  ", 1),
		"testers", "others", "", "route checkout.testers\n", "route checkout.others\n")

	split := "  - route:\n    - {destination: {host: one.example.com}, weight: 95}\n    - {destination: {host: two.example.com}, weight: 5}\n"
	list = append(
		list,
		effect{vs("spec.http[].route[].weight"), base + split, "weight: 95", "weight: 1", ask{url: shop, times: 300}, "mostly 127.0.1.1:80\n", "mostly 127.0.1.2:80\n"},
		effect{vs("spec.http[].route[].destination.host"), base + toOne, "{host: one.example.com}", "{host: two.example.com}", ask{url: shop}, "at 127.0.1.1:80\n", "at 127.0.1.2:80\n"},
	)
	return append(list, editing()...)
}

// editing are the effects of header operations.
func editing() []effect {
	var list []effect
	for _, place := range []struct{ field, route string }{
		{"spec.http[].headers.", "  - headers: {EDIT}\n    route: [{destination: {host: one.example.com}}]\n"},
		{"spec.http[].route[].headers.", "  - route: [{destination: {host: one.example.com}, headers: {EDIT}}]\n"},
	} {
		add := func(field, edit, from, to, was, now string) {
			list = append(list, effect{
				vs(place.field + field), base + strings.Replace(place.route, "EDIT", edit, 1), from, to,
				ask{url: shop, header: "x-sent: client"},
				was, now,
			})
		}
		add("request.set", "request: {set: {x-sent: old}}", "old", "new", "> x-sent: old\n", "> x-sent: new\n")
		add("request.add", "request: {add: {x-sent: old}}", "old", "new", "> x-sent: old\n", "> x-sent: new\n")
		add("request.remove", "request: {remove: [x-none]}", "x-none", "x-sent", "> x-sent: client\n", "")
		add("response.set", "response: {set: {x-own: old}}", "old", "new", "< x-own: old\n", "< x-own: new\n")
		add("response.add", "response: {add: {x-own: old}}", "old", "new", "< x-own: old\n", "< x-own: new\n")
		add("response.remove", "response: {remove: [x-own]}", "x-own", "x-other", "< x-other: 1\n", "< x-own: 1\n")
	}
	return list
}

const more = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: default}
spec:
  http: [{route: [{destination: {host: one.example.com}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: part, namespace: other}
spec:
  http: [{route: [{destination: {host: two.example.com}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: apart}
spec:
  http: [{route: [{destination: {host: two.example.com}}]}]
`

// binding are the effects of where a VirtualService, and what it leads to, is.
func binding() []effect {
	const one, two = "at 127.0.1.1:80\n", "at 127.0.1.2:80\n"
	subsets := base + `  - match: [{uri: {exact: /v2}}]
    route: [{destination: {host: three.example.com, subset: v2, port: {number: 80}}}]
  - route: [{destination: {host: three.example.com, subset: v1, port: {number: 80}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: three}
spec:
  hosts: [three.example.com]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: http-more, protocol: HTTP}]
  endpoints: [{address: 127.0.1.3, labels: {version: v1}}, {address: 127.0.1.4, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: three}
spec:
  host: three.example.com
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
`
	return []effect{
		{vs("spec.hosts"), base + toOne, "[shop.example.com]", "[cart.example.com]", ask{url: shop}, one, "status 404\n"},
		{vs("spec.gateways"), base + toOne, "gateways: [front]", "gateways: [mesh]", ask{url: shop}, one, "status 404\n"},
		{vs("spec.exportTo"), strings.Replace(base, "gateways: [front]", `exportTo: ["*"]
  gateways: [front]`, 1) + toOne, `exportTo: ["*"]`, `exportTo: ["~"]`, ask{url: shop}, one, "status 404\n"},
		{vs("spec.http[].delegate.name"), base + "  - delegate: {name: part}\n" + more, "delegate: {name: part}", "delegate: {name: apart}", ask{url: shop}, one, two},
		{vs("spec.http[].delegate.namespace"), base + "  - delegate: {name: part}\n" + more, "delegate: {name: part}", "delegate: {name: part, namespace: other}", ask{url: shop}, one, two},
		{vs("spec.http[].route[].destination.subset"), subsets, "subset: v1,", "subset: v2,", ask{url: shop}, "at 127.0.1.3:80\n", "at 127.0.1.4:80\n"},
		{vs("spec.http[].route[].destination.port.number"), subsets, "subset: v1, port: {number: 80}}", "subset: v1, port: {number: 90}}", ask{url: shop}, "at 127.0.1.3:80\n", "at 127.0.1.3:90\n"},
		{of("DestinationRule", "spec.subsets[].name"), subsets, "{name: v2, labels: {version: v2}}", "{name: v3, labels: {version: v2}}", ask{url: shop + "v2"}, "at 127.0.1.4:80\n", "refused: spec.http[0]"},
		{of("DestinationRule", "spec.subsets[].labels"), subsets, "{name: v1, labels: {version: v1}}", "{name: v1, labels: {version: v2}}", ask{url: shop}, "at 127.0.1.3:80\n", "at 127.0.1.4:80\n"},
	}
}
