package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
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
another: a new one serves before an old one is told to leave, and they share the listening sockets. It does not wait:
crossfade rollout status does.`,
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
longer than --timeout. Old replicas of a gateway stay until what is open to them is over or has had its time. At the end
it says what the leaves of those came to that had not left when it began; its exit code is 3 when something was cut. What
was over by then is in crossfade get drains.`,
		Example: "  crossfade rollout status gateway/ingressgateway --timeout 5m",
		Args:    wants(objectArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := readObject(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			l, err := c.leaves(ctx, o)
			if err != nil {
				return err
			}
			return rolledOut(ctx, &c, o, l, cmd.OutOrStdout())
		},
	}
	c.addObjects(cmd.Flags())
	cmd.ValidArgsFunction = c.complete
	cmd.Flags().DurationVar(&timeout, "timeout", rolloutTimeout, "how long to wait")
	return cmd
}

// rolledOut waits until an object is as wanted, and writes a line whenever it comes nearer, and in the end one of what
// the leaves came to that were not over before. It fails when those have lost something.
func rolledOut(ctx context.Context, c *controlClient, o object, l *leaves, w io.Writer) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	said := ""
	for {
		p, err := c.progress(ctx, o)
		if err == nil {
			err = l.see(ctx, p.processes)
		}
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
			return l.verdict(w)
		}
		select {
		case <-ctx.Done():
			return notRolledOut(ctx, o, said)
		case <-tick.C:
		}
	}
}

func notRolledOut(ctx context.Context, o object, said string) error {
	return fmt.Errorf("%w: %s is not rolled out: %s; \"crossfade get events\" says what happened",
		waitEnded(ctx), o, strings.TrimPrefix(said, o.String()+": "))
}

// errWaitOver says why nobody waits any longer, in the word that sets it.
var errWaitOver = errors.New("--timeout is over")

// waitEnded is why the wait that ctx bounds has ended.
func waitEnded(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errWaitOver
}
