package health

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/fleet"
)

func TestTally(t *testing.T) {
	for _, test := range []struct {
		name  string
		looks string // + passes, - fails
		want  string // + or - where a verdict comes, . where none does
	}{
		{"healthy at the second pass", "++++", ".+.."},
		{"unhealthy at the third failure", "++---", ".+..-"},
		{"a pass between failures starts the count anew", "++--+---", ".+.....-"},
		{"fails from the start", "----", "..-."},
		{"comes back", "++---++", ".+..-.+"},
		{"flaps and is never told twice", "+-+-+-++", ".......+"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tally := tally{check: fleet.Check{Healthy: 2, Unhealthy: 3}}
			var got []byte
			for _, look := range test.looks {
				verdict := byte('.')
				if tally.add(look == '+') {
					verdict = byte(look)
				}
				got = append(got, verdict)
			}
			if string(got) != test.want {
				t.Errorf("looks %s gave %s, want %s", test.looks, got, test.want)
			}
		})
	}
}

// A verdict always contradicts the one before it, and the looks before it agree with it.
func TestTallyLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tally := tally{check: fleet.Check{Healthy: rapid.IntRange(0, 4).Draw(t, "healthy"), Unhealthy: rapid.IntRange(0, 4).Draw(t, "unhealthy")}}
		var told []bool
		streak, last := 0, false
		for range rapid.IntRange(0, 60).Draw(t, "looks") {
			ok := rapid.Bool().Draw(t, "ok")
			if ok != last {
				streak = 0
			}
			streak, last = streak+1, ok
			if !tally.add(ok) {
				continue
			}
			want := max(1, tally.check.Unhealthy)
			if ok {
				want = max(1, tally.check.Healthy)
			}
			if streak < want {
				t.Fatalf("verdict %v after %d looks in a row, want %d", ok, streak, want)
			}
			if n := len(told); n > 0 && told[n-1] == ok {
				t.Fatalf("verdict %v was told twice", ok)
			}
			told = append(told, ok)
		}
	})
}

// watchAll runs a checker over an endpoint whose health is well, in a bubble, and returns when each verdict came.
func TestCheckerFollowsItsTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var well atomic.Bool
		var looks atomic.Int32
		start := time.Now()
		type heard struct {
			at time.Duration
			ok bool
		}
		var verdicts []heard
		c := Checker{
			OnVerdict: func(v Verdict) { verdicts = append(verdicts, heard{time.Since(start), v.Healthy}) },
			Look: func(context.Context, Target) (string, bool) {
				looks.Add(1)
				return "scripted", well.Load()
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		target := Target{Key: "a", Check: fleet.Check{InitialDelay: 5 * time.Second, Interval: 10 * time.Second, Healthy: 1, Unhealthy: 3}}
		c.Set([]Target{target})

		time.Sleep(8 * time.Second)
		synctest.Wait()
		if len(verdicts) != 1 || verdicts[0].ok || verdicts[0].at < 5*time.Second {
			t.Errorf("verdicts %v, want one bad one after the initial delay of 5 s", verdicts)
		}
		well.Store(true)
		time.Sleep(2 * time.Second) // far less than an interval: it is waited for
		synctest.Wait()
		if len(verdicts) != 2 || !verdicts[1].ok {
			t.Errorf("verdicts %v, want a good one soon after it became well", verdicts)
		}
		before := looks.Load()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if n := looks.Load() - before; n < 8 || n > 12 {
			t.Errorf("%d looks in 100 s, want about 10", n)
		}
		c.Set(nil)
		before = looks.Load()
		time.Sleep(100 * time.Second)
		if n := looks.Load() - before; n != 0 {
			t.Errorf("%d looks at a target that left, want 0", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestLook(t *testing.T) {
	var status atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			t.Errorf("path %s, want /health", r.URL.Path)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	get := func(code int32) (string, bool) {
		status.Store(code)
		p := newProbe(Target{Address: address, Check: fleet.Check{Path: "/health"}})
		defer p.close()
		return p.look(t.Context())
	}
	for _, test := range []struct {
		code int32
		want bool
	}{{200, true}, {204, true}, {302, true}, {399, true}, {404, false}, {500, false}, {503, false}} {
		if reason, ok := get(test.code); ok != test.want {
			t.Errorf("HTTP %d is healthy: %v (%s), want %v", test.code, ok, reason, test.want)
		}
	}
	tcp := newProbe(Target{Address: address})
	if reason, ok := tcp.look(t.Context()); !ok {
		t.Errorf("TCP: %s, want healthy", reason)
	}
	server.Close()
	if reason, ok := tcp.look(t.Context()); ok || reason != "dial: connect: connection refused" {
		t.Errorf("TCP to a closed port: %v, %q", ok, reason)
	}
}

func TestNoAnswerInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newProbe(Target{
		Address: netip.MustParseAddrPort(l.Addr().String()),
		Check:   fleet.Check{Path: "/", Timeout: 20 * time.Millisecond},
	})
	defer p.close()
	if reason, ok := p.look(t.Context()); ok || reason != "no answer in time" {
		t.Errorf("look = %v, %q, want no answer in time", ok, reason)
	}
}

// A check over TLS asks whether the endpoint answers, not who it is. One in plaintext is no check of it.
func TestLookOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			t.Error("the check came in plaintext")
		}
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	for _, c := range []struct {
		check fleet.Check
		want  string
		ok    bool
	}{
		{fleet.Check{Path: "/", HTTPS: true}, "HTTP 200", true},
		{fleet.Check{Path: "/"}, "HTTP 400", false},
		{fleet.Check{}, "connected", true},
	} {
		p := newProbe(Target{Address: address, Check: c.check})
		if reason, ok := p.look(t.Context()); reason != c.want || ok != c.ok {
			t.Errorf("%+v: got %q, %v; want %q, %v", c.check, reason, ok, c.want, c.ok)
		}
		p.close()
	}
}
