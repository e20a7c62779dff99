package config

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

const (
	ringMost   = 8 << 20   // points: Envoy's bound
	maglevMost = 5_000_011 // places: Istio's bound, which is out
)

// The names of a message's own parts, which stand where a header is named. They are those that Envoy hashes, too.
var pseudoHeaderTable = []string{":authority", ":method", ":path"}

// The values of a cookie's attribute SameSite.
var sameSiteTable = []string{"strict", "lax", "none"}

// balancer reads a loadBalancer.
func (b *builder) balancer(rule *hostRule, path string, lb *networking.LoadBalancerSettings) fleet.Policy {
	p := defaultPolicy()
	switch lb.GetSimple() { //nolint:exhaustive // the others are other names of the default
	case networking.LoadBalancerSettings_ROUND_ROBIN:
		p.Algorithm = fleet.RoundRobin
	case networking.LoadBalancerSettings_RANDOM:
		p.Algorithm = fleet.Random
	case networking.LoadBalancerSettings_PASSTHROUGH:
		p.Algorithm = fleet.Passthrough
	}
	if h := lb.GetConsistentHash(); h != nil {
		p.Algorithm, p.Hash = b.hash(rule.object, path+".consistentHash", h)
		p.Hash.Bound = rule.bound
	}
	p.Locality = b.localityPolicy(rule, path+".localityLbSetting", lb.GetLocalityLbSetting())
	p.Warmup = b.warmup(rule.object, path, lb)
	if p.Algorithm == fleet.Passthrough && p.Warmup.Window > 0 {
		b.add(Warning, rule.object, Doubtful, path+".simple", "a request that names an address is sent there however cold the endpoint is; "+
			"only requests that name the service let it warm up")
	}
	return p
}

// hash reads a consistentHash: what requests are told apart by, and the table.
func (b *builder) hash(o *object, path string, h *networking.LoadBalancerSettings_ConsistentHashLB) (fleet.Algorithm, *fleet.Hash) {
	out := b.hashKey(o, path, h)
	older := b.olderRingSize(o, path, h)
	m := h.GetMaglev()
	if m == nil {
		out.TableSize = max(h.GetRingHash().GetMinimumRingSize(), older)
		b.checkRing(o, path+".ringHash.minimumRingSize", h.GetRingHash().GetMinimumRingSize())
		b.checkZero(o, path+".ringHash.minimumRingSize", h.GetRingHash().GetMinimumRingSize(), 1024)
		b.checkZero(o, path+".minimumRingSize", h.GetMinimumRingSize(), 1024) //nolint:staticcheck // still Istio's, and in use
		return fleet.RingHash, out
	}
	out.TableSize = m.TableSize
	b.checkZero(o, path+".maglev.tableSize", m.TableSize, 65537)
	prime := new(big.Int).SetUint64(m.TableSize).ProbablyPrime(0) // exact below 2⁶⁴
	if m.TableSize != 0 && (m.TableSize >= maglevMost || !prime) {
		b.report(o, Invalid, path+".maglev.tableSize", "%d must be a prime number below %d", m.TableSize, maglevMost)
	}
	return fleet.Maglev, out
}

// hashKey reads what requests are told apart by.
func (b *builder) hashKey(o *object, path string, h *networking.LoadBalancerSettings_ConsistentHashLB) *fleet.Hash {
	out := &fleet.Hash{}
	switch key := h.HashKey.(type) {
	case nil:
		b.report(o, Missing, path, "needs a key; set httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName")
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		out.Header = strings.ToLower(key.HttpHeaderName)
		if !isToken(out.Header) && !slices.Contains(pseudoHeaderTable, out.Header) {
			b.report(o, Invalid, path+".httpHeaderName", "%q is no name of a header", clip(key.HttpHeaderName))
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		out.Cookie = b.hashCookie(o, path+".httpCookie", key.HttpCookie)
	case *networking.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		out.SourceIP = true
		if !key.UseSourceIp {
			b.report(o, Invalid, path+".useSourceIp", "false leaves no key; write true, or set another one")
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		out.Query = key.HttpQueryParameterName
		switch {
		case out.Query == "":
			b.report(o, Invalid, path+".httpQueryParameterName", "is empty; name the parameter")
		case strings.ContainsAny(out.Query, "&=# ") || !isPrintable(out.Query):
			b.report(o, Invalid, path+".httpQueryParameterName", "%q is no name of a parameter, as it stands in a URL", clip(out.Query))
		}
	}
	return out
}

// olderRingSize reads minimumRingSize, which stood where ringHash is now; 0 means that there is none.
func (b *builder) olderRingSize(o *object, path string, h *networking.LoadBalancerSettings_ConsistentHashLB) uint64 {
	size := h.GetMinimumRingSize() //nolint:staticcheck // still Istio's, and in use
	field := path + ".minimumRingSize"
	switch {
	case size == 0:
	case h.HashAlgorithm != nil:
		b.report(o, Conflict, field, "only one of ringHash, maglev and the older minimumRingSize may be set; remove minimumRingSize")
	default:
		b.checkRing(o, field, size)
		b.add(Warning, o, Deprecated, field, "is deprecated; write ringHash: {minimumRingSize: %d}", size)
	}
	return size
}

// checkZero warns of a size that is given as 0, which is no size.
func (b *builder) checkZero(o *object, field string, size, usual uint64) {
	if size == 0 && o.has(field) {
		b.warn(o, field, "0 stands for the default, %d; remove it", usual)
	}
}

func (b *builder) checkRing(o *object, field string, size uint64) {
	if size > ringMost {
		b.report(o, Invalid, field, "%d is too much for a ring; write %d or less", size, ringMost)
	}
}

// hashCookie reads the cookie that tells clients apart, and what is said of the one that is given to those without.
func (b *builder) hashCookie(o *object, path string, c *networking.LoadBalancerSettings_ConsistentHashLB_HTTPCookie) *fleet.HashCookie {
	out := &fleet.HashCookie{Name: c.GetName(), Path: c.GetPath(), TTL: -1, Attributes: b.attributes(o, path+".attributes", c)}
	if ttl := c.GetTtl(); ttl != nil {
		out.TTL = ttl.AsDuration()
	}
	switch {
	case out.Name == "":
		b.report(o, Missing, path+".name", "is missing; name the cookie")
	case !isToken(strings.ToLower(out.Name)):
		b.report(o, Invalid, path+".name", "%q is no name of a cookie", clip(out.Name))
	}
	if out.Path != "" && (out.Path[0] != '/' || !isAttributeValue(out.Path)) {
		b.report(o, Invalid, path+".path", `%q is no path of a cookie: it begins with "/", and ";" does not stand in it`, clip(out.Path))
	}
	if o.has(path+".ttl") && !o.has(path+".path") {
		b.add(Warning, o, Doubtful, path+".path", "is missing: clients send the cookie back only below the path of their first request; write path: /")
	}
	for _, field := range []string{".path", ".attributes"} {
		if !o.has(path+".ttl") && o.has(path+field) {
			b.warn(o, path+field, "is for a cookie that clients without one are given, and without ttl they are given none; "+
				"add ttl, 0s for as long as a client's session lasts")
		}
	}
	return out
}

// attributes reads what else is said of a cookie that is given to clients.
func (b *builder) attributes(o *object, path string, c *networking.LoadBalancerSettings_ConsistentHashLB_HTTPCookie) []fleet.Header {
	var list []fleet.Header
	seen := map[string]bool{}
	for i, a := range c.GetAttributes() {
		at := fmt.Sprintf("%s[%d]", path, i)
		name := strings.ToLower(a.GetName())
		switch {
		case name == "":
			b.report(o, Missing, at+".name", "is missing; name the attribute")
		case !isToken(name):
			b.report(o, Invalid, at+".name", "%q is no name of an attribute", clip(a.Name))
		case seen[name]:
			b.report(o, Conflict, at+".name", "attribute %s is there already; keep one", a.Name)
		case name == "path" || name == "max-age":
			b.report(o, Conflict, at+".name", "%s has a field of its own; write it as %s of the cookie", a.Name, map[string]string{"path": "path", "max-age": "ttl"}[name])
		case name == "httponly":
			b.warn(o, at+".name", "the cookie is HttpOnly in any case; remove the attribute")
			continue
		case name == "samesite" && !slices.Contains(sameSiteTable, strings.ToLower(a.Value)):
			b.report(o, Invalid, at+".value", "%q is not known to browsers; write Strict, Lax or None", clip(a.Value))
		case !isAttributeValue(a.Value):
			b.report(o, Invalid, at+".value", `%q cannot stand in an attribute: ";" and control characters end it`, clip(a.Value))
		}
		seen[name] = true
		list = append(list, fleet.Header{Name: a.GetName(), Value: a.GetValue()})
	}
	return list
}

// isAttributeValue says whether s can stand in Set-Cookie as the value of an attribute (RFC 6265, 4.1.1).
func isAttributeValue(s string) bool { return isPrintable(s) && !strings.Contains(s, ";") }

// isPrintable says whether s is ASCII without control characters.
func isPrintable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// hashBound reads the annotation crossfade.dev/hash-bound; 0 means that there is none.
func (b *builder) hashBound(o *object) float64 {
	bound := b.factor(o, hashBound, "how many times the mean load an endpoint may have before keys pass it over")
	if bound > 0 && !o.hasBelow("consistentHash") {
		b.report(o, Conflict, "metadata.annotations["+hashBound+"]", "there is no consistentHash in this rule that it could bound; add one, or remove the annotation")
	}
	return bound
}
