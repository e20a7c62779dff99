package nacos

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	wire "crossfade.dev/internal/wire/nacos"
)

// maxWeight is the greatest weight that Nacos takes.
const maxWeight = 10_000

var (
	errNoPort    = errors.New("it has no port to register")
	errNoService = errors.New("no service: name one with ?service=, or give it the label " + registry.AppLabel)
)

// Keys of what is said by the registration itself, where it is.
const (
	saidIncarnation = registry.Prefix + "incarnation"
	saidAddress     = registry.Prefix + "address"
	saidPorts       = registry.Prefix + "ports."
	saidLeaving     = registry.Prefix + "leaving"
)

// shape returns what an instance is registered as, and in which service.
func (p *place) shape(in fleet.Instance) (wire.Service, wire.Instance, error) {
	name, port, err := mainPort(in.Ports)
	if err != nil {
		return wire.Service{}, wire.Instance{}, err
	}
	if !in.Address.IsValid() {
		return wire.Service{}, wire.Instance{}, errNoAddress
	}
	service := cmp.Or(p.service, in.Labels[registry.AppLabel], in.Workload)
	if service == "" {
		return wire.Service{}, wire.Instance{}, errNoService
	}
	out := wire.NewInstance()
	out.IP, out.Port, out.Cluster, out.Weight = in.Address.String(), int(port), p.instances, weight(in)
	out.Metadata = registry.Annotate(in)
	// A server takes 1024 characters in all.
	delete(out.Metadata, saidAddress)
	if len(in.Ports) == 1 && name == "http" {
		delete(out.Metadata, saidPorts+name)
	}
	return wire.NewService(p.namespace, p.group, service), out, nil
}

// weight is what consumers without crossfade go by. It stays a whole number, and at least 1 while it ramps: there are
// clients that cut what follows the point, and do not choose who has nothing left.
func weight(in fleet.Instance) float64 {
	if !in.Ready || in.Leaving {
		return 0
	}
	w := float64(in.Weight)
	if in.Ramp > 0 && in.Ramp < 1 {
		w = max(min(w, 1), math.Round(w*in.Ramp))
	}
	return min(w, maxWeight)
}

// mainPort returns the port that an instance is registered with.
func mainPort(ports map[string]uint32) (string, uint32, error) {
	for _, name := range []string{"http", "grpc", "dubbo"} {
		if port := ports[name]; port > 0 {
			return name, port, nil
		}
	}
	names := slices.Sorted(maps.Keys(ports))
	if len(names) == 0 {
		return "", 0, errNoPort
	}
	return names[0], ports[names[0]], nil
}

// read returns what instance a registration is of.
func read(of wire.Service, in wire.Instance) registry.Reading {
	r := registry.Registration{
		Service: of.Name, ID: identity(of, in), Address: in.IP, Port: uint32(in.Port), PortName: portName(in.Metadata), //nolint:gosec // 0 to 65535
		Weight: steady(in.Weight), Unready: !in.Enabled || !in.Healthy, Metadata: said(in.Metadata),
	}
	if leaving, _ := strconv.ParseBool(in.Metadata[saidLeaving]); !leaving && in.Weight <= 0 {
		r.Unready = true
	}
	return r.Reading()
}

// said is metadata without what is meant for Nacos.
func said(metadata map[string]string) map[string]string {
	all := maps.Clone(metadata)
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, "preserved.") })
	return all
}

// identity names an instance that does not say its incarnation: by where it is, and by when it started where it says that. One that
// comes back at the same address without saying so is the same.
func identity(of wire.Service, in wire.Instance) string {
	id := "nacos/" + of.Key(in).String()
	if published, _ := registry.Peer(in.Metadata); published != nil {
		id += "/" + strconv.FormatInt(published.Started.UnixMilli(), 10)
	}
	return id
}

// portName is what a port is for, where metadata says so in the way of Dubbo and of Spring Cloud.
func portName(metadata map[string]string) string {
	name := strings.ToLower(cmp.Or(metadata["dubbo.protocol"], metadata["protocol"]))
	if len(name) > 20 || strings.ContainsAny(name, " /:.,") {
		return ""
	}
	return name
}

// steady is a weight as it was meant: some servers keep them in single precision.
func steady(w float64) float64 { return math.Round(min(w, maxWeight)*1e4) / 1e4 }

// holds says whether a registration that Nacos has is this one. Weights are of single precision in some servers.
func holds(has, want wire.Instance) bool {
	if has.Metadata[saidIncarnation] != want.Metadata[saidIncarnation] || !has.Enabled || math.Abs(has.Weight-want.Weight) > 1e-5*max(1, want.Weight) {
		return false
	}
	for key, value := range want.Metadata {
		if has.Metadata[key] != value {
			return false
		}
	}
	for key := range has.Metadata { // what it said before, and says no more
		if _, still := want.Metadata[key]; !still && strings.HasPrefix(key, registry.Prefix) {
			return false
		}
	}
	return true
}
