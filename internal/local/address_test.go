package local

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func TestHomesAreNotReusedSoon(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var h homes
		var taken []home
		last := map[uint16]int{} // when a home was taken last
		const most = 256 * 254
		for i := range rapid.IntRange(0, 500).Draw(rt, "moves") {
			if len(taken) > 0 && rapid.Bool().Draw(rt, "leave") {
				n := rapid.IntRange(0, len(taken)-1).Draw(rt, "who")
				h.leave(taken[n])
				taken = append(taken[:n], taken[n+1:]...)
				continue
			}
			place, err := h.take(func(home) error { return nil })
			if err != nil {
				rt.Fatal(err)
			}
			if at, before := last[place.number]; before && i-at < most-len(taken) {
				rt.Fatalf("%v is back after %d moves", place.public, i-at)
			}
			last[place.number] = i
			taken = append(taken, place)
		}
	})
}

func TestHomes(t *testing.T) {
	h := homes{last: 253}
	usable := func(home) error { return nil }
	for _, want := range []string{"127.1.0.254 127.2.0.254", "127.1.1.1 127.2.1.1"} {
		place, err := h.take(usable)
		if got := place.public.String() + " " + place.private.String(); err != nil || got != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	h.last = 0xffff // all around: the next is free, those that live are passed over
	for want := range 254 {
		place, err := h.take(usable)
		if err != nil || place.number != uint16(want+1) && want != 253 {
			t.Fatalf("got %v, %v, want 127.1.0.%d", place.public, err, want+1)
		}
	}
	if place, err := h.take(usable); err != nil || place.public.String() != "127.1.1.3" {
		t.Errorf("got %v, %v, want 127.1.1.3", place.public, err)
	}
	_, err := h.take(func(home) error { return syscall.EADDRINUSE })
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "127.1.0.0/16") {
		t.Errorf("got %v, want that no address can be used, and why", err)
	}
}
