package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
)

// A follower has heard what a client's Watch says.
type follower struct {
	mu   sync.Mutex
	list []registry.List
	away []error
	news chan struct{}
}

func follow(t *testing.T, c *Client) *follower {
	t.Helper()
	f := &follower{news: make(chan struct{}, 1)}
	note := func(add func()) {
		f.mu.Lock()
		defer f.mu.Unlock()
		add()
		select {
		case f.news <- struct{}{}:
		default:
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Watch(ctx, func(l registry.List) { note(func() { f.list = append(f.list, l) }) }, func(err error) { note(func() { f.away = append(f.away, err) }) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

// until waits for a list, and returns it.
func (f *follower) until(t *testing.T, what string, is func(registry.List) bool) registry.List {
	t.Helper()
	for late := time.After(waitFor); ; {
		f.mu.Lock()
		var last registry.List
		if len(f.list) > 0 {
			last = f.list[len(f.list)-1]
		}
		some := len(f.list) > 0
		f.mu.Unlock()
		if some && is(last) {
			return last
		}
		select {
		case <-f.news:
		case <-late:
			t.Fatalf("never saw that %s; the last list is %+v", what, last)
		}
	}
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list)
}

// make makes a node and those above it.
func makeNode(t *testing.T, conn *zk.Conn, path, data string, flags int32) {
	t.Helper()
	for i := range path {
		if i > 0 && path[i] == '/' {
			if _, err := conn.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
				t.Fatalf("make %s: %v", path[:i], err)
			}
		}
	}
	if _, err := conn.Create(path, []byte(data), flags, zk.WorldACL(zk.PermAll)); err != nil {
		t.Fatalf("make %s: %v", path, err)
	}
}

func springJSON(id, host string, metadata string) string {
	return `{"name":"orders","id":"` + id + `","address":"` + host + `","port":8080,"sslPort":null,"payload":{"@class":` +
		`"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders","name":"orders","metadata":` + metadata +
		`},"registrationTimeUTC":1790000000123,"serviceType":"DYNAMIC","uriSpec":null}`
}

func sameAddress() cmp.Option {
	return cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
}

// instancesOfSpring are those of applications that know nothing of crossfade.
func instancesOfSpring(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	conn := plainly(t, s.address())
	f := follow(t, dial(t, "zookeeper://"+s.address()+root))
	if l := f.until(t, "nothing is there", func(registry.List) bool { return true }); len(l.Instances)+len(l.Unread) > 0 || !l.First {
		t.Errorf("first there was %+v", l)
	}
	makeNode(t, conn, root+"/orders/6f1d", springJSON("6f1d", "10.0.0.7", `{"instance_status":"UP","version":"v2"}`), zk.FlagEphemeral)
	want := fleet.Instance{
		Name: "6f1d", Namespace: "default", Incarnation: "zookeeper" + root + "/orders/6f1d/1790000000123", Address: netip.MustParseAddr("10.0.0.7"),
		Ports: map[string]uint32{"http": 8080}, Labels: map[string]string{"app": "orders", "version": "v2"}, Weight: 1, Ready: true, Foreign: true,
		Published: &fleet.Published{Started: time.UnixMilli(1790000000123).UTC(), Registered: time.UnixMilli(1790000000123).UTC()},
	}
	l := f.until(t, "one is there", func(l registry.List) bool { return len(l.Instances) == 1 })
	if diff := cmp.Diff([]fleet.Instance{want}, l.Instances, sameAddress()); diff != "" || l.First {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := conn.Set(root+"/orders/6f1d", []byte(springJSON("6f1d", "10.0.0.7", `{"instance_status":"OUT_OF_SERVICE"}`)), -1); err != nil {
		t.Fatal(err)
	}
	f.until(t, "it is out of service, and there", func(l registry.List) bool { return len(l.Instances) == 1 && !l.Instances[0].Ready })
	// A host name is looked up; one that nobody knows is told.
	makeNode(t, conn, root+"/orders/b", springJSON("b", "localhost", `{}`), zk.FlagEphemeral)
	makeNode(t, conn, root+"/users/c", springJSON("c", "nobody.invalid", `null`), zk.FlagEphemeral)
	l = f.until(t, "two are there, and one is not", func(l registry.List) bool { return len(l.Instances) == 2 && len(l.Unread) == 1 })
	if at := l.Instances[1].Address; !at.IsLoopback() || l.Unread[0].Key != root+"/users/c" {
		t.Errorf("localhost is %v; unread %v", at, l.Unread)
	}
	// The same process, in another session: who it is stays.
	if err := conn.Delete(root+"/orders/6f1d", -1); err != nil {
		t.Fatal(err)
	}
	f.until(t, "it is gone", func(l registry.List) bool { return len(l.Instances) == 1 })
	makeNode(t, plainly(t, s.address()), root+"/orders/6f1d", springJSON("6f1d", "10.0.0.7", `{}`), zk.FlagEphemeral)
	f.until(t, "it is back", func(l registry.List) bool {
		return slices.ContainsFunc(l.Instances, func(in fleet.Instance) bool { return in.Incarnation == want.Incarnation })
	})
	// A service that nobody is in any more is taken away by the server, when it is a container.
	if err := errors.Join(conn.Delete(root+"/users/c", -1), conn.Delete(root+"/users", -1)); err != nil {
		t.Fatal(err)
	}
	f.until(t, "nothing is unread", func(l registry.List) bool { return len(l.Unread) == 0 })
	makeNode(t, conn, root+"/users/d", springJSON("d", "10.0.0.9", `{}`), zk.FlagEphemeral)
	f.until(t, "there is a service of that name again", func(l registry.List) bool { return len(l.Instances) == 3 })
}

// applicationsOfDubbo stand beside those of Spring, and may be followed with them.
func applicationsOfDubbo(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	conn := plainly(t, s.address())
	makeNode(t, conn, root+"/shop/10.0.0.1:50051", `{"name":"shop","id":"10.0.0.1:50051","address":"10.0.0.1","port":50051,"sslPort":null,"payload":{"@class":`+
		`"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.0.0.1:50051","name":"shop","metadata":{"dubbo.endpoints":`+
		`"[{\"port\":20880,\"protocol\":\"dubbo\"},{\"port\":50051,\"protocol\":\"tri\"}]","dubbo.metadata.storage-type":"local"}},`+
		`"registrationTimeUTC":1790000000123,"serviceType":"DYNAMIC","uriSpec":null}`, zk.FlagEphemeral)
	for _, kind := range []layout{curator, dubboApp} {
		l := follow(t, dial(t, "zookeeper://"+s.address()+root+"?layout="+string(kind))).until(t, "it is there", func(registry.List) bool { return true })
		if len(l.Instances) != 1 || l.Instances[0].Ports["tri"] != 50051 || l.Instances[0].Labels["dubbo.endpoints"] != "" || l.Instances[0].Labels["app"] != "shop" {
			t.Errorf("%s: %+v", kind, l)
		}
	}
}

// hostsThatBecomeKnown are looked up again, although nothing has changed in ZooKeeper.
func hostsThatBecomeKnown(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	makeNode(t, plainly(t, s.address()), root+"/orders/a", springJSON("a", "localhost", `{}`), 0)
	c := dial(t, "zookeeper://"+s.address()+root)
	session, err := c.open(t.Context(), &line{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.conn.Close)
	f := &following{client: c, session: session, unknown: map[string]bool{root + "/orders/a": true, root + "/orders/gone": true}}
	f.services = map[string]map[string]registry.Reading{"orders": {"a": {Service: "orders", Err: errLost}}}
	if changed, err := f.again(t.Context()); err != nil || !changed || f.services["orders"]["a"].Instance.Name != "a" || len(f.unknown) > 0 {
		t.Errorf("%v, %v: %+v, unknown %v", changed, err, f.services, f.unknown)
	}
	if changed, err := f.again(t.Context()); err != nil || changed {
		t.Errorf("with nothing unknown: %v, %v", changed, err)
	}
}

// providersOfDubbo have proportions of their own, and interfaces of one application.
func providersOfDubbo(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	conn := plainly(t, s.address())
	provider := func(host, query string) {
		makeNode(t, conn, root+"/org.example.Greeter/providers/"+url.QueryEscape("dubbo://"+host+":20880/org.example.Greeter?"+query), "", zk.FlagEphemeral)
	}
	makeNode(t, conn, root+"/config/dubbo.properties", "x=1", 0)
	makeNode(t, conn, root+"/org.example.Greeter/consumers/whoever", "", 0)
	f := follow(t, dial(t, "zookeeper://"+s.address()+root+"?layout=dubbo"))
	provider("10.0.0.1", "timestamp=1790000000123&warmup=60000&application=greeter&version=1.2")
	provider("10.0.0.2", "weight=50&dynamic=true")
	provider("10.0.0.3", "disabled=true")
	provider("10.0.0.4", "weight=20&crossfade.incarnation=greeter-1-a&crossfade.weight=2") // its weight grows
	l := f.until(t, "all are there", func(l registry.List) bool { return len(l.Instances) == 4 })
	got := map[string]uint32{}
	for _, in := range l.Instances {
		got[in.Address.String()] = in.Weight
		if in.Labels["app"] != "org.example.Greeter" || in.Ports["dubbo"] != 20880 || in.Ready != (in.Address.String() != "10.0.0.3") {
			t.Errorf("%+v", in)
		}
	}
	if diff := cmp.Diff(map[string]uint32{"10.0.0.1": 100, "10.0.0.2": 50, "10.0.0.3": 100, "10.0.0.4": 200}, got); diff != "" {
		t.Errorf("weights (-want +got):\n%s", diff)
	}
	if in := l.Instances[0]; in.Incarnation != "greeter-1-a" || in.Foreign {
		t.Errorf("who is under an agent: %+v", in)
	}
	in := l.Instances[1]
	want := &fleet.Warmup{Window: time.Minute, Minimum: 0.01, Aggression: 1}
	if diff := cmp.Diff(want, in.Warmup); diff != "" || in.Incarnation != "zookeeper"+root+"/org.example.Greeter/10.0.0.1:20880/1790000000123" || in.Labels["version"] != "1.2" {
		t.Errorf("%s: %v, warm-up (-want +got):\n%s", in.Incarnation, in.Labels, diff)
	}
}

// someone is an instance of a service.
func someone(incarnation string) fleet.Instance {
	return fleet.Instance{
		Name: incarnation, Namespace: "default", Incarnation: incarnation, Address: netip.MustParseAddr("127.1.0.1"), Ports: map[string]uint32{"http": 9080},
		Labels: map[string]string{"app": "reviews", "version": "v2"}, Weight: 1, Ready: true,
	}
}

// TestWhatOthersRead of what agents publish.
func TestWhatOthersRead(t *testing.T) {
	in := someone("reviews-1-a")
	in.Warmup = &fleet.Warmup{Window: time.Minute}
	in.Published = &fleet.Published{Registered: time.UnixMilli(1790000000123)}
	text := func(url string, in fleet.Instance) string {
		t.Helper()
		p, err := parse(url)
		if err != nil {
			t.Fatal(err)
		}
		n, err := p.node(in)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer("%3A", ":", "%2F", "/", "%3F", "?", "%3D", "=", "%26", "&").Replace(n.path()) + " " + string(n.data)
	}
	has := func(got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("no %s in\n%s", part, got)
			}
		}
	}
	has(text("zookeeper://a", in), `/services/reviews/reviews-1-a {"name":"reviews","id":"reviews-1-a","address":"127.1.0.1","port":9080,"sslPort":null,`,
		`"instance_status":"UP"`, `"version":"v2"`, `"crossfade.warmup_window_ms":"60000"`, `"registrationTimeUTC":1790000000123,"serviceType":"DYNAMIC"`)
	has(text("zookeeper://a?service=shop", in), "/services/shop/reviews-1-a ", `"name":"shop"`)
	has(text("zookeeper://a/eu/apps?layout=dubbo-app&protocol=tri", in), "/eu/apps/reviews/127.1.0.1:9080 ", `"dubbo.endpoints":"[{\"port\":9080,\"protocol\":\"tri\"}]"`)
	has(text("zookeeper://a?layout=dubbo", in), "/dubbo/reviews/providers/dubbo://127.1.0.1:9080/reviews?interface=reviews&",
		"&timestamp=1790000000123&warmup=60000&weight=100&", "&crossfade.weight=1 ", "&crossfade.labels.version=v2&")
	if provider := text("zookeeper://a?layout=dubbo", in); strings.Contains(provider, "&version=") {
		t.Errorf("consumers of Dubbo want another version now: %s", provider)
	}
	ramps := in
	ramps.Ramp = 0.25 // whoever warms it up by timestamp, too, would do so twice
	has(text("zookeeper://a?layout=dubbo", ramps), "&warmup=0&weight=25&", "&crossfade.weight=1 ", "&crossfade.warmup_window_ms=60000&")
	leaves := in
	leaves.Leaving = true
	has(text("zookeeper://a?layout=dubbo", leaves), "&weight=0&", "&crossfade.leaving=true&")
	has(text("zookeeper://a", leaves), `"instance_status":"OUT_OF_SERVICE"`, `"crossfade.leaving":"true"`)
	several := in
	several.Ports = map[string]uint32{"grpc": 1, "admin": 2}
	has(text("zookeeper://a?port=grpc", several), `"port":1,`)
	has(text("zookeeper://a", several), `"port":2,`)
	for _, broken := range []func(*fleet.Instance){
		func(in *fleet.Instance) { in.Labels = nil },
		func(in *fleet.Instance) { in.Labels = map[string]string{"app": "a/b"} },
		func(in *fleet.Instance) { in.Ports = nil },
	} {
		other := in
		broken(&other)
		c, err := Dial("zookeeper://127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Put(t.Context(), other); err == nil || errors.Is(err, registry.ErrAway) || len(c.all()) > 0 {
			t.Errorf("%+v was to be published: %v", other, err)
		}
	}
	for _, incarnation := range []string{"a/b", ".", "..", "zookeeper", "50%"} {
		if name := escaped(incarnation); strings.Contains(name, "/") || strings.Trim(name, ".") == "" || name == "zookeeper" {
			t.Errorf("%s is the node %s", incarnation, name)
		}
	}
}

// TestTenThousand endpoints, and changes among them: what has not changed is not read again.
func TestTenThousand(t *testing.T) {
	t.Parallel()
	const services, each = 100, 100
	s := newServer(t)
	conn := plainly(t, s.address())
	makeNode(t, conn, "/services/s0", "", 0)
	path := func(service, i int) string { return fmt.Sprintf("/services/s%d/i%d", service, i) }
	create := func(service, i int) *zk.CreateRequest {
		data := springJSON(fmt.Sprint("i", i), fmt.Sprintf("10.%d.%d.1", service, i), `{"version":"v1"}`)
		return &zk.CreateRequest{Path: path(service, i), Data: []byte(data), Acl: zk.WorldACL(zk.PermAll), Flags: zk.FlagEphemeral}
	}
	for service := range services {
		var ops []any
		if service > 0 {
			ops = append(ops, &zk.CreateRequest{Path: fmt.Sprint("/services/s", service), Acl: zk.WorldACL(zk.PermAll)})
		}
		for i := range each {
			ops = append(ops, create(service, i))
		}
		if _, err := conn.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}
	f := follow(t, dial(t, "zookeeper://"+s.address()))
	began := time.Now()
	l := f.until(t, "all are there", func(l registry.List) bool { return len(l.Instances) > 0 })
	t.Logf("10,000 endpoints were read after %v", time.Since(began))
	if len(l.Instances) != services*each || !l.First || len(l.Unread) > 0 {
		t.Errorf("the first list has %d instances, %d unread", len(l.Instances), len(l.Unread))
	}
	before := s.received(t)
	// One flaps, in the shortest time that there is, and others come and go meanwhile.
	for n := range 50 {
		if err := conn.Delete(path(7, 7), -1); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Multi(create(7, 7), &zk.DeleteRequest{Path: path(8, n), Version: -1}); err != nil {
			t.Fatal(err)
		}
	}
	f.until(t, "fifty are gone, and nobody else", func(l registry.List) bool { return len(l.Instances) == services*each-50 })
	if n := f.count(); n > 1+3*50+10 {
		t.Errorf("%d lists for 150 changes", n)
	}
	if n := s.received(t) - before; n > 2000 {
		t.Errorf("150 changes took %d questions", n)
	}
}
