//go:build integration

package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// roundTrips are those of the relay in front of clients of HTTP/2.
var roundTrips = []time.Duration{time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond}

// streamingPosts is how many POSTs are open at once.
const streamingPosts = 64

// A pouring is a body of which nobody can know that it could be had again: a client must not send it twice.
type pouring struct{ rest io.Reader }

func (p *pouring) Read(b []byte) (int, error) { return p.rest.Read(b[:min(len(b), 100)]) }

// streamWhile has 64 POSTs open at once over HTTP/2 in the clear, whose bodies are streams, while something is done,
// which can wait for so many more. Everything is said and heard through a relay.
func streamWhile(t *testing.T, address string, roundTrip time.Duration, do func(more func(int))) *drainAccount {
	t.Helper()
	far := &relay{late: roundTrip / 2, to: []string{address}}
	// Not net/http's own: where a GOAWAY meets a request that it has not sent yet, that one closes the body and then
	// finds that it cannot send it elsewhere, which is nobody's loss but its own.
	dial := func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	transport := &http2.Transport{AllowHTTP: true, DisableCompression: true, DialTLSContext: dial} //nolint:staticcheck // as above
	client := &http.Client{Transport: transport, Timeout: soon}
	defer client.CloseIdleConnections()
	url := "http://" + far.begin(t) + "/post"

	account := newDrainAccount()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range streamingPosts {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ { // what has begun is finished
				account.note("http/2", pour(context.WithoutCancel(ctx), client, url, fmt.Sprintf("stream %d of client %d ", n, i)))
			}
		})
	}
	account.more(t, 2*streamingPosts)
	do(func(n int) { account.more(t, n) })
	stop()
	all.Wait()
	return account
}

// pour POSTs one body, and sees that it comes back.
func pour(ctx context.Context, client *http.Client, url, line string) error {
	body := strings.Repeat(line, 20)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, &pouring{strings.NewReader(body)})
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("the answer's body: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), body) {
		return fmt.Errorf("got %s: %.200s", resp.Status, answer)
	}
	if resp.ProtoMajor != 2 {
		return fmt.Errorf("invalid run: spoke %s", resp.Proto)
	}
	return nil
}

// TestDrainControlStreams is the control of streaming POSTs: the same clients, and a server that says GOAWAY once.
func TestDrainControlStreams(t *testing.T) {
	for _, roundTrip := range roundTrips {
		mustLose(t, fmt.Sprintf("one GOAWAY at a round trip of %v", roundTrip), func(t *testing.T) *drainAccount {
			t.Helper()
			p, address := beginPlain(t, true)
			return streamWhile(t, address, roundTrip, func(more func(int)) {
				p.restarts(3, func() { more(4 * streamingPosts) })
			})
		})
	}
}
