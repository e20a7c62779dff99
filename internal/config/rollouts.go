package config

import (
	"fmt"
	"math"

	"crossfade.dev/internal/fleet"
)

// checkRollouts names Deployments whose instances are replaced faster than they warm up: Kubernetes takes an old one
// away when a new one is available, which is minReadySeconds after it is ready.
func (b *builder) checkRollouts(services []fleet.Service) {
	for i := range b.workloads {
		w := &b.workloads[i]
		window, service := w.Unawaited(services, b.lifecycles)
		if window == 0 || w.Replicas == 0 {
			continue
		}
		when := "as soon as"
		if w.MinReady > 0 {
			when = fmt.Sprintf("%gs after", w.MinReady.Seconds())
		}
		b.add(Warning, b.deployed[i], Doubtful, "spec.minReadySeconds", "a rolling update takes old instances away %s new ones are ready, "+
			"and %s warms up for %gs: write %.0f, and the old ones stay until the new ones are warm",
			when, service, window.Seconds(), math.Ceil(window.Seconds()))
	}
}
