package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The labels by which an instance says how it comes up, as MSE's graceful start has them. They go before its
// Lifecycle, each for its own field.
const (
	LosslessEnable = "mse.lossless.enable"     // "true" or "false"
	LosslessDelay  = "mse.lossless.delayTime"  // Lifecycle.Delay, in whole seconds
	LosslessWarmup = "mse.lossless.warmupTime" // the window of Lifecycle.Warmup, likewise; "0" is none
	LosslessNotice = "mse.lossless.notice"     // "true" or "false"; who calls it through crossfade hears of its leave in any case
)

// LosslessPrefix begins the names of those labels, and of no others.
const LosslessPrefix = "mse.lossless."

// LosslessLabels returns the names of those labels, sorted.
func LosslessLabels() []string {
	return []string{LosslessDelay, LosslessEnable, LosslessNotice, LosslessWarmup}
}

// MaxLifecycleTime bounds every time in a Lifecycle.
const MaxLifecycleTime = 24 * time.Hour

// LifecycleFor returns how an instance of a namespace, with these labels, in these services, comes up and leaves: what
// its labels say, then the most particular of all Lifecycles, then [PlainLifecycle]. An error is a [*LabelError]; with
// it comes what holds without that label.
func LifecycleFor(all []Lifecycle, namespace string, services []string, labels map[string]string) (Lifecycle, error) {
	l, found := LifecycleOf(all, namespace, services, labels)
	switch {
	case found:
	case labels[LosslessEnable] == "true":
		l = DefaultLifecycle()
	default:
		l = PlainLifecycle()
	}
	return l.For(labels)
}

// For returns l as it holds for an instance with these labels. An instance whose Lifecycle is off has neither delay nor
// warm-up. An error is as that of [LifecycleFor].
func (l Lifecycle) For(labels map[string]string) (Lifecycle, error) {
	var first error
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !strings.HasPrefix(name, LosslessPrefix) {
			continue
		}
		if err := take(&l, name, labels[name]); err != nil && first == nil {
			first = err
		}
	}
	if l.Off {
		l.Delay, l.Warmup, l.Requests = 0, Warmup{}, nil
	}
	return l, first
}

// take sets in l what one label says.
func take(l *Lifecycle, name, value string) error {
	switch name {
	case LosslessEnable, LosslessNotice:
		if value != "true" && value != "false" {
			return &LabelError{name, fmt.Sprintf(`%q must be "true" or "false"`, value)}
		}
		if name == LosslessEnable {
			l.Off = value == "false"
		}
	case LosslessDelay, LosslessWarmup:
		n, err := strconv.ParseUint(value, 10, 32)
		if most := uint64(MaxLifecycleTime / time.Second); err != nil || n > most {
			return &LabelError{name, fmt.Sprintf(`%q must be a whole number of seconds, "0" to "%d"`, value, most)}
		}
		if name == LosslessDelay {
			l.Delay = time.Duration(n) * time.Second
		} else {
			l.Warmup.Window = time.Duration(n) * time.Second
		}
	default:
		return &LabelError{name, "is no label of graceful start; there are " + strings.Join(LosslessLabels(), ", ")}
	}
	return nil
}

// WarmupOf returns the warm-up by which e gets its share in a pool of p: the policy's, where it has one, and e's own
// elsewhere. It is off where neither says anything.
func (p *Policy) WarmupOf(e *Endpoint) Warmup {
	if p.OwnWarmup(e) {
		return *e.Warmup
	}
	return p.Warmup
}

// OwnWarmup says whether e warms up by its own Warmup in a pool of p.
func (p *Policy) OwnWarmup(e *Endpoint) bool {
	return p.Warmup.Window <= 0 && e.Warmup != nil && e.Warmup.Window > 0
}
