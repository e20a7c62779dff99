package nacos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

func someInstance(incarnation string, host byte) fleet.Instance {
	return fleet.Instance{
		Name: incarnation, Namespace: "default", Incarnation: incarnation, Address: netip.AddrFrom4([4]byte{127, 1, 0, host}),
		Ports: map[string]uint32{"http": 9080}, Labels: map[string]string{"app": "reviews"}, Weight: 1, Ready: true,
	}
}

// A follower has heard what a source says.
type follower struct {
	mu    sync.Mutex
	lists []registry.List
	aways []error
	news  chan struct{} // closed and replaced with every one
}

func follow(t *testing.T, c *Client) *follower {
	t.Helper()
	f := &follower{news: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, func(l registry.List) { f.note(func() { f.lists = append(f.lists, l) }) },
			func(err error) { f.note(func() { f.aways = append(f.aways, err) }) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Watch ended with %v", err)
		}
	})
	f.until(t, "there is a list", func(registry.List) bool { return true })
	return f
}

func (f *follower) note(what func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what()
	close(f.news)
	f.news = make(chan struct{})
}

func (f *follower) until(t *testing.T, what string, is func(registry.List) bool) {
	t.Helper()
	for late := time.After(waitFor); ; {
		f.mu.Lock()
		var last registry.List
		if n := len(f.lists); n > 0 {
			last = f.lists[n-1]
		}
		listed, news := len(f.lists) > 0, f.news
		f.mu.Unlock()
		if listed && is(last) {
			return
		}
		select {
		case <-news:
		case <-time.After(100 * time.Millisecond): // what it depends on may be elsewhere
		case <-late:
			t.Fatalf("never saw that %s; the last list is %+v", what, last)
		}
	}
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.lists)
}

func (f *follower) since(n int) []registry.List {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lists[n:])
}

// lists says whether a list has exactly these.
func lists(incarnations ...string) func(registry.List) bool {
	return func(l registry.List) bool {
		var names []string
		for _, in := range l.Instances {
			names = append(names, in.Incarnation)
		}
		return slices.Equal(names, incarnations)
	}
}

// run runs a client until the test ends.
func run(t *testing.T, c *Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, func(error) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// patiently does something again as long as it takes too long, as an agent does: how slow a machine may be is not what is tested.
func patiently(do func() error) error {
	for late := time.Now().Add(waitFor); ; {
		if err := do(); !errors.Is(err, registry.ErrAway) || time.Now().After(late) {
			return err
		}
	}
}

// putting is what becomes of a Put in the end, and put is one that has to succeed.
func putting(t *testing.T, c *Client, in fleet.Instance) error {
	t.Helper()
	return patiently(func() error { return c.Put(t.Context(), in) })
}

func put(t *testing.T, c *Client, in fleet.Instance) {
	t.Helper()
	if err := putting(t, c, in); err != nil {
		t.Fatal(err)
	}
}

// weight returns what weight anybody sees that an instance has; −1 is that it is not listed.
func (s *nacosServer) weight(t *testing.T, in fleet.Instance) float64 {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/nacos/v1/ns/instance/list?serviceName=reviews&healthyOnly=false", s.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var info wire.ServiceInfo
	if err := json.Unmarshal(body, &info); err != nil {
		t.Fatal(err)
	}
	for _, host := range info.Hosts {
		if host.IP == in.Address.String() {
			return steady(host.Weight)
		}
	}
	return -1
}
