//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// edge is the gateway of every world here.
const edge = "gateway/ingressgateway"

// rescaleGateway gives the gateway another replica, or takes one away.
func (c *chaos) rescaleGateway() {
	c.t.Helper()
	c.more = !c.more
	cli(c.t, "scale", edge, "--replicas="+strconv.Itoa(c.edges()))
	c.edgeSettled()
}

// edges are the replicas of the gateway.
func (c *chaos) edges() int {
	if c.more {
		return 3
	}
	return 2
}

func (c *chaos) rolloutGateway() {
	c.t.Helper()
	cli(c.t, "rollout", "restart", edge)
	c.edgeSettled()
}

// upgradeGateway has the replicas run another program, which is a copy of the same.
func (c *chaos) upgradeGateway() {
	c.t.Helper()
	program := filepath.Join(c.t.TempDir(), "crossfade") // processes are known by this name
	copyFile(c.t, binary(c.t), program)
	cli(c.t, "upgrade", edge, "--binary", program)
	c.edgeSettled()
	for _, p := range c.m.find(c.t, isGateway) {
		if run, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); err != nil || run != program {
			c.t.Errorf("after an upgrade to %s a replica of the gateway runs %s (%v)", program, run, err)
		}
	}
}

// restartTwice asks for a restart in the middle of another.
func (c *chaos) restartTwice() {
	c.t.Helper()
	cli(c.t, "rollout", "restart", edge)
	before := c.m.find(c.t, isGateway)
	eventually(c.t, soon, func() string {
		for _, p := range c.m.find(c.t, isGateway) {
			if !slices.ContainsFunc(before, func(old proc) bool { return old.pid == p.pid }) {
				return ""
			}
		}
		return "the first new replica of the gateway"
	})
	cli(c.t, "rollout", "restart", edge)
	c.edgeSettled()
}

func (c *chaos) killGateway() {
	c.t.Helper()
	all := c.m.find(c.t, isGateway)
	kill(c.t, all[c.rng.IntN(len(all))])
	c.edgeSettled()
}

// killControlInRollout kills control in the middle of a restart of the gateway's replicas.
func (c *chaos) killControlInRollout() {
	c.t.Helper()
	cli(c.t, "rollout", "restart", edge)
	c.killControl()
	c.edgeSettled()
}

// edgeSettled waits until the gateway's replicas are as wanted, and no other is left.
func (c *chaos) edgeSettled() {
	c.t.Helper()
	eventually(c.t, soon, func() string {
		if n := len(c.m.find(c.t, isGateway)); n != c.edges() {
			return fmt.Sprintf("%d replicas of the gateway; there are %d", c.edges(), n)
		}
		return ""
	})
	cli(c.t, "rollout", "status", edge, "--timeout", soon.String())
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o700); err != nil {
		t.Fatal(err)
	}
}
