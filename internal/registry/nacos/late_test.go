package nacos

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// TestPutWhileItIsKept: a Nacos that keeps what was first said of an address has to be told once more, by an update. Whoever keeps
// the instance at the same time, and reads it at any time, is not in the way of that.
func TestPutWhileItIsKept(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after <= 3*time.Second; after += 100 * time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &lateNacos{first: true}
				c := lateClient(t, n)
				told := keptBy(t, c)
				in := someInstance("a-1", 1)
				if err := c.Put(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				time.Sleep(after)
				in.Weight = 2
				if err := c.Put(t.Context(), in); err != nil {
					t.Error(err)
				}
				if !n.holds(t, in) {
					t.Error("Nacos does not have it")
				}
				if registered, updated := n.called(wire.Register), n.called(wire.Update); registered != 2 || updated != 1 {
					t.Errorf("for two Puts it was registered %d times and updated %d times", registered, updated)
				}
				if got := told(); len(got) > 0 {
					t.Errorf("nothing was lost, and it was told that %v", got)
				}
			})
		})
	}
}

// TestASlowNacos: who answers late, but within an attempt, has everything in the end, if not by one Put then by the next of
// the same: that goes on where the one before has stopped.
func TestASlowNacos(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]*lateNacos{
		"answers after 1.8 s":                                         {slow: 900 * time.Millisecond},
		"answers after 1.2 s, and has to be updated":                  {slow: 600 * time.Millisecond, first: true},
		"answers after 1.8 s, and has to be updated":                  {slow: 900 * time.Millisecond, first: true},
		"answers after 1.8 s, shows after 1 s, and has to be updated": {slow: 900 * time.Millisecond, late: time.Second, first: true},
		"shows after 7 s":                                             {late: 7 * time.Second},
		"shows after 4 s, and has to be updated":                      {late: 4 * time.Second, first: true},
		"shows after 3 s, and takes no updates":                       {late: 3 * time.Second, strict: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, in := lateClient(t, n), someInstance("a-1", 1)
				puts := 0
				for range 2 {
					for err := registry.ErrAway; err != nil; puts++ {
						if err = c.Put(t.Context(), in); err != nil && !errors.Is(err, registry.ErrAway) || puts > 3 {
							t.Fatalf("after %d Puts: %v", puts, err)
						}
					}
					if !n.holds(t, in) {
						t.Error("Nacos does not have it")
					}
					in.Weight++
				}
				t.Logf("%d Puts for two contents: it was registered %d times and updated %d times", puts, n.called(wire.Register), n.called(wire.Update))
			})
		})
	}
}

// TestANacosThatBecomesSlow: who is known to want an update after every registration wants three questions to be answered, which may
// take longer than a Put does.
func TestANacosThatBecomesSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &lateNacos{first: true}
		c, in := lateClient(t, n), someInstance("a-1", 1)
		for range 2 {
			if err := c.Put(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			in.Weight++
		}
		n.slow = 900 * time.Millisecond
		if err := c.Put(t.Context(), in); !errors.Is(err, registry.ErrAway) {
			t.Errorf("Put: %v", err)
		}
		if err := c.Put(t.Context(), in); err != nil {
			t.Error(err)
		}
		if registered, updated := n.called(wire.Register), n.called(wire.Update); registered != 3 || updated != 2 {
			t.Errorf("for three contents it was registered %d times and updated %d times", registered, updated)
		}
	})
}

// TestWhatNacosForgot is put again by the next reading, and nobody needs to be told.
func TestWhatNacosForgot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &lateNacos{}
		c, in := lateClient(t, n), someInstance("a-1", 1)
		told := keptBy(t, c)
		if err := c.Put(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		for _, forget := range []func(){n.forget, func() { n.weigh(7) }} {
			forget()
			if n.holds(t, in) {
				t.Fatal("it has not forgotten it")
			}
			time.Sleep(3 * time.Second)
			if !n.holds(t, in) {
				t.Error("it is not put again")
			}
		}
		if got, updated := told(), n.called(wire.Update); len(got) > 0 || updated > 0 {
			t.Errorf("it was told that %v, and there were %d updates", got, updated)
		}
	})
}

// TestPutThatTookTooLong: Nacos answers all the time, and has nothing of what it said yes to. Put says so after a while, and
// Run goes on, until it is there; without Run nothing does.
func TestPutThatTookTooLong(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprintf("kept %t", kept), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &lateNacos{deaf: time.Now().Add(8 * time.Second)}
				c, in := lateClient(t, n), someInstance("a-1", 1)
				told := func() []error { return nil }
				if kept {
					told = keptBy(t, c)
				}
				if err := c.Put(t.Context(), in); !errors.Is(err, registry.ErrAway) || !errors.Is(err, errStale) {
					t.Errorf("Put: %v", err)
				}
				time.Sleep(10 * time.Second)
				if got := n.holds(t, in); got != kept {
					t.Errorf("Nacos has it: %t", got)
				}
				if got := told(); kept && (len(got) != 2 || !errors.Is(got[0], registry.ErrAway) || got[1] != nil) {
					t.Errorf("told: %v", got)
				}
			})
		})
	}
}

// TestPutWhileItIsTakenAway: what is put again, while Run still takes it away, is there in the end.
func TestPutWhileItIsTakenAway(t *testing.T) {
	t.Parallel()
	for after := time.Duration(0); after < 4*time.Second; after += 50 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			n := &lateNacos{}
			c, in := lateClient(t, n), someInstance("a-1", 1)
			if err := c.Put(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			n.slow = 200 * time.Millisecond
			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := c.Remove(short, "a-1"); err == nil {
				t.Error("it is removed sooner than Nacos answers")
			}
			keptBy(t, c)
			time.Sleep(after)
			if err := c.Put(t.Context(), in); err != nil {
				t.Errorf("%v after: %v", after, err)
			}
			if !n.holds(t, in) {
				t.Errorf("it is put %v after Run began to take it away, and Nacos does not have it", after)
			}
		})
	}
}

// TestWhateverItTakes: however slow and late Nacos is, and whenever something new is put, taken away, or lost, in the end Nacos has
// what was wished last, and who was told that it is away has been told that it is not.
func TestWhateverItTakes(t *testing.T) {
	t.Parallel()
	type step struct {
		What           int
		Patience, Wait time.Duration
	}
	upTo := func(most time.Duration) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.Int64Range(0, int64(most)), func(n int64) time.Duration { return time.Duration(n) })
	}
	steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
		return step{rapid.IntRange(0, 4).Draw(rt, "what"), upTo(8*time.Second).Draw(rt, "patience"), upTo(8*time.Second).Draw(rt, "wait")}
	}), 1, 8)
	rapid.Check(t, func(rt *rapid.T) {
		n := &lateNacos{
			slow: upTo(attempt/2-time.Millisecond).Draw(rt, "slow"), late: upTo(5*time.Second).Draw(rt, "late"), first: rapid.Bool().Draw(rt, "first"),
		}
		plan := steps.Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			c, in, gone := lateClient(t, n), someInstance("a-1", 1), true
			told := keptBy(t, c)
			for _, s := range plan {
				ctx, cancel := context.WithTimeout(t.Context(), s.Patience)
				var err error
				switch s.What {
				case 0:
					n.forget()
				case 1:
					if gone {
						break // whom it does not know, it may take for somebody else's as long as he is shown
					}
					err = c.Remove(ctx, "a-1")
					gone = true
				default:
					in.Weight = uint32(s.What) // now and then the same again
					gone, err = false, c.Put(ctx, in)
				}
				cancel()
				if err != nil && !errors.Is(err, registry.ErrAway) {
					t.Error(err)
				}
				time.Sleep(s.Wait)
			}
			time.Sleep(time.Minute)
			if gone && len(n.hosts()) > 0 || !gone && !n.holds(t, in) {
				t.Errorf("it is to be gone: %t; it is %+v; Nacos has %+v", gone, in, n.hosts())
			}
			if got := told(); len(got)%2 != 0 {
				t.Errorf("in the end it was told that %v", got)
			}
		})
		if t.Failed() {
			rt.FailNow()
		}
	})
}
