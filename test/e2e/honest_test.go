//go:build integration

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// honesty is a few clients of HTTP/2 that ask for one small thing after the other on one connection.
type honesty struct {
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu     sync.Mutex
	asked  int
	failed []error
}

// honest starts them, until stop.
func honest(t *testing.T) *honesty {
	t.Helper()
	const (
		clients = 4
		pause   = 4 * time.Millisecond // so that the machine is not theirs alone
	)
	transport := plainHTTP2()
	ctx, cancel := context.WithCancel(t.Context())
	h := &honesty{cancel: cancel}
	for range clients {
		h.ended.Go(func() {
			next := time.NewTicker(pause)
			defer next.Stop()
			for ctx.Err() == nil {
				h.note(askOver(transport, "http://honest.camp/calm-two/100"))
				<-next.C
			}
		})
	}
	t.Cleanup(func() {
		h.stop()
		transport.CloseIdleConnections()
	})
	return h
}

// plainHTTP2 speaks HTTP/2 in the clear to the gateway, whatever the URL's host.
func plainHTTP2() *http.Transport {
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, ingress)
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return transport
}

func askOver(transport http.RoundTripper, url string) error {
	resp, err := (&http.Client{Transport: transport, Timeout: late}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || len(body) != 100 || resp.ProtoMajor != 2) {
		err = fmt.Errorf("got %s %s with %d bytes", resp.Proto, resp.Status, len(body))
	}
	return err
}

func (h *honesty) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if err != nil {
		h.failed = append(h.failed, err)
	}
}

// answered is how many were answered so far.
func (h *honesty) answered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked - len(h.failed)
}

// stop ends them after what they are at.
func (h *honesty) stop() (asked int, failed []error) {
	h.cancel()
	h.ended.Wait()
	return h.asked, h.failed
}
