package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

var errNotAgreed = errors.New("the server does not agree to the protocol")

// connect opens a connection for a request, with TLS where its URL says so. It returns soon after ctx ends.
func connect(ctx context.Context, plan *Plan, account *account, r *request) (net.Conn, error) {
	account.connecting()
	conn, err := plan.dial(ctx, r.address)
	if err != nil || r.secure == "" {
		return conn, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if plan.TLS != nil {
		config = plan.TLS.Clone()
	}
	config.ServerName, config.NextProtos = r.secure, []string{plan.Protocol.alpn()}
	shielded := tls.Client(conn, config)
	if err := shielded.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent on it
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	if got := shielded.ConnectionState().NegotiatedProtocol; got != plan.Protocol.alpn() && (got != "" || plan.Protocol != HTTP1) {
		_ = shielded.Close()
		return nil, fmt.Errorf("%w %s", errNotAgreed, plan.Protocol.alpn())
	}
	return shielded, nil
}
