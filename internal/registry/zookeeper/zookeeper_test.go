package zookeeper

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/registry/registrytest"
)

// TestMain has more tests run at a time than there are processors: they wait, most of the time.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // it is one of package testing's
	os.Exit(m.Run())
}

// TestAtOneServer has all those tests that leave their server alone.
func TestAtOneServer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, test := range map[string]func(*testing.T, *server){
		"suite": suite, "a session that ends": sessionThatEnds, "whose node it is": whoseNodeItIs, "who may do what": whoMayDoWhat,
		"several servers": severalServers, "secured": secured, "instances of Spring": instancesOfSpring, "providers of Dubbo": providersOfDubbo,
		"applications of Dubbo": applicationsOfDubbo, "hosts that become known": hostsThatBecomeKnown,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// suite is that of every registry, in every layout, behind a network that is cut, or that lets nothing through and tells
// nobody.
func suite(t *testing.T, s *server) {
	t.Helper()
	for _, kind := range []layout{curator, dubbo, dubboApp} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			registrytest.Run(t, func(t *testing.T) registrytest.World {
				t.Helper()
				r := newRelay(t, s.address())
				if kind == dubbo {
					return world(t, s, r.listen, string(kind), r.stall, r.flow)
				}
				return world(t, s, r.listen, string(kind), r.cut, func() { r.open(t) })
			})
		})
	}
}

func TestARegistryThatIsKilled(t *testing.T) {
	t.Parallel()
	registrytest.RunAway(t, func(t *testing.T) registrytest.World {
		t.Helper()
		s := newServer(t)
		return world(t, s, s.address(), string(curator), func() { s.kill(t) }, func() { s.start(t) })
	})
}

// A keeper runs a client's Run, and has heard what it told.
func keep(t *testing.T, c *Client) <-chan error {
	t.Helper()
	told := make(chan error, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, func(err error) { told <- err }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return told
}

// put publishes at last, however slow the machine is.
func put(t *testing.T, c *Client, in fleet.Instance) {
	t.Helper()
	for late := time.Now().Add(waitFor); ; {
		err := c.Put(t.Context(), in)
		if err == nil {
			return
		}
		if !errors.Is(err, registry.ErrAway) || time.Now().After(late) {
			t.Fatal(err)
		}
	}
}

// untilNode waits until a node is as wanted; it returns it.
func untilNode(t *testing.T, conn *zk.Conn, path, what string, is func(data []byte, stat *zk.Stat) bool) ([]byte, *zk.Stat) {
	t.Helper()
	for late := time.After(waitFor); ; {
		data, stat, err := conn.Get(path)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			t.Fatal(err)
		}
		if err != nil {
			data, stat = nil, nil
		}
		if is(data, stat) {
			return data, stat
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			t.Fatalf("%s never %s; it is %q, %+v", path, what, data, stat)
		}
	}
}

func gone(_ []byte, stat *zk.Stat) bool    { return stat == nil }
func isThere(_ []byte, stat *zk.Stat) bool { return stat != nil }

// sessionThatEnds during a partition takes everything with it; what was put comes back in the next one, and readers
// were told that the registry was away.
func sessionThatEnds(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	conn := plainly(t, s.address())
	r := newRelay(t, s.address())
	publisher, reader := dial(t, "zookeeper://"+r.listen+root+"?ttl=1s"), dial(t, "zookeeper://"+r.listen+root+"?ttl=1s")
	told := keep(t, publisher)
	put(t, publisher, someone("a-1"))
	f := follow(t, reader)
	f.until(t, "it is listed", func(l registry.List) bool { return len(l.Instances) == 1 })
	_, before := untilNode(t, conn, root+"/reviews/a-1", "was there", isThere)
	r.stall()
	untilNode(t, conn, root+"/reviews/a-1", "was gone", gone)
	if err := <-told; !errors.Is(err, registry.ErrAway) {
		t.Errorf("Run told %v", err)
	}
	r.flow()
	_, after := untilNode(t, conn, root+"/reviews/a-1", "came back", isThere)
	for err := range told {
		if err == nil {
			break
		}
	}
	if before.EphemeralOwner == after.EphemeralOwner {
		t.Error("it is the same session: nothing was tried")
	}
	f.until(t, "it is listed again", func(l registry.List) bool { return len(l.Instances) == 1 })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.away) == 0 || !errors.Is(f.away[0], registry.ErrAway) {
		t.Errorf("the reader was told %v", f.away)
	}
}

// TestAServerThatWantsLongSessions has its way: nobody is impatient, and cuts a connection that is well.
func TestAServerThatWantsLongSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t, "minSessionTimeout=6000")
	r := newRelay(t, s.address())
	url := "zookeeper://" + r.listen + "?ttl=1s"
	alive, dead := dial(t, url), dial(t, url)
	f := follow(t, dial(t, url))
	put(t, alive, someone("alive"))
	put(t, dead, someone("dead"))
	f.until(t, "both are listed", func(l registry.List) bool { return len(l.Instances) == 2 })
	_ = dead.Close()
	f.until(t, "the dead one is gone", func(l registry.List) bool { return len(l.Instances) == 1 }) // six seconds
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken > 6 { // three, and some more on a machine that has other things to do
		t.Errorf("three clients made %d connections", r.taken)
	}
}

// whoseNodeItIs: what a process of ours left is replaced, what is somebody else's is not touched.
func whoseNodeItIs(t *testing.T, s *server) {
	t.Helper()
	conn := plainly(t, s.address())
	root := rootOf(t)
	path := root + "/reviews/a-1"
	first := dial(t, "zookeeper://"+s.address()+root+"?ttl=30s")
	put(t, first, someone("a-1"))
	_, before := untilNode(t, conn, path, "was there", isThere)
	_ = first.Close() // as if its process had died: the session is there for half a minute
	second := dial(t, "zookeeper://"+s.address()+root+"?ttl=30s")
	put(t, second, someone("a-1"))
	if _, now := untilNode(t, conn, path, "was there", isThere); now.EphemeralOwner == before.EphemeralOwner {
		t.Error("it lives by a session whose process is dead")
	}
	if err := second.Remove(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"", "theirs", springJSON("a-1", "10.0.0.1", `{}`), springJSON("a-1", "10.0.0.1", `{"crossfade.incarnation":"b-2"}`)} {
		makeNode(t, conn, path, data, 0)
		if err := second.Put(t.Context(), someone("a-1")); err == nil || errors.Is(err, registry.ErrAway) || !strings.Contains(err.Error(), "somebody else's") {
			t.Errorf("over %q: %v", data, err)
		}
		if err := second.Remove(t.Context(), "a-1"); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if is, _ := untilNode(t, conn, path, "was there", isThere); !bytes.Equal(is, []byte(data)) {
			t.Errorf("%q became %q", data, is)
		}
		if err := conn.Delete(path, -1); err != nil {
			t.Fatal(err)
		}
	}
	// In Dubbo's applications a node is an address: who is there now, is there instead of who was.
	apps := "zookeeper://" + s.address() + root + "/apps?layout=dubbo-app&ttl=30s"
	old, young := dial(t, apps), dial(t, apps)
	put(t, old, someone("a-1"))
	put(t, young, someone("a-2"))
	if err := old.Remove(t.Context(), "a-1"); err != nil {
		t.Fatal(err)
	}
	if is, _ := untilNode(t, conn, root+"/apps/reviews/127.1.0.1:9080", "was there", isThere); !bytes.Contains(is, []byte("a-2")) {
		t.Errorf("who came later is gone: %q", is)
	}
}

// whoMayDoWhat: with a user, what agents publish is theirs.
func whoMayDoWhat(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	stranger := plainly(t, s.address())
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	as := "?ttl=3s&auth=digest:agent&password-file=" + password
	read, creator := dial(t, "zookeeper://"+s.address()+root+"/read"+as), dial(t, "zookeeper://"+s.address()+root+"/creator"+as+"&acl=creator")
	for _, c := range []*Client{read, creator} {
		put(t, c, someone("a-1"))
		in := someone("a-1")
		in.Weight = 7
		put(t, c, in)
		follow(t, c).until(t, "who may reads it", func(l registry.List) bool { return len(l.Instances) == 1 && l.Instances[0].Weight == 7 })
	}
	if err := stranger.Delete(root+"/read/reviews/a-1", -1); !errors.Is(err, zk.ErrNoAuth) {
		t.Errorf("a stranger takes it away: %v", err)
	}
	if _, _, err := stranger.Get(root + "/read/reviews/a-1"); err != nil {
		t.Errorf("a stranger reads it: %v", err)
	}
	if _, _, err := stranger.Get(root + "/creator/reviews/a-1"); !errors.Is(err, zk.ErrNoAuth) {
		t.Errorf("a stranger reads what is the creator's: %v", err)
	}
	other := dial(t, "zookeeper://"+s.address()+root+"/read?ttl=3s")
	if err := other.Put(t.Context(), someone("a-2")); !errors.Is(err, zk.ErrNoAuth) || errors.Is(err, registry.ErrAway) {
		t.Errorf("a stranger publishes beside it: %v", err)
	}
	makeNode(t, stranger, root+"-mixed/reviews/a", springJSON("a", "10.0.0.1", `{}`), 0)
	if _, err := stranger.SetACL(root+"-mixed/reviews/a", zk.DigestACL(zk.PermAll, "somebody", "else"), -1); err != nil {
		t.Fatal(err)
	}
	mixed := dial(t, "zookeeper://"+s.address()+root+"-mixed"+as)
	l := follow(t, mixed).until(t, "what may not be read is told", func(l registry.List) bool { return len(l.Unread) == 1 })
	if !errors.Is(l.Unread[0].Err, zk.ErrNoAuth) {
		t.Errorf("unread: %v", l.Unread)
	}
}

// severalServers: one that refuses, one that says nothing, and one that is taken away; the session goes on at another.
func severalServers(t *testing.T, s *server) {
	t.Helper()
	root := rootOf(t)
	conn := plainly(t, s.address())
	a, b, mute, closed := newRelay(t, s.address()), newRelay(t, s.address()), newRelay(t, s.address()), newRelay(t, s.address())
	mute.stall()
	closed.cut()
	c := dial(t, "zookeeper://"+strings.Join([]string{closed.listen, mute.listen, a.listen, b.listen}, ",")+root+"?ttl=5s")
	in := someone("a-1")
	put(t, c, in) // a mute one takes its time
	_, before := untilNode(t, conn, root+"/reviews/a-1", "was there", isThere)
	for _, r := range []*relay{a, b} {
		r.cut()
		in.Weight++
		put(t, c, in)
		r.open(t)
	}
	_, after := untilNode(t, conn, root+"/reviews/a-1", "was there", isThere)
	if after.EphemeralOwner != before.EphemeralOwner || after.Version != before.Version+2 {
		t.Errorf("session %x and version %d, then %x and %d", before.EphemeralOwner, before.Version, after.EphemeralOwner, after.Version)
	}
}

// secured speaks to a server that is behind TLS.
func secured(t *testing.T, s *server) {
	t.Helper()
	dir := t.TempDir()
	pair := selfSigned(t, dir, "zk.example")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer a.Close()
				b, err := net.Dial("tcp", s.address())
				if err != nil {
					return
				}
				defer b.Close()
				var both sync.WaitGroup
				both.Go(func() { _, _ = io.Copy(a, b); _ = a.Close() })
				both.Go(func() { _, _ = io.Copy(b, a); _ = b.Close() })
				both.Wait()
			}()
		}
	}()
	ca := filepath.Join(dir, "cert.pem")
	put(t, dial(t, "zookeeper://"+l.Addr().String()+rootOf(t)+"?server-name=zk.example&ca="+ca), someone("a-1"))
	for _, bad := range []string{"?server-name=other.example&ca=" + ca, "?server-name=zk.example"} {
		c := dial(t, strings.Replace("zookeepers://"+l.Addr().String()+rootOf(t)+bad, "?", "?ttl=1s&", 1))
		if err := c.Put(t.Context(), someone("a-2")); !errors.Is(err, registry.ErrAway) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
