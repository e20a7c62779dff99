package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/control"
)

// statusEvery is how often a rollout is looked at.
const statusEvery = 200 * time.Millisecond

// rolloutTimeout is how long a rollout is waited for where nobody says how long.
const rolloutTimeout = 10 * time.Minute

func newRolloutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rollout", Short: "Replace the instances of a deployment or a gateway, and see how far that is"}
	cmd.AddCommand(newRolloutRestartCommand(), newRolloutStatusCommand())
	return cmd
}

func newRolloutRestartCommand() *cobra.Command {
	var c controlClient
	cmd := &cobra.Command{
		Use:   "restart " + objectArg,
		Short: "Replace every instance",
		Long: `restart replaces every instance of a deployment, as its strategy says, or every replica of a gateway, one after
another: a new one serves before an old one is told to leave, and they share the listening sockets.`,
		Example: "  crossfade rollout restart deployment/reviews-v1\n  crossfade rollout restart gateway/ingressgateway",
		Args:    wants(objectArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := readObject(args[0])
			if err != nil {
				return err
			}
			if err := c.tell(cmd.Context(), "/api/v1/restart", o, nil); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s restarted\n", o); err != nil {
				return err
			}
			if o.gateway() {
				c.noteNobody(cmd, o)
				return nil
			}
			s, err := c.status(cmd.Context(), o.name)
			if note := unawaited(s); err == nil && note != "" { // the command is given, whatever becomes of the question
				fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			return nil
		},
	}
	c.addObjects(cmd.Flags())
	cmd.ValidArgsFunction = c.complete
	return cmd
}

// unawaited is what somebody should know whose new instances are still cold when the old ones leave; "" when they are not.
func unawaited(s control.WorkloadStatus) string {
	if s.Unawaited == 0 || s.Replicas == 0 {
		return ""
	}
	when := "as soon as"
	if s.MinReady > 0 {
		when = fmt.Sprintf("%gs after", s.MinReady.Seconds())
	}
	return fmt.Sprintf("note: old instances leave %s new ones are ready, and %s warms up for %gs: "+
		"with minReadySeconds: %.0f they stay until the new ones are warm",
		when, s.UnawaitedBy, s.Unawaited.Seconds(), math.Ceil(s.Unawaited.Seconds()))
}

func newRolloutStatusCommand() *cobra.Command {
	var c controlClient
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status " + objectArg,
		Short: "Wait until a deployment or a gateway runs as wanted",
		Long: `status waits until every replica is of the newest revision and ready and no other is left; it fails when that takes
longer than --timeout.`,
		Example: "  crossfade rollout status gateway/ingressgateway --timeout 5m",
		Args:    wants(objectArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := readObject(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return rolledOut(ctx, &c, o, cmd.OutOrStdout())
		},
	}
	c.addObjects(cmd.Flags())
	cmd.ValidArgsFunction = c.complete
	cmd.Flags().DurationVar(&timeout, "timeout", rolloutTimeout, "how long to wait")
	return cmd
}

// rolledOut waits until an object is as wanted, and writes a line whenever it comes nearer.
func rolledOut(ctx context.Context, c *controlClient, o object, w io.Writer) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	said := ""
	for {
		p, err := c.progress(ctx, o)
		switch {
		case err != nil && ctx.Err() != nil && said != "":
			return notRolledOut(ctx, o, said)
		case err != nil:
			return err
		}
		line := p.String()
		if line != said {
			said = line
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		if p.done() {
			return nil
		}
		select {
		case <-ctx.Done():
			return notRolledOut(ctx, o, said)
		case <-tick.C:
		}
	}
}

func notRolledOut(ctx context.Context, o object, said string) error {
	return fmt.Errorf("%s is not rolled out: %s: %w; \"crossfade get events\" says what happened", o, said, context.Cause(ctx))
}
