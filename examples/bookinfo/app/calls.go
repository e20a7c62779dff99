package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxAnswer bounds what is read of another service's answer, in bytes.
const maxAnswer = 1 << 20

// calls says where the other services are and how they are called. What a call loses, the page shows: there
// are no retries here, only those that net/http makes by itself when a kept connection turns out to be closed.
type calls struct {
	details, reviews, ratings string // base URLs
	client                    *http.Client
}

func newCalls() calls {
	return calls{client: &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment, // it passes the proxy by for localhost and its addresses only
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}}}
}

// A callError is an answer that says that a call failed.
type callError struct {
	status int
	text   string
}

func (e *callError) Error() string {
	if e.text != "" {
		return fmt.Sprintf("answered %d: %s", e.status, e.text)
	}
	return fmt.Sprintf("answered %d", e.status)
}

// passedOn returns the headers that a service hands on from the request it serves to those it makes.
func passedOn() []string {
	return []string{"X-Request-Id", "Traceparent", "Tracestate", "B3", "X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled", "End-User", "User-Agent"}
}

// get calls another service on behalf of r, reads its JSON answer into value and returns the name of the
// instance that answered.
func (c *calls) get(r *http.Request, address string, value any) (instance string, err error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	for _, name := range passedOn() {
		if values := r.Header.Values(name); len(values) > 0 {
			request.Header[name] = values
		}
	}
	if lenient(r) {
		request.URL.RawQuery = url.Values{"lenient": {"1"}}.Encode()
	}
	response, err := c.client.Do(request)
	if err != nil {
		return "", err
	}
	instance = response.Header.Get(instanceHeader)
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return instance, err
	}
	if response.StatusCode != http.StatusOK {
		var told struct{ Error string }
		_ = json.Unmarshal(body, &told) // an answer that is not JSON has nothing to add to its status
		return instance, &callError{response.StatusCode, told.Error}
	}
	return instance, json.Unmarshal(body, value)
}

// lenient says whether a request wants a 200 with what could be had, as Istio's Bookinfo answers, in place of
// a 502 when a part is missing.
func lenient(r *http.Request) bool { return r.URL.Query().Get("lenient") == "1" }
