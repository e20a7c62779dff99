package effects

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
	"crossfade.dev/internal/upstream"
)

// An ask is what a client sends. The zero value of every field but url has a meaning.
type ask struct {
	url    string // "http://shop.example.com/x"; the port is the one that configuration names
	method string // GET
	header string // one line: "end-user: jason"
	caller string // set: through the mesh port, as this instance
	times  int    // more than once: what is seen is how often which endpoint answered
	keys   int    // so many clients ask in turn: KEY in url and header stands for which
	busy   int    // so many requests, each as this one, are open before
	from   string // where the gateway stands: "eu/a"
	sick   string // addresses of endpoints that the gateway has ejected
	tls    *tls.Config
	inside *tls.Config // of the endpoints, which speak TLS then
	modern bool        // over HTTP/2: by prior knowledge in plaintext
	after  int         // so many, each as this one, have been answered before, on the same connection
	pair   bool        // two are asked at once, and no connection is made to an endpoint before the one waits for it and the other too, or is answered
	remote bool        // a connection to an endpoint takes a minute to be made
	dead   string      // address of an endpoint that takes no connection
}

// see loads files, serves them, asks, and returns what was seen, line by line:
//
//	status 200
//	route checkout.testers          the name that is logged
//	< x-name: value                 a field of the answer
//	at 127.0.1.1:80                 who answered
//	> GET /path HTTP/1.1            what it got
//	> x-name: value
//
//	> request 1 on its connection
//
// or the body of an answer that no endpoint gave, or "refused: why", or, when asked several times, lines as
// "mostly 127.0.1.1:80", "evenly …", "rarely …", "only …", "in turn", "fairly" when all
// got about as much, and "by key" when each client met one endpoint and not all the same; or, of two that were asked at
// once, lines as "both 200 503". The value of a cookie that the gateway gives is written VALUE.
func see(t *testing.T, yaml string, q ask) string {
	t.Helper()
	desired, findings := config.Parse([]config.File{{Name: "effects.yaml", Data: []byte(yaml)}}, config.Options{MeshAddress: "127.0.0.1:15001"})
	if desired == nil {
		var all []string
		for _, f := range findings {
			all = append(all, fmt.Sprint("refused: ", f.Field, " ", f.Message))
		}
		return strings.Join(all, "\n")
	}
	routes, meet := make(chan string, 1), newMeeting()
	near, err := fleet.ParseLocality(q.from)
	if err != nil {
		t.Fatal(err)
	}
	po := proxy.Options{
		AccessLog: true, Log: slog.New(routeLog{slog.DiscardHandler, routes}), Labels: config.DefaultLabels(), Seed: 1,
		Locality: near, Upstream: upstream.Options{Dial: dialing(q, meet)},
	}
	so := serve.Options{Listen: func(ctx context.Context, _ string) (net.Listener, error) {
		var lc net.ListenConfig
		return lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}, Timers: drain.Timers{Quiet: time.Millisecond, Requests: 30 * time.Second, Long: 30 * time.Second}}
	view := fold(desired)
	server := start(t, view, ejected(view, q.sick), po, so)
	name, ok := listenerFor(desired, q)
	if !ok {
		return "refused: nothing listens"
	}
	nc, err := connect(server.Addr(name).String(), q)
	if err != nil {
		return "refused: " + err.Error()
	}
	defer nc.Close()
	c := conversation{t: t, Conn: nc, r: bufio.NewReader(nc), routes: routes}
	for range q.busy {
		other, err := connect(server.Addr(name).String(), q)
		if err != nil {
			t.Fatal(err)
		}
		defer leave(other)
		more := conversation{t: t, Conn: other, r: bufio.NewReader(other), routes: routes}
		more.hold(q)
	}
	switch {
	case q.times > 0:
		return c.tally(q)
	case q.pair:
		return meet.pair(t, server.Addr(name).String(), q)
	}
	for range q.after {
		c.once(q)
	}
	return c.once(q)
}

// start serves view and overlay until the test ends.
func start(t *testing.T, view fleet.View, overlay fleet.Overlay, po proxy.Options, so serve.Options) *serve.Server {
	t.Helper()
	state, err := proxy.Compile(nil, view, overlay, po, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server := serve.New(proxy.New(po), so)
	ctx, stop := context.WithCancel(t.Context())
	err = server.Apply(ctx, state)
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// leave closes a connection so that the other side sees at once that nobody waits for an answer any more.
func leave(nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = nc.Close()
}

// ejected is the overlay of a gateway that has ejected the endpoints at some addresses.
func ejected(v fleet.View, addresses string) fleet.Overlay {
	o := fleet.Overlay{}
	for _, s := range v.Services {
		for i := range s.Endpoints {
			if slices.Contains(strings.Fields(addresses), s.Endpoints[i].Address.Addr().String()) {
				o[s.Endpoints[i].Incarnation] = fleet.Mark{Ejected: true}
			}
		}
	}
	return o
}

// listenerFor finds the listener that a client would connect to.
func listenerFor(d *fleet.Desired, q ask) (name string, ok bool) {
	scheme, rest, _ := strings.Cut(q.url, "://")
	host, _, _ := strings.Cut(rest, "/")
	_, text, named := strings.Cut(host, ":")
	port, _ := strconv.Atoi(text)
	if !named {
		port = map[string]int{"http": 80, "https": 443}[scheme]
	}
	for _, l := range d.Listeners {
		if l.Mesh == (q.caller != "") && (l.Mesh || int(l.Port) == port) && carries(config.DefaultLabels(), l.Selector) {
			return l.Name, true
		}
	}
	return "", false
}

func connect(address string, q ask) (net.Conn, error) {
	if q.tls != nil {
		nc, err := tls.Dial("tcp", address, q.tls)
		if err == nil && nc.ConnectionState().Version == tls.VersionTLS13 {
			_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second)) // a refusal of a client's certificate comes with the first read
		}
		return nc, err
	}
	return net.Dial("tcp", address)
}

// namesTable is the DNS of these tests.
var namesTable = map[string][]string{
	"one.internal":  {"127.0.3.1"},
	"two.internal":  {"127.0.3.2"},
	"many.internal": {"127.0.3.3", "127.0.3.4"},
}

// freshAddress is where an endpoint came only ten seconds ago; the others have been there for an hour. Those
// above it came with it.
const freshAddress = "127.0.9.0"

// fold makes of a configuration the snapshot that control would publish, had it found everybody healthy.
func fold(d *fleet.Desired) fleet.View {
	s := &fleet.Snapshot{Number: 1, Listeners: d.Listeners, Instances: d.Instances, Gateways: []string{""}}
	for _, service := range d.Services {
		service.Endpoints = slices.Clone(service.Endpoints)
		for i := range d.Instances {
			if e, ok := member(&service, &d.Instances[i]); ok {
				service.Endpoints = append(service.Endpoints, e)
			}
		}
		for _, r := range service.Resolve {
			addresses := namesTable[r.Host]
			if r.One {
				addresses = addresses[:1]
			}
			for _, a := range addresses {
				at := netip.AddrPortFrom(netip.MustParseAddr(a), uint16(r.Port))
				service.Endpoints = append(service.Endpoints, fleet.Endpoint{
					Name: r.Name, Incarnation: at.String(), Address: at, Weight: r.Weight, Labels: r.Labels, Locality: r.Locality,
				})
			}
		}
		for i := range service.Endpoints {
			e := &service.Endpoints[i]
			e.Stage, e.Age = fleet.Serving, time.Hour
			if e.Address.Addr().Compare(netip.MustParseAddr(freshAddress)) >= 0 {
				e.Stage, e.Age = fleet.Warming, 10*time.Second
			}
		}
		service.Pools = slices.Clone(service.Pools)
		for i := range service.Pools {
			fill(&service, &service.Pools[i])
		}
		s.Services = append(s.Services, service)
	}
	slices.SortFunc(s.Services, func(a, b fleet.Service) int { return strings.Compare(a.Name, b.Name) })
	return fleet.View{Snapshot: s, Taken: time.Now()}
}

// fill puts the endpoints into a pool that belong there. Whoever is fresh has replaced somebody of the same
// weight.
func fill(s *fleet.Service, p *fleet.Pool) {
	p.Members = nil
	for i := range s.Endpoints {
		if carries(s.Endpoints[i].Labels, p.Labels) {
			p.Members = append(p.Members, fleet.Member{Endpoint: i})
			p.Capacity += float64(s.Endpoints[i].Weight)
		}
	}
}

// member makes the endpoint that an instance is in a service, if it belongs to it.
func member(s *fleet.Service, in *fleet.Instance) (fleet.Endpoint, bool) {
	if len(s.Selector) == 0 || in.Namespace != s.Namespace || !carries(in.Labels, s.Selector) || in.Leaving {
		return fleet.Endpoint{}, false
	}
	port := s.Port
	if n, err := strconv.Atoi(s.Target); err == nil {
		port = uint32(n)
	} else if s.Target != "" {
		named, ok := in.Ports[s.Target]
		if !ok {
			return fleet.Endpoint{}, false
		}
		port = named
	} else if named, ok := in.Ports[s.PortName]; ok {
		port = named
	}
	return fleet.Endpoint{
		Name: in.Name, Incarnation: in.Incarnation, Labels: in.Labels, Locality: in.Locality, Weight: in.Weight,
		Address: netip.AddrPortFrom(in.Address, uint16(port)), Warmup: in.Warmup,
	}, true
}

func carries(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// An effect changes one field and says what is seen before and what after: each of the two only then.
type effect struct {
	fields   []string // "Kind field", as in config.Kinds
	yaml     string
	old, new string // of yaml; old stands there just once
	ask      ask
	was, now string // lines; now may be "": nothing comes in the place of what was
}

func (e *effect) check(t *testing.T) {
	t.Helper()
	if n := strings.Count(e.yaml, e.old); n != 1 {
		t.Fatalf("%q stands %d times in\n%s", e.old, n, e.yaml)
	}
	before := "\n" + see(t, e.yaml, e.ask) + "\n"
	after := "\n" + see(t, strings.Replace(e.yaml, e.old, e.new, 1), e.ask) + "\n"
	has := func(seen, line string) bool { return line != "" && strings.Contains(seen, "\n"+line) }
	if !has(before, e.was) || has(before, e.now) {
		t.Errorf("before: got %s\nwant %q and not %q", before, e.was, e.now)
	}
	if e.now != "" && !has(after, e.now) || has(after, e.was) {
		t.Errorf("after: got %s\nwant %q and not %q", after, e.now, e.was)
	}
}
