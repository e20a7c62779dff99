package local

import (
	"fmt"
	"net/netip"
)

// A home is the place of one replica: where everybody finds it, and where its application listens.
type home struct {
	number  uint16
	public  netip.Addr // 127.1.x.y
	private netip.Addr // 127.2.x.y
}

func homeAt(number uint16) home {
	x, y := byte(number>>8), byte(number)
	return home{number, netip.AddrFrom4([4]byte{127, 1, x, y}), netip.AddrFrom4([4]byte{127, 2, x, y})}
}

// isPublic says whether an address may be one where a replica is found.
func isPublic(address netip.Addr) bool {
	return netip.PrefixFrom(homeAt(0).public, 16).Contains(address)
}

// homes gives each replica a home that nobody has had for as long as possible: an address that comes back
// soon would be taken for the replica that had it before by those who have not noticed.
type homes struct {
	last  uint16
	taken map[uint16]bool
}

// maxRefusals is how many homes in a row may prove unusable before the reason must be another than a
// neighbour who lives there.
const maxRefusals = 64

// take returns the next home that is not taken and that usable has no error about.
func (h *homes) take(usable func(home) error) (home, error) {
	var err error
	refusals := 0
	for range 1 << 16 {
		h.last++
		if y := byte(h.last); y == 0 || y == 255 || h.taken[h.last] { // the ends of a /24 look like no address to people
			continue
		}
		place := homeAt(h.last)
		if err = usable(place); err == nil {
			if h.taken == nil {
				h.taken = map[uint16]bool{}
			}
			h.taken[place.number] = true
			return place, nil
		}
		if refusals++; refusals == maxRefusals {
			return home{}, fmt.Errorf("find a free address in 127.1.0.0/16: %w", err)
		}
	}
	return home{}, fmt.Errorf("find a free address in 127.1.0.0/16: %d are taken", len(h.taken))
}

// leave gives a home back.
func (h *homes) leave(place home) { delete(h.taken, place.number) }
