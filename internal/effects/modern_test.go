package effects

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// What speaks HTTP/2 here, on both sides, is Go's own.

// sendModern sends a request over HTTP/2, on the conversation's connection.
func (c *conversation) sendModern(q ask) (*http.Response, string, error) {
	if c.modern == nil {
		t := &http.Transport{Protocols: new(http.Protocols)}
		dial := func(context.Context, string, string) (net.Conn, error) { return c.Conn, nil }
		t.DialContext, t.DialTLSContext = dial, dial
		t.Protocols.SetUnencryptedHTTP2(true)
		t.Protocols.SetHTTP2(true)
		c.modern = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	r, err := http.NewRequestWithContext(c.t.Context(), q.method, q.url, http.NoBody)
	if err != nil {
		return nil, "", err
	}
	if name, value, ok := strings.Cut(q.header, ": "); ok {
		r.Header.Set(name, value)
	}
	resp, err := c.modern.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// A begun is a connection of which something has been read already.
type begun struct {
	net.Conn
	r *bufio.Reader
}

func (b *begun) Read(p []byte) (int, error) { return b.r.Read(p) }

// A single is a listener that accepts one connection.
type single struct {
	net.Conn
	given bool
}

func (l *single) Addr() net.Addr { return l.LocalAddr() }

func (l *single) Accept() (net.Conn, error) {
	if l.given {
		return nil, net.ErrClosed
	}
	l.given = true
	return l.Conn, nil
}

// Close is for the listener; who accepted the connection closes that.
func (l *single) Close() error { return nil }

// answerModern answers requests that come over theirs: by HTTP/2, or as TLS has agreed.
func answerModern(theirs net.Conn, at netip.AddrPort) {
	ended, n := make(chan struct{}), new(atomic.Int64)
	s := http.Server{
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Protocols: new(http.Protocols),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				close(ended)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			number := n.Add(1)
			if strings.HasSuffix(r.URL.Path, "/hold") {
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			lines := []string{"at " + at.String(), fmt.Sprintf("> %s %s %s", r.Method, r.RequestURI, r.Proto), "> host: " + r.Host}
			for _, name := range slices.Sorted(maps.Keys(r.Header)) {
				lines = append(lines, "> "+strings.ToLower(name)+": "+r.Header.Get(name))
			}
			w.Header().Set("X-Own", "1")
			w.Header().Set("X-Other", "1")
			_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n"+heard(theirs)+nth(int(number)))
		}),
	}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	_ = s.Serve(&single{Conn: theirs})
	<-ended
}

// versions are the effects of what says which version of HTTP is spoken.
func versions(t *testing.T) []effect {
	t.Helper()
	const old, modern = "> GET / HTTP/1.1\n", "> GET / HTTP/2.0\n"
	plain, streams := ask{url: shop}, ask{url: shop, modern: true}
	var list []effect
	for _, place := range policyPlaces {
		at := func(policy, protocol string) string {
			yaml := balanced(rule + strings.Replace(place.yaml, "POLICY", policy, 1))
			yaml = strings.Replace(yaml, "name: http, protocol: HTTP}, {", "name: http, protocol: "+protocol+"}, {", 1)
			yaml = strings.Replace(yaml, "name: http-more, protocol: HTTP", "name: http-more, protocol: "+protocol, 1)
			return strings.Replace(yaml, "PLACE", place.subset+"port: {number: "+place.port+"}", 1)
		}
		add := func(field, yaml, from, to string, q ask, was, now string) {
			list = append(list, effect{of("DestinationRule", place.field+"connectionPool.http."+field), yaml, from, to, q, was, now})
		}
		const upgrade, same = "connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}", "connectionPool: {http: {useClientProtocol: false}}"
		add("h2UpgradePolicy", at(upgrade, "HTTP"), "DO_NOT_UPGRADE", "UPGRADE", plain, old, modern)
		add("h2UpgradePolicy", at(upgrade, "HTTP"), "DO_NOT_UPGRADE", "UPGRADE", streams, old, modern)
		add("useClientProtocol", at(same, "HTTP"), "false", "true", streams, old, modern)
		add("useClientProtocol", at(same, "HTTP2"), "false", "true", plain, modern, old)
	}
	pod, pay := through("stock", kubernetes), through("pay.example.com", entry)
	front := fronted("mode: SIMPLE")
	front = front[:strings.Index(front, "  - port: {number: 443")] + front[strings.Index(front, "---"):]
	list = append(list,
		effect{of("Service", "spec.ports[].name"), pod, "[{name: http, port", "[{name: http2-web, port", plain, old, modern},
		effect{of("Service", "spec.ports[].name"), pod, "[{name: http, port", "[{name: grpc, port", streams, old, modern},
		effect{
			of("Service", "spec.ports[].appProtocol"), strings.Replace(pod, "{name: http, port", "{appProtocol: http, name: web, port", 1),
			"appProtocol: http", "appProtocol: kubernetes.io/h2c", plain, old, modern,
		},
		effect{of("ServiceEntry", "spec.ports[].protocol"), pay, "name: http, protocol: HTTP, target", "name: http, protocol: GRPC, target", plain, old, modern},
		effect{of("ServiceEntry", "spec.ports[].protocol"), entry, "protocol: HTTP", "protocol: HTTP2", meshed("http://pay.example.com/"), old, modern},
	)
	for _, protocol := range []string{"HTTP", "HTTP2", "GRPC"} {
		for _, q := range []ask{streams, plain} {
			list = append(list, effect{
				of("Gateway", "spec.servers[].port.protocol"), strings.Replace(front, "protocol: HTTP}", "protocol: "+protocol+"}", 1),
				"protocol: " + protocol + "}", "protocol: MYSQL}", q, "status 200\n", "refused: ",
			})
		}
	}
	ca := newAuthority(t, t.TempDir(), "ca")
	config := &tls.Config{Certificates: []tls.Certificate{ca.pair("stock.example.com")}, NextProtos: []string{"h2", "http/1.1"}}
	secured := strings.Replace(balanced(rule+"  trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}\n"), "PLACE", "port: {number: 80}", 1)
	return append(list, effect{
		of("ServiceEntry", "spec.ports[].protocol"), secured, "{number: 80, name: http, protocol: HTTP}, {", "{number: 80, name: http, protocol: HTTP2}, {",
		ask{url: shop, inside: config},
		old, modern,
	})
}
