package upstream

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// A visit is one request of a plan: when it comes, to which address, how long it has its connection, how long it
// would wait for one (0: for ever), and what it does with it then.
type visit struct {
	At, For, Patience int // seconds
	Pool              int
	Fresh             bool
	End               string // "put", "close", "put dead", "fail to connect"
}

type limitsPlan struct {
	Bounds   Bounds
	MaxConns int
	Visits   []visit
}

func drawLimits(t *rapid.T) limitsPlan {
	pools := rapid.IntRange(1, 4).Draw(t, "pools")
	few := rapid.IntRange(0, 3)
	return limitsPlan{
		Bounds:   Bounds{Conns: rapid.IntRange(1, 4).Draw(t, "conns"), Requests: few.Draw(t, "requests"), Pending: few.Draw(t, "pending")},
		MaxConns: rapid.IntRange(1, 4).Draw(t, "own bound"),
		Visits: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) visit {
			return visit{
				At: rapid.IntRange(0, 6).Draw(t, "at"), For: few.Draw(t, "for"), Patience: few.Draw(t, "patience"),
				Pool: rapid.IntRange(0, pools-1).Draw(t, "pool"), Fresh: rapid.IntRange(0, 4).Draw(t, "fresh") == 0,
				End: rapid.SampledFrom([]string{"put", "put", "put", "close", "put dead", "fail to connect"}).Draw(t, "end"),
			}
		}), 1, 24).Draw(t, "visits"),
	}
}

// Whatever comes and goes, at the same instant or not: the bounds hold, nobody waits for a place while one is free or
// idle, everybody is answered, and nothing is left.
func TestLimitsHoldAndNobodyStarves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := drawLimits(rt)
		if faults := runLimits(t, plan); len(faults) > 0 {
			rt.Fatal(strings.Join(faults, "\n"))
		}
	})
}

func runLimits(t *testing.T, plan limitsPlan) (faults []string) {
	t.Helper()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	synctest.Test(t, func(t *testing.T) {
		l := NewLimits(plan.Bounds)
		pools, count := limited(4, l, Options{MaxConns: plan.MaxConns})
		var answered, busy, mostBusy atomic.Int64
		start := time.Now()
		for _, v := range plan.Visits {
			go func() {
				defer answered.Add(1)
				time.Sleep(time.Duration(v.At) * time.Second)
				visitOnce(t.Context(), pools[v.Pool], v, &busy, &mostBusy)
			}()
		}
		for range 200 { // more than all visits take one after the other
			synctest.Wait()
			if s := stuck(l, pools); s != "" {
				fault("after %v: %s", time.Since(start), s)
			}
			time.Sleep(time.Second)
		}
		if n := int(answered.Load()); n != len(plan.Visits) {
			fault("%d of %d were answered", n, len(plan.Visits))
		}
		if n := int(count.most.Load()); n > plan.Bounds.Conns {
			fault("%d connections at once", n)
		}
		if n := int(mostBusy.Load()); plan.Bounds.Requests > 0 && n > plan.Bounds.Requests {
			fault("%d requests at once", n)
		}
		for i, p := range pools {
			p.Close()
			if open, idle, waiting := open(p); open+idle+waiting > 0 {
				fault("pool %d: %d open, %d idle, %d waiting are left", i, open, idle, waiting)
			}
		}
		if n := l.open + len(l.queue) + len(l.held) + int(l.pending.Load()+l.requests.Load()+l.waiting.Load()+count.now.Load()); n > 0 {
			fault("%+v and %d connections are left", l, count.now.Load())
		}
	})
	return faults
}

func visitOnce(ctx context.Context, p *Pool, v visit, busy, most *atomic.Int64) {
	var deadline time.Time
	if v.Patience > 0 {
		deadline = time.Now().Add(time.Duration(v.Patience) * time.Second)
	}
	if v.End == "fail to connect" {
		gone, cancel := context.WithCancel(ctx)
		cancel()
		ctx = gone
	}
	c, err := p.Get(ctx, time.Now(), deadline, v.Fresh)
	if err != nil {
		return
	}
	for n := busy.Add(1); ; {
		if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
			break
		}
	}
	time.Sleep(time.Duration(v.For) * time.Second)
	busy.Add(-1)
	if v.End == "close" {
		_ = c.Close()
	}
	p.Put(c, time.Now())
	if v.End == "put dead" {
		_ = c.Close() // by somebody who was late
	}
}

// stuck says what is wrong when everything rests.
func stuck(l *Limits, pools []*Pool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	resting := 0
	for _, p := range pools {
		p.mu.Lock()
		for _, c := range p.idle {
			if !c.ended.Load() {
				resting++
			}
		}
		p.mu.Unlock()
	}
	if len(l.queue) > 0 && (l.open < l.b.Conns || resting > 0) {
		return fmt.Sprintf("%d wait for a place, %d of %d are taken, %d of these idle", len(l.queue), l.open, l.b.Conns, resting)
	}
	return ""
}
