package nacos

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "crossfade.dev/internal/wire/nacos"
)

// A web speaks HTTP with Nacos's servers: one after the other, until one answers.
type web struct {
	place  *place
	client *http.Client

	mu     sync.Mutex
	server int // that answered last, or is asked first
	token  token

	broken atomic.Int64 // connections that ended and nobody had said so
}

// newWeb returns one that has so many connections to a server at most.
func newWeb(p *place, secured *tls.Config, connections int) *web {
	w := &web{place: p, server: rand.IntN(len(p.servers))} //nolint:gosec // so that not everybody begins with the same one
	w.client = &http.Client{Transport: &http.Transport{
		TLSClientConfig: secured, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, IdleConnTimeout: time.Minute,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{Conn: conn, broken: &w.broken}, nil
		},
	}}
	return w
}

// A watched connection counts its end, unless that is expected.
type watched struct {
	net.Conn
	broken   *atomic.Int64
	expected atomic.Bool
}

// Close ends the connection.
func (c *watched) Close() error {
	if !c.expected.Swap(true) {
		c.broken.Add(1)
	}
	return c.Conn.Close()
}

// expect says that a connection of a client is going to end.
func expect(conn net.Conn) {
	if secured, is := conn.(interface{ NetConn() net.Conn }); is {
		conn = secured.NetConn()
	}
	if c, is := conn.(*watched); is {
		c.expected.Store(true)
	}
}

// A token is what a login gave.
type token struct {
	text  string
	until time.Time // it is asked for again; zero is for ever
}

// call calls Nacos, with a token where it asks for one, and returns what it answers. One that says no is a *wire.Error.
func (w *web) call(ctx context.Context, method, path string, values url.Values) ([]byte, error) {
	for again := false; ; again = true {
		bearer, err := w.bearer(ctx)
		if err != nil {
			return nil, err
		}
		body, err := w.ask(ctx, method, path, values, bearer)
		if no, is := errors.AsType[*wire.Error](err); is && no.Code == http.StatusForbidden && bearer != "" && !again {
			w.forget(bearer)
			continue
		}
		return body, err
	}
}

// ask asks one question, of one server after the other.
func (w *web) ask(ctx context.Context, method, path string, values url.Values, bearer string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	var last error
	for range w.place.servers {
		w.mu.Lock()
		n := w.server
		w.mu.Unlock()
		body, err := w.one(ctx, w.place.servers[n].http, method, path, values, bearer)
		if _, no := errors.AsType[*wire.Error](err); err == nil || no {
			return body, err
		}
		last = err
		w.mu.Lock()
		if w.server == n {
			w.server = (n + 1) % len(w.place.servers)
		}
		w.mu.Unlock()
	}
	return nil, last
}

// share is how much of the time that is left one server may take: the others need some too.
func (w *web) share(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bound := ctx.Deadline()
	if n := len(w.place.servers); bound && n > 1 {
		return context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	return ctx, func() {}
}

func (w *web) one(ctx context.Context, address, method, path string, values url.Values, bearer string) ([]byte, error) {
	ctx, cancel := w.share(ctx)
	defer cancel()
	target := url.URL{Scheme: "http", Host: address, Path: w.place.path + path}
	if w.place.tls {
		target.Scheme = "https"
	}
	var form io.Reader = http.NoBody
	if method == http.MethodPost || method == http.MethodPut {
		form = strings.NewReader(values.Encode())
	} else {
		target.RawQuery = values.Encode()
	}
	var conn net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { conn = got.Conn }})
	request, err := http.NewRequestWithContext(ctx, method, target.String(), form)
	if err != nil {
		return nil, err
	}
	if form != http.NoBody {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // it was read
	if response.Close {
		expect(conn)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, wire.MaxFrame))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		said := brief(body)
		switch {
		case said == "" && response.StatusCode == http.StatusNotFound:
			said = "it has no " + request.URL.Path + ": another api= or path= may be right"
		case said == "":
			said = "nothing more"
		}
		return nil, &wire.Error{Code: response.StatusCode, Message: said}
	}
	return body, nil
}

// brief is the beginning of an answer, for an error.
func brief(body []byte) string {
	const most = 200
	return strings.Join(strings.Fields(string(body[:min(len(body), most)])), " ")
}

// bearer returns a token that holds; "" is none, where the URL names no user.
func (w *web) bearer(ctx context.Context) (string, error) {
	if w.place.user == "" {
		return "", nil
	}
	w.mu.Lock()
	held := w.token
	w.mu.Unlock()
	if held.text != "" && (held.until.IsZero() || time.Now().Before(held.until)) {
		return held.text, nil
	}
	t, err := w.login(ctx)
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", w.place.user, err)
	}
	w.mu.Lock()
	w.token = t
	w.mu.Unlock()
	return t.text, nil
}

// forget has a token asked for anew.
func (w *web) forget(bearer string) {
	w.mu.Lock()
	if w.token.text == bearer {
		w.token = token{}
	}
	w.mu.Unlock()
}

var errNoToken = errors.New("there is no token in the answer")

// login asks for a token: in the version of the API, and in the others when that one is not there. A tenth of its time before its end
// it is asked for again.
func (w *web) login(ctx context.Context) (token, error) {
	var body []byte
	var err error
	versions := []wire.API{wire.V1, wire.V3}
	if w.place.api == wire.V3 {
		versions = []wire.API{wire.V3, wire.V1}
	}
	for _, api := range versions {
		method, path := wire.HTTPPath(api, wire.Login)
		body, err = w.ask(ctx, method, path, url.Values{"username": {w.place.user}, "password": {w.place.password}}, "")
		if no, is := errors.AsType[*wire.Error](err); !is || no.Code != http.StatusNotFound && no.Code != http.StatusGone {
			break
		}
	}
	if err != nil {
		return token{}, err
	}
	var answer struct {
		Token string `json:"accessToken"`
		TTL   int64  `json:"tokenTtl"` // seconds
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return token{}, err
	}
	if answer.Token == "" {
		return token{}, errNoToken
	}
	t := token{text: answer.Token}
	if answer.TTL > 0 {
		t.until = time.Now().Add(time.Duration(min(answer.TTL, 1<<30)) * time.Second * 9 / 10)
	}
	return t, nil
}
