package settings

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
)

// serviceEffects are about services, their subsets and policies.
func serviceEffects(before, after []fleet.Service) []string {
	var all []string
	pairs(before, after, func(s *fleet.Service) string { return s.Name }, func(name string, was, is *fleet.Service) {
		switch {
		case was == nil:
			all = append(all, fmt.Sprintf("Service %s is new.", name))
		case is == nil:
			all = append(all, fmt.Sprintf("Service %s goes.", name))
		default:
			all = append(all, poolEffects(was, is)...)
			rest := *is
			rest.Pools = was.Pools
			if !same(was, &rest) {
				all = append(all, fmt.Sprintf("Service %s changes in %s.", name, fieldsOf(was, &rest)))
			}
		}
	})
	return all
}

func poolEffects(was, is *fleet.Service) []string {
	var all []string
	pairs(was.Pools, is.Pools, func(p *fleet.Pool) string { return p.Subset }, func(subset string, old, now *fleet.Pool) {
		name := strings.TrimSpace(is.Name + " " + subset)
		switch {
		case old == nil:
			all = append(all, fmt.Sprintf("%s is new: the endpoints of %s with %s.", name, is.Name, labelsText(now.Labels)))
		case now == nil:
			all = append(all, fmt.Sprintf("%s goes: its endpoints stay in %s.", name, is.Name))
		default:
			all = append(all, policyEffects(name, &old.Policy, &now.Policy)...)
			if !same(old.Labels, now.Labels) {
				all = append(all, fmt.Sprintf("%s is the endpoints with %s (before: %s).", name, labelsText(now.Labels), labelsText(old.Labels)))
			}
		}
	})
	return all
}

// policyNames are the fields of a policy in words.
var policyNames = map[string]string{
	"ShiftBudget": "shift budget", "Hash": "hash", "Panic": "panic threshold", "Locality": "locality",
	"TLS": "TLS to its endpoints", "HTTP": "version of HTTP to its endpoints", "LoadReports": "load reports", "Connections": "bounds of connections",
}

func policyEffects(name string, was, is *fleet.Policy) []string {
	var all []string
	if was.Algorithm != is.Algorithm {
		all = append(all, fmt.Sprintf("%s: requests are shared out by %s (before: %s).", name, is.Algorithm, was.Algorithm))
	}
	if was.Warmup != is.Warmup {
		all = append(all, fmt.Sprintf("%s: its policy's warm-up is %s (before: %s). Shares of endpoints that warm up now do not jump.", name, warmupText(is.Warmup), warmupText(was.Warmup)))
	}
	a, b := reflect.ValueOf(was).Elem(), reflect.ValueOf(is).Elem()
	for i := range a.NumField() {
		field := a.Type().Field(i).Name
		if words := policyNames[field]; words != "" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			all = append(all, fmt.Sprintf("%s: %s: %s (before: %s).", name, words, compact(b.Field(i).Interface()), compact(a.Field(i).Interface())))
		}
	}
	return all
}

// compact writes a value of a policy on one line; "none" for one that is not there.
func compact(v any) string {
	data, err := json.Marshal(v)
	switch text := string(data); {
	case err != nil:
		return err.Error()
	case text == "null" || text == "{}" || text == "0":
		return "none"
	default:
		return text
	}
}

// lifecycleEffects are about how the instances of workloads come up and leave; workloads alike share a sentence.
func lifecycleEffects(before, after *fleet.Desired, people []workload) []string {
	var all []string
	who := map[string][]string{}
	var order []string
	heard := map[string]bool{}
	for i := range people {
		w := &people[i]
		old, now := w.life(before.Lifecycles), w.life(after.Lifecycles)
		text := lifeText(&old, &now)
		if l, ok := w.held(after.Lifecycles); ok {
			heard[l.Namespace+"/"+l.Name] = true
		}
		if text == "" {
			continue
		}
		if policy := policyWarmups(after, w); len(policy) > 0 && old.Warmup != now.Warmup {
			text += " A DestinationRule's warm-up goes before it: " + strings.Join(policy, "; ") + "."
		}
		if who[text] == nil {
			order = append(order, text)
		}
		who[text] = append(who[text], w.key())
	}
	for _, text := range order {
		all = append(all, fmt.Sprintf("Instances of %s that start from now on %s", strings.Join(who[text], ", "), text))
	}
	pairs(before.Lifecycles, after.Lifecycles, lifecycleKey, func(name string, was, is *fleet.Lifecycle) {
		switch {
		case is != nil && !heard[name] && (was == nil || !same(was, is)):
			all = append(all, fmt.Sprintf("Lifecycle %s holds for no workload that is known now; it will for instances that fit it.", name))
		case was == nil:
			all = append(all, fmt.Sprintf("Lifecycle %s is new.", name))
		case is == nil:
			all = append(all, fmt.Sprintf("Lifecycle %s goes.", name))
		}
	})
	return all
}

func lifecycleKey(l *fleet.Lifecycle) string { return l.Namespace + "/" + l.Name }

// lifeText says how instances come up otherwise than before; "" for no otherwise.
func lifeText(was, is *fleet.Lifecycle) string {
	var parts []string
	add := func(differ bool, now, before string) {
		if differ {
			parts = append(parts, fmt.Sprintf("%s (before: %s)", now, before))
		}
	}
	add(was.Off != is.Off, onOff(is), onOff(was))
	add(was.Delay != is.Delay, delayText(is.Delay), delayText(was.Delay))
	add(was.Warmup != is.Warmup, "have a warm-up of "+warmupText(is.Warmup), warmupText(was.Warmup))
	add(ready(was) != ready(is), "answer on the readiness port once they are "+ready(is), ready(was))
	add(was.Leave != is.Leave, "leave with "+leaveText(is.Leave), leaveText(was.Leave))
	add(was.Ramp != is.Ramp, "have "+weightText(is)+" in their registry", weightText(was))
	if !same(was.Requests, is.Requests) {
		parts = append(parts, "get other warm-up requests")
	}
	if was.Front != is.Front {
		parts = append(parts, "have other bounds in their agent's front")
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, "; ") + ". Those that run stay as they are."
}

func onOff(l *fleet.Lifecycle) string {
	if l.Off {
		return "start without graceful start"
	}
	return "start gracefully"
}

func delayText(d time.Duration) string {
	if d == 0 {
		return "register as soon as they can serve"
	}
	return "register " + spanText(d) + " after they can serve"
}

func ready(l *fleet.Lifecycle) string { return string(cmp.Or(l.Ready, fleet.ReadyRegistered)) }

func leaveText(l fleet.Leave) string {
	return fmt.Sprintf("%s of quiet, %s for callers, %s in all", spanText(l.Quiet), spanText(l.Callers), spanText(l.Timeout))
}

func weightText(l *fleet.Lifecycle) string {
	if l.Ramp {
		return "a growing weight"
	}
	return "their full weight"
}

// gatewayEffects are about gateways in replicas.
func gatewayEffects(before, after []fleet.GatewayGroup) []string {
	var all []string
	key := func(g *fleet.GatewayGroup) string { return g.Namespace + "/" + g.Name }
	pairs(fleet.OrDefault(before), fleet.OrDefault(after), key, func(name string, was, is *fleet.GatewayGroup) {
		switch {
		case was == nil:
			all = append(all, fmt.Sprintf("Gateway %s is new, with %s.", name, replicasText(is.Replicas)))
			return
		case is == nil:
			all = append(all, fmt.Sprintf("Gateway %s goes: its replicas leave.", name))
			return
		case was.Replicas != is.Replicas:
			all = append(all, fmt.Sprintf("Gateway %s runs %s (before: %d); who leaves serves what is open to it.", name, replicasText(is.Replicas), was.Replicas))
		}
		if was.Drain != is.Drain {
			all = append(all, fmt.Sprintf("When a replica of gateway %s leaves, open requests have %s (before: %s). No replica is restarted for it.", name, drainText(is.Drain), drainText(was.Drain)))
		}
		if was.Revision != is.Revision {
			all = append(all, fmt.Sprintf("The replicas of gateway %s are replaced, one after the other: their labels change.", name))
		}
	})
	return all
}

func replicasText(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

func drainText(d time.Duration) string {
	if d == 0 {
		return "the time that its program was started with"
	}
	return spanText(d)
}

// warmupText describes a warm-up: "120 s from 10 %, quadratic".
func warmupText(w fleet.Warmup) string {
	if w.Window <= 0 {
		return "none"
	}
	text := fmt.Sprintf("%s from %s %%, ", spanText(w.Window), number(w.Minimum*100))
	switch a := cmp.Or(w.Aggression, 1); a {
	case 1:
		return text + "linear"
	case quadratic:
		return text + "quadratic"
	default:
		return text + "share = progress^(1/" + number(a) + ")"
	}
}

// spanText writes a duration in seconds, as forms have it.
func spanText(d time.Duration) string { return number(d.Seconds()) + " s" }

// number writes a number as short as it can be.
func number(f float64) string {
	const digits = 6
	text := strconv.FormatFloat(f, 'f', digits, 64)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

func labelsText(labels map[string]string) string {
	var parts []string
	for name, value := range labels {
		parts = append(parts, name+"="+value)
	}
	slices.Sort(parts)
	return cmp.Or(strings.Join(parts, ", "), "any labels")
}

func originText(o fleet.Origin) string { return o.Kind + " " + o.Name }
