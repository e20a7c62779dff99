package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"crossfade.dev/internal/drain"
)

// timerFlags are how a gateway leaves.
type timerFlags struct {
	drain.Timers

	grace time.Duration
}

func (f *timerFlags) add(flags *pflag.FlagSet) {
	t := drain.Defaults()
	flags.DurationVar(&f.Requests, "drain", t.Requests, "how long open requests have once nothing new is accepted; the gateway's annotation goes before it")
	flags.DurationVar(&f.Long, "drain-long", t.Long, "likewise WebSockets, calls of gRPC and server-sent events")
	flags.DurationVar(&f.Min, "drain-min", t.Min, "how long, at least, clients are still accepted when the gateway is told to stop: until load balancers have seen it")
	flags.DurationVar(&f.Notice, "drain-notice", t.Notice, "and at most; behind a balancer that takes minutes, as long as it takes")
	flags.DurationVar(&f.Quiet, "drain-quiet", t.Quiet, "how long nobody may have come for that to end sooner; and after which idle connections are closed")
	flags.DurationVar(&f.Spread, "drain-spread", t.Spread, "over how long what has had its time is ended")
	flags.DurationVar(&f.grace, "grace", 0, "after how long whoever stops the gateway kills it; a drain that may take longer is refused. 0 is unknown")
}

// besides leaves out lame duck for who is behind no load balancer, unless a flag asks for it.
func (f *timerFlags) besides(flags *pflag.FlagSet) {
	if !flags.Changed("drain-min") {
		f.Min = 0
	}
	if !flags.Changed("drain-notice") {
		f.Notice = 0
	}
}

// check refuses timers that cannot be kept.
func (f *timerFlags) check() error {
	for _, t := range []struct {
		name string
		time.Duration
	}{
		{"drain", f.Requests},
		{"drain-long", f.Long},
		{"drain-min", f.Min},
		{"drain-notice", f.Notice},
		{"drain-quiet", f.Quiet},
		{"drain-spread", f.Spread},
		{"grace", f.grace},
	} {
		if t.Duration < 0 {
			return exitError{2, fmt.Errorf("--%s %v: a duration is not below 0", t.name, t.Duration)}
		}
	}
	if f.grace == 0 {
		return nil
	}
	if err := f.Fit(f.grace); err != nil {
		return exitError{2, err}
	}
	return nil
}

// args are the flags that say the same.
func (f *timerFlags) args() []string {
	return []string{
		"--drain", f.Requests.String(), "--drain-long", f.Long.String(), "--drain-min", f.Min.String(), "--drain-notice", f.Notice.String(),
		"--drain-quiet", f.Quiet.String(), "--drain-spread", f.Spread.String(), "--grace", f.grace.String(),
	}
}
