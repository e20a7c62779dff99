package main

import (
	"bufio"
	"bytes"
	"cmp"
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
type adminClient struct {
	address  string
	control  bool          // it is control's, for commands
	patience time.Duration // how long a stream waits for a program that went away; 0 is watchPatience
	notes    io.Writer     // is told when a stream breaks and goes on; nil for nobody
}

// watchPatience is how long somebody who watches waits for a program that is started again.
const watchPatience = 30 * time.Second

// Between two attempts to go on with a stream.
const (
	reopenFirst = 100 * time.Millisecond
	reopenMost  = 2 * time.Second
)

func (c *adminClient) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.address, "admin", "http://127.0.0.1:15000", "admin API to ask: a gateway's, an agent's or control's")
}

// open asks for path and returns the body of a good answer, for the caller to close.
func (c *adminClient) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return c.send(ctx, http.MethodGet, path, query, nil)
}

// send sends one request, with body as JSON unless it is nil, and returns the body of a good answer, for the caller
// to close.
func (c *adminClient) send(ctx context.Context, method, path string, query url.Values, body any) (io.ReadCloser, error) {
	base := c.address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	target, err := url.Parse(base)
	if err != nil || target.Host == "" {
		return nil, exitError{2, fmt.Errorf("--%s %s: want http://HOST:PORT", c.flag(), c.address)}
	}
	target = target.JoinPath(path)
	target.RawQuery = query.Encode()
	content := io.Reader(http.NoBody)
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", base, err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	// A client of its own: what is asked is on this machine, whatever HTTP_PROXY says.
	client := &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: adminTimeout, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return nil, c.nobody(base, op.Err)
		}
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(c.problem(base, resp), resp.Body.Close())
	}
	return resp.Body, nil
}

// flag is what the address is given by.
func (c *adminClient) flag() string {
	if c.control {
		return "control"
	}
	return "admin"
}

// nobody says what to do where nobody answers.
func (c *adminClient) nobody(base string, err error) error {
	if c.control {
		return fmt.Errorf("no control answers at %s (%w): start one with \"crossfade up -f DIR\", or name one with --control", base, err)
	}
	return fmt.Errorf("nobody answers at %s (%w): start a gateway with \"crossfade up -f DIR\", or name one with --admin", base, err)
}

// problem makes an error of an answer that is not good.
func (c *adminClient) problem(base string, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err != nil {
		return fmt.Errorf("ask %s: %w", base, err)
	}
	text := strings.TrimSpace(string(body))
	if c.control && resp.StatusCode == http.StatusNotFound && text == "404 page not found" { // no command of ours
		return fmt.Errorf("%s is no control's admin API: name that with --control; \"crossfade up\" says where it is", base)
	}
	if c.control {
		return fmt.Errorf("control refuses: %s", text)
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
// A stream that breaks is opened again, and begins again with what there is then; whoever was there once may be
// away for as long as the client's patience.
func follow[T any](ctx context.Context, c *adminClient, path string, query url.Values, show func(line []byte, value T) error) error {
	query.Set("watch", "1")
	body, err := c.open(ctx, path, query)
	if err != nil {
		return ended(ctx, err)
	}
	for {
		broken, err := readStream(body, show)
		if err != nil {
			return ended(ctx, fmt.Errorf("stream of %s%s: %w", c.address, path, err))
		}
		if ctx.Err() != nil {
			return ended(ctx, broken)
		}
		c.note("%s went away (%v); asking for it again", c.address, broken)
		if body, err = c.reopen(ctx, path, query); err != nil {
			return ended(ctx, err)
		}
		c.note("%s is back", c.address)
	}
}

// readStream calls show with each line until the stream breaks, which it does sooner or later, or until show or
// the line is in error.
func readStream[T any](body io.ReadCloser, show func(line []byte, value T) error) (broken, err error) {
	defer func() { _ = body.Close() }() // it was read as far as it goes
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var value T
		if err := json.Unmarshal(lines.Bytes(), &value); err != nil {
			if lines.Scan() {
				return nil, err
			}
			return err, nil // it was cut within its last line
		}
		if err := show(lines.Bytes(), value); err != nil {
			return nil, err
		}
	}
	return cmp.Or(lines.Err(), io.EOF), nil
}

// reopen asks for a stream until there is an answer, ever more slowly, or until the client's patience is over.
func (c *adminClient) reopen(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	patience := cmp.Or(c.patience, watchPatience)
	over := time.Now().Add(patience)
	for wait := reopenFirst; ; wait = min(2*wait, reopenMost) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(wait, time.Until(over))):
		}
		body, err := c.open(ctx, path, query)
		switch {
		case err == nil:
			return body, nil
		case !time.Now().Before(over):
			return nil, fmt.Errorf("%s went away and has not come back within %v: %w", c.address, patience, err)
		}
	}
}

// note tells people what becomes of a stream.
func (c *adminClient) note(format string, args ...any) {
	if c.notes != nil {
		fmt.Fprintf(c.notes, "crossfade: "+format+"\n", args...)
	}
}
