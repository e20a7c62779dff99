package release_test

import (
	"fmt"
	"testing"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/release"
)

// crowd is a theatre of 500 services with 20 instances each, a hundred of which warm up, in the middle of a release. Where all
// of them are new there are 500 releases.
func crowd(t testing.TB, fresh bool) *theatre {
	t.Helper()
	h := newTheatre(t)
	if fresh {
		h.step()
	}
	for i := range 500 {
		for range 20 {
			h.join(fmt.Sprintf("app-%d", i), fmt.Sprintf("app-%d", i), "r1", fmt.Sprintf("app-%d", i), "v1")
		}
	}
	for range starting + warming + 2 {
		h.live()
		h.show()
		h.now = h.now.Add(time.Second)
	}
	h.deploy("app-7", "app-7", "v1", 20)
	h.show()
	for range 100 {
		h.join("more", "app-7", "r1", "app-7", "v2")
	}
	for range starting + 1 {
		h.live()
		h.show()
		h.now = h.now.Add(time.Second)
	}
	return h
}

func BenchmarkView(b *testing.B) {
	for name, fresh := range map[string]bool{"steady": false, "fresh": true} {
		b.Run(name, func(b *testing.B) {
			h := crowd(b, fresh)
			v := h.view()
			b.ReportAllocs()
			for b.Loop() {
				h.rec.View(v, nil, h, h.now)
			}
		})
	}
}

func BenchmarkSecond(b *testing.B) {
	for name, fresh := range map[string]bool{"steady": false, "fresh": true} {
		b.Run(name, func(b *testing.B) {
			h := crowd(b, fresh)
			b.ReportAllocs()
			at := h.now.Unix()
			for b.Loop() { // time stands still: a release goes on
				at++
				h.rec.Second(at, h, h.now)
			}
		})
	}
}

// BenchmarkNews is a view in which something has happened to each of 10,000, while 500 releases go on.
func BenchmarkNews(b *testing.B) {
	h := crowd(b, true)
	v := h.view()
	var news []fleet.Event
	for _, a := range h.instances {
		news = append(news, fleet.Event{Time: h.now, Kind: "check.passed", Endpoint: a.Name, Incarnation: a.Incarnation})
	}
	b.ReportAllocs()
	for b.Loop() {
		h.rec.View(v, news, h, h.now)
	}
}

// TestAViewOfManyCostsLittle bounds what is allocated for 10,000 endpoints of which nothing is new.
func TestAViewOfManyCostsLittle(t *testing.T) {
	h := crowd(t, false)
	v := h.view()
	h.rec.View(v, nil, h, h.now)
	if n := testing.AllocsPerRun(5, func() { h.rec.View(v, nil, h, h.now) }); n > 200 {
		t.Errorf("a view in which nothing is new allocates %v times", n)
	}
	if _, episodes, _ := h.rec.Changed(); len(episodes) == 0 {
		t.Error("nobody of so many has come")
	}
	h.rec.View(v, nil, h, h.now)
	if releases, episodes, recorded := h.rec.Changed(); len(releases)+len(episodes)+len(recorded) > 0 {
		t.Errorf("a view in which nothing is new changes %d releases and %d episodes", len(releases), len(episodes))
	}
	if r := h.latest(); r.Verdict != release.Running || len(r.Came) != 100 {
		t.Errorf("got %s, %d came", r.Verdict, len(r.Came))
	}
}
