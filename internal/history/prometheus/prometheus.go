// Package prometheus asks a Prometheus that scrapes the data planes for what is older than what control keeps itself, as the
// same curves.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// What one question may take.
const (
	timeout    = 10 * time.Second
	mostAnswer = 32 << 20 // bytes
	mostError  = 300      // characters of an answer that is no JSON
)

// A Client asks one Prometheus. Use New.
type Client struct {
	base *url.URL
	http *http.Client
}

// New returns a client of the Prometheus at an address: "http://127.0.0.1:9090", or below a path. It connects to nothing yet.
func New(address string, client *http.Client) (*Client, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("address of Prometheus: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("address of Prometheus is %q; it is http://HOST:PORT or https://HOST:PORT", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("address of Prometheus is %q; leave out what follows its path", u.Redacted())
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: u, http: &own}, nil
}

// An answer is what the API of Prometheus answers a range query:
// https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries.
type answer struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Data   struct {
		Type   string   `json:"resultType"`
		Result []stream `json:"result"`
	} `json:"data"`
}

// A stream is one series of an answer.
type stream struct {
	Metric map[string]string `json:"metric"`
	Values []value           `json:"values"`
}

// A value is [seconds, "number"].
type value struct {
	at int64
	v  float64
}

// UnmarshalJSON reads what Prometheus writes.
func (v *value) UnmarshalJSON(text []byte) error {
	var seconds float64
	var number string
	if err := json.Unmarshal(text, &[2]any{&seconds, &number}); err != nil {
		return err
	}
	parsed, err := strconv.ParseFloat(number, 64)
	v.at, v.v = int64(seconds), parsed
	return err
}

// ask evaluates an expression at from, from+step, … up to to.
func (c *Client) ask(ctx context.Context, expression string, from, to int64, step int) ([]stream, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	form := url.Values{
		"query": {expression}, "start": {strconv.FormatInt(from, 10)}, "end": {strconv.FormatInt(to, 10)},
		"step": {strconv.Itoa(step)}, "timeout": {timeout.String()},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath("api/v1/query_range").String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := c.http.Do(request)
	if err != nil {
		if of, ok := errors.AsType[*url.Error](err); ok { // its text has the whole address
			err = of.Err
		}
		return nil, fmt.Errorf("ask Prometheus at %s: %w", c.base.Host, err)
	}
	list, err := read(response)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("ask Prometheus at %s: %w", c.base.Host, err)
	}
	return list, nil
}

func read(response *http.Response) ([]stream, error) {
	text, err := io.ReadAll(io.LimitReader(response.Body, mostAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostAnswer {
		return nil, fmt.Errorf("it answers more than %d MB; ask for less time, or for a longer step", mostAnswer>>20)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return nil, fmt.Errorf("it answers %s, and no JSON that can be understood: %q", response.Status, text[:min(len(text), mostError)])
	}
	switch {
	case a.Status != "success":
		return nil, fmt.Errorf("it answers %s: %s", response.Status, a.Error)
	case a.Data.Type != "matrix":
		return nil, fmt.Errorf("it answers a %s; a range query is answered by a matrix", a.Data.Type)
	}
	return a.Data.Result, nil
}
