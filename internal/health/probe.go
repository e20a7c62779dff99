package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
)

// A probe looks at one target. Every look is a connection of its own: that is what a new client would see.
type probe struct {
	target Target
	own    netip.AddrPort // of the endpoint, where the check looks at another port
	client http.Client
}

func newProbe(t Target) *probe {
	if t.Check.Timeout <= 0 {
		t.Check.Timeout = DefaultCheck().Timeout
	}
	own := t.Address
	if t.Check.Port != 0 {
		t.Address = netip.AddrPortFrom(t.Address.Addr(), uint16(t.Check.Port)) //nolint:gosec // config bounds ports.
	}
	return &probe{target: t, own: own, client: http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a check asks whether it answers, as in Kubernetes
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect is an answer, as in Kubernetes
		},
	}}
}

func (p *probe) close() { p.client.CloseIdleConnections() }

// reach says whether the target's own address takes a connection, whatever its check looks at.
func (p *probe) reach(ctx context.Context) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, p.target.Check.Timeout)
	defer cancel()
	return connect(ctx, p.own)
}

// look says whether the target is well, and what it saw.
func (p *probe) look(ctx context.Context) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, p.target.Check.Timeout)
	defer cancel()
	switch {
	case p.target.Check.GRPC:
		if err := AskGRPC(ctx, p.target.Address, p.target.Check.Service); err != nil {
			return short(err), false
		}
		return "gRPC " + servingTable[serving], true
	case p.target.Check.Path == "":
		return connect(ctx, p.target.Address)
	}
	return p.get(ctx)
}

func connect(ctx context.Context, address netip.AddrPort) (string, bool) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return short(err), false
	}
	if err := conn.Close(); err != nil {
		return short(err), false
	}
	return "connected", true
}

func (p *probe) get(ctx context.Context) (string, bool) {
	scheme := "http://"
	if p.target.Check.HTTPS {
		scheme = "https://"
	}
	url := scheme + p.target.Address.String() + p.target.Check.Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err.Error(), false
	}
	req.Header.Set("User-Agent", "crossfade-check")
	resp, err := p.client.Do(req)
	if err != nil {
		return short(err), false
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return short(err), false
	}
	return fmt.Sprintf("HTTP %d", resp.StatusCode), resp.StatusCode >= 200 && resp.StatusCode < 400
}

// short is the cause without the addresses around it, which the event names already.
func short(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
