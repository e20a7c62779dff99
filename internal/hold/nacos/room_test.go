package nacos

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// A registration that Nacos would take without us is taken with us: a mark adds no more than there is room for, and what a
// warm-up goes by is the last to be left out.
func TestFitting(t *testing.T) {
	full := instance()
	full.Labels = map[string]string{"app": "pay", "version": strings.Repeat("v", 60)}
	full.Ports = map[string]uint32{"http": 8080}
	mark := registry.Annotate(full)
	rapid.Check(t, func(t *rapid.T) {
		in := *at(1)
		n := rapid.IntRange(0, 1100).Draw(t, "characters")
		in.Metadata = map[string]string{"k": strings.Repeat(rapid.SampledFrom([]string{"x", "支"}).Draw(t, "letter"), n)}
		got := fitting(mark, in)
		switch {
		case n+1 > roomForAll && len(got) != len(mark):
			t.Fatalf("who has more than Nacos takes by itself is not counted by it: %v", got)
		case n+1 <= roomForAll && len(got) > 0 && n+1+characters(got) > roomForAll-roomFree:
			t.Fatalf("%d characters and %d", n+1, characters(got))
		case len(got) > 0 && got["crossfade.incarnation"] != "a-1":
			t.Fatalf("there is something, but no incarnation: %v", got)
		}
	})
	for n, want := range map[int]string{100: "crossfade.labels.version", 900: "crossfade.incarnation", 1023: ""} {
		in := *at(1)
		in.Metadata = map[string]string{"k": strings.Repeat("x", n)}
		if got := fitting(mark, in); want == "" && len(got) > 0 || want != "" && got[want] == "" {
			t.Errorf("beside %d characters there is room for %v, want %s", n, got, want)
		}
	}
	if mark["crossfade.labels.app"] != "pay" {
		t.Error("a mark is shared, and was changed")
	}
}

// A server that counts characters of metadata, as Nacos does, takes what is released, all of it and with its weight.
func TestNoRoomForAMark(t *testing.T) {
	own := strings.Repeat("x", 1020)
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	s.wantsFrames("setup")
	r := one(1)
	r.Instance.Weight, r.Instance.Metadata = 100, map[string]string{"own": own}
	app.registers(wire.TypeInstance, r)
	in := instance()
	in.Ramp = 0.5
	st.put(in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if hosts := s.hosts; len(hosts) != 1 || hosts[0].Weight != 50 || characters(hosts[0].Metadata) != 1023 {
		t.Errorf("the registry has %+v", hosts)
	}
	if told := st.told(); !slices.ContainsFunc(told, func(e string) bool {
		return strings.HasPrefix(e, "hold.unread: public/DEFAULT_GROUP/pay/10.0.0.1:1") && strings.Contains(e, "1024")
	}) {
		t.Errorf("told %q", told)
	}
}

// What the registry refused it does not have: a leave asks nothing about it, and does not wait for a registry that would
// refuse that, too.
func TestLeaveOfTheRefused(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	v := versions()["v1"]
	st.do(v.register.method, v.register.path, v.register.form)
	app.registers(wire.TypeInstance, one(1))
	s.mu.Lock()
	s.refuses = wire.CodeNoRight
	s.mu.Unlock()
	if err := st.gate.Put(t.Context(), instance()); err == nil {
		t.Error("Put of what is refused succeeded")
	}
	s.mu.Lock()
	s.frames, s.asked = nil, nil
	s.mu.Unlock()
	st.remove()
	s.wantsFrames()
	s.wants()
}

// A service of more bytes than gRPC takes by itself is answered, and pushed, as without us.
func TestLargeService(t *testing.T) {
	s := newScript(t, nothing)
	st := behind(t, s.address)
	app := st.connects(true)
	for port := range 100 {
		in := *at(port + 1)
		in.Metadata = map[string]string{"k": strings.Repeat("x", 60_000)}
		s.hosts = append(s.hosts, in)
	}
	push, _ := wire.NewFrame(wire.TypeNotifySubscriber, nil, wire.Push{RequestID: "7", Service: "pay", Info: &wire.ServiceInfo{Name: "pay", Hosts: s.hosts}})
	if len(push) < 5<<20 {
		t.Fatalf("a push of %d bytes is none", len(push))
	}
	query, _ := wire.NewFrame(wire.TypeServiceQuery, nil, wire.Request{Service: "pay"})
	var answer wire.Frame
	if err := app.conn.Invoke(t.Context(), "/Request/request", &query, &answer, grpc.ForceCodec(wire.Codec{}), grpc.MaxCallRecvMsgSize(wire.MaxFrame)); err != nil {
		t.Fatalf("a query: %v", err)
	}
	if got, err := wire.ParseResponse(answer); err != nil || len(got.Info.Hosts) != 100 {
		t.Errorf("a query is answered with %v", err)
	}
	stream, err := app.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/BiRequestStream/requestBiStream",
		grpc.ForceCodec(wire.Codec{}), grpc.MaxCallRecvMsgSize(wire.MaxFrame))
	if err != nil {
		t.Fatal(err)
	}
	setup, _ := wire.NewFrame(wire.TypeConnectionSetup, nil, wire.Setup{ClientVersion: "test"})
	if err := stream.SendMsg(&setup); err != nil {
		t.Fatal(err)
	}
	for range 4 { // the client's other stream takes some of them
		s.push <- push
	}
	var pushed wire.Frame
	if err := stream.RecvMsg(&pushed); err != nil || len(pushed) != len(push) {
		t.Errorf("a push has %d bytes, want %d: %v", len(pushed), len(push), err)
	}
}

// What is asked of a registry for the application is asked under the registry's name, and in plain text, whatever the
// application takes: somebody between goes by the name, and the answer is read here.
func TestAskedAsTheRegistry(t *testing.T) {
	var has bool
	v := versions()["v1"]
	s := newScript(t, v.registry(&has))
	st := behind(t, s.address)
	var hosts, encodings []string
	s.headers = func(h http.Header) { encodings = append(encodings, h.Get("Accept-Encoding")) }
	s.hears = func(r *http.Request) { hosts = append(hosts, r.Host) }
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+st.proxy.Addr()+v.register.path+"?"+v.register.form.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip,deflate,sdch") // as Nacos's client in Java says
	answer, err := new(http.Client).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	st.gate.Annotate = false
	st.put(instance())
	st.do(http.MethodGet, "/nacos/v1/ns/service/list", nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(hosts) != 3 || slices.ContainsFunc(hosts, func(h string) bool { return h != s.address }) {
		t.Errorf("the registry is called %q, want %s", hosts, s.address)
	}
	if slices.ContainsFunc(encodings[:2], func(e string) bool { return e != "" }) {
		t.Errorf("answers may be encoded as %q", encodings)
	}
}

// Clients leave the cluster out where Nacos does not ask for it: in beats, and when they take an instance back.
func TestClusterIsNoName(t *testing.T) {
	var has bool
	v := versions()["v1"]
	s := newScript(t, v.registry(&has))
	st := behind(t, s.address)
	register := maps.Clone(v.register.form)
	register.Set("clusterName", "c1")
	st.do(v.register.method, v.register.path, register)
	if got := st.do(v.light.method, v.light.path, v.light.form); got != v.alive {
		t.Errorf("a beat without its cluster: %s", got)
	}
	if n := st.gate.Count(); n.Held != 1 {
		t.Errorf("counted %+v", n)
	}
	st.do(v.deregister.method, v.deregister.path, v.deregister.form)
	if n := st.gate.Count(); n.Held != 0 || has {
		t.Errorf("it was taken back, and is counted: %+v", n)
	}

	app := st.connects(true)
	r := one(1)
	r.Instance.Cluster = "c1"
	app.registers(wire.TypeInstance, r)
	r = one(1)
	r.Type = wire.DeregisterInstance
	app.registers(wire.TypeInstance, r)
	if n := st.gate.Count(); n.Held != 0 {
		t.Errorf("it was taken back over gRPC, and is counted: %+v", n)
	}
}

// A patch says some of the metadata; what it does not say is there when the instance is registered again.
func TestPatchKeepsMetadata(t *testing.T) {
	for _, held := range []bool{true, false} {
		var has bool
		v := versions()["v1"]
		s := newScript(t, v.registry(&has))
		st := behind(t, s.address)
		st.gate.Annotate = false
		st.do(v.register.method, v.register.path, v.register.form)
		if !held {
			st.put(instance())
		}
		patch := form("serviceName", "pay", "ip", "10.0.0.1", "port", "8080", "metadata", `{"colour":"red"}`)
		st.do(http.MethodPatch, "/nacos/v1/ns/instance", patch)
		b := st.proxy.beats["public/DEFAULT_GROUP/pay/10.0.0.1:8080"]
		if b == nil || b.made.call.Instance.Metadata["colour"] != "red" || b.made.call.Instance.Metadata["zone"] != "a" {
			t.Errorf("held %v: it would be registered with %+v", held, b)
		}
	}
}

// Nacos shows a change when it has told it to subscribers, half a second later. Until then nobody is to mend anything: that
// would be an operator's word, which goes over everything that is registered later.
func TestLateIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		was, is := *at(1), *at(1)
		was.Weight, is.Weight = 10, 20
		var since time.Time
		err := settled(t.Context(), []wire.Instance{is}, func(_ context.Context, mend bool) error {
			if since.IsZero() {
				since = time.Now()
			}
			if mend {
				t.Error("it is mended")
			}
			return nil
		}, func(context.Context) ([]wire.Instance, error) {
			if time.Since(since) < time.Second {
				return []wire.Instance{was}, nil
			}
			return []wire.Instance{is}, nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
