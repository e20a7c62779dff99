package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// check finds what no agent can make anything of, in flags: a file's are checked as it is read.
func (f *agentFlags) check(flags *pflag.FlagSet, a *config.Agent) error {
	return errors.Join(checkNames(a), checkAddress(a.Address), checkPorts(a.Ports), f.checkNumbers(flags), checkDoors(a))
}

// checkNames checks what an instance is called.
func checkNames(a *config.Agent) error {
	if a.Service != "" {
		if _, _, err := config.ParseLabel("app=" + a.Service); err != nil {
			return fmt.Errorf(`--service %q: want the name of a service: letters, digits and "-", 63 at most`, a.Service)
		}
	}
	if a.Namespace != "" {
		if _, _, err := config.ParseLabel("namespace=" + a.Namespace); err != nil {
			return fmt.Errorf(`--namespace %q: want a name: letters, digits and "-", 63 at most`, a.Namespace)
		}
	}
	const longest = 128
	for _, said := range [][2]string{
		{"name", a.Name}, {"incarnation", a.Incarnation}, {"workload", a.Workload}, {"revision", a.Revision},
	} {
		if len(said[1]) > longest || strings.ContainsFunc(said[1], func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			return fmt.Errorf("--%s %q: want letters, digits and signs of ASCII only, %d at most", said[0], said[1], longest)
		}
	}
	return nil
}

// checkAddress refuses addresses at which nobody else can reach anybody.
func checkAddress(address netip.Addr) error {
	if address.IsUnspecified() || address.IsMulticast() || address.Zone() != "" {
		return fmt.Errorf("--address %v: others cannot reach the instance there; want one address of this machine, without a zone", address)
	}
	return nil
}

func checkPorts(ports []fleet.ContainerPort) error {
	for i, p := range ports {
		if slices.ContainsFunc(ports[:i], func(o fleet.ContainerPort) bool { return o.Number == p.Number }) {
			return fmt.Errorf("--port %d: it is there already; say it once", p.Number)
		}
		if p.Name != "" && slices.ContainsFunc(ports[:i], func(o fleet.ContainerPort) bool { return o.Name == p.Name }) {
			return fmt.Errorf("--port %s=%d: there is a port of that name already; give it another", p.Name, p.Number)
		}
	}
	return nil
}

func (f *agentFlags) checkNumbers(flags *pflag.FlagSet) error {
	if flags.Changed("weight") && f.said.Weight == 0 {
		return errors.New("--weight 0: want 1 or more; who is to get nothing yet says --delay")
	}
	for name, d := range map[string]time.Duration{
		"grace": f.said.Grace, "start-timeout": f.said.StartTimeout, "probe-delay": f.probed.InitialDelay,
	} {
		if d < 0 {
			return fmt.Errorf("--%s %v: want a duration of 0 or more", name, d)
		}
	}
	for name, d := range map[string]time.Duration{"probe-interval": f.probed.Interval, "probe-timeout": f.probed.Timeout} {
		if d <= 0 {
			return fmt.Errorf("--%s %v: want a duration above 0", name, d)
		}
	}
	for name, n := range map[string]int{"probe-healthy": f.probed.Healthy, "probe-unhealthy": f.probed.Unhealthy} {
		if n < 1 {
			return fmt.Errorf("--%s %d: want 1 or more", name, n)
		}
	}
	return nil
}

// checkDoors checks where the agent answers, before anything is started.
func checkDoors(a *config.Agent) error {
	for _, said := range [][2]string{{"readiness-address", a.Readiness}, {"offline", a.Offline}, {"admin", a.Admin}} {
		if said[1] == "" {
			continue
		}
		host, port, err := net.SplitHostPort(said[1])
		if _, wrong := parsePort(port); err != nil || wrong != nil && port != "0" {
			return fmt.Errorf("--%s %s: want ADDRESS:PORT or :PORT", said[0], said[1])
		}
		at, err := netip.ParseAddr(cmp.Or(host, "0.0.0.0"))
		if said[0] == "offline" && host != "localhost" && (err != nil || !at.IsLoopback()) {
			return fmt.Errorf("--offline %s: it stops the instance, so it is for this machine only: want a loopback address, as %s", said[1], defaultOffline)
		}
	}
	return nil
}
