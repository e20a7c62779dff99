package lab

import (
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// JoinAt offers a new endpoint of weight 1 that is somewhere.
func (l *Lab) JoinAt(name string, where fleet.Locality) {
	l.enter(name, 0, func(e *life) { e.locality = where })
}

// Stand says where gateway i stands. Gateways stand nowhere in particular until then.
func (l *Lab) Stand(i int, near warmup.Near) {
	g := l.gateways[i]
	g.near = near
	g.apply(g.view)
}

// Groups returns how gateway i's requests fall to groups of endpoints.
func (l *Lab) Groups(i int) []warmup.Group { return l.gateways[i].balancer.Groups() }
