package agent

import "crossfade.dev/internal/fleet"

// CheckOf returns how control and gateways can see from outside that an instance serves: as its probe does. seen says at
// which port others reach what the application has at one, and whether they do. What cannot be seen from there, an
// initial delay and the outcome of a command, is for the agent to decide: see fleet.Instance.Ready. Nil is by a
// connection.
func CheckOf(p *fleet.Probe, seen func(port uint32) (uint32, bool)) *fleet.Check {
	if p == nil || len(p.Exec) > 0 {
		return nil
	}
	check := rules(*p).Check
	check.InitialDelay = 0
	if check.Path == "" && !check.GRPC {
		check.Port = 0 // any port of the instance tells as much as another
		return &check
	}
	port, ok := seen(check.Port)
	if !ok {
		return nil
	}
	check.Port = port
	return &check
}
