package effects

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A routeLog passes on the route of every line of the access log.
type routeLog struct {
	slog.Handler
	routes chan<- string
}

func (l routeLog) Enabled(context.Context, slog.Level) bool { return true }

func (l routeLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "route" {
			select {
			case l.routes <- a.Value.String():
			default: // nobody asks: a tally
			}
		}
		return true
	})
	return nil
}

// A conversation is a client's connection.
type conversation struct {
	t *testing.T
	net.Conn
	r      *bufio.Reader
	routes <-chan string
	modern *http.Client // where HTTP/2 is spoken on it
}

func (c *conversation) send(q ask) (*http.Response, string, error) {
	if q.modern {
		return c.sendModern(q)
	}
	method, err := c.write(q)
	if err != nil {
		return nil, "", err
	}
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// hold sends a request that is not answered to its end while the connection lasts, and waits until an endpoint has
// it.
func (c *conversation) hold(q ask) {
	q.url = strings.TrimSuffix(q.url, "/") + "/hold"
	if _, err := c.write(q); err != nil {
		c.t.Fatal(err)
	}
	if _, err := http.ReadResponse(c.r, nil); err != nil {
		c.t.Fatal(err)
	}
}

// write sends a request and returns its method.
func (c *conversation) write(q ask) (string, error) {
	method := q.method
	if method == "" {
		method = "GET"
	}
	_, rest, _ := strings.Cut(q.url, "://")
	host, path, _ := strings.Cut(rest, "/")
	target := "/" + path
	lines := []string{"Host: " + host}
	if q.header != "" {
		lines = append(lines, q.header)
	}
	if q.caller != "" {
		target = q.url
		lines = append(lines, "Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(q.caller+":")))
	}
	_, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\n%s\r\n\r\n", method, target, strings.Join(lines, "\r\n"))
	return method, err
}

// givenCookie is a cookie of the gateway's, before what is said of it.
var givenCookie = regexp.MustCompile(`^(\w+)=[0-9a-f]{16};`)

func (c *conversation) once(q ask) string {
	resp, body, err := c.send(q)
	if err != nil {
		return "refused: " + err.Error()
	}
	lines := []string{"status " + strconv.Itoa(resp.StatusCode)}
	if nc, ok := c.Conn.(*tls.Conn); ok {
		cs := nc.ConnectionState()
		lines = append(lines, "tls "+tls.VersionName(cs.Version)+" "+tls.CipherSuiteName(cs.CipherSuite)+" "+cs.PeerCertificates[0].Subject.CommonName)
	}
	lines = append(lines, "route "+<-c.routes)
	for name, values := range resp.Header {
		for _, v := range values {
			if name == "Set-Cookie" {
				v = givenCookie.ReplaceAllString(v, "$1=VALUE;")
			}
			lines = append(lines, "< "+strings.ToLower(name)+": "+v)
		}
	}
	return strings.Join(append(lines, body), "\n") + "\n"
}

// tally asks q.times times.
func (c *conversation) tally(q ask) string {
	counts := map[string]int{}
	met := map[int]map[string]bool{} // by key
	var order []string
	for i := range q.times {
		one, key := q, i%max(1, q.keys)
		one.url, one.header = strings.ReplaceAll(q.url, "KEY", strconv.Itoa(key)), strings.ReplaceAll(q.header, "KEY", strconv.Itoa(key))
		_, body, err := c.send(one)
		if err != nil {
			c.t.Fatal(err)
		}
		at, _, _ := strings.Cut(body, "\n")
		at = strings.TrimPrefix(at, "at ")
		counts[at]++
		if met[key] == nil {
			met[key] = map[string]bool{}
		}
		met[key][at] = true
		order = append(order, at)
	}
	var lines []string
	for at, n := range counts {
		how := "evenly"
		switch part := float64(n) / float64(q.times); {
		case part > 0.65:
			how = "mostly"
		case part < 0.35:
			how = "rarely"
		}
		lines = append(lines, how+" "+at)
		if n == q.times {
			lines = append(lines, "only "+at)
		}
	}
	if inTurn(order, len(counts)) {
		lines = append(lines, "in turn")
	}
	if fair(counts, q.times) {
		lines = append(lines, "fairly")
	}
	if q.keys > 1 && len(counts) > 1 && byKey(met) {
		lines = append(lines, "by key")
	}
	return strings.Join(lines, "\n") + "\n"
}

// fair says whether everybody's part of all is within 8 points of the others' mean.
func fair(counts map[string]int, all int) bool {
	for _, n := range counts {
		if off := float64(n)/float64(all) - 1/float64(len(counts)); off < -0.08 || off > 0.08 {
			return false
		}
	}
	return len(counts) > 1
}

// byKey says whether each key met one endpoint.
func byKey(met map[int]map[string]bool) bool {
	for _, endpoints := range met {
		if len(endpoints) > 1 {
			return false
		}
	}
	return true
}

// inTurn says whether n endpoints were asked one after the other, again and again.
func inTurn(order []string, n int) bool {
	for i := range order {
		if i >= n && order[i] != order[i-n] {
			return false
		}
	}
	return n > 1
}

// dialing returns a function that connects to an endpoint that answers at every address there is, with what it got. It
// speaks TLS where q gives it a configuration.
func dialing(q ask, meet *meeting) func(context.Context, netip.AddrPort) (net.Conn, error) {
	config := q.inside
	return func(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
		if err := obstruct(ctx, q, at, meet); err != nil {
			return nil, err
		}
		if config == nil {
			ours, theirs := net.Pipe()
			go answer(theirs, at)
			return ours, nil
		}
		ours, theirs, err := ends(ctx) // both sides of TLS may write at once, which a pipe has no room for
		switch {
		case err != nil:
		case slices.Contains(config.NextProtos, "h2"):
			go answerModern(tls.Server(theirs, config), at)
		default:
			go answer(tls.Server(theirs, config), at)
		}
		return ours, err
	}
}

// ends returns both ends of a TCP connection.
func ends(ctx context.Context) (ours, theirs net.Conn, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	var d net.Dialer
	if ours, err = d.DialContext(ctx, "tcp", l.Addr().String()); err != nil {
		return nil, nil, err
	}
	theirs, err = l.Accept()
	return ours, theirs, err
}

// heard is what the endpoint saw of TLS.
func heard(nc net.Conn) string {
	c, ok := nc.(*tls.Conn)
	if !ok {
		return ""
	}
	cs := c.ConnectionState()
	name := "nobody"
	if len(cs.PeerCertificates) > 0 {
		name = cs.PeerCertificates[0].Subject.CommonName
	}
	return "> tls asks for " + cs.ServerName + "\n> tls shows " + name + "\n"
}

// answer answers requests that come over theirs.
func answer(theirs net.Conn, at netip.AddrPort) {
	defer theirs.Close()
	in := bufio.NewReader(theirs)
	if start, err := in.Peek(3); err == nil && string(start) == "PRI" {
		answerModern(&begun{theirs, in}, at)
		return
	}
	for n, r := 1, textproto.NewReader(in); ; n++ {
		var head []string
		for {
			line, err := r.ReadLine()
			if err != nil {
				return
			}
			if line == "" {
				break
			}
			head = append(head, "> "+lowerName(line))
		}
		if strings.Contains(head[0], "/slow") {
			<-time.After(50 * time.Millisecond) // longer than a millisecond, shorter than an hour
		}
		if strings.Contains(head[0], "/hold") {
			fmt.Fprint(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
			_, _ = r.R.ReadByte() // until the connection ends
			return
		}
		body := "at " + at.String() + "\n" + strings.Join(head, "\n") + "\n" + heard(theirs) + nth(n)
		if _, err := fmt.Fprintf(theirs, "HTTP/1.1 200 OK\r\nx-own: 1\r\nx-other: 1\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

func lowerName(line string) string {
	name, value, isField := strings.Cut(line, ": ")
	if !isField {
		return line
	}
	return strings.ToLower(name) + ": " + value
}
