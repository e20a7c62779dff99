package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// adjust returns what the flags change of any Lifecycle; nil is nothing.
func (f *lifecycleFlags) adjust(flags *pflag.FlagSet) (func(*fleet.Lifecycle), error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	var requests []fleet.WarmupRequest
	if f.requests != "" {
		read, findings := config.LoadWarmupRequests(f.requests)
		if read == nil {
			var errs []error
			for _, finding := range findings {
				errs = append(errs, errors.New(finding.String()))
			}
			return nil, errors.Join(errs...)
		}
		requests = read
	}
	return func(l *fleet.Lifecycle) {
		if flags.Changed("delay") {
			l.Delay = f.delay
		}
		if flags.Changed("registration-weight") {
			l.Ramp = f.weight == rampedWeight
		}
		f.warm(flags, l)
		if requests != nil {
			if l.Requests == nil {
				l.Requests = &fleet.WarmupRequests{}
			}
			l.Requests.Requests = requests
		}
		if flags.Changed("readiness") {
			l.Ready = fleet.ReadyWhen(f.ready)
		}
		for name, set := range map[string]func(){
			"drain-quiet":   func() { l.Leave.Quiet = f.leave.Quiet },
			"drain-callers": func() { l.Leave.Callers = f.leave.Callers },
			"drain-timeout": func() { l.Leave.Timeout = f.leave.Timeout },
		} {
			if flags.Changed(name) {
				set()
			}
		}
	}, nil
}

// What --registration-weight may be: which weight registries have of an instance that warms up.
const (
	fullWeight   = "full"
	rampedWeight = "ramp"
)

// warm changes the warm-up by share. One that nobody has said anything of begins as the flags' defaults say.
func (f *lifecycleFlags) warm(flags *pflag.FlagSet, l *fleet.Lifecycle) {
	if flags.Changed("warmup") {
		l.Warmup.Window = f.warmup
	}
	fresh := flags.Changed("warmup") && l.Warmup.Aggression == 0
	if flags.Changed("minimum") || fresh {
		l.Warmup.Minimum = f.minimum / 100
	}
	if flags.Changed("curve") || flags.Changed("aggression") || fresh {
		l.Warmup.Aggression = f.shape()
	}
}

// shape is the curve's exponent, as fleet.Warmup has it.
func (f *lifecycleFlags) shape() float64 {
	switch f.curve {
	case "quadratic":
		return 0.5
	case "linear":
		return 1
	}
	return f.aggression
}

func (f *lifecycleFlags) check() error {
	for name, d := range map[string]time.Duration{
		"delay": f.delay, "warmup": f.warmup, "drain-quiet": f.leave.Quiet, "drain-callers": f.leave.Callers, "drain-timeout": f.leave.Timeout,
	} {
		if d < 0 || d > fleet.MaxLifecycleTime {
			return fmt.Errorf("--%s %v: want a duration from 0 to %v", name, d, fleet.MaxLifecycleTime)
		}
	}
	switch {
	case f.weight != fullWeight && f.weight != rampedWeight:
		return fmt.Errorf("--registration-weight %s: want %s or %s", f.weight, fullWeight, rampedWeight)
	case f.curve != "quadratic" && f.curve != "linear" && f.curve != "power":
		return fmt.Errorf("--curve %s: want quadratic, linear or power", f.curve)
	case f.aggression <= 0 || f.aggression > 100:
		return fmt.Errorf("--aggression %v: want a number above 0, 100 at most", f.aggression)
	case f.minimum < 0 || f.minimum > 100:
		return fmt.Errorf("--minimum %v: want a percentage", f.minimum)
	case f.ready != string(fleet.ReadyRegistered) && f.ready != string(fleet.ReadyWarm):
		return fmt.Errorf("--readiness %s: want %s or %s", f.ready, fleet.ReadyRegistered, fleet.ReadyWarm)
	}
	return nil
}
