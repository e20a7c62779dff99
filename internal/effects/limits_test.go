package effects

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// nth is what the endpoint says of the connection that a request came over.
func nth(n int) string { return fmt.Sprintf("> request %d on its connection\n", n) }

// A meeting keeps connections to endpoints from being made until two requests wait for theirs, or one of the two has
// been answered without.
type meeting struct {
	mu   sync.Mutex
	here int
	met  chan struct{}
}

func newMeeting() *meeting { return &meeting{met: make(chan struct{})} }

// come counts somebody as one that waits, or has been answered.
func (m *meeting) come() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.here++; m.here == 2 {
		close(m.met)
	}
}

// pair asks twice at once.
func (m *meeting) pair(t *testing.T, address string, q ask) string {
	t.Helper()
	statuses := make(chan string, 2)
	for range 2 {
		nc, err := connect(address, q)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := conversation{t: t, Conn: nc, r: bufio.NewReader(nc)}
		go func() {
			resp, _, err := c.send(q)
			m.come()
			if err != nil {
				statuses <- err.Error()
				return
			}
			statuses <- strconv.Itoa(resp.StatusCode)
		}()
	}
	both := []string{<-statuses, <-statuses}
	slices.Sort(both)
	return "both " + strings.Join(both, " ") + "\n"
}

// obstruct is what stands in the way of a connection to an endpoint.
func obstruct(ctx context.Context, q ask, at netip.AddrPort, meet *meeting) error {
	if at.Addr().String() == q.dead {
		return errors.New("nobody listens")
	}
	if end, bounded := ctx.Deadline(); q.remote && bounded && time.Until(end) < time.Minute {
		<-ctx.Done()
		return ctx.Err()
	}
	if q.pair {
		meet.come()
		<-meet.met
	}
	return nil
}

// limits are the effects of how many connections and requests there may be, at each of the four places where that may
// stand. There are two endpoints, which take turns.
func limits() []effect {
	var list []effect
	for _, place := range policyPlaces {
		add := func(field, policy, from, to string, q ask, was, now string) {
			yaml := balanced(rule + strings.Replace(place.yaml, "POLICY", "loadBalancer: {simple: ROUND_ROBIN}, connectionPool: {"+policy+"}", 1))
			yaml = strings.Replace(yaml, "PLACE", place.subset+"port: {number: "+place.port+"}", 1)
			q.url = shop + q.url
			list = append(list, effect{of("DestinationRule", place.field+"connectionPool."+field), yaml, from, to, q, was, now})
		}
		const anew, again = "> request 1 on its connection\n", "> request 2 on its connection\n"
		const fine, refused = "status 200\n", "status 503\n"
		third, late := ask{after: 2}, ask{after: 2, url: "slow"} // the first one's endpoint again, at once or after 100 ms
		add("tcp.maxConnections", "tcp: {maxConnections: 1}", "ctions: 1", "ctions: 2", third, anew, again)
		add("tcp.connectTimeout", "tcp: {connectTimeout: 1ms}", "1ms", "1h", ask{remote: true}, refused, fine)
		add("tcp.maxConnectionDuration", "tcp: {maxConnectionDuration: 1ms}", "1ms", "1h", late, anew, again)
		add("tcp.idleTimeout", "tcp: {idleTimeout: 1ms}", "1ms", "1h", late, anew, again)
		add("http.idleTimeout", "tcp: {idleTimeout: 1h}, http: {idleTimeout: 1ms}", "1ms", "1h", late, anew, again)
		add("http.http1MaxPendingRequests", "http: {http1MaxPendingRequests: 1}", "uests: 1", "uests: 2", ask{pair: true}, "both 200 503\n", "both 200 200\n")
		add("http.http2MaxRequests", "http: {http2MaxRequests: 1}", "uests: 1", "uests: 2", ask{busy: 1}, refused, fine)
		add("http.http2MaxRequests", "http: {http2MaxRequests: 1, h2UpgradePolicy: UPGRADE}", "uests: 1", "uests: 2", ask{busy: 1}, refused, fine)
		add("http.maxRequestsPerConnection", "http: {maxRequestsPerConnection: 1}", "ection: 1", "ection: 2", third, anew, again)
		add("http.maxRequestsPerConnection", "http: {maxRequestsPerConnection: 1, h2UpgradePolicy: UPGRADE}", "ection: 1", "ection: 2", third, anew, again)
		add("http.maxRetries", "http: {maxRetries: 1}", "tries: 1", "tries: 2", ask{dead: fresh, busy: 1}, refused, fine) // who comes first meets the dead one first
		add("http.maxConcurrentStreams", "http: {maxConcurrentStreams: 1, h2UpgradePolicy: UPGRADE}", "eams: 1", "eams: 2", ask{busy: 2}, anew, again)
	}
	return list
}
