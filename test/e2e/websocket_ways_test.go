//go:build integration

package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/net/http2"
)

// A way leads to WebSocket endpoints.
type way struct {
	name   string
	to     string      // address
	prefix string      // of paths
	tls    *tls.Config // nil for plaintext
	two    bool        // over HTTP/2, all on one connection
	half   bool        // the endpoint can close its half alone

	transport http.RoundTripper
}

func (w *way) url(path, id string) *url.URL {
	scheme := "http"
	if w.tls != nil {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: "sockets.camp", Path: w.prefix + path, RawQuery: "id=" + id}
}

// dial opens a connection.
func (w *way) dial(ctx context.Context, protocol string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", w.to)
	if err != nil || w.tls == nil {
		return nc, err
	}
	config := w.tls.Clone()
	config.ServerName, config.NextProtos = "sockets.camp", []string{protocol}
	secure := tls.Client(nc, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != protocol {
		_ = nc.Close()
		return nil, fmt.Errorf("negotiated %q, want %q", got, protocol)
	}
	return secure, nil
}

// open makes one handshake, which must succeed.
func (w *way) open(t *testing.T, path, id string) *websocket {
	t.Helper()
	s, answer := w.knock(t, path, id)
	if s == nil {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		t.Fatalf("%s: handshake for %s: %s: %s", w.name, path, answer.Status, body)
	}
	return s
}

// knock makes one handshake. Where it is refused, the answer is returned instead of a WebSocket.
func (w *way) knock(t *testing.T, path, id string) (*websocket, *http.Response) {
	t.Helper()
	asked := http.Header{
		"Sec-Websocket-Version":    {"13"},
		"Sec-Websocket-Extensions": {"permessage-deflate"},
		"Sec-Websocket-Protocol":   {"chat, echo"},
	}
	handshake := w.upgrade
	if w.two {
		handshake = w.connect
	}
	s, refused, err := handshake(t, w.url(path, id), asked)
	if err != nil {
		t.Fatalf("%s: handshake for %s: %v", w.name, path, err)
	}
	if s == nil {
		t.Cleanup(func() { refused.Body.Close() })
		return nil, refused
	}
	s.client = true
	t.Cleanup(func() { _ = s.Close() })
	return s, nil
}

// upgrade makes a handshake of RFC 6455 section 4.1.
func (w *way) upgrade(t *testing.T, to *url.URL, asked http.Header) (*websocket, *http.Response, error) {
	t.Helper()
	nc, err := w.dial(bounded(t), "http/1.1")
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = nc.Close() })
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it does not fail
	key := base64.StdEncoding.EncodeToString(nonce[:])
	request := &http.Request{Method: http.MethodGet, URL: to, Host: to.Host, Header: asked.Clone()}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "websocket")
	request.Header.Set("Sec-Websocket-Key", key)
	if err := request.Write(nc); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReader(nc)
	answer, err := http.ReadResponse(in, request)
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return nil, answer, nil
	}
	if !has(answer.Header.Get("Connection"), "upgrade") || !has(answer.Header.Get("Upgrade"), "websocket") ||
		answer.Header.Get("Sec-Websocket-Accept") != accepts(key) || len(answer.Header["Sec-Websocket-Accept"]) != 1 {
		return nil, nil, fmt.Errorf("the answer to key %s is %v", key, answer.Header)
	}
	return &websocket{duplex: overTCP{nc}, in: in}, nil, wantEcho(answer.Header)
}

func wantEcho(answer http.Header) error {
	if got := answer.Get("Sec-Websocket-Protocol"); got != "echo" || answer.Get("Sec-Websocket-Extensions") != "" {
		return fmt.Errorf("the endpoint chose subprotocol %q and extensions %q, want echo and none", got, answer.Get("Sec-Websocket-Extensions"))
	}
	return nil
}

// connect makes a handshake of RFC 8441 section 5.
func (w *way) connect(t *testing.T, to *url.URL, asked http.Header) (*websocket, *http.Response, error) {
	t.Helper()
	body, says := io.Pipe()
	ctx, cancel := context.WithCancel(bounded(t))
	t.Cleanup(cancel)
	request := (&http.Request{Method: http.MethodConnect, URL: to, Host: to.Host, Header: asked.Clone(), Body: body}).WithContext(ctx)
	request.Header.Set(":protocol", "websocket")
	answer, err := w.transport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = says.Close()
		return nil, answer, nil
	}
	if answer.Header.Get("Sec-Websocket-Accept") != "" || answer.Header.Get("Upgrade") != "" || answer.Header.Get("Connection") != "" {
		return nil, nil, fmt.Errorf("fields of HTTP/1.1 came over HTTP/2: %v", answer.Header)
	}
	return &websocket{duplex: overRequest{answer.Body, says, cancel}, in: bufio.NewReader(answer.Body)}, nil, wantEcho(answer.Header)
}

// overRequest is the bodies of a request and its answer, at the client.
type overRequest struct {
	io.Reader
	*io.PipeWriter
	cancel context.CancelFunc
}

// CloseWrite implements duplex.
func (o overRequest) CloseWrite() error { return o.PipeWriter.Close() }

// Close implements duplex: RST_STREAM with CANCEL.
func (o overRequest) Close() error {
	o.cancel()
	return o.CloseWithError(context.Canceled)
}

// over makes the transport of a way of HTTP/2, whose connections end with the test.
func (w *way) over(t *testing.T) {
	t.Helper()
	dial := func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		return w.dial(ctx, http2.NextProtoTLS)
	}
	w.transport = &http2.Transport{AllowHTTP: true, DisableCompression: true, DialTLSContext: dial} //nolint:staticcheck // net/http's own takes no field :protocol
	t.Cleanup((&http.Client{Transport: w.transport}).CloseIdleConnections)
}
