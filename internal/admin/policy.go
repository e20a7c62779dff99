package admin

import (
	"cmp"
	"fmt"
	"strings"

	"crossfade.dev/internal/fleet"
)

// keyText names what a pool's requests are told apart by: "header x-user", "cookie sid". It is empty where keys
// make no difference.
func keyText(p fleet.Policy) string {
	h := p.Hash
	if h == nil || p.Algorithm != fleet.RingHash && p.Algorithm != fleet.Maglev {
		return ""
	}
	switch {
	case h.Header != "":
		return "header " + h.Header
	case h.Cookie != nil:
		return "cookie " + h.Cookie.Name
	case h.Query != "":
		return "query parameter " + h.Query
	case h.SourceIP:
		return "source address"
	default:
		return ""
	}
}

// AlgorithmText names the pool's algorithm, and what it tells requests apart by: "RING_HASH by header x-user".
func (p PoolStatus) AlgorithmText() string {
	if key := keyText(p.Policy); key != "" {
		return p.Policy.Algorithm.String() + " by " + key
	}
	return p.Policy.Algorithm.String()
}

// policySentences say what decides besides weights: keys, addresses, where endpoints are, how few are left.
func policySentences(p PoolStatus, from fleet.Locality) []string {
	var list []string
	if key := keyText(p.Policy); key != "" {
		list = append(list, keySentence(p.Policy.Hash, key))
	}
	if p.Policy.Algorithm == fleet.Passthrough {
		list = append(list, "A request that names the address of an endpoint goes there, whatever its share; all others are drawn at random.")
	}
	if p.Policy.Locality != nil {
		list = append(list, localitySentence(p, from))
	}
	if p.Policy.Panic > 0 {
		list = append(list, fmt.Sprintf("When fewer than %s of the endpoints are in service, those that are left out get requests all the same.", Percent(p.Policy.Panic)))
	}
	return list
}

func keySentence(h *fleet.Hash, key string) string {
	var text strings.Builder
	switch {
	case h.SourceIP:
		text.WriteString("All requests from one source address go to one endpoint")
	case h.Cookie != nil && h.Cookie.TTL >= 0:
		fmt.Fprintf(&text, "Requests with the same %s go to one endpoint; a client without it is given one, ", key)
		if h.Cookie.TTL == 0 {
			text.WriteString("for its session")
		} else {
			text.WriteString("for " + Span(h.Cookie.TTL))
		}
	default:
		fmt.Fprintf(&text, "Requests with the same %s go to one endpoint, those without it to anyone", key)
	}
	if h.Bound > 0 {
		fmt.Fprintf(&text, "; one that has more than %s times its part of what is in flight is passed over", trimmed(h.Bound))
	}
	return text.String() + "."
}

// localitySentence says how requests fall to the groups that a locality policy makes.
func localitySentence(p PoolStatus, from fleet.Locality) string {
	var text strings.Builder
	place := cmp.Or(from.String(), "nowhere in particular")
	l := p.Policy.Locality
	switch {
	case len(l.Distribute) > 0:
		fmt.Fprintf(&text, "Requests are distributed by locality (this program stands in %s)", place)
	case len(l.Priority) > 0:
		fmt.Fprintf(&text, "Requests stay near, by %s (this program stands in %s)", strings.Join(l.Priority, ", then "), place)
	default:
		fmt.Fprintf(&text, "Requests stay near %s, where this program stands", place)
	}
	parts := make([]string, len(p.Groups))
	for i, g := range p.Groups {
		parts[i] = fmt.Sprintf("%s gets %s", g.Level, Percent(g.Part))
		if g.Able < 1 && g.Part > 0 {
			parts[i] += " and could take " + Percent(g.Able)
		}
	}
	if len(parts) > 0 {
		text.WriteString(": " + strings.Join(parts, "; "))
	}
	return text.String() + "."
}

// factor returns what people multiply the endpoint's weight by.
func (e EndpointStatus) factor() float64 {
	if e.Factor == nil {
		return 1
	}
	return finite(*e.Factor)
}

// WeightText writes an endpoint's full weight with what it is multiplied by: "4", "4 × 0.5".
func (e EndpointStatus) WeightText() string {
	text := Count(uint64(e.Weight))
	if e.Factor != nil {
		text += fmt.Sprintf(" × %.3g", e.factor())
	}
	return text
}

// GroupText says to which group an endpoint belongs, and what that gets: "zone 80 %". It is empty where that makes
// no difference.
func (e EndpointStatus) GroupText() string {
	if e.Ramp == nil || e.Ramp.Level == "" {
		return ""
	}
	return e.Ramp.Level + " " + Percent(e.Ramp.Part)
}
