// Package config turns a directory of YAML into what people asked for: Istio's networking kinds, ASM's IstioGateway
// and the Kubernetes kinds beside them become one [fleet.Desired].
//
// A setting is applied or it is named in a [Finding]; nothing is dropped in silence. Which field of which kind
// is applied stands in tables (see [Kinds]): the strict pass over the YAML and the guide for people read the same ones.
package config

import "crossfade.dev/internal/fleet"

// Options say what the loader cannot read from the directory.
type Options struct {
	Labels      map[string]string // that this gateway carries; nil means DefaultLabels, in whose place an IstioGateway puts its own
	Locality    fleet.Locality    // where it stands
	Alone       bool              // there is no other: what its Labels and Locality leave without effect is a warning
	PortOffset  uint32            // added to gateway ports below 1024: 8000, or 0 when they may be bound
	Address     string            // where gateway listeners bind; empty means 0.0.0.0, every address
	MeshAddress string            // where the mesh listener binds: "127.0.0.1:15001"; empty makes none
	Registry    bool              // instances come from a registry, too: that none is known here is no finding
	Lenient     bool              // what is not enforced yet (Unenforced) is a warning, not an error
}

// A File is one file of configuration.
type File struct {
	Name string // for findings and origins
	Data []byte
}

// DefaultLabels returns the labels of Istio's own ingress gateway.
func DefaultLabels() map[string]string {
	return map[string]string{"istio": "ingressgateway", "app": "istio-ingressgateway"}
}

// Load reads every .yaml, .yml and .json file in and below dir, or the one file that dir names. The Desired is
// nil if any finding is an error. Findings come in the order of files and lines. Files and directories whose
// names begin with a dot are passed over.
func Load(dir string, o Options) (*fleet.Desired, []Finding) {
	l := newLoader(o)
	l.look(dir)
	return l.build()
}

// Parse is Load for files that are in memory already.
func Parse(files []File, o Options) (*fleet.Desired, []Finding) {
	l := newLoader(o)
	for _, f := range files {
		l.add(l.parse(f))
	}
	return l.build()
}
