package nacos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

const (
	maxForm   = 2 << 20 // as Nacos has it
	idleTime  = time.Minute
	idleConns = 16
)

// newClient calls whichever server accepts, whatever the URL says.
func (p *Proxy) newClient() *http.Client {
	same := func(server string) (string, error) { return server, nil }
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				conn, _, err := p.dial(ctx, same)
				return conn, err
			},
			DisableCompression: true, MaxIdleConnsPerHost: idleConns, IdleConnTimeout: idleTime,
		},
	}
}

// visited answers what the application asks over HTTP, or passes it on.
func (s *serving) visited(w http.ResponseWriter, r *http.Request) {
	clean := cleaned(r.URL.Path)
	_, op := wire.Classify(r.Method, clean)
	if op == wire.Other || op == wire.Login {
		s.pass(w, r)
		return
	}
	if op == wire.Servers {
		servers(r).write(w)
		return
	}
	v, err := read(r)
	if err == nil {
		v.call, err = wire.ParseHTTP(r.Method, clean, v.values())
	}
	if op == wire.List {
		s.lists(w, r, v, err)
		return
	}
	if err != nil {
		s.gate.Note(unread, r.Method+" "+clean+" in "+s.Registry()+"; refused: "+err.Error())
		unreadable(v.call, err).write(w)
		return
	}
	s.heard(v)
	key := s.webKey(v.call)
	done, err := s.calls.take(r.Context(), key.Name)
	if err != nil {
		panic(http.ErrAbortHandler) // the application has gone
	}
	defer done()
	said, err := s.decide(r.Context(), key, v)
	if err != nil {
		s.gone(r, err)
	}
	said.write(w)
}

// cleaned is a path as a server of Java's reads it.
func cleaned(p string) string {
	parts := strings.Split(p, "/")
	for i, part := range parts {
		parts[i], _, _ = strings.Cut(part, ";")
	}
	return path.Clean("/" + strings.Join(parts, "/"))
}

// gone ends the application's connection, as a registry does that is not there.
func (s *serving) gone(r *http.Request, err error) {
	s.suspect()
	s.log.DebugContext(r.Context(), "a call of the application's came to nothing", "path", r.URL.Path, "error", err)
	panic(http.ErrAbortHandler)
}

// pass passes a call on as it is.
func (s *serving) pass(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme, pr.Out.URL.Host, pr.Out.URL.RawQuery = "http", "nacos", pr.In.URL.RawQuery
			pr.Out.Host = s.order()[0] // as the application would say it: somebody between may go by it
			for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
				if values, is := pr.In.Header[name]; is {
					pr.Out.Header[name] = values
				}
			}
		},
		Transport: s.client.Transport, FlushInterval: -1,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { s.gone(r, err) },
		ErrorLog:     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r)
}

// servers says that the proxy is the only server there is, at the address at which it was asked.
func servers(r *http.Request) said {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = r.Host, "80"
	}
	body := fmt.Sprintf(`{"servers":[{"ip":%q,"servePort":%s,"port":%s,"site":"unknown","alive":true,"weight":1,"lastRefTime":0,"key":%q}]}`,
		host, port, port, net.JoinHostPort(host, port))
	return said{http.StatusOK, http.Header{"Content-Type": {"application/json;charset=UTF-8"}}, []byte(body)}
}

// A said is what a call is answered with.
type said struct {
	status int
	header http.Header
	body   []byte
}

func (a said) write(w http.ResponseWriter) {
	for name, values := range a.header {
		if !hop(name) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // whoever asked may be gone
}

// accepted is the answer to a call as if it had been done.
func accepted(c wire.HTTPCall) said {
	contentType, body := c.Accepted()
	return said{http.StatusOK, http.Header{"Content-Type": {contentType}}, []byte(body)}
}

// unreadable is the answer to a call that cannot be used.
func unreadable(c wire.HTTPCall, err error) said {
	contentType, body := c.Refused(http.StatusBadRequest, "crossfade: "+err.Error())
	return said{http.StatusBadRequest, http.Header{"Content-Type": {contentType}}, []byte(body)}
}

// hop says whether a header is of one connection only.
func hop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length":
		return true
	}
	return false
}

// A visit is a call over HTTP about an instance, as it came.
type visit struct {
	method string
	url    url.URL
	header http.Header
	body   []byte
	query  url.Values
	form   url.Values // of the body
	call   wire.HTTPCall
}

var errForm = errors.New("a body that is no application/x-www-form-urlencoded")

// read reads a call. What its body has besides a form nobody knows: it is refused.
func read(r *http.Request) (*visit, error) {
	v := &visit{method: r.Method, url: url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}, header: r.Header.Clone()}
	v.call.API, v.call.Op = wire.Classify(r.Method, cleaned(r.URL.Path))
	var err error
	if v.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return v, err
	}
	if v.body, err = io.ReadAll(io.LimitReader(r.Body, maxForm+1)); err != nil {
		return v, err
	}
	if len(v.body) > maxForm {
		return v, fmt.Errorf("a body of more than %d bytes", maxForm)
	}
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if contentType != "" && !strings.EqualFold(strings.TrimSpace(contentType), "application/x-www-form-urlencoded") && len(bytes.TrimSpace(v.body)) > 0 {
		return v, errForm
	}
	v.form, err = url.ParseQuery(string(bytes.TrimSpace(v.body)))
	return v, err
}

// values are those of the query and of the body: of one that is in both the query's.
func (v *visit) values() url.Values {
	all := url.Values{}
	for _, some := range []url.Values{v.query, v.form} {
		for name, values := range some {
			all[name] = append(all[name], values...)
		}
	}
	return all
}

// with returns a call with other values: each where it was, and new ones in the query. Without a difference it is the call as
// it came, byte for byte.
func (v *visit) with(values url.Values) *visit {
	if values.Encode() == v.values().Encode() {
		return v
	}
	o := *v
	o.query, o.form = url.Values{}, url.Values{}
	for name, list := range values {
		if v.form.Has(name) && !v.query.Has(name) {
			o.form[name] = list
		} else {
			o.query[name] = list
		}
	}
	o.url.RawQuery, o.body = o.query.Encode(), []byte(o.form.Encode())
	if len(o.form) == 0 {
		o.body = nil
	}
	o.call.Values = values
	return &o
}

// send makes a call, and returns what the registry says to it, whatever that is. It does not end with whoever asks for it:
// see link.call.
func (s *serving) send(ctx context.Context, v *visit) (said, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	u := v.url
	u.Scheme, u.Host = "http", "nacos"
	request, err := http.NewRequestWithContext(ctx, v.method, u.String(), bytes.NewReader(v.body))
	if err != nil {
		return said{}, err
	}
	request.Host = s.order()[0]
	for name, values := range v.header {
		if !hop(name) && name != "Accept-Encoding" { // the answer is read here, too
			request.Header[name] = values
		}
	}
	response, err := s.client.Do(request)
	if err != nil {
		s.suspect()
		return said{}, wrapAway(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, wire.MaxFrame+1))
	if err == nil && len(body) > wire.MaxFrame {
		err = fmt.Errorf("an answer of more than %d bytes", wire.MaxFrame)
	}
	if err != nil {
		s.suspect()
		return said{}, wrapAway(err)
	}
	return said{response.StatusCode, response.Header, body}, nil
}

// webKey is the key of what came over HTTP: it lives by its beats, over whatever connection.
func (s *serving) webKey(c wire.HTTPCall) hold.Key {
	return hold.Key{Registry: s.Registry(), Name: named(c.Service, c.Instance)}
}

// named names an instance in a service. Its cluster is not part of that: Nacos knows an instance by its address, and clients
// leave the cluster out of beats and deregistrations.
func named(service wire.Service, in wire.Instance) string {
	return service.String() + "/" + net.JoinHostPort(in.IP, strconv.Itoa(in.Port))
}

// heard notes the newest token of the application's. It shows it among the values, or in a header.
func (s *serving) heard(v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token := v.call.Values.Get(accessToken); token != "" {
		s.token = token
	}
	for _, name := range tokens() {
		if values := v.header[name]; len(values) > 0 {
			s.shown[name] = values
		}
	}
}

// tokens are the headers by which an application may say who it is.
func tokens() []string {
	return []string{"Authorization", http.CanonicalHeaderKey(accessToken)}
}

// fresh is a call with the newest token where it has one: that of a registration may be out of date when it is withdrawn.
func (s *serving) fresh(v *visit) *visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	if values := v.values(); s.token != "" && values.Has(accessToken) {
		values.Set(accessToken, s.token)
		v = v.with(values)
	}
	o := *v
	o.header = v.header.Clone()
	for name, values := range s.shown {
		if len(o.header[name]) > 0 {
			o.header[name] = values
		}
	}
	return &o
}
