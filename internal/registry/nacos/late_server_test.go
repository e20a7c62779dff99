package nacos

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	wire "crossfade.dev/internal/wire/nacos"
)

// A lateNacos is a Nacos with one service, over v1 of HTTP, that answers and shows things as late as a test wants, in a bubble's
// time. It is the client's transport.
type lateNacos struct {
	slow   time.Duration // until it has heard what it is asked, and until its answer is heard
	late   time.Duration // until a list shows a change
	first  bool          // it keeps the metadata that was first said of an address, but for updates, as r-nacos does
	strict bool          // it takes no updates
	deaf   time.Time     // until then it says yes, and does nothing

	mu    sync.Mutex
	has   map[wire.Key]wire.Instance
	past  []pastList // what it has had, in order
	calls map[wire.Op]int
}

// pastList is what Nacos has from a time on.
type pastList struct {
	from  time.Time
	hosts []wire.Instance
}

// lateClient returns a client of a Nacos, whose instances are kept for two seconds.
func lateClient(t *testing.T, n *lateNacos) *Client {
	t.Helper()
	n.has, n.calls = map[wire.Key]wire.Instance{}, map[wire.Op]int{}
	c := dial(t, "nacos://nacos.example?api=v1&ttl=2s&service=reviews")
	c.web.client.Transport = n
	return c
}

// RoundTrip answers a request.
func (n *lateNacos) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = pauseFor(r.Context(), n.slow)
	}
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(r.URL.RawQuery + "&" + string(body))
	if err != nil {
		return nil, err
	}
	call, err := wire.ParseHTTP(r.Method, r.URL.Path, values)
	if err != nil {
		return nil, err
	}
	code := http.StatusOK
	if n.strict && call.Op == wire.Update {
		code = http.StatusForbidden
	}
	answer, err := json.Marshal(n.do(call))
	if err == nil {
		err = pauseFor(r.Context(), n.slow)
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: code, Request: r, Body: io.NopCloser(bytes.NewReader(answer))}, nil
}

// do does what it is told to, and returns what is to be said.
func (n *lateNacos) do(call wire.HTTPCall) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls[call.Op]++
	key := call.Service.Key(call.Instance)
	was, there := n.has[key]
	switch {
	case call.Op == wire.List:
		return wire.ServiceInfo{Hosts: n.shown(time.Now().Add(-n.late))}
	case call.Op == wire.Beat && !there:
		return map[string]int{"code": wire.CodeNotFound}
	case call.Op == wire.Beat || call.Op == wire.Update && n.strict || time.Now().Before(n.deaf):
		return map[string]int{"code": http.StatusOK}
	case call.Op == wire.Deregister:
		delete(n.has, key)
	default:
		if n.first && there && call.Op == wire.Register {
			call.Instance.Metadata = was.Metadata
		}
		n.has[key] = call.Instance
	}
	n.changed()
	return "ok"
}

// changed notes what it has now. It is locked.
func (n *lateNacos) changed() {
	var now []wire.Instance
	for _, in := range n.has {
		now = append(now, in)
	}
	n.past = append(n.past, pastList{time.Now(), now})
}

// forget has it lose everything.
func (n *lateNacos) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.has)
	n.changed()
}

// shown is what it had at a time.
func (n *lateNacos) shown(at time.Time) []wire.Instance {
	for _, l := range slices.Backward(n.past) {
		if !l.from.After(at) {
			return l.hosts
		}
	}
	return nil
}

// weigh has everybody weigh so much.
func (n *lateNacos) weigh(weight float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, in := range n.has {
		in.Weight = weight
		n.has[key] = in
	}
	n.changed()
}

// called is how often something was asked for.
func (n *lateNacos) called(op wire.Op) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[op]
}

// hosts is what it has.
func (n *lateNacos) hosts() []wire.Instance {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.shown(time.Now())
}

// holds says whether it has exactly one instance, which is this one.
func (n *lateNacos) holds(t *testing.T, in fleet.Instance) bool {
	t.Helper()
	_, want, err := (&place{}).shape(in)
	if err != nil {
		t.Fatal(err)
	}
	hosts := n.hosts()
	return len(hosts) == 1 && holds(hosts[0], want)
}

// keptBy runs a client until the test ends, and returns what hears what it has told until now.
func keptBy(t *testing.T, c *Client) func() []error {
	t.Helper()
	var mu sync.Mutex
	var told []error
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(ctx, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	return func() []error {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told)
	}
}
