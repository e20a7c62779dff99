package nacos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	wire "crossfade.dev/internal/wire/nacos"
)

// appWeight is what applications here say of their weight.
const appWeight = 100

func body(values url.Values) io.Reader {
	if values == nil {
		return nil
	}
	return strings.NewReader(values.Encode())
}

// A rpcApp speaks gRPC as Nacos's clients do: it sets a connection up, registers over it, and does again what it had done
// when it is connected anew.
type rpcApp struct {
	address string
	port    int
	stop    context.CancelFunc
	ended   chan struct{}

	mu       sync.Mutex
	conn     *grpc.ClientConn
	broken   chan struct{} // closed when the connection is to be made anew
	ready    chan struct{} // closed when everything is done again
	services map[string]bool
}

func newRPCApp(t *testing.T, address string, port int) *rpcApp {
	t.Helper()
	at, err := beside(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	a := &rpcApp{address: at, port: port, stop: stop, ended: make(chan struct{}), services: map[string]bool{}, ready: make(chan struct{})}
	t.Cleanup(a.Kill)
	go a.run(ctx)
	return a
}

// run keeps it connected.
func (a *rpcApp) run(ctx context.Context) {
	defer close(a.ended)
	for ctx.Err() == nil {
		if a.connected(ctx) != nil {
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// connected connects, does everything again, and returns when the connection has ended.
func (a *rpcApp) connected(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+a.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	check, _ := wire.NewFrame(wire.TypeServerCheck, nil, wire.Request{Module: "internal"})
	if err := ask(ctx, conn, check, nil); err != nil {
		return err
	}
	stream, err := wire.OpenStream(ctx, conn)
	if err != nil {
		return err
	}
	setup, _ := wire.NewFrame(wire.TypeConnectionSetup, nil, wire.Setup{Module: "internal", ClientVersion: "Nacos-Go-Client:v2.3.2", Labels: map[string]string{"module": "naming", "source": "sdk"}})
	if err := stream.Send(setup); err != nil {
		return err
	}
	broken := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
		}
	}()
	a.mu.Lock()
	a.conn, a.broken = conn, broken
	services := slices.Collect(maps.Keys(a.services))
	a.mu.Unlock()
	for _, service := range services {
		for a.request(ctx, conn, wire.RegisterInstance, service) != nil {
			pause(ctx, 20*time.Millisecond) // the set-up may be on its way yet
			if ended(over) || ctx.Err() != nil {
				return errors.New("ended")
			}
		}
	}
	a.mu.Lock()
	close(a.ready)
	a.mu.Unlock()
	select {
	case <-over:
	case <-broken:
	case <-ctx.Done():
	}
	a.mu.Lock()
	a.conn, a.ready = nil, make(chan struct{})
	a.mu.Unlock()
	return nil
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ask makes a call; into is filled with the response, if it is not nil.
func ask(ctx context.Context, conn *grpc.ClientConn, f wire.Frame, into *wire.Response) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := wire.Call(ctx, conn, f)
	if err != nil {
		return err
	}
	r, err := wire.ParseResponse(answer)
	if into != nil {
		*into = r
	}
	return err
}

func (a *rpcApp) instance() wire.Instance {
	in := wire.NewInstance()
	in.IP, in.Port, in.Weight, in.Metadata = "127.0.0.1", a.port, appWeight, map[string]string{"version": "1"}
	return in
}

func (a *rpcApp) request(ctx context.Context, conn *grpc.ClientConn, kind, service string) error {
	in := a.instance()
	f, err := wire.NewFrame(wire.TypeInstance, nil, wire.Request{Module: "naming", Namespace: wire.DefaultNamespace, Group: wire.DefaultGroup, Service: service, Type: kind, Instance: &in})
	if err != nil {
		return err
	}
	return ask(ctx, conn, f, nil)
}

// now is the connection, when there is one and everything is done.
func (a *rpcApp) now(ctx context.Context) (*grpc.ClientConn, error) {
	for {
		a.mu.Lock()
		conn, is := a.conn, ended(a.ready)
		a.mu.Unlock()
		if is {
			return conn, nil
		}
		if pause(ctx, 5*time.Millisecond); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// do makes a request, again on a new connection when the one it had has ended.
func (a *rpcApp) do(ctx context.Context, kind, service string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := a.now(ctx)
		if err != nil {
			return err
		}
		if err = a.request(ctx, conn, kind, service); err == nil {
			a.mu.Lock()
			if kind == wire.RegisterInstance {
				a.services[service] = true
			} else {
				delete(a.services, service)
			}
			a.mu.Unlock()
			return nil
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (a *rpcApp) Register(ctx context.Context, service string) error {
	return a.do(ctx, wire.RegisterInstance, service)
}

func (a *rpcApp) Deregister(ctx context.Context, service string) error {
	return a.do(ctx, wire.DeregisterInstance, service)
}

func (a *rpcApp) Sees(ctx context.Context, service string) (bool, error) {
	conn, err := a.now(ctx)
	if err != nil {
		return false, err
	}
	f, err := wire.NewFrame(wire.TypeServiceQuery, nil, wire.Request{Module: "naming", Namespace: wire.DefaultNamespace, Group: wire.DefaultGroup, Service: service})
	if err != nil {
		return false, err
	}
	var r wire.Response
	if err := ask(ctx, conn, f, &r); err != nil || r.Info == nil {
		return false, err
	}
	_, is := find(r.Info.Hosts, "127.0.0.1", a.port)
	return is, nil
}

func (a *rpcApp) Reconnect(ctx context.Context) error {
	if _, err := a.now(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	ready := a.ready
	if !ended(a.broken) {
		close(a.broken)
	}
	a.mu.Unlock()
	for {
		a.mu.Lock()
		other := a.ready != ready
		a.mu.Unlock()
		if other {
			_, err := a.now(ctx)
			return err
		}
		pause(ctx, 5*time.Millisecond)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (a *rpcApp) Kill() {
	a.stop()
	<-a.ended
}

// A webApp speaks HTTP v1 as Nacos's clients without gRPC do: it registers, and sends beats.
type webApp struct {
	base  string
	port  int
	light bool // its next beats have no body
	http  *http.Client
	stop  context.CancelFunc
	ended chan struct{}

	mu       sync.Mutex
	services map[string]bool
}

func newWebApp(t *testing.T, address string, port int) *webApp {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	a := &webApp{
		base: "http://" + address + "/nacos/v1/ns/instance", port: port, http: &http.Client{Transport: &http.Transport{}},
		stop: stop, ended: make(chan struct{}), services: map[string]bool{},
	}
	t.Cleanup(a.Kill)
	go func() {
		defer close(a.ended)
		for ctx.Err() == nil {
			a.beats(ctx)
			pause(ctx, 250*time.Millisecond)
		}
	}()
	return a
}

// metadata has beats' end noticed soon.
const metadata = `{"preserved.heart.beat.timeout":"2000","preserved.ip.delete.timeout":"3000","version":"1"}`

func (a *webApp) values(service string) url.Values {
	return url.Values{"serviceName": {service}, "ip": {"127.0.0.1"}, "port": {strconv.Itoa(a.port)}, "weight": {strconv.Itoa(appWeight)}, "metadata": {metadata}, "ephemeral": {"true"}}
}

// beats sends a beat for each service, and registers again where the registry knows nothing of it.
func (a *webApp) beats(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.light = !a.light // clients do the one or the other
	for service := range a.services {
		values := url.Values{"serviceName": {"DEFAULT_GROUP@@" + service}, "ip": {"127.0.0.1"}, "port": {strconv.Itoa(a.port)}}
		if !a.light {
			values.Set("beat", fmt.Sprintf(`{"ip":"127.0.0.1","port":%d,"weight":%d,"cluster":"DEFAULT","serviceName":"DEFAULT_GROUP@@%s","metadata":%s,"scheduled":true}`, a.port, appWeight, service, metadata))
		}
		text, err := call(ctx, a.http, http.MethodPut, a.base+"/beat", values)
		if err == nil && strings.Contains(text, "20404") {
			_, err = call(ctx, a.http, http.MethodPost, a.base, a.values(service))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *webApp) Register(ctx context.Context, service string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := call(ctx, a.http, http.MethodPost, a.base, a.values(service))
	if err == nil {
		a.services[service] = true
	}
	return err
}

func (a *webApp) Deregister(ctx context.Context, service string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := call(ctx, a.http, http.MethodDelete, a.base, a.values(service))
	if err == nil {
		delete(a.services, service)
	}
	return err
}

func (a *webApp) Sees(ctx context.Context, service string) (bool, error) {
	text, err := call(ctx, a.http, http.MethodGet, a.base+"/list?serviceName="+service, nil)
	if err != nil {
		return false, err
	}
	list, err := hosts([]byte(text))
	_, is := find(list, "127.0.0.1", a.port)
	return is, err
}

func (a *webApp) Reconnect(ctx context.Context) error {
	a.http.CloseIdleConnections()
	for {
		err := a.beats(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (a *webApp) Kill() {
	a.stop()
	<-a.ended
	a.http.CloseIdleConnections()
}
