package balancer

import (
	"net/netip"
	"testing"

	"crossfade.dev/internal/fleet"
)

// However many addresses there are, the way to one is short: on average less than two slots are looked at. Who else
// is at an address makes it no longer, also where by mistake all are.
func TestAddressesAreNearTheirHome(t *testing.T) {
	for _, n := range []int{1, 10, 1000, 10_000, 65_535} {
		endpoints := make([]*fleet.Endpoint, n)
		for i := range endpoints {
			endpoints[i] = &fleet.Endpoint{
				Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80), Weight: 1, Stage: fleet.Serving,
			}
		}
		b := &Balancer{algorithm: fleet.Passthrough, endpoints: endpoints}
		b.prepareAddresses()
		looks, most := 0, 0
		for _, e := range endpoints {
			n := 1
			for at := b.addresses.home(e.Address); b.addresses.slots[at].address != e.Address; at = b.addresses.after(at) {
				n++
			}
			looks, most = looks+n, max(most, n)
		}
		if looks > 2*n || most > 40 {
			t.Errorf("%d addresses: %d slots are looked at in all and %d for one, want at most %d and 40", n, looks, most, 2*n)
		}
		for _, e := range endpoints {
			e.Address = endpoints[0].Address
		}
		b.prepareAddresses()
		used := 0
		for _, s := range b.addresses.slots {
			if s.address.IsValid() {
				used++
			}
		}
		if want := min(n, 2); used != want {
			t.Errorf("%d at one address take %d slots, want %d", n, used, want)
		}
	}
}
