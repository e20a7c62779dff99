package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// AppLabel is the label by which services find their instances. Who does not say its own has the name that its
// registration's service has in the registry.
const AppLabel = "app"

// defaultPort is the name of a port that has none.
const defaultPort = "http"

var (
	errNoID   = errors.New("the registration has no id")
	errNoPort = errors.New("the registration has no port")
)

// A Registration is an instance as other systems register one.
type Registration struct {
	Service  string            // its name in the registry
	ID       string            // what names this registration, and no other one at the same address: the incarnation of who does not say its own
	Name     string            // of the instance, for people; "" is its address and port
	Address  string            // an IP address
	Port     uint32            // 1 to 65535
	PortName string            // of Port, where metadata does not say; "" is http
	Weight   float64           // on the scale where 1 is usual; it counts where metadata does not say the full one
	Unready  bool              // it says to consumers that it cannot serve
	Metadata map[string]string // what it says by Annotate and by Peer, and labels
	NoLabels []string          // keys of Metadata that are none

	Registered time.Time // what the registry knows of that, where metadata says nothing of an age
}

// Reading returns the instance that a registration is of, or why it is of none. Who says its incarnation by Annotate has
// that. Its labels are the metadata that is not crossfade's, with those said by Annotate over it, and AppLabel. It is at
// the registration's own address. Ports said by Annotate count when the registration's is one of them; otherwise that is
// the only one.
func (r *Registration) Reading() Reading {
	in, err := r.instance()
	if err != nil {
		return Reading{Service: r.Service, Err: err}
	}
	weight := r.Weight
	if said, is := r.Metadata[Prefix+weightKey]; is {
		weight, _ = parseWeight(said) // it could be read before
	}
	if !(weight >= 0) {
		weight = 0
	}
	weight = min(weight, maxWeight)
	in.Weight = whole(weight)
	return Reading{Instance: in, Service: r.Service, Weight: weight}
}

func (r *Registration) instance() (fleet.Instance, error) {
	in, ours, err := Annotated(r.Metadata)
	if err != nil {
		return fleet.Instance{}, err
	}
	if in.Address, err = netip.ParseAddr(r.Address); err != nil {
		return fleet.Instance{}, fmt.Errorf("address %q: want an IP address", r.Address)
	}
	if r.Port == 0 || r.Port > 65535 {
		return fleet.Instance{}, errNoPort
	}
	r.ports(&in)
	if !ours {
		if r.ID == "" {
			return fleet.Instance{}, errNoID
		}
		in.Incarnation, in.Foreign = r.ID, true
		in.Name = cmp.Or(in.Name, r.Name, netip.AddrPortFrom(in.Address, uint16(r.Port)).String())
	}
	in.Ready = in.Ready && !r.Unready
	in.Labels = r.labels(in.Labels)
	published, warmup := Peer(r.Metadata)
	if published == nil && !r.Registered.IsZero() {
		published = since(r.Registered)
	}
	in.Published, in.Warmup = cmp.Or(in.Published, published), cmp.Or(in.Warmup, warmup)
	return in, nil
}

// labels are those of an instance of which some are said by Annotate.
func (r *Registration) labels(said map[string]string) map[string]string {
	labels := Plain(r.Metadata)
	for _, key := range r.NoLabels {
		delete(labels, key)
	}
	for name, value := range said {
		put(&labels, name, value)
	}
	if labels[AppLabel] == "" && r.Service != "" {
		put(&labels, AppLabel, r.Service)
	}
	return labels
}

// ports has an instance have the port that it is registered with.
func (r *Registration) ports(in *fleet.Instance) {
	for _, port := range in.Ports {
		if port == r.Port {
			return
		}
	}
	in.Ports = map[string]uint32{cmp.Or(r.PortName, defaultPort): r.Port}
}

// A Reading is what an entry of a registry says, or why it says nothing.
type Reading struct {
	Instance fleet.Instance
	Service  string  // that the entry is in; "" where a registry knows no services
	Weight   float64 // what Instance.Weight is a whole number for, where there is a service
	Err      error
}

// MakeList returns what these entries, by key, say.
//
// An instance that is registered in several services is one of each: the one whose service is its AppLabel, or else the
// first by key, has its incarnation; the others have that with @ and the service behind it, and the service as their
// AppLabel. Registered several times in one service it is one, with the ports of all. That takes one address, though: of
// two that say the same incarnation elsewhere, or where a registry knows no services, the first by key counts, and the
// other is unread.
//
// Where the weights of a service are not all whole numbers, all of them are in hundredths.
func MakeList(entries map[string]Reading, first bool) List {
	l := List{First: first}
	said := make(map[string][]string, len(entries)) // keys, in order, by incarnation
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		if r := entries[key]; r.Err == nil {
			said[r.Instance.Incarnation] = append(said[r.Instance.Incarnation], key)
		} else {
			l.Unread = append(l.Unread, Unread{Key: key, Err: r.Err})
		}
	}
	broken := fractions(entries)
	l.Instances = make([]fleet.Instance, 0, len(said))
	for _, incarnation := range slices.Sorted(maps.Keys(said)) {
		keys := said[incarnation]
		if len(keys) == 1 {
			l.Instances = append(l.Instances, entries[keys[0]].scaled(broken))
			continue
		}
		head := keys[0]
		for _, key := range keys {
			if r := entries[key]; r.Instance.Address == entries[head].Instance.Address && r.titular() && !entries[head].titular() {
				head = key
			}
		}
		services := map[string]*fleet.Instance{}
		for _, key := range append([]string{head}, keys...) {
			r := entries[key]
			if key != head && (r.Service == "" || r.Instance.Address != entries[head].Instance.Address) {
				l.Unread = append(l.Unread, Unread{Key: key, Err: fmt.Errorf("incarnation %s is that of %s already", incarnation, head)})
				continue
			}
			r.join(services, r.Service == entries[head].Service, broken)
		}
		for _, in := range services {
			l.Instances = append(l.Instances, *in)
		}
	}
	slices.SortFunc(l.Instances, func(a, b fleet.Instance) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	slices.SortFunc(l.Unread, func(a, b Unread) int { return cmp.Compare(a.Key, b.Key) })
	return l
}

// join adds a reading to what an instance is in services: to the ports of what it is in this one already.
func (r Reading) join(services map[string]*fleet.Instance, first bool, broken map[string]bool) {
	is := services[r.Service]
	if is == nil {
		in := r.scaled(broken)
		if !first {
			in.Incarnation += "@" + r.Service
			in.Labels = maps.Clone(in.Labels)
			put(&in.Labels, AppLabel, r.Service)
		}
		in.Ports = maps.Clone(in.Ports)
		services[r.Service] = &in
		return
	}
	for name, port := range r.Instance.Ports {
		if _, taken := is.Ports[name]; !taken {
			put(&is.Ports, name, port)
		}
	}
}

// fractions returns the services in which not all weights are whole numbers.
func fractions(entries map[string]Reading) map[string]bool {
	var broken map[string]bool
	for _, r := range entries {
		if r.Weight != math.Trunc(r.Weight) {
			put(&broken, r.Service, true)
		}
	}
	return broken
}

// scaled is the instance, with its weight on the scale of its service.
func (r Reading) scaled(broken map[string]bool) fleet.Instance {
	in := r.Instance
	if broken[r.Service] {
		in.Weight = whole(100 * r.Weight)
	}
	return in
}

// whole is a weight as a whole number: at least 1 where there is any.
func whole(weight float64) uint32 {
	if weight <= 0 {
		return 0
	}
	return uint32(min(max(1, math.Round(weight)), 100*maxWeight))
}

// titular says that a reading is of the service that its instance is said to belong to.
func (r Reading) titular() bool { return r.Service != "" && r.Instance.Labels[AppLabel] == r.Service }
