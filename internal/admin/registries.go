package admin

import (
	"cmp"
	"slices"
	"strings"

	"crossfade.dev/internal/fleet"
)

// registryTable are the numbers of a registry that control follows.
var registryTable = []struct {
	name, help string
	value      func(*fleet.RegistryState) float64
}{
	{"up", "Whether the registry can be reached; 0 says that its last list holds.", func(s *fleet.RegistryState) float64 {
		if s.Away {
			return 0
		}
		return 1
	}},
	{"instances", "Instances that the registry lists.", func(s *fleet.RegistryState) float64 { return float64(s.Instances) }},
	{"foreign_instances", "Of these, those that no agent has registered.", func(s *fleet.RegistryState) float64 { return float64(s.Foreign) }},
	{"unread_entries", "Entries of the registry that are no instances.", func(s *fleet.RegistryState) float64 { return float64(s.Unread) }},
	{"lost_instances", "Instances that the registry has no more, and that stay while their checks pass.", func(s *fleet.RegistryState) float64 { return float64(s.Lost) }},
}

// instance is what the snapshot says of an incarnation; nil is nothing.
func (w World) instance(incarnation string) *fleet.Instance {
	i, found := slices.BinarySearchFunc(w.View.Instances, incarnation, func(in fleet.Instance, want string) int {
		return cmp.Compare(in.Incarnation, want)
	})
	if !found {
		return nil
	}
	return &w.View.Instances[i]
}

// RegistriesText says where an endpoint is registered: "nacos, zookeeper, by itself".
func (e EndpointStatus) RegistriesText() string {
	text := strings.Join(e.Registries, ", ")
	if e.Foreign && text != "" {
		text += ", by itself"
	}
	return text
}

// registeredSentence says it in a sentence; empty where no registry has it.
func (e EndpointStatus) registeredSentence() string {
	switch text := strings.Join(e.Registries, " and "); {
	case text == "" && e.Foreign:
		return " No registry has it now; it stays while its check passes."
	case text == "":
		return ""
	case e.Foreign:
		return " It registered itself in " + text + ": no agent of ours stands beside it."
	default:
		return " It is registered in " + text + "."
	}
}
