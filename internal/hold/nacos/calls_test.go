package nacos

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// A client is an application's connection, by hand.
type client struct {
	*testing.T
	conn   *grpc.ClientConn
	stream wire.Stream
	token  string
}

// connects opens one. It is set up unless a test has something against it.
func (s *stage) connects(setUp bool) *client {
	s.Helper()
	address, err := beside(s.proxy.Addr())
	if err != nil {
		s.Fatal(err)
	}
	c := &client{T: s.T}
	if c.conn, err = grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.conn.Close() })
	if c.stream, err = wire.OpenStream(s.Context(), c.conn); err != nil {
		s.Fatal(err)
	}
	if !setUp {
		return c
	}
	f, _ := wire.NewFrame(wire.TypeConnectionSetup, nil, wire.Setup{ClientVersion: "test"})
	if err := c.stream.Send(f); err != nil {
		s.Fatal(err)
	}
	until(s.T, "it is set up", func() bool {
		return c.asks(wire.TypeInstance, wire.Request{Group: wire.DefaultGroup, Service: "setup", Type: wire.DeregisterInstance, Instance: at(1)}) == nil
	})
	return c
}

func at(port int) *wire.Instance {
	in := wire.NewInstance()
	in.IP, in.Port = "10.0.0.1", port
	return &in
}

func (c *client) asks(kind string, r wire.Request) error {
	c.Helper()
	var headers map[string]string
	if c.token != "" {
		headers = map[string]string{accessToken: c.token}
	}
	f, err := wire.NewFrame(kind, headers, r)
	if err != nil {
		c.Fatal(err)
	}
	answer, err := wire.Call(c.Context(), c.conn, f)
	if err == nil {
		_, err = wire.ParseResponse(answer)
	}
	return err
}

// registers and its like fail the test when the application is told no.
func (c *client) registers(kind string, r wire.Request) {
	c.Helper()
	if err := c.asks(kind, r); err != nil {
		c.Fatalf("%s: %v", kind, err)
	}
}

func one(port int) wire.Request {
	return wire.Request{Group: wire.DefaultGroup, Service: "pay", Type: wire.RegisterInstance, Instance: at(port)}
}

func batch(ports ...int) wire.Request {
	r := wire.Request{Service: "pay", Type: wire.BatchRegisterInstance}
	for _, port := range ports {
		r.Instances = append(r.Instances, *at(port))
	}
	return r
}

func nothing(string) string { return "" }

// A batch is one registration, as it is to Nacos: the next one takes its place, and one of nobody takes it back.
func TestBatch(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	st.gate.Annotate = false
	app := st.connects(true)
	s.wantsFrames("setup")
	app.registers(wire.TypeBatchInstance, batch(1, 2))
	app.registers(wire.TypeBatchInstance, batch(2, 3))
	s.wantsFrames()
	st.put(instance())
	s.wantsFrames(`BatchInstanceRequest … batchRegisterInstance … "port":2 … "port":3`)
	app.registers(wire.TypeBatchInstance, batch(3, 4))
	s.wantsFrames(`"port":3 … "port":4`)
	app.registers(wire.TypeBatchInstance, batch())
	s.wantsFrames("BatchInstanceRequest")
	if n := st.gate.Count(); n.Released != 0 {
		t.Errorf("it was taken back, and counted: %+v", n)
	}
	app.registers(wire.TypeBatchInstance, batch(5))
	s.wantsFrames(`"port":5`)
	st.remove()
	// It is withdrawn one by one; also those that a registry may have kept which an earlier batch had.
	s.mu.Lock()
	first := s.frames[0]
	s.mu.Unlock()
	if !strings.Contains(first, `InstanceRequest`) || !strings.Contains(first, `deregisterInstance`) || !strings.Contains(first, `"port":5`) {
		t.Errorf("it was withdrawn by %s", first)
	}
	s.mu.Lock()
	s.frames = nil
	s.mu.Unlock()
	app.registers(wire.TypeBatchInstance, batch(1, 2))
	s.wantsFrames()
}

// A registration that is on its way when the application dies is answered before the registry hears of its death: what a
// registry takes in after that it may keep for ever. Whether the stream or the whole connection ends is the same.
func TestWhatIsOnItsWayWhenTheApplicationDies(t *testing.T) {
	for name, die := range map[string]func(*client) error{
		"connection": func(c *client) error { return c.conn.Close() },
		"stream":     func(c *client) error { return c.stream.Stream.(grpc.ClientStream).CloseSend() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, nothing)
			st := behind(t, s.address)
			app := st.connects(true)
			app.registers(wire.TypeInstance, one(1))
			st.proxy.mu.Lock()
			links := slices.Collect(maps.Keys(st.proxy.links))
			st.proxy.mu.Unlock()
			s.mu.Lock()
			s.waits, s.frames = make(chan struct{}), nil
			s.mu.Unlock()
			put := make(chan error, 1)
			go func() { put <- st.gate.Put(t.Context(), instance()) }()
			until(t, "it is being registered", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.frames) > 0
			})
			if err := die(app); err != nil {
				t.Fatal(err)
			}
			until(t, "the proxy knows", func() bool { return ended(links[0].over) })
			pause(t.Context(), 200*time.Millisecond) // the registry could have heard of it
			close(s.waits)
			<-put
			until(t, "the stream has ended", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.ends) > 0 && s.ends[len(s.ends)-1] == "the stream"
			})
			s.mu.Lock()
			ends := slices.Clone(s.ends)
			s.mu.Unlock()
			if diff := cmp.Diff([]string{"a call, by itself: true", "the stream"}, ends); diff != "" {
				t.Errorf("what ended when (-want +got):\n%s", diff)
			}
			if links[0].begin() {
				t.Error("a call may begin on a connection that is over")
			}
		})
	}
}

// Marks are on every instance of a batch.
func TestBatchIsMarked(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	r := batch(1, 2)
	r.Instances[0].Weight = 0.8
	app.registers(wire.TypeBatchInstance, r)
	s.wantsFrames("setup")
	in := instance()
	in.Ramp = 0.5
	st.put(in)
	if len(s.hosts) != 2 {
		t.Fatalf("the registry has %v", s.hosts)
	}
	for i, in := range s.hosts {
		if in.Weight != []float64{0.4, 1}[i] || in.Metadata["crossfade.incarnation"] != "a-1" {
			t.Errorf("the registry has %+v", in)
		}
	}
}

// Who has not said who it is registers nothing: Nacos says that it does not know the connection, and so do we.
func TestNotSetUp(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(false)
	err := app.asks(wire.TypeInstance, one(1))
	if no := (*wire.Error)(nil); !errors.As(err, &no) || no.Code != wire.CodeUnregistered {
		t.Errorf("the application was told %v", err)
	}
	s.wantsFrames()
	if n := st.gate.Count(); n.Held != 0 {
		t.Errorf("counted %+v", n)
	}
}

// What names no instance may be a registration that we cannot read: it is refused, and told.
func TestUnreadRequests(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	s.wantsFrames("setup")
	if err := app.asks(wire.TypeInstance, wire.Request{Service: "pay", Type: wire.RegisterInstance}); err == nil {
		t.Error("a request without an instance is not refused")
	}
	for _, f := range []wire.Frame{wire.Payload{Type: wire.TypeBatchInstance, Body: []byte(`{"instances":3}`)}.Frame(), wire.Frame("\xff")} {
		answer, err := wire.Call(t.Context(), app.conn, f)
		if err == nil {
			_, err = wire.ParseResponse(answer)
		}
		if err == nil {
			t.Errorf("%q is not refused", f)
		}
	}
	s.wantsFrames()
	if told := st.told(); len(told) != 3 || !strings.HasPrefix(told[0], "hold.unread: InstanceRequest in nacos "+s.address+"; refused: ") {
		t.Errorf("told %q", told)
	}
}

// The newest token that the application has shown goes with what is released: the one it registered with may be out of date.
func TestNewestToken(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	st.gate.Annotate = false
	app := st.connects(true)
	app.token = "old"
	app.registers(wire.TypeInstance, one(1))
	app.token = "new"
	app.asks(wire.TypeHealthCheck, wire.Request{})
	s.wantsFrames("setup")
	st.put(instance())
	s.wantsFrames("} new")
}

// A connection of the application has one to the registry, of its own, and they end together.
func TestConnections(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	first, second := st.connects(true), st.connects(true)
	s.mu.Lock()
	if len(s.links) != 2 {
		t.Errorf("the registry has %d connections, want 2", len(s.links))
	}
	s.mu.Unlock()
	first.registers(wire.TypeInstance, one(1))
	second.registers(wire.TypeInstance, one(1))
	if n := st.gate.Count(); n.Held != 2 {
		t.Errorf("counted %+v", n)
	}
	first.conn.Close()
	until(t, "what ended with its connection is forgotten", func() bool { return st.gate.Count().Held == 1 })
	open := func() int {
		st.proxy.mu.Lock()
		defer st.proxy.mu.Unlock()
		return len(st.proxy.links)
	}
	until(t, "one link is left", func() bool { return open() == 1 })
	second.registers(wire.TypeInstance, one(1))

	// The registry says that it has forgotten this connection: the application is to make another one.
	s.mu.Lock()
	s.refuses = wire.CodeUnregistered
	s.mu.Unlock()
	if err := st.gate.Put(t.Context(), instance()); err == nil {
		t.Error("it was released over a connection that the registry has forgotten")
	}
	if _, err := second.stream.Recv(); err == nil {
		t.Error("the application's connection has not ended")
	}
	until(t, "no link is left", func() bool { return open() == 0 })
	until(t, "the application hears of it", func() bool { return second.conn.GetState() != connectivity.Ready })
}

// A registration that is refused leaves the one before it in its place.
func TestRefusedOverGRPC(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	app.registers(wire.TypeInstance, one(1))
	st.put(instance())
	s.mu.Lock()
	s.refuses = wire.CodeNoRight
	s.mu.Unlock()
	err := app.asks(wire.TypeInstance, one(1))
	if no := (*wire.Error)(nil); !errors.As(err, &no) || no.Code != wire.CodeNoRight {
		t.Errorf("the application was told %v", err)
	}
	app.conn.Close()
	until(t, "it ended with its connection", func() bool { return st.gate.Count().Released == 0 })
	st.remove()
}

// A registry that is not there ends the application's connection.
func TestAwayOverGRPC(t *testing.T) {
	p := behind(t, "127.0.0.1:1")
	address, _ := beside(p.proxy.Addr())
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f, _ := wire.NewFrame(wire.TypeServerCheck, nil, wire.Request{})
	if _, err := wire.Call(t.Context(), conn, f); status.Code(err) != codes.Unavailable {
		t.Errorf("the application was told %v", err)
	}
	if err := p.gate.Put(t.Context(), instance()); !errors.Is(err, registry.ErrAway) {
		t.Errorf("Put: %v", err)
	}
}

// What outlives its connection is released, and withdrawn, over whichever there is.
func TestPersistent(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	st.gate.Annotate = false
	app := st.connects(true)
	r := one(1)
	r.Instance.Ephemeral = false
	app.registers(wire.TypePersistentInstance, r)
	app.conn.Close()
	st.connects(true)
	s.wantsFrames("setup", "setup")
	st.put(instance())
	s.wantsFrames("PersistentInstanceRequest … registerInstance")
	st.remove()
	s.wantsFrames("PersistentInstanceRequest … deregisterInstance")
}

// What the registry tells the application is passed on, and its answers: but for where another server is, and with the
// application in its own service.
func TestPushes(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	app.registers(wire.TypeInstance, one(1))
	push := func(kind string, v any) wire.Payload {
		t.Helper()
		f, err := wire.NewFrame(kind, nil, v)
		if err != nil {
			t.Fatal(err)
		}
		s.push <- f
		got, err := app.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		p, err := got.Payload()
		if err != nil || p.Type != kind {
			t.Fatalf("it is told %v, %v", p, err)
		}
		return p
	}
	reset := push(wire.TypeConnectReset, wire.Push{RequestID: "7", ServerIP: "10.9.9.9", ServerPort: "8848"})
	if text := string(reset.Body); strings.Contains(text, "10.9.9.9") || !strings.Contains(text, `"requestId":"7"`) {
		t.Errorf("it is told to go elsewhere: %s", text)
	}
	same := wire.Push{RequestID: "8"}
	if got := push(wire.TypeClientDetection, same); string(got.Body) != `{"requestId":"8"}` {
		t.Errorf("it is told %s", got.Body)
	}
	ack, _ := wire.Ack(wire.TypeClientDetection, "8")
	if err := app.stream.Send(ack); err != nil {
		t.Fatal(err)
	}
	until(t, "the registry hears that", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.acks) == 2 && s.acks[1] == "ClientDetectionResponse"
	})
	hosts := func(p wire.Payload) (ports []int) {
		var got wire.Push
		if err := json.Unmarshal(p.Body, &got); err != nil {
			t.Fatal(err)
		}
		for _, in := range got.Info.Hosts {
			ports = append(ports, in.Port)
		}
		return ports
	}
	other := wire.Push{Namespace: "public", Group: "DEFAULT_GROUP", Service: "pay", Info: &wire.ServiceInfo{Name: "DEFAULT_GROUP@@pay", Hosts: []wire.Instance{*at(2)}}}
	if got := hosts(push(wire.TypeNotifySubscriber, other)); len(got) != 2 || got[1] != 1 {
		t.Errorf("it sees %v in its own service", got)
	}
	// Released it sees what the registry has, whatever that is.
	st.put(instance())
	other.Info.Hosts = nil
	if got := hosts(push(wire.TypeNotifySubscriber, other)); len(got) != 0 {
		t.Errorf("it sees %v in its own service, which the registry does not have", got)
	}
	other.Info.Hosts = []wire.Instance{*at(2)}
	other.Service, other.Info.Name = "bills", "DEFAULT_GROUP@@bills"
	if got := hosts(push(wire.TypeNotifySubscriber, other)); len(got) != 1 {
		t.Errorf("it sees %v in another service", got)
	}
}

// Who asks over another connection is the same application.
func TestSelfOverAnotherConnection(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	st.connects(true).registers(wire.TypeInstance, one(1))
	second := st.connects(true)
	s.hosts = []wire.Instance{*at(2)}
	f, _ := wire.NewFrame(wire.TypeSubscribe, nil, wire.Request{Group: wire.DefaultGroup, Service: "pay", Subscribe: true})
	answer, err := wire.Call(t.Context(), second.conn, f)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := wire.ParseResponse(answer); err != nil || len(r.Info.Hosts) != 2 {
		t.Errorf("it subscribes, and sees %+v, %v", r.Info, err)
	}
}
