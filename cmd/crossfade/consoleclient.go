package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/admin"
)

// maxReport bounds what a console's answer may hold: a report has a drawing of each instance that came or went.
const maxReport = 64 << 20

// A consoleClient asks the API of a console.
type consoleClient struct {
	address string
	token   string // path of a file
	ca      string // likewise; "" is whom this machine trusts
	http    *http.Client
	bearer  string
}

// errAway says that nobody answers for now.
var errAway = errors.New("no console answers")

func (c *consoleClient) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.address, "console", "http://"+consoleAddress, "console to ask")
	flags.StringVar(&c.token, "console-token", "", "file of the token that a console wants where people have to log in")
	flags.StringVar(&c.ca, "console-ca", "", "PEM file of who vouches for the console's certificate, where this machine does not know them")
}

// open reads the files that the flags name.
func (c *consoleClient) open() error {
	// A transport of its own: what is asked goes past HTTP_PROXY.
	transport := &http.Transport{ResponseHeaderTimeout: adminTimeout, DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return exitError{2, fmt.Errorf("--console-ca: %w", err)}
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return exitError{2, fmt.Errorf("--console-ca %s: there is no certificate in it", c.ca)}
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if c.token != "" {
		token, err := os.ReadFile(c.token)
		if err != nil {
			return exitError{2, fmt.Errorf("--console-token: %w", err)}
		}
		c.bearer = strings.TrimSpace(string(token))
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // a token is for the one that was named
	c.http = &http.Client{Transport: transport, Timeout: 3 * adminTimeout, CheckRedirect: stay}
	return nil
}

// get asks for a path of the API, in parts, and returns the body of a good answer. An error is errAway where asking again may help.
func (c *consoleClient) get(ctx context.Context, path ...string) ([]byte, error) {
	base, at, err := c.base()
	if err != nil {
		return nil, err
	}
	for i := range path {
		path[i] = url.PathEscape(path[i])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.JoinPath(append([]string{"api", "v1"}, path...)...).String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if trust, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, fmt.Errorf("ask %s: %w; --console-ca says whom to trust", base, trust)
		}
		return nil, fmt.Errorf("%w at %s (%w): start one with \"crossfade up -f DIR\", or name one with --console", errAway, base, innermost(err))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReport))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("%w: answer of %s: %w", errAway, base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.problem(base, resp, body)
	}
	return body, nil
}

// base is where the console is, as people say it and as an URL.
func (c *consoleClient) base() (string, *url.URL, error) {
	base := c.address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	at, err := url.Parse(base)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return base, nil, exitError{2, fmt.Errorf("--console %s: want http://HOST:PORT or https://HOST:PORT", c.address)}
	}
	if c.bearer != "" && at.Scheme == "http" && !onThisMachine(at.Hostname()) {
		return base, nil, exitError{2, fmt.Errorf("--console %s: the token would go there for all to read: want https://", c.address)}
	}
	return base, at, nil
}

// onThisMachine says whether what is sent to a host stays here.
func onThisMachine(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// innermost is what happened, without what was asked and of whom: the error around it says that.
func innermost(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// problem makes an error of an answer that is not good.
func (c *consoleClient) problem(base string, resp *http.Response, body []byte) error {
	var p admin.Problem
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return fmt.Errorf("%w at %s: it says %s", errAway, base, resp.Status)
	case json.Unmarshal(body, &p) != nil || p.Error == "":
		return fmt.Errorf("%s answers %s: is it the console of a crossfade control?", base, resp.Status)
	case resp.StatusCode == http.StatusUnauthorized && c.bearer == "":
		return fmt.Errorf("%s wants to know who asks: --console-token names the file of a token", base)
	case len(p.Suggestions) > 0:
		return fmt.Errorf("%s; did you mean %s?", p.Error, strings.Join(p.Suggestions, " or "))
	}
	return errors.New(p.Error)
}
