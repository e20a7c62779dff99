package local

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"crossfade.dev/internal/health"
	"crossfade.dev/internal/process"
)

// A machine is what replicas touch of the machine that they run on: processes and sockets.
type machine struct {
	start func(process.Spec) (process.Process, error)
	get   func(ctx context.Context, url string) error                             // nil when the answer is 200–399
	dial  func(ctx context.Context, address netip.AddrPort) error                 // nil when a connection was accepted
	ask   func(ctx context.Context, address netip.AddrPort, service string) error // nil when the service says by gRPC that it serves
	free  func(address netip.AddrPort) error                                      // nil when somebody could listen there
}

func thisMachine() *machine {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true}, // and no proxy
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirection is an answer, and a good one
		},
	}
	return &machine{
		start: func(spec process.Spec) (process.Process, error) { return process.Start(spec) },
		get:   func(ctx context.Context, url string) error { return get(ctx, client, url) },
		dial:  dial,
		ask:   health.AskGRPC,
		free:  free,
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "crossfade-probe")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // what was read is enough
	const most = 10 << 10       // as much of an answer as Kubernetes reads
	_, _ = io.CopyN(io.Discard, response.Body, most)
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

func dial(ctx context.Context, address netip.AddrPort) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func free(address netip.AddrPort) error {
	listener, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(address))
	if err != nil {
		return err
	}
	return listener.Close()
}
