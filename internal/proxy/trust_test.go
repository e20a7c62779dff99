package proxy

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"crossfade.dev/internal/fleet"
)

// forwarded returns a function that sends a request and returns what of it reached the endpoint, each line ended by
// "\n", in a view changed by change.
func forwarded(t *testing.T, change func(*fleet.View)) func(request string) string {
	t.Helper()
	heads := make(chan []string, 1)
	addr := script(t, func(_ int, c *net.TCPConn, r *bufio.Reader) {
		for {
			head, err := readHead(r)
			if err != nil {
				return
			}
			heads <- head
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	w := newWorld(t, Options{}, addr)
	if change != nil {
		v := w.view(addr)
		change(&v)
		w.apply(v)
	}
	c := w.dial()
	return func(request string) string {
		c.say("%s", request)
		c.wantAnswer("GET", 200, "")
		return strings.Join(<-heads, "\n") + "\n"
	}
}

// What a client nominates as its connection's own is not there for those behind us, and we say it ourselves.
func TestNominatedFieldsCountAsAbsent(t *testing.T) {
	send := forwarded(t, func(v *fleet.View) { v.Listeners[0].Mesh = true })
	head := send("GET / HTTP/1.1\r\nHost: app\r\nConnection: x-request-id, X-Forwarded-Proto\r\nX-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n\r\n")
	if !strings.Contains(head, "\nX-Forwarded-Proto: http\n") {
		t.Errorf("got %q, want the scheme that we saw", head)
	}
	if strings.Count(head, "X-Request-Id: ") != 1 || strings.Contains(head, "mine") {
		t.Errorf("got %q, want a request id of ours", head)
	}
}

// Only strangers' words about their own certificates are dropped: a gateway before a sidecar, or a caller in the
// mesh, has seen to it.
func TestClientCertificatesAreNotSaidByStrangers(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*fleet.View)
		passes bool
	}{
		"at the edge": {nil, false},
		"in the mesh": {func(v *fleet.View) { v.Listeners[0].Mesh = true }, true},
		"at a sidecar": {func(v *fleet.View) {
			v.Services[0].Inbound = true
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			head := forwarded(t, tc.change)("GET / HTTP/1.1\r\nHost: app\r\nx-forwarded-client-cert: Subject=\"CN=admin\"\r\n\r\n")
			if got := strings.Contains(strings.ToLower(head), "x-forwarded-client-cert"); got != tc.passes {
				t.Errorf("got %q: it passed: %t, want %t", head, got, tc.passes)
			}
		})
	}
}

// A request for another protocol than websocket goes on as one without an upgrade.
func TestOnlyWebSocketIsPassedOn(t *testing.T) {
	send := forwarded(t, nil)
	for protocol, passes := range map[string]bool{
		"websocket": true, "WebSocket": true,
		"h2c": false, "h2c/1": false, "HTTP/2.0": false, "TLS/1.0": false, "websocket/13": false, "websocket, h2c": false, "chat": false,
	} {
		head := send("GET / HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n")
		if got := strings.Contains(head, "pgrade"); got != passes {
			t.Errorf("%s: got %q: it passed: %t, want %t", protocol, head, got, passes)
		}
	}
}

// Routes are found by the path that goes on, so that an endpoint never sees one that another rule is about.
func TestThePathThatIsMatchedIsTheOneThatGoesOn(t *testing.T) {
	send := forwarded(t, func(v *fleet.View) {
		v.Listeners[0].Hosts[0].Routes = []fleet.Route{
			toApp(func(r *fleet.Route) {
				r.Matches = []fleet.Match{{Path: fleet.StringMatch{Prefix: "/static"}}}
				r.Headers.Request.Set = []fleet.Header{header("x-rule", "static")}
			}),
			toApp(func(r *fleet.Route) {
				r.Matches = []fleet.Match{{Path: fleet.StringMatch{Exact: "/login"}}}
				r.Headers.Request.Set = []fleet.Header{header("x-rule", "login")}
			}),
			toApp(func(r *fleet.Route) {
				r.Headers.Request.Set = []fleet.Header{header("x-rule", "rest")}
			}),
		}
	})
	for target, want := range map[string][2]string{
		"/static/../health?%6c": {"/health?%6c", "rest"},
		"/%6cogin":              {"/login", "login"},
		"/x/%2e%2e/static/":     {"/static/", "static"},
		"http://app/./login?a":  {"/login?a", "login"},
	} {
		head := send("GET " + target + " HTTP/1.1\r\nHost: app\r\n\r\n")
		if !strings.HasPrefix(head, "GET "+want[0]+" HTTP/1.1\n") || !strings.Contains(head, "\nx-rule: "+want[1]+"\n") {
			t.Errorf("%s: got %q, want %s by the rule %s", target, head, want[0], want[1])
		}
	}
}

func TestAPathAboveTheRootIsABadRequest(t *testing.T) {
	w := newWorld(t, Options{}, handle(t, echo))
	for _, target := range []string{"/..", "/static/../../etc", "/%2e%2e/etc", "/a%00"} {
		c := w.dial()
		c.say("GET %s HTTP/1.1\r\nHost: app\r\n\r\n", target)
		if resp, body := c.answer("GET"); resp.StatusCode != 400 || !resp.Close {
			t.Errorf("%s: got %d %q, want 400 and the end", target, resp.StatusCode, body)
		}
	}
	w.wantConserved()
}
