package zookeeper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/zookeeper"
)

// A layout is where registrations stand below the root, and what they are.
type layout string

// The layouts.
const (
	curator  layout = "curator"   // ROOT/SERVICE/ID, JSON: Curator, Spring Cloud
	dubbo    layout = "dubbo"     // ROOT/INTERFACE/providers/URL: Dubbo's interfaces
	dubboApp layout = "dubbo-app" // ROOT/APPLICATION/HOST:PORT, JSON: Dubbo's applications
)

// root is where a layout stands that is not told; "" is no layout.
func (l layout) root() string {
	switch l {
	case curator, dubboApp:
		return "/services"
	case dubbo:
		return "/dubbo"
	}
	return ""
}

// directory is the path whose children are the registrations of a service.
func (p *place) directory(service string) string {
	if p.layout == dubbo {
		return p.root + "/" + service + "/providers"
	}
	return p.root + "/" + service
}

var (
	errNoService = errors.New("it has no label app that would be its service: give it one, or the registry ?service=")
	errNoPort    = errors.New("it has no port: give it one")
	errNoSlash   = errors.New("the name of a service has no slash")
)

// A node is a registration as it stands in ZooKeeper.
type node struct {
	directory, name string
	data            []byte
}

func (n *node) path() string { return n.directory + "/" + n.name }

// node returns the registration of an instance.
func (p *place) node(in fleet.Instance) (*node, error) {
	if _, err := registry.Encode(in); err != nil { // what no registry takes
		return nil, err
	}
	service := cmp.Or(p.service, in.Labels[registry.AppLabel], in.Workload)
	port := p.portOf(in)
	switch {
	case service == "":
		return nil, errNoService
	case strings.Contains(service, "/"):
		return nil, fmt.Errorf("service %q: %w", service, errNoSlash)
	case port == 0 && p.port != "" && len(in.Ports) > 0:
		return nil, fmt.Errorf("it has no port %q, as port= says; it has %s", p.port, strings.Join(slices.Sorted(maps.Keys(in.Ports)), ", "))
	case port == 0:
		return nil, errNoPort
	}
	n := &node{directory: p.directory(service)}
	if p.layout == dubbo {
		n.name = p.provider(in, service, port).Node()
		return n, nil
	}
	metadata := map[string]string{}
	maps.Copy(metadata, in.Labels) // as they are, for others
	maps.Copy(metadata, registry.Annotate(in))
	class := wire.SpringClass
	n.name = escaped(in.Incarnation)
	if p.layout == dubboApp {
		class, n.name = wire.DubboClass, netip.AddrPortFrom(in.Address, uint16(port)).String()
		metadata["dubbo.endpoints"] = fmt.Sprintf(`[{"port":%d,"protocol":%q}]`, port, p.protocol)
	}
	var registered int64
	if in.Published != nil && !in.Published.Registered.IsZero() {
		registered = in.Published.Registered.UnixMilli()
	}
	i, err := wire.NewInstance(class, service, n.name, in.Address.String(), port, registered, metadata)
	if err != nil {
		return nil, err
	}
	if !in.Ready || in.Leaving {
		i.SetStatus(false)
	}
	n.data, err = i.Bytes()
	return n, err
}

// portOf is the port that an instance is registered with: other systems know one only.
func (p *place) portOf(in fleet.Instance) uint32 {
	if p.port != "" {
		return in.Ports[p.port]
	}
	if port := in.Ports["http"]; port > 0 {
		return port
	}
	for _, name := range slices.Sorted(maps.Keys(in.Ports)) {
		return in.Ports[name]
	}
	return 0
}

// provider is an instance as a provider of Dubbo's. Its consumers warm it up themselves by timestamp and warmup, unless
// its weight grows here: it must not be done twice. Labels stand there by Annotate only: version, group and tag mean something
// else to Dubbo.
func (p *place) provider(in fleet.Instance, service string, port uint32) *wire.Provider {
	u := wire.NewProvider(p.protocol, in.Address.String(), port, service)
	u.Set("application", cmp.Or(in.Labels[registry.AppLabel], in.Name))
	u.Set("category", "providers")
	u.Set("dynamic", "true")
	u.Set("side", "provider")
	if in.Published != nil && !in.Published.Registered.IsZero() {
		u.Set("timestamp", strconv.FormatInt(in.Published.Registered.Add(-in.Published.Age).UnixMilli(), 10))
	}
	ramps := in.Ramp > 0 && in.Ramp < 1
	if in.Warmup != nil && !ramps {
		u.Set("warmup", strconv.FormatInt(in.Warmup.Window.Milliseconds(), 10))
	} else {
		u.Set("warmup", "0")
	}
	weight := int64(in.Weight) * wire.UsualWeight
	if !in.Ready || in.Leaving {
		weight = 0
	}
	u.SetWeight(weight, in.Ramp)
	metadata := registry.Annotate(in)
	for _, key := range registry.Keys(metadata) {
		u.Set(key, metadata[key])
	}
	return u
}

// read returns what a registration says. created is the transaction that made its node. The address of one that was made
// by no agent may be a host name: it is to be looked up.
func (p *place) read(service, name string, data []byte, created int64) (registry.Registration, error) {
	if p.layout == dubbo {
		return p.readProvider(service, name, created)
	}
	return p.readInstance(service, name, data, created)
}

func (p *place) readInstance(service, name string, data []byte, created int64) (registry.Registration, error) {
	if len(data) > registry.MaxEntry {
		return registry.Registration{}, fmt.Errorf("%d bytes, at most %d", len(data), registry.MaxEntry)
	}
	i, err := wire.ParseInstance(data)
	if err != nil {
		return registry.Registration{}, err
	}
	weight, _ := i.Weight()
	metadata := i.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	r := registry.Registration{
		Service: service, ID: p.id(p.directory(service)+"/"+name, i.Registered, created), Name: cmp.Or(i.ID, name),
		Address: address(i.Address, metadata), Port: cmp.Or(i.Port, i.SSLPort), Weight: float64(weight), Unready: !i.Status(), Metadata: metadata,
		NoLabels: []string{"instance_status", "dubbo.endpoints"},
	}
	if i.Class == wire.DubboClass {
		r.PortName = p.protocolOf(r.Port, i.Metadata["dubbo.endpoints"])
	}
	if i.Registered > 0 {
		r.Registered = time.UnixMilli(i.Registered).UTC()
	}
	return r, nil
}

// protocolOf is what Dubbo says is spoken at a port.
func (p *place) protocolOf(port uint32, endpoints string) string {
	var list []struct {
		Port     uint32 `json:"port"`
		Protocol string `json:"protocol"`
	}
	if json.Unmarshal([]byte(endpoints), &list) == nil {
		for _, e := range list {
			if e.Port == port && e.Protocol != "" {
				return e.Protocol
			}
		}
	}
	return p.protocol
}

func (p *place) readProvider(service, name string, created int64) (registry.Registration, error) {
	u, err := wire.ParseProvider(name)
	if err != nil {
		return registry.Registration{}, err
	}
	metadata := u.Parameters()
	started, _ := strconv.ParseInt(metadata["timestamp"], 10, 64)
	at := net.JoinHostPort(u.Host, strconv.FormatUint(uint64(u.Port), 10))
	return registry.Registration{
		Service: service, ID: p.id(p.root+"/"+service+"/"+at, started, created), Address: address(u.Host, metadata), Port: u.Port, PortName: u.Protocol,
		Weight: wire.Steady(u.Weight()), Unready: metadata["disabled"] == "true" || metadata["enabled"] == "false", Metadata: metadata,
		NoLabels: []string{"application", "category", "dynamic", "side", "timestamp", "warmup", "weight", "interface"}, // Dubbo's own consumers go by them
	}, nil
}

// id is the incarnation of a registration that says none: where it is, and when it began, which it says again when its
// session was lost; who does not say that is another one with every node.
func (p *place) id(path string, began, created int64) string {
	return scheme + path + "/" + strconv.FormatInt(cmp.Or(began, created), 10)
}

// address is where a registration is: who gives a host name may say the address beside it.
func address(host string, metadata map[string]string) string {
	if _, err := netip.ParseAddr(host); err != nil && metadata[registry.Prefix+"address"] != "" {
		return metadata[registry.Prefix+"address"]
	}
	return host
}

// escaped is an incarnation as the name of a node.
func escaped(incarnation string) string {
	switch name := url.PathEscape(incarnation); name {
	case ".", "..", "zookeeper":
		return "%" + strconv.FormatInt(int64(name[0]), 16) + name[1:]
	default:
		return name
	}
}
