package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/admin"
)

// adminTimeout is how long an admin API has to begin its answer.
const adminTimeout = 10 * time.Second

// maxLine is how long one line of a stream may be: an endpoint with many labels is far below.
const maxLine = 1 << 20

// An adminClient asks the admin API of a running program.
type adminClient struct{ address string }

func (c *adminClient) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.address, "admin", "http://127.0.0.1:15000", "admin API to ask: a gateway's, a sidecar's or control's")
}

// open asks for path and returns the body of a good answer, for the caller to close.
func (c *adminClient) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	base := c.address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	target, err := url.Parse(base)
	if err != nil || target.Host == "" {
		return nil, exitError{2, fmt.Errorf("--admin %s: want http://HOST:PORT", c.address)}
	}
	target = target.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	// A client of its own: what is asked is on this machine, whatever HTTP_PROXY says.
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: adminTimeout, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, fmt.Errorf("nobody answers at %s (%w): start a gateway with \"crossfade up -f DIR\", or name one with --admin", base, op.Err)
		}
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(problem(base, resp), resp.Body.Close())
	}
	return resp.Body, nil
}

// problem makes an error of an answer that is not good.
func problem(base string, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err != nil {
		return fmt.Errorf("ask %s: %w", base, err)
	}
	var p admin.Problem
	if json.Unmarshal(body, &p) != nil || p.Error == "" {
		return fmt.Errorf("%s answers %s: is it the admin API of a crossfade program?", base, resp.Status)
	}
	if len(p.Suggestions) > 0 {
		return fmt.Errorf("%s; did you mean %s?", p.Error, strings.Join(p.Suggestions, " or "))
	}
	return errors.New(p.Error)
}

// ask asks for path and decodes the answer.
func ask[T any](ctx context.Context, c *adminClient, path string, query url.Values) (answer T, err error) {
	body, err := c.open(ctx, path, query)
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("answer of %s%s: %w", c.address, path, err)
	}
	return answer, nil
}

// follow asks for path as a stream and calls show with each of its lines, until ctx ends; then it returns nil.
func follow[T any](ctx context.Context, c *adminClient, path string, query url.Values, show func(line []byte, value T) error) (err error) {
	query.Set("watch", "1")
	body, err := c.open(ctx, path, query)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var value T
		if err := json.Unmarshal(lines.Bytes(), &value); err != nil {
			return fmt.Errorf("line of %s%s: %w", c.address, path, err)
		}
		if err := show(lines.Bytes(), value); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(fmt.Errorf("%s went away", c.address), lines.Err())
}
