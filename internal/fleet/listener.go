package fleet

import (
	"net"
	"net/netip"
	"slices"
	"time"
)

// A Listener is a port that a data plane serves, with the routes behind it.
type Listener struct {
	Name     string            `json:"name"`    // unique: "http-8080", "mesh"
	Address  string            `json:"address"` // to bind: "0.0.0.0:8080"
	Port     uint32            `json:"port"`    // as configuration names it, before any local offset: 80
	Mesh     bool              `json:"mesh,omitempty"`
	Selector map[string]string `json:"selector,omitempty"` // labels of the gateways that serve it; nil means all
	Hosts    []VirtualHost     `json:"hosts"`
	TLS      []ServerTLS       `json:"tls,omitempty"` // by SNI; none serves plaintext
	Origin   Origin            `json:"origin,omitzero"`
}

// ServedAt returns the snapshot with every listener at an address of one machine, on its port; unchanged where that is
// the zero value. What is no address stays as it is: it will not be bound, and that is told.
func (s *Snapshot) ServedAt(machine netip.Addr) *Snapshot {
	if !machine.IsValid() {
		return s
	}
	own := *s
	own.Listeners = slices.Clone(s.Listeners)
	for i := range own.Listeners {
		l := &own.Listeners[i]
		if _, port, err := net.SplitHostPort(l.Address); err == nil {
			l.Address = net.JoinHostPort(machine.String(), port)
		}
	}
	return &own
}

// A ServerTLS says how a listener answers TLS clients that ask for some names. Files are read again when they
// change.
type ServerTLS struct {
	Hosts       []string `json:"hosts"`                  // SNI: "shop.example.com", "*.example.com", "*"
	Certificate string   `json:"certificate"`            // path of a PEM file, leaf first
	Key         string   `json:"key"`                    // path of a PEM file
	ClientCA    string   `json:"client_ca,omitempty"`    // path of a PEM file; set: a client must show a certificate that it signed (MUTUAL)
	MinVersion  uint16   `json:"min_version,omitempty"`  // as in crypto/tls; 0 is TLS 1.2
	MaxVersion  uint16   `json:"max_version,omitempty"`  // 0 is TLS 1.3
	Ciphers     []uint16 `json:"ciphers,omitempty"`      // of TLS 1.2, as in crypto/tls; none means Go's choice
	ClientNames []string `json:"client_names,omitempty"` // subject alternative names, one of which a client's certificate must carry; none means any
	Origin      Origin   `json:"origin,omitzero"`
}

// A ClientTLS says how endpoints are spoken to over TLS. Files are read again when they change.
type ClientTLS struct {
	SNI         string   `json:"sni"`                   // the name that an endpoint is asked for
	Certificate string   `json:"certificate,omitempty"` // path of a PEM file, leaf first, that is shown to an endpoint that asks (MUTUAL); "" shows none
	Key         string   `json:"key,omitempty"`         // path of a PEM file
	CA          string   `json:"ca,omitempty"`          // path of a PEM file; the endpoint's certificate must be signed by it; "" means by an authority that the system trusts
	Names       []string `json:"names,omitempty"`       // subject alternative names, one of which the endpoint's certificate must carry; none means SNI
	Unverified  bool     `json:"unverified,omitempty"`  // any certificate will do; CA and Names are not set
}

// A VirtualHost is a set of host names that share routes.
type VirtualHost struct {
	Domains []string `json:"domains"`         // "reviews", "reviews:9080", "*.example.com", "*"; a port must match where given
	Routes  []Route  `json:"routes"`          // first match wins
	HTTPS   bool     `json:"https,omitempty"` // plaintext requests are redirected to https with 301
}

// A Route says what happens to the requests that match it: exactly one of Destinations, Redirect and Respond.
type Route struct {
	Name         string        `json:"name,omitempty"`
	Matches      []Match       `json:"matches,omitempty"` // any of them; none matches everything
	Destinations []Destination `json:"destinations,omitempty"`
	Redirect     *Redirect     `json:"redirect,omitempty"`
	Respond      *Respond      `json:"respond,omitempty"`
	Rewrite      *Rewrite      `json:"rewrite,omitempty"` // of requests to Destinations
	Headers      HeaderEdits   `json:"headers,omitzero"`
	Timeout      time.Duration `json:"timeout_ns,omitempty"` // of the whole request; 0 is none
	Origin       Origin        `json:"origin,omitzero"`
}

// A Match is a set of conditions that must all hold.
type Match struct {
	Name         string            `json:"name,omitempty"`
	Path         StringMatch       `json:"path,omitzero"`         // without the query
	IgnoreCase   bool              `json:"ignore_case,omitempty"` // of Path, where it is exact or a prefix
	Scheme       StringMatch       `json:"scheme,omitzero"`
	Method       StringMatch       `json:"method,omitzero"`
	Authority    StringMatch       `json:"authority,omitzero"`
	Headers      []NamedMatch      `json:"headers,omitempty"`
	Without      []NamedMatch      `json:"without,omitempty"` // headers that must not match
	Query        []NamedMatch      `json:"query,omitempty"`
	Port         uint32            `json:"port,omitempty"`          // that the request addresses; 0 is any
	SourceLabels map[string]string `json:"source_labels,omitempty"` // of the instance that calls, on the mesh port
	Origin       Origin            `json:"origin,omitzero"`
}

// A NamedMatch compares the value of a header or query parameter. The zero Value holds when there is one.
type NamedMatch struct {
	Name  string      `json:"name"` // headers: lower case
	Value StringMatch `json:"value,omitzero"`
}

// A StringMatch is one way to compare a string. At most one field is set; the zero value matches everything.
type StringMatch struct {
	Exact  string `json:"exact,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Regex  string `json:"regex,omitempty"` // RE2, of the whole string
}

// A Destination is a pool, and the part of a route's requests that goes to it.
type Destination struct {
	Service string      `json:"service"` // Service.Name
	Subset  string      `json:"subset,omitempty"`
	Weight  uint32      `json:"weight"` // relative to the route's other destinations
	Headers HeaderEdits `json:"headers,omitzero"`
}

// A Redirect answers with another place. Empty fields keep what the request has.
type Redirect struct {
	Code       int    `json:"code"` // 301, 302, 303, 307 or 308
	Path       string `json:"path,omitempty"`
	Authority  string `json:"authority,omitempty"`
	Scheme     string `json:"scheme,omitempty"`
	Port       uint32 `json:"port,omitempty"`        // overrides the authority's
	DerivePort string `json:"derive_port,omitempty"` // "FROM_PROTOCOL_DEFAULT" or "FROM_REQUEST_PORT"
}

// A Respond answers at once, without any endpoint.
type Respond struct {
	Status int    `json:"status"`
	Body   []byte `json:"body,omitempty"`
}

// A Rewrite changes a request before it is sent on. At most one of Path and Regex is set.
type Rewrite struct {
	Path        string `json:"path,omitempty"`  // replaces the matched prefix, or the whole path where the match is exact or a regex
	Regex       string `json:"regex,omitempty"` // RE2; every match in the path is replaced by Replacement, with \1 for groups
	Replacement string `json:"replacement,omitempty"`
	Authority   string `json:"authority,omitempty"`
}

// HeaderEdits change the headers of requests on their way to an endpoint, and of its answers on their way back:
// first Remove, then Set, then Add.
type HeaderEdits struct {
	Request  HeaderEdit `json:"request,omitzero"`
	Response HeaderEdit `json:"response,omitzero"`
}

// A HeaderEdit changes headers. Names are in lower case and none stands twice in one list.
type HeaderEdit struct {
	Remove []string `json:"remove,omitempty"`
	Set    []Header `json:"set,omitempty"` // replaces all of that name
	Add    []Header `json:"add,omitempty"` // one more of that name
}

// A Header is a name and a value.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
