package zookeeper

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// UsualWeight is that of a provider that does not say its own.
const UsualWeight = 100

var errNoURL = errors.New("want a URL: PROTOCOL://HOST:PORT/INTERFACE?…")

// A Provider is a registration of Dubbo's: the name of a node in ROOT/INTERFACE/providers, which is a URL, escaped.
type Provider struct {
	Protocol  string // "dubbo", "tri"
	Host      string
	Port      uint32
	Interface string

	node  string // as it was read; "" when something has changed since
	front string // what stands before the parameters
	all   []parameter
}

type parameter struct{ key, value string } // as they stand in the URL

// ParseProvider reads the name of a node. Everything that is a URL with a host and a port, and names an interface, is one.
func ParseProvider(node string) (*Provider, error) {
	if err := checkSize(len(node)); err != nil {
		return nil, err
	}
	text, err := url.QueryUnescape(node)
	if err != nil {
		return nil, err
	}
	front, query, _ := strings.Cut(text, "?")
	protocol, rest, ok := strings.Cut(front, "://")
	if !ok || protocol == "" {
		return nil, errNoURL
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	host, port, err := net.SplitHostPort(authority)
	if err != nil || host == "" || port == "" {
		return nil, errNoURL
	}
	p := &Provider{node: node, front: front, Protocol: protocol, Host: host}
	if p.Port, err = parsePort(port); err != nil {
		return nil, err
	}
	if query != "" {
		for pair := range strings.SplitSeq(query, "&") {
			key, value, _ := strings.Cut(pair, "=")
			p.all = append(p.all, parameter{key, value})
		}
	}
	p.Interface = path
	if name, said := p.Get("interface"); said && name != "" {
		p.Interface = name
	}
	if p.Interface == "" {
		return nil, fmt.Errorf("it names no interface: %w", errNoURL)
	}
	return p, nil
}

// NewProvider returns a registration without parameters, but for that of its interface.
func NewProvider(protocol, host string, port uint32, name string) *Provider {
	p := &Provider{Protocol: protocol, Host: host, Port: port, Interface: name}
	p.front = protocol + "://" + net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10)) + "/" + name
	p.Set("interface", name)
	return p
}

// Node returns the name of the node.
func (p *Provider) Node() string {
	if p.node != "" {
		return p.node
	}
	var out strings.Builder
	out.WriteString(p.front)
	for i, a := range p.all {
		separator := byte('&')
		if i == 0 {
			separator = '?'
		}
		out.WriteByte(separator)
		out.WriteString(a.key)
		if a.value != "" {
			out.WriteByte('=')
			out.WriteString(a.value)
		}
	}
	return url.QueryEscape(out.String())
}

// Get returns a parameter, and whether there is one; of several of one name the last.
func (p *Provider) Get(key string) (string, bool) {
	for _, a := range slices.Backward(p.all) {
		if plain(a.key) == key {
			return plain(a.value), true
		}
	}
	return "", false
}

// Parameters returns all of them.
func (p *Provider) Parameters() map[string]string {
	all := make(map[string]string, len(p.all))
	for _, a := range p.all {
		all[plain(a.key)] = plain(a.value)
	}
	return all
}

// Set replaces a parameter where it stands, or adds it at the end.
func (p *Provider) Set(key, value string) {
	p.node = ""
	for i := range slices.Backward(p.all) {
		if plain(p.all[i].key) == key {
			p.all[i].value = guarded(value)
			return
		}
	}
	p.all = append(p.all, parameter{guarded(key), guarded(value)})
}

// Weight is what consumers divide requests by.
func (p *Provider) Weight() int64 {
	text, _ := p.Get(weightKey)
	weight, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return UsualWeight
	}
	return max(0, weight)
}

// SetWeight says a share of a weight; a share of 0 is all of it.
func (p *Provider) SetWeight(weight int64, share float64) {
	p.Set(weightKey, strconv.FormatInt(scaled(min(max(0, weight), math.MaxInt32), share), 10))
}

// Steady returns a weight of Dubbo's on the scale where 1 is usual.
func Steady(weight int64) float64 { return float64(weight) / UsualWeight }

// Mark adds parameters, multiplies the weight, and makes it 0 when the instance leaves: consumers send to the others
// then, where there are any. Of a weight that the application says itself the full one is said, in place of that of metadata. A
// mark is put on what the application sent.
func (p *Provider) Mark(metadata map[string]string, share float64, leaving bool) {
	weight := p.Weight()
	_, said := p.Get(weightKey)
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		p.Set(key, metadata[key])
	}
	if said && metadata[fullWeightKey] != "" {
		p.Set(fullWeightKey, strconv.FormatFloat(Steady(weight), 'f', -1, 64))
	}
	switch {
	case leaving:
		p.SetWeight(0, 0)
	case share > 0 && share < 1:
		p.SetWeight(weight, share)
	}
}

// guarded is a text as it may stand between the separators of a URL, which is escaped as a whole besides.
func guarded(text string) string {
	return strings.NewReplacer("%", "%25", "&", "%26", "=", "%3D", "?", "%3F").Replace(text)
}

// plain is the opposite; what is not escaped so stays as it is.
func plain(text string) string {
	if out, err := url.PathUnescape(text); err == nil {
		return out
	}
	return text
}
