package zookeeper

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/wire/jute"
)

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"zookeeper://a:1?listen=127.0.0.1:0&path=/x":                "no \"path\": there are",
		"zookeeper://a:1?listen=127.0.0.1:0&paths=services":         `"services" is no path`,
		"zookeeper://a:1?listen=127.0.0.1:0&paths=/a/":              `"/a/" is no path`,
		"zookeeper://a:1?listen=127.0.0.1:0&tls=yes":                "tls=yes: want true or false",
		"zookeeper://a:1?listen=127.0.0.1:0&tls=false&ca=x":         "one of them is not meant",
		"zookeeper://a:1?listen=127.0.0.1:0&cert=x":                 "belong together",
		"zookeeper://a:1?listen=127.0.0.1:0&ca=/no/such.pem":        "no such file",
		"zookeeper://me@a:1?listen=127.0.0.1:0":                     "logs in by itself",
		"zookeeper://a:1?listen=192.0.2.1:2181&expose=true&paths=/": `"/" is no path`,
		"zookeeper://a:1?listen=192.0.2.1:2181&expose=true":         "cannot assign requested address",
	} {
		u, err := hold.ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		p, err := Open(t.Context(), u)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want an error with %q", raw, p, err, want)
		}
	}
	first := open(t, "b:1,a", "")
	if got, want := first.Registry(), "zookeeper b:1,a:2181"; got != want {
		t.Errorf("Registry() = %q, want %q", got, want)
	}
	u, err := hold.ParseURL("zookeeper://a:1?listen=" + first.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port that is taken: %v", err)
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestPaths(t *testing.T) {
	usual, err := parsePatterns("", "")
	if err != nil {
		t.Fatal(err)
	}
	rooted, err := parsePatterns("/prod/eu", "/members/*,/x")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		patterns patterns
		path     string
		want     bool
	}{
		{usual, "/services/orders/1", true},
		{usual, "/services/orders", false},
		{usual, "/services/orders/", false},
		{usual, "/services//1", false},
		{usual, "/services/orders/1/x", false},
		{usual, "/dubbo/com.a.B/providers/dubbo%3A%2F%2F", true},
		{usual, "/dubbo/com.a.B/consumers/consumer%3A%2F%2F", false},
		{usual, "/locks/a/1", false},
		{rooted, "/prod/eu/members/1", true},
		{rooted, "/prod/eu/x", true},
		{rooted, "/members/1", false},
		{rooted, "/prod/eu/services/orders/1", false},
	} {
		if got := c.patterns.has(c.path); got != c.want {
			t.Errorf("%s: %v, want %v", c.path, got, c.want)
		}
	}
}

// What is no registration passes, and the application is not told of servers.
func TestWhatIsNoRegistrationPasses(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	run(t, p, &hold.Gate{})
	app, other := speak(t, p.Addr()), speak(t, s.address())
	app.mkdir("/locks")
	app.mkdir("/services/passing")
	for _, c := range []jute.Change{
		create("/locks/passing", "x"),
		{Op: jute.OpCreate, Path: "/services/passing/stays", ACL: anybody()},
		{Op: jute.OpCreateContainer, Path: "/services/passing/container", ACL: anybody(), Flags: jute.FlagContainer},
	} {
		if code, _ := app.do(c); code != jute.OK || !other.exists(c.Path) {
			t.Errorf("create %s: %v, and others see it: %v", c.Path, code, other.exists(c.Path))
		}
	}
	latch := create("/services/passing/latch-", "")
	latch.Flags = jute.FlagEphemeralSequential
	code, res := app.do(latch)
	if code != jute.OK || !strings.HasPrefix(res.Path, "/services/passing/latch-00000000") || !other.exists(res.Path) {
		t.Errorf("a latch: %v, %+v; others see it: %v", code, res, other.exists(res.Path))
	}
	if code, seen := app.look(jute.OpGetData, config, false); code != jute.OK || len(seen.Data) != 0 || seen.Stat.DataLength != 0 {
		t.Errorf("%s: %v, %q", config, code, seen.Data)
	}
	if got := word(p.Addr(), "srvr"); !strings.Contains(got, "Mode: ") {
		t.Errorf("srvr: %q", got)
	}
	// A persistent, recursive watch sees what there is to see: others' nodes, and its own when it is released.
	r, _ := app.ask(func(xid int32) []byte {
		w := jute.Request{Xid: xid, Op: jute.OpAddWatch}.Write()
		w.Text("/services/passing")
		w.Int(1)
		return w.Frame()
	})
	if r.Err != jute.OK {
		t.Fatalf("addWatch: %v", r.Err)
	}
	other.do(create("/services/passing/theirs", ""))
	app.exists("/")
	if got, want := app.heard(), "1 /services/passing/theirs"; got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// A number says who may be told apart, not in which order: where everything is a registration it is held like others.
func TestNumberedRegistrations(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "&paths=/members/*")
	g := run(t, p, &hold.Gate{})
	app, other := speak(t, p.Addr()), speak(t, s.address())
	app.mkdir("/members")
	member := create("/members/member_", "127.0.0.1:80")
	member.Flags = jute.FlagEphemeralSequential
	names := map[string]bool{}
	for range 3 {
		code, res := app.do(member)
		if code != jute.OK || !strings.HasPrefix(res.Path, "/members/member_2") || len(res.Path) != len("/members/member_0000000000") {
			t.Fatalf("%v, %+v", code, res)
		}
		if !app.exists(res.Path) || other.exists(res.Path) {
			t.Errorf("%s: the application sees it: %v, others: %v", res.Path, app.exists(res.Path), other.exists(res.Path))
		}
		names[res.Path] = true
	}
	put(t, g, instance(0))
	for name := range names {
		if !other.exists(name) {
			t.Errorf("%s is not there after its release", name)
		}
	}
	if len(names) != 3 {
		t.Errorf("three have %d names", len(names))
	}
}

// An ACL is that of the application, whose session makes the node: nobody else can read it.
func TestAccessIsTheApplications(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	g := run(t, p, &hold.Gate{Annotate: true})
	app, other := speak(t, p.Addr()), speak(t, s.address())
	auth := func(xid int32) []byte {
		w := jute.Request{Xid: jute.XidAuth, Op: jute.OpAuth}.Write()
		w.Int(0)
		w.Text("digest")
		w.Bytes([]byte("me:secret"))
		return w.Frame()
	}
	app.say(auth)
	if r, _ := app.hear(jute.XidAuth); r.Err != jute.OK {
		t.Fatalf("auth: %v", r.Err)
	}
	c := create("/services/mine/1", `{"payload":{"metadata":{}}}`)
	c.ACL = []jute.ACL{{Perms: 31, Scheme: "auth"}}
	if code, _ := app.do(c); code != jute.OK {
		t.Fatalf("create: %v", code)
	}
	put(t, g, instance(0))
	if code, _ := other.look(jute.OpGetData, c.Path, false); code != jute.NoAuth {
		t.Errorf("others read it: %v", code)
	}
	if code, seen := app.look(jute.OpGetData, c.Path, false); code != jute.OK || !strings.Contains(string(seen.Data), "crossfade.incarnation") {
		t.Errorf("the application reads %v, %q", code, seen.Data)
	}
	remove(t, g)
	other.say(auth)
	other.hear(jute.XidAuth)
	if other.exists(c.Path) {
		t.Error("it is there after its leave")
	}
}

// What stands in the way is told to the application, as by a server: the node of the process before, whose session runs on.
func TestNodeOfTheProcessBefore(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	g := run(t, p, &hold.Gate{})
	before, app, other := speak(t, s.address()), speak(t, p.Addr()), speak(t, s.address())
	other.mkdir("/services/before")
	node := create("/services/before/1", "x")
	before.do(node)
	if code, _ := app.do(node); code != jute.NodeExists {
		t.Errorf("create: %v, want %v", code, jute.NodeExists)
	}
	if c := g.Count(); c.Held != 0 {
		t.Errorf("%d are held", c.Held)
	}
	if code, _ := app.do(jute.Change{Op: jute.OpDelete, Path: node.Path, Version: -1}); code != jute.OK || other.exists(node.Path) {
		t.Errorf("delete: %v", code)
	}
	if code, _ := app.do(node); code != jute.OK || other.exists(node.Path) {
		t.Errorf("create: %v, and others see it: %v", code, other.exists(node.Path))
	}
	// Somebody takes the name while it is held: that is an error of the release, and nothing of theirs is touched.
	other.do(node)
	if err := g.Put(t.Context(), instance(0)); err == nil || !strings.Contains(err.Error(), "somebody else has it there") {
		t.Errorf("Put: %v", err)
	}
	remove(t, g)
	if _, seen := other.look(jute.OpExists, node.Path, false); seen.Stat.Owner != other.session {
		t.Errorf("after the leave it is there: %+v", seen.Stat)
	}
}

// A session that this proxy has not seen begin may have had registrations held by a proxy before it: it ends.
func TestSessionsOfBefore(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	run(t, p, &hold.Gate{})
	app, other := speak(t, s.address()), speak(t, s.address())
	app.mkdir("/locks")
	app.do(create("/locks/mine", ""))
	app.address = p.Addr()
	if got := app.connect(); got.TimeoutMS != 0 || got.Session != 0 || len(got.Password) != 16 {
		t.Errorf("it is answered %+v, want that the session has expired", got)
	}
	if other.exists("/locks/mine") {
		t.Error("its nodes are still there: the application would wait for its own lock")
	}
	app.session, app.zxid, app.password = 0, 0, make([]byte, 16)
	if got := app.connect(); got.TimeoutMS <= 0 {
		t.Errorf("a new session: %+v", got)
	}
}

// An application that has died has left its nodes behind, until its session runs out. Its agent does not wait for that.
func TestTheDeadAreTakenOutAtOnce(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	g := run(t, p, &hold.Gate{})
	app, other := speakFor(t, p.Addr(), 4*time.Second), speak(t, s.address())
	app.mkdir("/services/dead")
	app.mkdir("/locks")
	app.do(create("/services/dead/1", "x"))
	app.do(create("/locks/dead", "x"))
	put(t, g, instance(0))
	app.hangUp()
	eventually(t, "the proxy knows", func() bool {
		for _, s := range sessions(p) {
			s.mu.Lock()
			gone := s.link == nil
			s.mu.Unlock()
			return gone
		}
		return false
	})
	remove(t, g)
	if other.exists("/services/dead/1") {
		t.Error("it is there after its leave")
	}
	if !other.exists("/locks/dead") {
		t.Error("its lock is gone: it might be connecting again")
	}
	// It is, and notices nothing.
	if got := app.connect(); got.TimeoutMS <= 0 || got.Session != app.session {
		t.Fatalf("it connects again: %+v", got)
	}
	if !app.exists("/services/dead/1") || !app.exists("/locks/dead") {
		t.Error("it does not find itself")
	}
	// What never comes back is forgotten.
	app.hangUp()
	eventually(t, "its session is forgotten", func() bool { return len(sessions(p)) == 0 })
}

func sessions(p *Proxy) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*session
	for _, s := range p.sessions {
		all = append(all, s)
	}
	return all
}

// What an application asks without waiting for answers is answered in order, with what the gate does between.
func TestAnswersStayInOrder(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	g := run(t, p, &hold.Gate{})
	app := speak(t, p.Addr())
	app.mkdir("/services/order")
	moved := make(chan struct{})
	const nodes = 100
	go func() {
		again := func(err error) bool { return err != nil && t.Context().Err() == nil } // it gives up after some seconds
		for again(g.Put(t.Context(), instance(0))) {
		}
		for again(g.Remove(t.Context(), "a-1")) {
		}
		close(moved)
	}()
	var asked []int32
	for i := range nodes {
		node := create(fmt.Sprintf("/services/order/%d", i), "x")
		asked = append(asked, app.say(node.Frame), app.say(jute.Look{Op: jute.OpGetData, Path: node.Path, Watch: true}.Frame),
			app.say((&jute.Change{Op: jute.OpSetData, Path: node.Path, Data: []byte("y"), Version: 0}).Frame),
			app.say(jute.Look{Op: jute.OpExists, Path: node.Path}.Frame))
	}
	for i, xid := range asked {
		if r, _ := app.hear(xid); r.Err != jute.OK {
			t.Errorf("request %d of node %d: %v", i%4, i/4, r.Err)
		}
	}
	if got := strings.Count(app.heard(), "3 /services/order/"); got != nodes {
		t.Errorf("%d of %d changes were heard", got, nodes)
	}
	<-moved
	if _, seen := speak(t, s.address()).look(jute.OpGetChildren, "/services/order", false); len(seen.Children) > 0 {
		t.Errorf("others find %v", seen.Children)
	}
	if _, seen := app.look(jute.OpGetChildren, "/services/order", false); len(seen.Children) != nodes {
		t.Errorf("the application finds %d", len(seen.Children))
	}
}

// The first server of a list may be gone: nothing is lost but the time to find that out.
func TestServersOfAList(t *testing.T) {
	t.Parallel()
	s := shared(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := nobody.Addr().String()
	nobody.Close()
	p := open(t, gone+","+s.address()+","+gone, "")
	run(t, p, &hold.Gate{})
	for range 3 {
		if app := speak(t, p.Addr()); !app.exists("/") {
			t.Error("it finds nothing")
		}
	}
	if got := p.order()[0]; got != s.address() {
		t.Errorf("the first to be tried is %s, want the one that answered, %s", got, s.address())
	}
}

// To the servers it may be TLS, to the application it is loopback.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := shared(t)
	file, config := certificate(t)
	front, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	go func() {
		for {
			in, err := front.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", s.address())
				if err != nil {
					return
				}
				defer out.Close()
				go io.Copy(out, in)
				io.Copy(in, out)
			}()
		}
	}()
	p := open(t, front.Addr().String(), "&ca="+file+"&server-name=zk.example.com")
	run(t, p, &hold.Gate{})
	if app := speak(t, p.Addr()); !app.exists("/") {
		t.Error("it finds nothing")
	}
	// Another name is another server.
	wrong := open(t, front.Addr().String(), "&ca="+file+"&server-name=other.example.com")
	run(t, wrong, &hold.Gate{})
	lost := &speaker{T: t, address: wrong.Addr(), timeout: time.Second, password: make([]byte, 16)}
	if got := lost.connect(); got.TimeoutMS != 0 {
		t.Errorf("with another name it is answered %+v", got)
	}
	lost.hangUp()
	if err := wrong.isAway(); err == nil || !strings.Contains(err.Error(), "other.example.com") {
		t.Errorf("it is away: %v", err)
	}
}

func certificate(t *testing.T) (string, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"zk.example.com"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

// What cannot be read, and could be a registration, is refused, and people hear of it.
func TestWhatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	told := make(chan string, 10)
	run(t, p, &hold.Gate{Tell: func(kind, reason string) { told <- kind + " " + reason }})
	app := speak(t, p.Addr())
	app.mkdir("/services/unread")
	r, _ := app.ask(func(xid int32) []byte {
		w := jute.Request{Xid: xid, Op: jute.OpCreate2}.Write()
		w.Change(&jute.Change{Op: jute.OpCreate2, Path: "/services/unread/1", Flags: 1})
		w.Text("what a later version says")
		return w.Frame()
	})
	if r.Err != jute.BadArguments {
		t.Errorf("it is answered %v, want %v", r.Err, jute.BadArguments)
	}
	select {
	case got := <-told:
		if !strings.HasPrefix(got, "hold.unread create /services/unread/1 in zookeeper ") {
			t.Errorf("people hear %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("people hear nothing")
	}
	if app.exists("/services/unread/1") {
		t.Error("it is there")
	}
}

// Pings and logins have numbers of their own, and pass unseen: nothing else comes in by them.
func TestNumbersThatAreNotForQuestions(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	run(t, p, &hold.Gate{})
	peer := speak(t, s.address())
	peer.mkdir("/services/numbers")
	for _, xid := range []int32{jute.XidEvent, jute.XidPing, jute.XidAuth} {
		app, c := speak(t, p.Addr()), create(fmt.Sprintf("/services/numbers/%d", xid), "")
		_, _ = app.conn.Write(c.Frame(xid))
		if _, err := io.Copy(io.Discard, app.in); err != nil { // until the proxy hangs up
			t.Errorf("%d: %v", xid, err)
		}
		if peer.exists(c.Path) {
			t.Errorf("%d: a registration came past the gate", xid)
		}
	}
}

// Nobody can make the proxy fall over, or wait for more than it was promised.
func FuzzConnections(f *testing.F) {
	c := jute.Connect{TimeoutMS: 4000, Password: make([]byte, 16)}
	node := create("/services/a/1", "x")
	f.Add(append(c.Frame(), node.Frame(1)...))
	f.Add(append(c.Frame(), jute.Multi(1, []jute.Change{node, {Op: jute.OpDelete, Path: node.Path, Version: 1}})...))
	f.Add([]byte("ruok"))
	f.Fuzz(func(t *testing.T, said []byte) {
		server, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		go answering(server, jute.Connected{TimeoutMS: 4000, Session: 1, Password: make([]byte, 16)}, func(jute.Request) jute.Code { return jute.OK })
		p := open(t, server.Addr().String(), "")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx, &hold.Gate{}) }()
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(said)
		_ = conn.(*net.TCPConn).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, err = io.Copy(io.Discard, conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the proxy waits for ever")
		}
		conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// answering is a server that begins as it is told to, and answers every request with a code and nothing else.
func answering(l net.Listener, begin jute.Connected, code func(jute.Request) jute.Code) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := jute.ReadFrame(conn); err != nil {
				return
			}
			conn.Write(begin.Frame())
			for {
				frame, err := jute.ReadFrame(conn)
				if err != nil {
					return
				}
				q, _, err := jute.ReadRequest(jute.Body(frame))
				if err != nil {
					return
				}
				conn.Write(jute.Reply{Xid: q.Xid, Zxid: 1, Err: code(q)}.Write().Frame())
			}
		}()
	}
}

// What has no room for a mark is passed on as it is, and people hear that once.
func TestNoRoomForAMark(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	told := make(chan string, 100)
	g := run(t, p, &hold.Gate{Annotate: true, Tell: func(kind, reason string) {
		if kind == "hold.unread" {
			told <- reason
		}
	}})
	app, other := speak(t, p.Addr()), speak(t, s.address())
	app.mkdir("/services/room")
	app.do(create("/services/room/held", "127.0.0.1:80"))
	for _, ramp := range []float64{0.5, 1} {
		put(t, g, instance(ramp))
	}
	app.do(create("/services/room/late", "127.0.0.1:81"))
	for _, name := range []string{"/services/room/held", "/services/room/late"} {
		if _, seen := other.look(jute.OpGetData, name, false); !strings.HasPrefix(string(seen.Data), "127.0.0.1:8") {
			t.Errorf("others find %q at %s", seen.Data, name)
		}
		if got := <-told; !strings.HasPrefix(got, name+" in zookeeper ") {
			t.Errorf("people hear %q, want it of %s", got, name)
		}
	}
	if len(told) > 0 {
		t.Errorf("people hear more: %s", <-told)
	}
}

// A client that comes back says what it watches. What it believes to be there is not deleted to it, and it hears of a change.
func TestWatchesOfAClientThatComesBack(t *testing.T) {
	t.Parallel()
	s := shared(t)
	p := open(t, s.address(), "")
	g := run(t, p, &hold.Gate{})
	app, other := speak(t, p.Addr()), speak(t, s.address())
	app.mkdir("/services/watches")
	node := create("/services/watches/1", "x")
	app.do(node)
	watch := func() {
		t.Helper()
		app.connect()
		w := jute.Watches{Op: jute.OpSetWatches, Zxid: app.zxid}
		w.Paths[jute.WatchesData], w.Paths[jute.WatchesChild] = []string{node.Path, "/services"}, []string{node.Path}
		app.say(func(int32) []byte { return w.Frame(jute.XidSetWatches) })
		if r, _ := app.hear(jute.XidSetWatches); r.Err != jute.OK {
			t.Fatalf("setWatches: %v", r.Err)
		}
		app.exists("/")
		if got := app.heard(); got != "" {
			t.Errorf("it hears %s", got)
		}
	}
	set := jute.Change{Op: jute.OpSetData, Path: node.Path, Data: []byte("y"), Version: -1}
	heard := func(want string) {
		t.Helper()
		app.exists("/")
		if got := app.heard(); got != want {
			t.Errorf("it hears %q, want %q", got, want)
		}
	}
	watch()
	app.do(set)
	heard("3 /services/watches/1")
	watch()
	put(t, g, instance(0)) // what it watches is armed at the server with this
	heard("")
	other.do(set)
	heard("3 /services/watches/1")
	watch()
	remove(t, g)
	heard("")
	app.do(jute.Change{Op: jute.OpDelete, Path: node.Path, Version: -1})
	heard("2 /services/watches/1")
}
