package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"crossfade.dev/internal/fleet"
)

const (
	defaultRedirect = 301
	maxBody         = 1 << 20 // as in Istio
)

// redirectCodeTable are the codes of redirects that HTTP knows.
var redirectCodeTable = []uint32{301, 302, 303, 307, 308}

func (b *builder) redirect(o *object, path string, r *networking.HTTPRedirect) *fleet.Redirect {
	if r == nil {
		return nil
	}
	out := &fleet.Redirect{Code: defaultRedirect, Path: r.Uri, Authority: r.Authority, Scheme: r.Scheme}
	if r.RedirectCode != 0 {
		out.Code = int(r.RedirectCode)
		if !slices.Contains(redirectCodeTable, r.RedirectCode) {
			b.report(o, Invalid, path+".redirectCode", "%d does not redirect; it must be one of 301, 302, 303, 307, 308", r.RedirectCode)
		}
	}
	if o.has(path + ".port") {
		b.checkPort(o, path+".port", int64(r.GetPort()))
		out.Port = r.GetPort()
	}
	if o.has(path + ".derivePort") {
		out.DerivePort = r.GetDerivePort().String()
	}
	b.checkPath(o, path+".uri", out.Path)
	b.checkAuthority(o, path+".authority", out.Authority)
	if s := out.Scheme; s != "" && s != "http" && s != "https" {
		b.report(o, Invalid, path+".scheme", "%q must be http or https", clip(s))
	}
	if *out == (fleet.Redirect{Code: out.Code}) && o.broken[path+".prefixRewrite"] == "" {
		b.report(o, Missing, path, "leads back to where the request came from; set uri, authority, scheme or port")
	}
	return out
}

func (b *builder) checkPath(o *object, field, path string) {
	switch {
	case path == "":
	case path[0] != '/':
		b.report(o, Invalid, field, `%q is no path; it must begin with "/"`, clip(path))
	case strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		b.report(o, Invalid, field, "%q must not contain spaces or control characters; write them as %%20", clip(path))
	}
}

// checkAuthority makes sure that a string can be a host with or without a port.
func (b *builder) checkAuthority(o *object, field, authority string) {
	if authority == "" {
		return
	}
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host = authority[:i]
		if n, err := strconv.ParseUint(authority[i+1:], 10, 16); err != nil || n == 0 {
			b.report(o, Invalid, field, "%q has no port that can be used behind its colon", clip(authority))
			return
		}
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && !isName(strings.ToLower(host)) {
		b.report(o, Invalid, field, "%q is no host", clip(authority))
	}
}

func (b *builder) respond(o *object, path string, r *networking.HTTPDirectResponse) *fleet.Respond {
	if r == nil {
		return nil
	}
	out := &fleet.Respond{Status: int(r.Status)}
	switch {
	case r.Status == 0:
		b.report(o, Missing, path+".status", "is missing; say what to answer with, as in 503")
	case r.Status < 200 || r.Status > 599:
		b.report(o, Invalid, path+".status", "%d is no status to answer with; it must be between 200 and 599", r.Status)
	}
	switch body := r.GetBody().GetSpecifier().(type) {
	case *networking.HTTPBody_String_:
		out.Body = []byte(body.String_)
	case *networking.HTTPBody_Bytes:
		out.Body = body.Bytes
	default:
		if r.Body != nil {
			b.report(o, Missing, path+".body", "is empty; set string or bytes, or remove it")
		}
	}
	if len(out.Body) > maxBody {
		b.report(o, Invalid, path+".body", "has %d bytes; more than %d are not answered with", len(out.Body), maxBody)
	}
	if (r.Status == 204 || r.Status == 304) && len(out.Body) > 0 {
		b.report(o, Conflict, path+".body", "an answer with status %d has no body; remove it", r.Status)
	}
	return out
}

func (b *builder) rewrite(o *object, path string, r *networking.HTTPRewrite) *fleet.Rewrite {
	if r == nil {
		return nil
	}
	out := &fleet.Rewrite{Path: r.Uri, Authority: r.Authority}
	b.checkPath(o, path+".uri", out.Path)
	b.checkAuthority(o, path+".authority", out.Authority)
	if x := r.UriRegexRewrite; x != nil {
		out.Regex, out.Replacement = x.Match, x.Rewrite
		b.checkReplacement(o, path+".uriRegexRewrite", x)
		if r.Uri != "" {
			b.report(o, Conflict, path+".uriRegexRewrite", "only one of uri and uriRegexRewrite may be set")
		}
	}
	if *out == (fleet.Rewrite{}) {
		b.report(o, Missing, path, "does nothing; set uri, uriRegexRewrite or authority")
	}
	return out
}

// groupTable finds what stands for a group in a replacement, and backslashes that stand for nothing.
var groupTable = regexp.MustCompile(`\\(\d|\\|.|$)`)

func (b *builder) checkReplacement(o *object, path string, x *networking.RegexRewrite) {
	if x.Match == "" {
		b.report(o, Missing, path+".match", "is missing; say what to replace")
		return
	}
	b.checkRegex(o, path+".match", x.Match)
	re, err := regexp.Compile(x.Match)
	if err != nil {
		return
	}
	for _, m := range groupTable.FindAllStringSubmatch(x.Rewrite, -1) {
		n, err := strconv.Atoi(m[1])
		switch {
		case m[1] == `\`:
		case err != nil:
			b.report(o, Invalid, path+".rewrite", `%q stands for nothing; write \1 for a group, \\ for a backslash`, m[0])
		case n > re.NumSubexp():
			b.report(o, Invalid, path+".rewrite", "%s: the expression has %d groups", m[0], re.NumSubexp())
		}
	}
}

// headerEdits reads what a route or destination does to headers.
func (b *builder) headerEdits(o *object, path string, h *networking.Headers) fleet.HeaderEdits {
	return fleet.HeaderEdits{
		Request:  b.headerEdit(o, path+".request", h.GetRequest()),
		Response: b.headerEdit(o, path+".response", h.GetResponse()),
	}
}

func (b *builder) headerEdit(o *object, path string, ops *networking.Headers_HeaderOperations) fleet.HeaderEdit {
	var out fleet.HeaderEdit
	for i, text := range ops.GetRemove() {
		name, ok := b.headerName(o, fmt.Sprintf("%s.remove[%d]", path, i), text)
		if ok && !slices.Contains(out.Remove, name) {
			out.Remove = append(out.Remove, name)
		}
	}
	out.Set = b.headerValues(o, path+".set", ops.GetSet())
	out.Add = b.headerValues(o, path+".add", ops.GetAdd())
	return out
}

func (b *builder) headerValues(o *object, path string, from map[string]string) []fleet.Header {
	var list []fleet.Header
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if isAuthority(key) && strings.HasSuffix(path, ".request.set") {
			continue // not a header like the others: see routeAuthority
		}
		at := path + "[" + key + "]"
		name, ok := b.headerName(o, at, key)
		if !ok {
			continue
		}
		if slices.ContainsFunc(list, func(h fleet.Header) bool { return h.Name == name }) {
			b.report(o, Conflict, at, "%s stands here twice, in another case; keep one", name)
			continue
		}
		list = append(list, fleet.Header{Name: name, Value: b.headerValue(o, at, from[key])})
	}
	return list
}

// headerValue reads a header's value. In Envoy "%" begins a variable, and "%%" is one of itself.
func (b *builder) headerValue(o *object, path, text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		b.report(o, Invalid, path, "a value must not contain line breaks or control characters")
	}
	plain := strings.ReplaceAll(text, "%%", "")
	if strings.Contains(plain, "%") {
		b.report(o, Unsupported, path, `variables as in %q are not supported yet; write "%%%%" for a "%%"`, clip(text))
	}
	return strings.Trim(strings.ReplaceAll(text, "%%", "%"), " \t")
}

// framingTable are headers that say where a message ends or which connection it is for: whoever changes them lets
// others read requests that were never sent.
var framingTable = []string{"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}

// houseTable are headers in which our own programs tell each other of themselves.
var houseTable = []string{"crossfade-drain", "crossfade-gateway", "crossfade-refused"}

func (b *builder) headerName(o *object, path, text string) (string, bool) {
	name := strings.ToLower(text)
	switch {
	case slices.Contains(framingTable, name):
		b.report(o, Invalid, path, "%s belongs to the connection, not to the request; it cannot be changed here", name)
	case slices.Contains(houseTable, name):
		b.report(o, Invalid, path, "is between programs of crossfade; remove it")
	case strings.HasPrefix(name, ":"):
		b.report(o, Invalid, path, "%q is no header; use rewrite for the path and the authority", clip(text))
	case !isToken(name):
		b.report(o, Invalid, path, "%q is no name of a header", clip(text))
	default:
		return name, true
	}
	return "", false
}

func isAuthority(header string) bool {
	return strings.EqualFold(header, "host") || header == ":authority"
}

// routeAuthority reads headers.request.set of "host": it is the older spelling of rewrite.authority.
func (b *builder) routeAuthority(o *object, path string, h *networking.HTTPRoute, r *fleet.Route) {
	set := h.GetHeaders().GetRequest().GetSet()
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if !isAuthority(key) {
			continue
		}
		at := path + ".headers.request.set[" + key + "]"
		switch {
		case h.GetRewrite().GetAuthority() != "":
			b.report(o, Conflict, at, "rewrite.authority says it already; keep one")
		case len(h.Route) == 0:
			b.warn(o, at, "nothing is sent on by this route")
		default:
			b.checkAuthority(o, at, set[key])
			rewrite := fleet.Rewrite{}
			if r.Rewrite != nil {
				rewrite = *r.Rewrite
			}
			rewrite.Authority = set[key]
			r.Rewrite = &rewrite
		}
	}
}

// noAuthority names an authority that is set for one destination only.
func (b *builder) noAuthority(o *object, path string, h *networking.Headers) {
	for _, key := range slices.Sorted(maps.Keys(h.GetRequest().GetSet())) {
		if isAuthority(key) {
			b.report(o, Unsupported, path+".request.set["+key+"]", "an authority for one destination is not supported yet; use rewrite.authority of the route")
		}
	}
}
