package fleet

import "time"

// A Listener is a port that a data plane serves, with the routes behind it.
type Listener struct {
	Name     string            `json:"name"`    // unique: "http-8080", "mesh"
	Address  string            `json:"address"` // to bind: "0.0.0.0:8080"
	Port     uint32            `json:"port"`    // as configuration names it, before any local offset: 80
	Mesh     bool              `json:"mesh,omitempty"`
	Selector map[string]string `json:"selector,omitempty"` // labels of the gateways that serve it; nil means all
	Hosts    []VirtualHost     `json:"hosts"`
	Origin   Origin            `json:"origin,omitzero"`
}

// A VirtualHost is a set of host names that share routes.
type VirtualHost struct {
	Domains []string `json:"domains"` // "reviews", "reviews:9080", "*.example.com", "*"; a port must match where given
	Routes  []Route  `json:"routes"`  // first match wins
}

// A Route says where the requests that match it go.
type Route struct {
	Name         string        `json:"name,omitempty"`
	Matches      []Match       `json:"matches,omitempty"` // any of them; none matches everything
	Destinations []Destination `json:"destinations"`
	Timeout      time.Duration `json:"timeout_ns,omitempty"` // of the whole request; 0 is none
	Origin       Origin        `json:"origin,omitzero"`
}

// A Match is a set of conditions that must all hold.
type Match struct {
	Path   StringMatch `json:"path,omitzero"`
	Origin Origin      `json:"origin,omitzero"`
}

// A StringMatch is one way to compare a string. At most one field is set; the zero value matches everything.
type StringMatch struct {
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"` // RE2, of the whole string
}

// A Destination is a pool, and the part of a route's requests that goes to it.
type Destination struct {
	Service string `json:"service"` // Service.Name
	Subset  string `json:"subset,omitempty"`
	Weight  uint32 `json:"weight"` // relative to the route's other destinations
}
