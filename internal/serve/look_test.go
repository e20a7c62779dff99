package serve

import (
	"net"
	"testing"
	"time"

	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/proxy"
)

// crowded returns a departure from a socket with n connections.
func crowded(n int) *departure {
	s := New(proxy.New(proxy.Options{}), Options{})
	k := newSocket(s, nil, &proxy.Listener{Listener: &fleet.Listener{Name: "a"}})
	client, _ := net.Pipe()
	for range n {
		k.conns[&open{Conn: s.p.NewConn(client, k.door), k: k}] = struct{}{}
	}
	d := s.departureOf(k)
	d.leave.Step(drain.Sight{}, d.began) // no lame duck
	return d
}

// A look at many connections does not allocate, and keeps those who are accepted waiting for less than it takes.
func TestLookAllocatesNothing(t *testing.T) {
	d := crowded(1000)
	now := time.Now()
	if s := d.look(now); s.Conns != 1000 || s.Requests != 0 || s.Parted != 0 || !s.Queued || s.Asked.After(now) {
		t.Fatalf("got %+v", s)
	}
	if n := testing.AllocsPerRun(10, func() { d.look(now) }); n > 1 {
		t.Errorf("got %v allocations a look, want none for the connections", n)
	}
}

// What is being ended is seen apart: it neither waits nor is ended twice.
func TestLookSeesWhatIsParted(t *testing.T) {
	d := crowded(10)
	d.look(time.Now())
	d.perform(drain.Do{Brief: 4}, drain.Draining)
	if s := d.look(time.Now()); s.Conns != 10 || s.Parted != 4 || len(d.brief) != 6 {
		t.Errorf("got %+v and %d more, want 4 of 10 parted", s, len(d.brief))
	}
	d.perform(drain.Do{Brief: 100}, drain.Forced)
	if s := d.look(time.Now()); s.Parted != 10 || len(d.brief) != 0 {
		t.Errorf("got %+v and %d more, want all parted", s, len(d.brief))
	}
}

// BenchmarkLook is what 20,000 connections cost, every time that they are looked at.
func BenchmarkLook(b *testing.B) {
	d := crowded(20_000)
	now := time.Now()
	for b.Loop() {
		d.look(now)
	}
}
