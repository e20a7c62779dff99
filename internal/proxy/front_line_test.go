package proxy

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// Whatever comes, goes, gives up and is ordered, in any order: nobody overtakes who came before, there are never more places
// taken than there are, nobody waits while there is a free one, and in the end all are back.
func TestLineIsFair(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var l line
		limit := rapid.IntRange(0, 4).Draw(rt, "limit")
		l.setLimit(limit)
		var waits []*ticket // in the order in which they came
		inside := 0
		look := func() { // who has been given their place
			kept := waits[:0]
			for i, w := range waits {
				switch given := w.got(); {
				case given && len(kept) > 0:
					rt.Fatalf("ticket %d has its place, before one that came before it", i)
				case given:
					inside++
				default:
					kept = append(kept, w)
				}
			}
			waits = kept
		}
		rt.Repeat(map[string]func(*rapid.T){
			"come": func(*rapid.T) {
				if l.take() {
					if len(waits) > 0 {
						rt.Fatalf("a newcomer has a place before %d who wait", len(waits))
					}
					if inside++; limit > 0 && inside > limit {
						rt.Fatalf("%d are inside, of %d places", inside, limit)
					}
					return
				}
				waits = append(waits, l.join())
			},
			"end": func(*rapid.T) {
				if inside > 0 {
					inside--
					l.give()
				}
			},
			"give up": func(rt *rapid.T) {
				if len(waits) == 0 {
					return
				}
				i := rapid.IntRange(0, len(waits)-1).Draw(rt, "who")
				l.quit(waits[i])
				waits = slices.Delete(waits, i, i+1)
			},
			"order": func(rt *rapid.T) {
				limit = rapid.IntRange(0, 4).Draw(rt, "limit")
				l.setLimit(limit)
			},
			"": func(*rapid.T) {
				before := inside
				look()
				if int(l.taken.Load()) != inside || int(l.waiting.Load()) != len(waits) || l.queue.Len() != len(waits) {
					rt.Fatalf("got %d places taken, %d waiting, %d in the queue, want %d, %d", l.taken.Load(), l.waiting.Load(), l.queue.Len(), inside, len(waits))
				}
				if limit > 0 && inside > before && inside > limit {
					rt.Fatalf("%d are inside, of %d places", inside, limit)
				}
				if len(waits) > 0 && (limit == 0 || inside < limit) {
					rt.Fatalf("%d wait for %d places, of which %d are taken", len(waits), limit, inside)
				}
			},
		})
		for len(waits) > 0 || inside > 0 {
			if inside == 0 {
				rt.Fatalf("%d wait for nobody", len(waits))
			}
			inside--
			l.give()
			look()
		}
		if l.taken.Load() != 0 || l.waiting.Load() != 0 {
			t.Errorf("got %d taken and %d waiting in the end", l.taken.Load(), l.waiting.Load())
		}
	})
}

// A place that is given back after somebody saw none, and before they waited, is theirs.
func TestLinePlaceComesBetween(t *testing.T) {
	var l line
	l.setLimit(1)
	if !l.take() || l.take() {
		t.Fatal("there is not one place")
	}
	l.give()
	if !l.join().got() {
		t.Error("somebody waits for a place that nobody has")
	}
}

// While a place goes from who gives it back to who waits for it, nobody else can take it.
func TestLineNobodySlipsIn(t *testing.T) {
	var l line
	l.setLimit(1)
	if !l.take() {
		t.Fatal("there is no place")
	}
	waits := l.join()
	l.taken.Add(-1) // the first half of give
	if l.take() {
		t.Error("a newcomer has the place of somebody who waits")
	}
	l.setLimit(1) // the other one
	if !waits.got() {
		t.Error("who waits has no place")
	}
}

// Who gives up when the place has been given already leaves it to the next.
func TestLineQuitTooLate(t *testing.T) {
	var l line
	l.setLimit(1)
	if !l.take() {
		t.Fatal("there is no place")
	}
	first, second := l.join(), l.join()
	l.give()
	l.quit(first)
	if !second.got() || first.at != nil {
		t.Error("the place is lost")
	}
	l.give()
	if taken, waiting := l.taken.Load(), l.waiting.Load(); taken != 0 || waiting != 0 {
		t.Errorf("got %d taken and %d waiting in the end", taken, waiting)
	}
}

// Many at once, on real threads: each has its turn, never more at once than there are places, and none is lost between who
// gives a place back and who begins to wait.
func TestLineLosesNoPlace(t *testing.T) {
	const places, people, turns = 3, 16, 2000
	var l line
	l.setLimit(places)
	var mu sync.Mutex
	var inside, most int
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			for range turns {
				if !l.take() {
					<-l.join().given
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				l.give()
			}
		})
	}
	all.Wait()
	if most > places || l.taken.Load() != 0 || l.waiting.Load() != 0 || l.queue.Len() != 0 {
		t.Errorf("got %d at once of %d; in the end %d taken, %d waiting", most, places, l.taken.Load(), l.waiting.Load())
	}
}

// A line of many does not starve the last one while newcomers come all the time: everybody waits for those before them,
// and for nobody else.
func TestLineStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, each = 2, 10 * time.Millisecond
		var l line
		l.setLimit(places)
		var mu sync.Mutex
		var longest time.Duration
		var people sync.WaitGroup
		person := func() {
			began := time.Now()
			if !l.take() {
				<-l.join().given
			}
			mu.Lock()
			longest = max(longest, time.Since(began))
			mu.Unlock()
			time.Sleep(each)
			l.give()
		}
		const crowd = 20
		for range crowd {
			people.Go(person)
		}
		for range 1000 { // as many as there is room for, for as long as it takes
			time.Sleep(each / places)
			people.Go(person)
		}
		people.Wait()
		if want := time.Duration(crowd/places+1) * each; longest > want {
			t.Errorf("somebody waited for %v, want at most %v: those who were there before them", longest, want)
		}
	})
}
