package serve_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/serve"
)

const often = time.Millisecond

// shown is the serial number of the certificate that a new connection to shop.test gets.
func (g *gateway) shown() string {
	g.t.Helper()
	c := mustDialTLS(g.t, g.addr("a"), unchecked("shop.test"))
	defer c.Close()
	return c.serial()
}

func TestReloadUnderLoad(t *testing.T) {
	const clients, renewals = 8, 10
	ca, files := newAuthority(t, "ca"), newFolder(t)
	g := start(t, serve.Options{LookEvery: often}, secure(endpoint(t, hello), files.server(ca, "shop.test")))
	old := mustDialTLS(t, g.addr("a"), unchecked("shop.test"))
	old.wantStatus(t, "shop.test", 200)

	var done atomic.Bool
	var served, failed atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for !done.Load() {
				c, err := dialTLS(g.addr("a"), &tls.Config{RootCAs: ca.pool(), ServerName: "shop.test"})
				if err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				for range 3 {
					if status, _, err := c.ask("shop.test"); status != 200 || err != nil {
						failed.Add(1)
					} else {
						served.Add(1)
					}
				}
				_ = c.Close()
			}
		})
	}
	for i := range renewals {
		l := ca.issue(nil, "shop.test")
		if i%2 == 0 {
			files.put("server-shop.test", l)
		} else { // in place, in any order
			for name, data := range map[string][]byte{"server-shop.test.crt": l.cert, "server-shop.test.key": l.key} {
				if err := os.WriteFile(filepath.Join(files.path, name), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		eventually(t, "the new certificate is shown", func() bool { return g.shown() == l.serial })
	}
	done.Store(true)
	all.Wait()
	old.wantStatus(t, "shop.test", 200) // it lives on
	if failed.Load() != 0 || served.Load() < clients {
		t.Errorf("got %d failed of %d, want none of many", failed.Load(), served.Load())
	}
	if err := g.s.Err(); err != nil {
		t.Errorf("got %v, want nothing wrong", err)
	}
}

// Kubernetes keeps a volume's files behind a link, and swaps that.
func TestALinkIsSwapped(t *testing.T) {
	ca := newAuthority(t, "ca")
	dir := t.TempDir()
	volume := func(name string) string {
		l, sub := ca.issue(nil, "shop.test"), filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		folder{t, sub}.put("tls", l)
		if err := os.Symlink(name, filepath.Join(dir, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		return l.serial
	}
	first := volume("..1")
	s := fleet.ServerTLS{Hosts: []string{"*"}, Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	for _, path := range []string{s.Certificate, s.Key} {
		if err := os.Symlink(filepath.Join("..data", filepath.Base(path)), path); err != nil {
			t.Fatal(err)
		}
	}
	g := start(t, serve.Options{LookEvery: often}, secure(endpoint(t, hello), s))
	if got := g.shown(); got != first {
		t.Errorf("got %s, want %s", got, first)
	}
	for _, name := range []string{"..2", "..3"} {
		next := volume(name)
		eventually(t, "the swap is noticed", func() bool { return g.shown() == next })
	}
}

func TestAMismatchKeepsTheLastGoodPair(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	log := new(journal)
	s := files.server(ca, "shop.test")
	v := secure(endpoint(t, hello), s)
	g := start(t, serve.Options{LookEvery: often, Log: slog.New(slog.NewTextHandler(log, nil))}, v)
	good := g.shown()

	bad := ca.issue(nil, "shop.test")
	for _, c := range []struct {
		what   string
		damage func()
	}{
		{"only the certificate is replaced", func() { files.write("server-shop.test.crt", bad.cert) }},
		{"only the key is replaced", func() { files.write("server-shop.test.key", bad.key) }},
		{"the certificate is torn", func() { files.write("server-shop.test.crt", bad.cert[:40]) }},
		{"the key is empty", func() { files.write("server-shop.test.key", nil) }},
		{"the certificate is gone", func() { _ = os.Remove(s.Certificate) }},
	} {
		intact := map[string][]byte{}
		for _, path := range []string{s.Certificate, s.Key} {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			intact[filepath.Base(path)] = data
		}
		c.damage()
		eventually(t, c.what, func() bool { return g.s.Err() != nil })
		err := g.s.Err()
		if !errors.Is(err, serve.ErrNotReloaded) || !strings.Contains(err.Error(), "listener a: TLS for shop.test") || !strings.Contains(err.Error(), "server-shop.test") {
			t.Errorf("%s: got %v, want it to name listener, hosts and file, and that older files are served", c.what, err)
		}
		if err := g.s.Unserved(); err != nil {
			t.Errorf("%s: got %v unserved, want nothing", c.what, err)
		}
		if err := g.apply(v); !errors.Is(err, serve.ErrNotReloaded) {
			t.Errorf("%s: Apply says %v, want the same", c.what, err)
		}
		if got := g.shown(); got != good {
			t.Errorf("%s: got certificate %s, want the last good one, %s", c.what, got, good)
		}
		for name, data := range intact {
			files.write(name, data)
		}
		eventually(t, c.what+", and repaired", func() bool { return g.s.Err() == nil })
	}
	if n := log.count("TLS files cannot be used"); n < 5 || n > 50 {
		t.Errorf("got %d log lines about 5 mishaps, want one for each reason, not for each look", n)
	}
	files.put("server-shop.test", bad)
	eventually(t, "a whole pair is taken", func() bool { return g.shown() == bad.serial })
}

func TestFilesThatAreMissingAtTheStart(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	late, torn := files.server(ca, "late.test"), files.mutual(files.server(ca, "torn.test"), ca)
	certificate, err := os.ReadFile(late.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(late.Certificate); err != nil {
		t.Fatal(err)
	}
	files.write(filepath.Base(torn.ClientCA), []byte("no certificate"))
	log := new(journal)
	s := serve.New(proxy.New(proxy.Options{}), serve.Options{LookEvery: often, Log: slog.New(slog.NewTextHandler(log, nil))})
	g := &gateway{t: t, s: s, err: make(chan error, 1)}
	err = g.apply(secure(endpoint(t, hello), files.server(ca, "*"), late, torn))
	for _, want := range []string{"late.test", late.Certificate, "torn.test", torn.ClientCA} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	if errors.Is(err, serve.ErrNotReloaded) {
		t.Errorf("got %v, want no word of older files: there are none", err)
	}
	if err := s.Unserved(); err == nil || !strings.Contains(err.Error(), "late.test") {
		t.Errorf("got %v unserved, want the server that has no certificate", err)
	}
	g.run()
	mustDialTLS(t, g.addr("a"), unchecked("other.test")).wantStatus(t, "other.test", 200)
	for _, sni := range []string{"late.test", "torn.test"} { // the server for all is not one for these
		_, err := dialTLS(g.addr("a"), unchecked(sni))
		wantAlert(t, err, "internal error")
	}
	if n := log.count("TLS files cannot be used"); n != 2 {
		t.Errorf("got %d log lines, want 2", n)
	}
	files.write("server-late.test.crt", certificate)
	eventually(t, "the certificate has come", func() bool {
		c, err := dialTLS(g.addr("a"), unchecked("late.test"))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	files.write(filepath.Base(torn.ClientCA), ca.pem)
	eventually(t, "all is well", func() bool { return s.Err() == nil })
}

func TestALapsedCertificateIsServed(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	certificate, key := files.put("old", ca.issue(expired, "shop.test"))
	log := new(journal)
	g := start(t, serve.Options{LookEvery: often, Log: slog.New(slog.NewTextHandler(log, nil))},
		secure(endpoint(t, hello), fleet.ServerTLS{Hosts: []string{"*"}, Certificate: certificate, Key: key}))
	mustDialTLS(t, g.addr("a"), unchecked("shop.test")).wantStatus(t, "shop.test", 200)
	if n := log.count("has lapsed"); n != 1 {
		t.Errorf("got %d warnings, want 1", n)
	}
	if err := g.s.Err(); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// What TLS opens, it closes: handshakes that succeed, fail or never end leave nothing behind.
func TestTLSLeavesNothingBehind(t *testing.T) {
	ca, files := newAuthority(t, "ca"), newFolder(t)
	e := endpoint(t, hello)
	v := secure(e, files.server(ca, "shop.test"), files.mutual(files.server(ca, "till.test"), ca))
	visit := func() {
		g := start(t, serve.Options{LookEvery: often, Timers: quiet(20 * time.Millisecond), MaxHandshakes: 4}, v)
		for range 10 {
			c := mustDialTLS(t, g.addr("a"), unchecked("shop.test"))
			c.wantStatus(t, "shop.test", 200)
			if _, err := dialTLS(g.addr("a"), unchecked("nobody.test")); err == nil {
				t.Error("got a connection for nobody")
			}
			if k, err := dialTLS(g.addr("a"), unchecked("till.test")); err == nil {
				_, _, _ = k.ask("till.test")
				_ = k.Close()
			}
			silent, err := dial(g.addr("a"))
			if err != nil {
				t.Fatal(err)
			}
			_ = silent.Close()
			_ = c.Close()
		}
		if err := g.leave(); err != nil {
			t.Error(err)
		}
	}
	visit()
	goroutines, files0 := runtime.NumGoroutine(), descriptors(t)
	for range 3 {
		visit()
	}
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	eventually(t, "all files are closed", func() bool { return descriptors(t) <= files0+2 })
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(list)
}

// A journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// count returns how many lines hold what.
func (j *journal) count(what string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), what)
}
