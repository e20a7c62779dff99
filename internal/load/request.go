package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A request is one URL's request as it goes over the wire.
type request struct {
	url     string
	address netip.AddrPort
	secure  string        // https: the name that the server's certificate has to bear; else ""
	link    int           // which of a worker's senders it uses; requests to one place share one
	wire    []byte        // HTTP/1.1: head and body
	reading *http.Request // HTTP/1.1: tells the reader of the answer which method was used

	fields  []hpack.HeaderField // HTTP/2: the head
	body    []byte              // HTTP/2: the body, or one message in gRPC's framing
	hasBody bool
}

// compose makes the requests of a plan. Names are resolved here, once: an address that does not answer is a
// loss, not a reason to try the name's next address in silence.
func compose(ctx context.Context, plan Plan) ([]request, error) {
	requests := make([]request, 0, len(plan.URLs))
	for _, text := range plan.URLs {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		address, err := resolve(ctx, u, plan.Source)
		if err != nil {
			return nil, fmt.Errorf("resolve %s: %w", text, err)
		}
		r := request{url: text, address: address}
		if err := r.write(u, &plan); err != nil {
			return nil, err
		}
		r.link = slices.IndexFunc(requests, func(other request) bool { return other.address == r.address && other.secure == r.secure })
		if r.link < 0 {
			r.link = len(requests)
		}
		requests = append(requests, r)
	}
	return requests, nil
}

// parseURL reads an absolute http or https URL; the scheme may be left out.
func parseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("read URL %q: only http and https are supported", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("read URL %q: it names no address", text)
	case u.User != nil:
		return nil, fmt.Errorf("read URL %q: give credentials as a header", text)
	}
	return u, nil
}

// resolve returns the one address of a URL: of the source's family if one is given, else IPv4 before IPv6.
func resolve(ctx context.Context, u *url.URL, source netip.Prefix) (netip.AddrPort, error) {
	usual := "80"
	if u.Scheme == "https" {
		usual = "443"
	}
	port, err := strconv.ParseUint(orElse(u.Port(), usual), 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %s: %w", u.Port(), err)
	}
	found := []netip.Addr{}
	if literal, err := netip.ParseAddr(u.Hostname()); err == nil {
		found = append(found, literal)
	} else if found, err = net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname()); err != nil {
		return netip.AddrPort{}, err
	}
	var best netip.Addr
	for _, addr := range found {
		addr = addr.Unmap()
		if source.IsValid() && addr.Is4() != source.Addr().Is4() {
			continue
		}
		if !best.IsValid() || addr.Is4() && !best.Is4() {
			best = addr
		}
	}
	if !best.IsValid() {
		return netip.AddrPort{}, errors.New("no address of the source's family")
	}
	return netip.AddrPortFrom(best, uint16(port)), nil
}

// A head is what a request says before its body, in no protocol's form yet.
type head struct {
	method, target, host, agent string
	lines                       []Header
}

// write gives the request its form on the wire.
func (r *request) write(u *url.URL, plan *Plan) error {
	if plan.Protocol == GRPC {
		if u.RequestURI() != "/" {
			return fmt.Errorf("URL %q: a call's path is its name: leave it out", u)
		}
		service, method, ok := strings.Cut(strings.TrimPrefix(plan.Call, "/"), "/")
		if !ok || !isToken(service) || !isToken(method) {
			return fmt.Errorf("call %q: want SERVICE/METHOD", plan.Call)
		}
		u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + service + "/" + method}
	}
	h, err := newHead(u, plan)
	if err != nil {
		return err
	}
	if u.Scheme == "https" {
		r.secure = (&url.URL{Host: h.host}).Hostname()
	}
	if plan.Protocol == HTTP1 {
		r.wire, r.reading = h.http1(plan), &http.Request{Method: plan.Method}
		return nil
	}
	r.fields, r.body, r.hasBody = h.fields(u.Scheme, plan), plan.Body, plan.Body != nil
	if plan.Protocol == GRPC {
		r.body, r.hasBody = framed(plan.Body), true
	}
	return nil
}

// newHead checks what is to be sent, so that nothing of it can be taken for something else.
func newHead(u *url.URL, plan *Plan) (head, error) {
	h := head{method: plan.Method, target: u.RequestURI(), host: u.Host, agent: "crossfade-load"}
	if !isToken(plan.Method) || plan.Method == http.MethodConnect {
		return h, fmt.Errorf("method %q cannot be sent", plan.Method)
	}
	if strings.ContainsFunc(u.RequestURI()+u.Host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return h, fmt.Errorf("URL %q cannot be sent: it has unescaped spaces or controls", u)
	}
	own := []string{"Connection", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade"}
	if plan.Protocol != HTTP1 {
		own = append(own, "Keep-Alive", "Proxy-Connection", "Te") // of one connection of HTTP/1.1 only
	}
	if plan.Protocol == GRPC {
		own = append(own, "Content-Type")
	}
	for _, line := range plan.Headers {
		name := textproto.CanonicalMIMEHeaderKey(line.Name)
		switch {
		case !isToken(line.Name) || strings.ContainsAny(line.Value, "\r\n\x00"):
			return h, fmt.Errorf("header %q cannot be sent", line.Name)
		case slices.Contains(own, name):
			return h, fmt.Errorf("header %s is written by the load itself", name)
		case name == "Host":
			h.host = line.Value
		case name == "User-Agent":
			h.agent = line.Value
		default:
			h.lines = append(h.lines, line)
		}
	}
	return h, nil
}

// http1 writes head and body as HTTP/1.1 does.
func (h *head) http1(plan *Plan) []byte {
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", h.method, h.target, h.host, h.agent)
	for _, line := range h.lines {
		fmt.Fprintf(&wire, "%s: %s\r\n", line.Name, line.Value)
	}
	if plan.NoKeepAlive {
		wire.WriteString("Connection: close\r\n")
	}
	if plan.Body != nil {
		fmt.Fprintf(&wire, "Content-Length: %d\r\n", len(plan.Body))
	}
	wire.WriteString("\r\n")
	wire.Write(plan.Body)
	return wire.Bytes()
}

// fields writes the head as HTTP/2 does.
func (h *head) fields(scheme string, plan *Plan) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: h.method},
		{Name: ":scheme", Value: scheme},
		{Name: ":authority", Value: h.host},
		{Name: ":path", Value: h.target},
	}
	switch {
	case plan.Protocol == GRPC:
		fields = append(fields, hpack.HeaderField{Name: "content-type", Value: "application/grpc"}, hpack.HeaderField{Name: "te", Value: "trailers"})
	case plan.Body != nil:
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(plan.Body))})
	}
	fields = append(fields, hpack.HeaderField{Name: "user-agent", Value: h.agent})
	for _, line := range h.lines {
		fields = append(fields, hpack.HeaderField{Name: strings.ToLower(line.Name), Value: line.Value})
	}
	return fields
}

// isToken says whether text may be a method or a header's name (RFC 9110, 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
