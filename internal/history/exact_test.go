package history

import (
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"crossfade.dev/internal/ending"
	"crossfade.dev/internal/series"
)

// A run of the world in which control is killed at any moment, answers are lost, data planes come, leave and are killed.
type world struct {
	t       *rapid.T
	dir     string
	now     time.Time
	h       *History
	planes  map[string]*plane
	again   map[string]bool // who sends everything with its next report, since control was away
	runs    int
	counted ending.Sums // by data planes that are there, or said their last
	service map[string]ending.Sums
	sent    map[string]uint64 // by incarnation
}

func (w *world) count(p *plane) {
	service := rapid.SampledFrom([]string{"a:80", "b:80"}).Draw(w.t, "service")
	incarnation := service[:1] + rapid.SampledFrom([]string{"-0", "-1", "-2"}).Draw(w.t, "endpoint")
	kind := ending.Kind(rapid.IntRange(0, ending.Kinds-1).Draw(w.t, "kind"))
	n := rapid.IntRange(1, 50).Draw(w.t, "n")
	p.serve(service, incarnation, kind, n, 5*time.Millisecond)
	w.counted[kind] += uint64(n)
	sums := w.service[service]
	sums[kind] += uint64(n)
	w.service[service] = sums
	w.sent[incarnation] += uint64(n)
}

// say has a data plane report; the answer may be lost.
func (w *world) say(p *plane, leaving bool) {
	r := p.report(w.now, w.again[p.run] || leaving, leaving)
	w.h.report(&r, w.now)
	if leaving {
		if err := w.h.save(w.now); err != nil {
			w.t.Fatal(err)
		}
	}
	if !rapid.Bool().Draw(w.t, "the answer is lost") {
		p.wasTaken(w.now)
		w.again[p.run] = false
	}
}

// kill has control killed at once, and started again some time later.
func (w *world) kill() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(0, 90_000).Draw(w.t, "away ms")) * time.Millisecond)
	w.h = opened(w.t, w.dir, w.now)
	for _, p := range w.planes {
		w.again[p.run] = true
	}
}

// TestEveryRequestIsCountedOnce: whatever happens, in the end the sums of history are those of the data planes, by kind, service and
// incarnation; and what passed in all minutes together is what passed.
func TestEveryRequestIsCountedOnce(t *testing.T) {
	top := t.TempDir()
	var trial atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{t: rt, dir: filepath.Join(top, strconv.FormatInt(trial.Add(1), 10)), now: epoch, planes: map[string]*plane{}, again: map[string]bool{}, service: map[string]ending.Sums{}, sent: map[string]uint64{}}
		w.h = opened(rt, w.dir, w.now)
		if err := w.h.save(w.now); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(5, 60).Draw(rt, "steps") {
			w.step()
		}
		for id, p := range w.planes {
			w.now = w.now.Add(time.Second)
			r := p.report(w.now, true, true)
			w.h.report(&r, w.now)
			delete(w.planes, id)
		}
		w.check()
	})
}

func (w *world) step() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(w.t, "ms")) * time.Millisecond)
	id := rapid.SampledFrom([]string{"gw-1", "gw-2"}).Draw(w.t, "plane")
	p := w.planes[id]
	if p == nil {
		w.runs++
		p = newPlane(id, fmt.Sprintf("run-%d", w.runs), w.now)
		w.planes[id], w.again[p.run] = p, true
	}
	switch rapid.IntRange(0, 9).Draw(w.t, "what") {
	case 0, 1, 2:
		w.count(p)
	case 3, 4, 5:
		w.say(p, false)
	case 6:
		if err := w.h.save(w.now); err != nil {
			w.t.Fatal(err)
		}
	case 7:
		w.kill()
	case 8:
		w.say(p, true)
		late := p.report(w.now, true, false) // it was on its way
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(w.t, "late")) * time.Second)
		if err := w.h.save(w.now); err != nil {
			w.t.Fatal(err)
		}
		w.h.report(&late, w.now)
		delete(w.planes, id)
	case 9:
		w.h.settle(w.now)
		w.h.look(fleetOf(1, w.now, 3, "a", "b"), w.now)
	}
}

func (w *world) check() {
	b := book{w.h}
	if got := b.Ended(""); got != w.counted {
		w.t.Errorf("came in from outside: got %v, want %v", got, w.counted)
	}
	for name, want := range w.service {
		if got := b.Ended(name); got != want {
			w.t.Errorf("%s: got %v, want %v", name, got, want)
		}
		var requests, lost uint64
		for at := epoch.Unix()/60 - 2; at <= w.now.Unix()/60; at++ {
			m := w.h.services[name].place.whole(at)
			requests += m.Requests
			lost += m.Lost
		}
		if requests != want.Ended() || lost != want.Lost() {
			w.t.Errorf("minutes of %s: %d, %d of them lost; want %d, %d", name, requests, lost, want.Ended(), want.Lost())
		}
	}
	for incarnation, want := range w.sent {
		if got, _ := b.Sent(incarnation); got != want {
			w.t.Errorf("%s: %d were sent, want %d", incarnation, got, want)
		}
	}
}

// TestCurvesHoldWhatWasCounted: the seconds, and the minutes, of every curve together are the sums, however reports came; also
// when control was killed meanwhile, for minutes.
func TestCurvesHoldWhatWasCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		now := epoch
		h := opened(rt, "", now)
		h.look(fleetOf(1, now, 2, "a"), now)
		p := newPlane("gw-1", "r", now)
		total := 0
		for range rapid.IntRange(1, 40).Draw(rt, "reports") {
			n := rapid.IntRange(0, 400).Draw(rt, "n")
			p.serve("a:80", "a-0", ending.Served, n, time.Millisecond)
			p.serve("a:80", "a-1", ending.Cut, n/2, 0)
			total += n + n/2
			now = now.Add(time.Duration(rapid.IntRange(100, 20_000).Draw(rt, "ms")) * time.Millisecond)
			r := p.report(now, false, false)
			h.report(&r, now)
			p.wasTaken(now)
		}
		now = now.Add(2 * time.Minute)
		h.settle(now)
		h.overMinutes(now)
		for _, q := range []series.Query{
			{Service: "a:80", Step: 1},
			{Service: "a:80", Step: 60},
			{Service: "a:80", By: series.Version, Step: 1},
			{Service: "a:80", By: series.Version, Step: 60},
			{Service: "a:80", By: series.Endpoint, Step: 1},
			{Outside: true, Step: 10},
		} {
			q.From, q.To = epoch.Unix()-1, now.Unix()+60
			if q.Step < 60 {
				q.From = max(q.From, now.Unix()-series.Seconds+10)
			}
			if q.From > epoch.Unix() {
				continue // the beginning is forgotten
			}
			c, err := h.Series(t.Context(), q)
			if err != nil {
				rt.Fatal(err)
			}
			var sum float64
			for _, curve := range c.Curves {
				for _, v := range curve.Requests {
					if v == v {
						sum += float64(v) * float64(q.Step)
					}
				}
			}
			// A step of a minute in which seconds are not known is divided by what is known.
			if diff := sum - float64(total); q.Step != 10 && (diff > 1e-3*float64(total)+1 || diff < -1e-3*float64(total)-1) {
				rt.Errorf("%+v: %v requests, want %d", q, sum, total)
			}
		}
	})
}

// TestCurvesAreSmooth: what passes evenly is even, though reports come at odd moments.
func TestCurvesAreSmooth(t *testing.T) {
	now := epoch
	h := opened(t, "", now)
	p := newPlane("gw-1", "r", now)
	for i := range 60 {
		ms := 1000 + 13*(i%7-3)
		p.serve("a:80", "a-0", ending.Served, ms/5, time.Millisecond) // 200 a second
		now = now.Add(time.Duration(ms) * time.Millisecond)
		r := p.report(now, false, false)
		h.report(&r, now)
		p.wasTaken(now)
	}
	h.settle(now)
	for at := epoch.Unix() + 2; at <= h.settled; at++ {
		if got := h.outside.requests.At(at); got < 197 || got > 203 {
			t.Errorf("second %d: %v requests, want 200 to within 3", at-epoch.Unix(), got)
		}
	}
}
