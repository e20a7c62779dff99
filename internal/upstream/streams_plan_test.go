package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/http2"
)

// A passage is one request for a stream: when it comes and how long it stays and waits at most, in seconds.
type passage struct {
	At, For, Patience int
	Ends              string // how
}

// A crowd is what comes to one pool, and what happens to the endpoint's connections.
type crowd struct {
	allowed, streams, conns, pending, requests int // bounds: the endpoint's, and those of Options
	passages                                   []passage
	leaves, breaks                             int // when the endpoint does, in seconds; 0: never
}

func drawCrowd(t *rapid.T) crowd {
	few := rapid.IntRange(1, 4)
	return crowd{
		allowed: few.Draw(t, "allowed"), streams: few.Draw(t, "streams"), conns: few.Draw(t, "conns"),
		pending: rapid.SampledFrom([]int{-1, 1, 5}).Draw(t, "pending"), requests: rapid.IntRange(0, 3).Draw(t, "requests"),
		passages: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) passage {
			return passage{
				At: rapid.IntRange(0, 20).Draw(t, "at"), For: rapid.IntRange(0, 10).Draw(t, "for"),
				Patience: rapid.IntRange(1, 10).Draw(t, "patience"),
				Ends:     rapid.SampledFrom([]string{"put", "close"}).Draw(t, "ends"),
			}
		}), 1, 40).Draw(t, "passages"),
		leaves: rapid.IntRange(0, 20).Draw(t, "leaves"), breaks: rapid.IntRange(0, 20).Draw(t, "breaks"),
	}
}

// Nobody waits while there is room or a connection may be made; no connection carries more than it may; there are no
// more that take streams than there may be; and in the end nothing is left.
func TestNobodyWaitsInVainForAStream(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawCrowd(rt)
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = plan.run(t) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func (c *crowd) run(t *testing.T) (problem string) {
	t.Helper()
	s := newSite(http2.Options{MaxStreams: c.allowed}, forever)
	p := New(netip.AddrPort{}, Options{
		Dial: s.dial, MaxStreams: c.streams, MaxConns: c.conns, MaxPending: c.pending, MaxRequests: c.requests,
	}, new(evidence.Traffic))
	var all sync.WaitGroup
	for _, v := range c.passages {
		all.Go(func() { v.make(t, p) })
	}
	for second := range 60 {
		synctest.Wait()
		if problem == "" {
			problem = c.wrong(second, p, s)
		}
		switch second + 1 {
		case c.leaves:
			s.each((*http2.Server).LeaveNow)
		case c.breaks:
			s.each((*http2.Server).Close)
		}
		time.Sleep(time.Second)
	}
	all.Wait()
	p.Close()
	s.close()
	time.Sleep(time.Minute)
	if places, _, _ := open(p); places != 0 || len(p.streams.links)+len(p.streams.queue)+p.streams.making != 0 ||
		p.traffic.ActiveConnects.Load() != 0 {
		problem += fmt.Sprintf("; in the end %d places are taken, %d links are there", places, len(p.streams.links))
	}
	return problem
}

func (v *passage) make(t *testing.T, p *Pool) {
	t.Helper()
	time.Sleep(time.Duration(v.At) * time.Second)
	now := time.Now()
	c, err := p.Open(t.Context(), now, now.Add(time.Duration(v.Patience)*time.Second), posted, true)
	if err != nil {
		if !errors.Is(err, ErrWait) && !errors.Is(err, ErrOverflow) {
			t.Error(err)
		}
		return
	}
	time.Sleep(time.Duration(v.For) * time.Second)
	if v.Ends == "close" {
		_ = c.Close()
	}
	p.Put(c, time.Now())
}

// wrong says what is, when all have come as far as they can.
// fleeting is how many streams end in the moment in which they begin. The server may not have seen to them when the next comes, and
// refuses that where it has too many of the kind: it cannot tell them from a flood.
func (c *crowd) fleeting() (n uint64) {
	for _, p := range c.passages {
		if p.For == 0 {
			n++
		}
	}
	return n
}

func (c *crowd) wrong(second int, p *Pool, s *site) string {
	p.streams.mu.Lock()
	defer p.streams.mu.Unlock()
	room, carried := 0, 0
	for _, l := range p.streams.links {
		if p.room(l) {
			room++
		}
		carried = max(carried, l.taken)
	}
	takes := len(p.streams.links)
	switch waiting := len(p.streams.queue); {
	case waiting > 0 && (room > 0 || takes < c.conns):
		return fmt.Sprintf("after %d s, %d wait, with room on %d connections of %d, where %d may be", second, waiting, room, takes, c.conns)
	case waiting > max(0, c.pending) && c.streams <= c.allowed: // else some were expected to fit who do not
		return fmt.Sprintf("after %d s, %d wait where %d may", second, waiting, c.pending)
	case carried > min(c.streams, c.allowed) || s.stats.Refused.Load() > c.fleeting():
		return fmt.Sprintf("after %d s, a connection carries %d, and %d were refused", second, carried, s.stats.Refused.Load())
	case takes > c.conns || p.streams.making > 0:
		return fmt.Sprintf("after %d s, %d connections take streams and %d are being made", second, takes, p.streams.making)
	}
	return ""
}
