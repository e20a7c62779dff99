//go:build integration

package e2e

import (
	"slices"
	"strings"
	"time"
)

// leaseOfUp is how long a registration lives without its agent, under `crossfade up`.
const leaseOfUp = 10 * time.Second

func isEtcd(p proc) bool { return p.name() == "crossfade etcd" }

// killEtcd takes the registry away for a moment; then it is heard again.
func (c *chaos) killEtcd() {
	c.t.Helper()
	c.m.killed(c.t, c.m.one(c.t, "etcd", isEtcd), isEtcd)
	c.rollout("reviews-v1")
}

// killEtcdAndControl takes away everybody who knows who is there. What they kept tells them.
func (c *chaos) killEtcdAndControl() {
	c.t.Helper()
	control := c.m.control(c.t)
	c.m.killed(c.t, c.m.one(c.t, "etcd", isEtcd), isEtcd)
	c.m.killed(c.t, control, isControl)
	c.controlReady()
	c.rollout("details-v1")
}

// hangEtcd lets every lease run out at once: nobody has left.
func (c *chaos) hangEtcd() {
	c.t.Helper()
	before := c.settled("reviews-v1", 2)
	resume := pause(c.t, c.m.one(c.t, "etcd", isEtcd))
	<-time.After(leaseOfUp + 2*time.Second)
	resume()
	c.rollout("ratings-v1") // it is heard again
	for _, e := range c.settled("reviews-v1", 2) {
		if !slices.ContainsFunc(before, func(was endpoint) bool { return was.Incarnation == e.Incarnation && was.Age < e.Age }) {
			c.t.Errorf("after etcd hung, %s began anew: %+v, before %+v", e.Name, e, before)
		}
	}
}

// goOffline asks one of two instances to leave, as a preStop hook does; a rollout puts new ones in the place of both.
func (c *chaos) goOffline() {
	c.t.Helper()
	old := c.settled("reviews-v1", 2)
	if report := offline(old[0]); !strings.Contains(report, `"cut":0`) {
		c.t.Errorf("%s went offline: %s", old[0].Name, report)
	}
	cli(c.t, "rollout", "restart", "deployment/reviews-v1")
	c.settled("reviews-v1", 2, old...)
}
