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
)

// A request is one URL's request as it goes over the wire.
type request struct {
	url     string
	address netip.AddrPort
	link    int           // which of a worker's links it uses; requests to one address share one
	wire    []byte        // head and body
	reading *http.Request // tells the reader of the answer which method was used
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
		wire, err := encode(u, plan)
		if err != nil {
			return nil, err
		}
		link := slices.IndexFunc(requests, func(r request) bool { return r.address == address })
		if link < 0 {
			link = len(requests)
		} else {
			link = requests[link].link
		}
		requests = append(requests, request{
			url: text, address: address, link: link, wire: wire,
			reading: &http.Request{Method: plan.Method},
		})
	}
	return requests, nil
}

// parseURL reads an absolute http URL; the scheme may be left out.
func parseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read URL: %w", err)
	case u.Scheme != "http":
		return nil, fmt.Errorf("read URL %q: only http is supported", text)
	case u.Hostname() == "":
		return nil, fmt.Errorf("read URL %q: it names no address", text)
	case u.User != nil:
		return nil, fmt.Errorf("read URL %q: give credentials as a header", text)
	}
	return u, nil
}

// resolve returns the one address of a URL: of the source's family if one is given, else IPv4 before IPv6.
func resolve(ctx context.Context, u *url.URL, source netip.Prefix) (netip.AddrPort, error) {
	port, err := strconv.ParseUint(orElse(u.Port(), "80"), 10, 16)
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

// encode writes the request's head and body.
func encode(u *url.URL, plan Plan) ([]byte, error) {
	if !isToken(plan.Method) || plan.Method == http.MethodConnect {
		return nil, fmt.Errorf("method %q cannot be sent", plan.Method)
	}
	if strings.ContainsFunc(u.RequestURI()+u.Host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("URL %q cannot be sent: it has unescaped spaces or controls", u)
	}
	host, agent := u.Host, "crossfade-load"
	var lines bytes.Buffer
	for _, h := range plan.Headers {
		name := textproto.CanonicalMIMEHeaderKey(h.Name)
		switch {
		case !isToken(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00"):
			return nil, fmt.Errorf("header %q cannot be sent", h.Name)
		case slices.Contains([]string{"Connection", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade"}, name):
			return nil, fmt.Errorf("header %s is written by the load itself", name)
		case name == "Host":
			host = h.Value
		case name == "User-Agent":
			agent = h.Value
		default:
			fmt.Fprintf(&lines, "%s: %s\r\n", h.Name, h.Value)
		}
	}
	var wire bytes.Buffer
	fmt.Fprintf(&wire, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n", plan.Method, u.RequestURI(), host, agent)
	wire.Write(lines.Bytes())
	if plan.NoKeepAlive {
		wire.WriteString("Connection: close\r\n")
	}
	if plan.Body != nil {
		fmt.Fprintf(&wire, "Content-Length: %d\r\n", len(plan.Body))
	}
	wire.WriteString("\r\n")
	wire.Write(plan.Body)
	return wire.Bytes(), nil
}

// isToken says whether text may be a method or a header's name (RFC 9110, 5.6.2).
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
