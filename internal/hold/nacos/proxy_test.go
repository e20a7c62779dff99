package nacos

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/hold"
	wire "crossfade.dev/internal/wire/nacos"
)

func TestOpen(t *testing.T) {
	for raw, want := range map[string]string{
		"nacos://n?listen=127.0.0.1:0&prefix=/x":           `there is no "prefix"`,
		"nacos://me@n?listen=127.0.0.1:0":                  "user, namespace and group are the application's own",
		"nacos://n/public?listen=127.0.0.1:0":              "user, namespace and group are the application's own",
		"nacos://n:65000?listen=127.0.0.1:0":               `address "n:65000": want a port of 1 to 64535`,
		"nacos://n?listen=127.0.0.1:64536":                 "there is no port 65536",
		"nacos://n?listen=192.0.2.1:8848&expose=true":      "listen on 192.0.2.1:8848: ",
		"nacos://n:8848,[::1]:9?listen=127.0.0.1:0":        "",
		"nacos://n1,n2:8850?listen=127.0.0.1:0":            "",
		"nacos://n?listen=127.0.0.1:0&annotate=false":      "",
		"nacos://n?listen=0.0.0.0:0&expose=true&away=open": "",
	} {
		u, err := hold.ParseURL(raw)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Open(t.Context(), u)
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) || want == "" && err != nil {
			t.Errorf("Open(%s) = %v, want %q", raw, err, want)
		}
		if err == nil {
			if err := errors.Join(p.Close(), p.Close()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
	}
}

// A busy port is an error before the application starts, whichever of the two it is; then the other is free again.
func TestBusyPorts(t *testing.T) {
	port := freePair(t)
	for _, busy := range []int{port, port + wire.PortOffset} {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(busy)))
		if err != nil {
			t.Fatal(err)
		}
		u, _ := hold.ParseURL("nacos://n?listen=127.0.0.1:" + strconv.Itoa(port))
		_, err = Open(t.Context(), u)
		if want := "listen on " + l.Addr().String() + ": bind: address already in use"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Open = %v, want %q", err, want)
		}
		l.Close()
		p, err := Open(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
	}
}

// Of several servers those that are not there are passed over.
func TestFailover(t *testing.T) {
	there := func(name string) *script { return newScript(t, func(string) string { return name }) }
	a, b := there("a"), there("b")
	st := behind(t, "127.0.0.1:1,"+a.address+","+b.address)
	for range 3 {
		if got := st.do(http.MethodGet, "/nacos/v1/ns/service/list", nil); got != "a" {
			t.Errorf("%q answers, want a", got)
		}
	}
	st.connects(true)
	a.wantsFrames("setup")
	b.wantsFrames()
}

// What withdraws an instance does not overtake a beat of it that is on its way: that would bring it back.
func TestWithdrawalWaits(t *testing.T) {
	v := versions()["v1"]
	var has bool
	plain := v.registry(&has)
	arrived, answer := make(chan struct{}), make(chan struct{})
	s := newScript(t, nil)
	s.say = func(asked string) string {
		if strings.Contains(asked, "/beat") {
			close(arrived)
			<-answer
		}
		return plain(asked)
	}
	st := behind(t, s.address)
	st.gate.Annotate = false
	st.do(v.register.method, v.register.path, v.register.form)
	st.put(instance())
	var all sync.WaitGroup
	all.Go(func() { st.do(v.beat.method, v.beat.path, v.beat.form) })
	<-arrived
	all.Go(st.remove)
	until(t, "it is withdrawn", func() bool { return st.gate.State(hold.Key{}) == hold.Drained })
	close(answer)
	all.Wait()
	if has {
		t.Error("it is there after it was withdrawn")
	}
}

// What was registered over HTTP is forgotten with the end of its beats, as the registry does.
func TestBeatsEnd(t *testing.T) {
	s := newScript(t, func(string) string { return "ok" })
	st := behind(t, s.address)
	values := func(ephemeral, timeout string) url.Values {
		return url.Values{"serviceName": {"pay"}, "ip": {"10.0.0.1"}, "port": {timeout}, "ephemeral": {ephemeral}, "metadata": {"preserved.ip.delete.timeout=" + timeout}}
	}
	for _, one := range []url.Values{values("true", "1"), values("true", "60000"), values("false", "2")} {
		st.do(http.MethodPost, "/nacos/v1/ns/instance", one)
	}
	until(t, "one is forgotten", func() bool { return st.gate.Count().Held == 2 })
}

// A registry that asks who its clients are: they log in through the proxy, and what is released shows their token.
func TestLogin(t *testing.T) {
	s := newServer(t, "RNACOS_ENABLE_OPEN_API_AUTH=true", "RNACOS_INIT_ADMIN_USERNAME=admin", "RNACOS_INIT_ADMIN_PASSWORD=secret")
	st := behind(t, s.address())
	var token string
	until(t, "the registry has its accounts", func() bool {
		text, err := call(t.Context(), new(http.Client), http.MethodPost, "http://"+st.proxy.Addr()+"/nacos/v1/auth/users/login", url.Values{"username": {"admin"}, "password": {"secret"}})
		_, rest, _ := strings.Cut(text, `"accessToken":"`)
		token, _, _ = strings.Cut(rest, `"`)
		return err == nil && token != ""
	})
	st.do(http.MethodPost, "/nacos/v1/ns/instance?accessToken="+token, url.Values{"serviceName": {"pay"}, "ip": {"127.0.0.1"}, "port": {"9080"}})
	app := st.connects(false)
	app.token = token
	f, _ := wire.NewFrame(wire.TypeConnectionSetup, nil, wire.Setup{ClientVersion: "test"})
	if err := app.stream.Send(f); err != nil {
		t.Fatal(err)
	}
	until(t, "it registers", func() bool { return app.asks(wire.TypeInstance, one(9081)) == nil })
	st.put(instance())
	if n := st.gate.Count(); n.Released != 2 {
		t.Errorf("counted %+v; %q", n, st.told())
	}
	st.remove()
}

// r-nacos keeps the metadata with which an address registered first, for the next instance there, too, unless it is
// switched off. What it is to have it has all the same.
func TestStickyMetadata(t *testing.T) {
	s := newServer(t, sticky+"true")
	for _, incarnation := range []string{"a-1", "a-2"} {
		st := behind(t, s.address())
		app := st.connects(true)
		r := one(9080)
		r.Instance.IP = "127.0.0.1"
		app.registers(wire.TypeInstance, r)
		in := instance()
		in.Incarnation = incarnation
		st.put(in)
		seen, err := s.peer(t.Context(), "pay")
		if err != nil || len(seen) != 1 || seen[0].Metadata["crossfade.incarnation"] != incarnation {
			t.Errorf("others find %+v, %v; want %s", seen, err, incarnation)
		}
		st.remove()
	}
}

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := turns{all: map[string]*turn{}}
		first, err := turns.take(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		for i := range 3 {
			go func() {
				done, err := turns.take(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i)
				done()
			}()
			synctest.Wait()
		}
		if done, err := turns.take(t.Context(), "b"); err != nil {
			t.Error(err)
		} else {
			done()
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.take(short, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take of what is taken: %v", err)
		}
		first()
		synctest.Wait()
		if len(order) != 3 || order[0] != 0 || order[1] != 1 || order[2] != 2 {
			t.Errorf("turns were in the order %v", order)
		}
		if len(turns.all) != 0 {
			t.Errorf("%d turns are left", len(turns.all))
		}
	})
}

// What registers is sent again until it is seen; what an operator shows otherwise is left alone; who waits for too long is told
// that the registry is away.
func TestSettled(t *testing.T) {
	in := func(weight float64) wire.Instance {
		i := *at(1)
		i.Weight = weight
		return i
	}
	for name, c := range map[string]struct {
		shows func(sent int, nudged bool) []wire.Instance
		sent  int
		want  string
	}{
		"at once":      {func(int, bool) []wire.Instance { return []wire.Instance{in(1)} }, 1, ""},
		"the second":   {func(sent int, _ bool) []wire.Instance { return []wire.Instance{in(1)}[:sent/2] }, 2, ""},
		"the operator": {func(int, bool) []wire.Instance { return []wire.Instance{in(7)} }, 3, ""},
		"who takes 1 for nothing": {func(_ int, nudged bool) []wire.Instance {
			if nudged {
				return []wire.Instance{in(1.0000001)}
			}
			return []wire.Instance{in(0.5)}
		}, 2, ""},
		"never": {func(int, bool) []wire.Instance { return nil }, 4, "the registry is away"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				sent, nudged := 0, false
				err := settled(ctx, []wire.Instance{in(1)}, func(_ context.Context, mend bool) error { sent++; nudged = mend; return nil },
					func(context.Context) ([]wire.Instance, error) { return c.shows(sent, nudged), nil })
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("settled = %v, want %q", err, c.want)
				}
				if sent != c.sent {
					t.Errorf("it was sent %d times, want %d", sent, c.sent)
				}
			})
		})
	}
}
