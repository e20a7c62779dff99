package admin

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
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

// AlgorithmText names the pool's algorithm, what it tells requests apart by, and what it does with places:
// "RING_HASH by header x-user", "LEAST_REQUEST, near first".
func (p PoolStatus) AlgorithmText() string {
	text := p.Policy.Algorithm.String()
	if key := keyText(p.Policy); key != "" {
		text += " by " + key
	}
	switch l := p.Policy.Locality; {
	case l == nil:
	case len(l.Distribute) > 0:
		text += ", distributed"
	case len(l.Priority) > 0:
		text += ", near by " + strings.Join(l.Priority, ", ")
	default:
		text += ", near first"
	}
	return text
}

// itsOwn is what EndpointStatus.WarmupFrom says of an endpoint that goes by its own.
const itsOwn = "its own"

// warmupFrom says whose warm-up e goes by in a pool of p, which comes from somewhere.
func warmupFrom(p *fleet.Policy, e *fleet.Endpoint, from fleet.Origin) string {
	if p.OwnWarmup(e) {
		return itsOwn
	}
	return cmp.Or(strings.TrimSpace(from.Kind+" "+from.Name), "the policy")
}

// ownWarmups are those that endpoints go by themselves.
func ownWarmups(p *fleet.Policy, members []*fleet.Endpoint) []OwnWarmup {
	counts := map[fleet.Warmup]int{}
	for _, e := range members {
		if p.OwnWarmup(e) {
			counts[*e.Warmup]++
		}
	}
	var list []OwnWarmup
	for w, n := range counts {
		list = append(list, OwnWarmup{w, n})
	}
	slices.SortFunc(list, func(a, b OwnWarmup) int {
		return cmp.Or(cmp.Compare(a.Warmup.Window, b.Warmup.Window), cmp.Compare(a.Warmup.Minimum, b.Warmup.Minimum), cmp.Compare(a.Warmup.Aggression, b.Warmup.Aggression))
	})
	return list
}

// WarmupText says how long the pool's warm-up takes, from what share, and by what curve unless that is the straight
// line of progress p: "2 m from 10 %, p^0.5". Where endpoints go by their own it says so: "own: 2 m from 10 %, p^2".
func (p PoolStatus) WarmupText() string {
	if p.Policy.Warmup.Window > 0 {
		return curveText(p.Policy.Warmup)
	}
	switch n := len(p.Own); n {
	case 0:
		return "off"
	case 1:
		return "own: " + curveText(p.Own[0].Warmup)
	default:
		return fmt.Sprintf("own: %s to %s", Span(p.Own[0].Warmup.Window), Span(p.Own[n-1].Warmup.Window))
	}
}

func curveText(w fleet.Warmup) string {
	text := Span(w.Window) + " from " + Percent(w.Minimum)
	if bent(w) {
		text += fmt.Sprintf(", p^%.3g", 1/w.Aggression)
	}
	return text
}

// bent says whether a warm-up's curve is another than the straight line.
func bent(w fleet.Warmup) bool { return w.Aggression > 0 && w.Aggression != 1 }

func warmupSentence(p PoolStatus) string {
	w, where := p.Policy.Warmup, originText(p.Origin)
	if w.Window <= 0 && len(p.Own) > 0 {
		return ownSentence(p, where)
	}
	if w.Window <= 0 {
		return "Warm-up is off: a new endpoint gets its full share at once" + where + "."
	}
	line := "in a straight line with time"
	if bent(w) {
		line = fmt.Sprintf("along progress^%.3g", 1/w.Aggression)
	}
	// The curve is the greater of the minimum and the line, so that it is flat until the line has come so far.
	flat := time.Duration(curve.Inverse(w.Minimum, w.Aggression) * float64(w.Window))
	switch {
	case flat <= 0:
		return fmt.Sprintf("Warm-up takes %s: from 0 to 100 %% %s%s.", Span(w.Window), line, where)
	case flat >= w.Window:
		return fmt.Sprintf("Warm-up takes %s, from 100 %%: it makes no difference%s.", Span(w.Window), where)
	}
	return fmt.Sprintf("Warm-up takes %s: %s for the first %s, then %s to 100 %%%s.", Span(w.Window), Percent(w.Minimum), Span(flat), line, where)
}

// ownSentence says by what endpoints warm up in a pool that has no warm-up.
func ownSentence(p PoolStatus, where string) string {
	var parts []string
	for _, own := range p.Own {
		takes := "take"
		if own.Endpoints == 1 {
			takes = "takes"
		}
		parts = append(parts, fmt.Sprintf("%s of %d %s %s", Count(own.Endpoints), p.Endpoints, takes, curveText(own.Warmup)))
	}
	return fmt.Sprintf("The pool has no warm-up%s: endpoints go by their own; %s.", where, strings.Join(parts, ", "))
}

// HTTPText says what the pool's endpoints are spoken to in: "HTTP/1.1", "HTTP/2 over TLS", "same", which is that of
// each request.
func (p PoolStatus) HTTPText() string {
	text := p.Policy.HTTP.String()
	if p.Policy.TLS != nil {
		text += " over TLS"
	}
	return text
}

// httpSentence says which version of HTTP endpoints are spoken to in, where it is not HTTP/1.1.
func httpSentence(p fleet.Policy) string {
	switch p.HTTP {
	case fleet.HTTP2:
		return "Endpoints are spoken to in HTTP/2: each request is balanced by itself, on whatever connection it comes."
	case fleet.HTTPSame:
		return "Endpoints are spoken to in the version of HTTP in which the request came."
	case fleet.HTTP1:
	}
	return ""
}

// policySentences say what decides besides weights: keys, addresses, where endpoints are, how few are left. The
// program stands in from, nil where it does not balance.
func policySentences(p PoolStatus, from *fleet.Locality) []string {
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
	for _, text := range []string{httpSentence(p.Policy), boundsSentence(p.Policy.Connections)} {
		if text != "" {
			list = append(list, text)
		}
	}
	if p.Policy.Panic > 0 {
		list = append(list, fmt.Sprintf("If this program has ejected so many that fewer than %s of the offered endpoints are left, "+
			"those that it ejected get requests as well; one that is not ready gets none in any case.", Percent(p.Policy.Panic)))
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
func localitySentence(p PoolStatus, from *fleet.Locality) string {
	var text strings.Builder
	l, place, stands := p.Policy.Locality, "", ""
	if from != nil && *from != (fleet.Locality{}) {
		place = from.String()
		stands = " (this program stands in " + place + ")"
	}
	switch {
	case len(l.Distribute) > 0 && place == "" && from != nil:
		text.WriteString("Requests are distributed by locality; nobody said where this program stands (--locality), so only from: \"*\" holds for it")
	case len(l.Distribute) > 0:
		text.WriteString("Requests are distributed by locality" + stands)
	case len(l.Priority) > 0:
		text.WriteString("Requests stay near, by " + strings.Join(l.Priority, ", then ") + stands)
	case from == nil:
		text.WriteString("Requests stay near the gateway that sends them")
	case place == "":
		return "Requests would stay near, but nobody said where this program stands (--locality): everybody is equally near."
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

// ReasonText writes why an endpoint's share is what it is as a word, and beside it what that word hides:
// "bypass-all-cold (paused at 4.8 %)". It is empty for an ordinary full share.
func (e EndpointStatus) ReasonText() string {
	switch {
	case e.Ramp == nil:
		return ""
	case e.Forced() && e.Ramp.Reason == warmup.Ejected:
		return "ejected, but nobody else is left"
	case e.Paused:
		return strings.TrimSpace(fmt.Sprintf("%s (paused at %s)", e.Ramp.Reason, Percent(e.Ramp.Progress)))
	}
	return string(e.Ramp.Reason)
}

// GroupText says to which group an endpoint belongs, and what that gets: "zone 80 %". It is empty where that makes
// no difference.
func (e EndpointStatus) GroupText() string {
	if e.Ramp == nil || e.Ramp.Level == "" {
		return ""
	}
	return e.Ramp.Level + " " + Percent(e.Ramp.Part)
}
