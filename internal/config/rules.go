package config

import "strings"

// rules are a kind's decisions, to be looked up by field.
type rules struct {
	decisions map[string]*Decision
	above     map[string]bool // fields that have decisions about something below them
	order     []Decision
}

func newRules(decisions []Decision) rules {
	r := rules{decisions: map[string]*Decision{}, above: map[string]bool{}, order: decisions}
	for i := range decisions {
		path := decisions[i].Field
		r.decisions[path] = &decisions[i]
		for j := range path {
			if path[j] == '.' || path[j] == '[' {
				r.above[path[:j]] = true
			}
		}
	}
	return r
}

// at returns the decision about a field, and whether there are decisions about fields below it.
func (r rules) at(pattern string) (d *Decision, below bool) {
	return r.decisions[pattern], r.above[pattern]
}

// applied says whether a decision of its own applies a field.
func (r rules) applied(pattern string) bool {
	d := r.decisions[pattern]
	return d != nil && d.Effect == Applied
}

// home returns a field of this name somewhere else in the kind, or "".
func (r rules) home(name string) string {
	for _, d := range r.order {
		if strings.HasSuffix(d.Field, "."+name) {
			return d.Field
		}
		// A field on the way to one that is applied: "spec.trafficPolicy" for "trafficPolicy".
		if i := strings.Index(d.Field, "."+name+"."); i >= 0 {
			return d.Field[:i+1+len(name)]
		}
		if i := strings.Index(d.Field, "."+name+"[]"); i >= 0 {
			return d.Field[:i+1+len(name)]
		}
	}
	return ""
}
