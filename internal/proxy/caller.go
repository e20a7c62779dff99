package proxy

import (
	"encoding/base64"
	"slices"

	"crossfade.dev/internal/evidence"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
)

// Callers in the mesh say who they are: the instance's name is the user of the proxy that it is told to use, and
// arrives as a Basic Proxy-Authorization. That is a hint for routing by SourceLabels among programs that one
// person runs, not a proof of identity; the password is not looked at. The field never goes on.

const callerName = "Proxy-Authorization"

// A caller is what is known of an instance that calls.
type caller struct {
	labels   map[string]string
	address  []byte // as text; nil when it has none
	workload string
	number   int // of the workload among State.names, from 1; one more where there is no room for it; 0 without a workload
}

// callers returns the instances by name and namespace ("web-1.shop"), and by name alone where only one namespace
// has it. Of two runs under one name, the one that stays counts.
func callers(instances []fleet.Instance) map[string]*caller {
	by := make(map[string]*caller, 2*len(instances))
	home := make(map[string]string, len(instances)) // namespace by name, "" for several
	for i := range instances {
		in := &instances[i]
		full := in.Name + "." + in.Namespace
		if by[full] != nil && in.Leaving {
			continue
		}
		c := &caller{labels: in.Labels, workload: in.Workload}
		if in.Address.IsValid() {
			c.address = in.Address.Unmap().AppendTo(nil)
		}
		by[full] = c
		if namespace, known := home[in.Name]; known && namespace != in.Namespace {
			home[in.Name] = ""
			delete(by, in.Name)
			continue
		}
		home[in.Name] = in.Namespace
		by[in.Name] = c
	}
	return by
}

// number gives the callers their workloads' numbers: known ones keep theirs. It returns the names that have one.
func number(by map[string]*caller, instances []fleet.Instance, known []string) (names []string) {
	names = slices.Clip(known) // which others read
	numbers := make(map[string]int, len(names))
	for i, name := range names {
		numbers[name] = i + 1
	}
	for i := range instances {
		name := instances[i].Workload
		if name != "" && numbers[name] == 0 && len(names) < evidence.MaxCallers {
			names = append(names, name)
			numbers[name] = len(names)
		}
	}
	for _, c := range by {
		if c.number = numbers[c.workload]; c.number == 0 && c.workload != "" {
			c.number = evidence.MaxCallers + 1
		}
	}
	return names
}

// callerOf appends the user that a request names in its Proxy-Authorization, nothing if it names none.
func callerOf(dst []byte, fields []http1.Field) []byte {
	const most = 256 // a DNS name and a namespace, and what is left of it for a password
	value, ok := http1.Lookup(fields, callerName)
	if !ok || len(value) < len("Basic ") || !http1.EqualFold(value[:len("Basic ")], "Basic ") {
		return dst
	}
	var room [most]byte
	encoded := value[len("Basic "):]
	if base64.StdEncoding.DecodedLen(len(encoded)) > most {
		return dst
	}
	n, err := base64.StdEncoding.Decode(room[:], encoded)
	if err != nil {
		return dst
	}
	for _, c := range room[:n] {
		if c == ':' {
			break
		}
		dst = append(dst, c)
	}
	return dst
}
