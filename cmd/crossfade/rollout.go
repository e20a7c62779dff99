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

func newRolloutCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "rollout", Short: "Replace the instances of a deployment, and see how far that is"}
	cmd.AddCommand(newRolloutRestartCommand(), newRolloutStatusCommand())
	return cmd
}

func newRolloutRestartCommand() *cobra.Command {
	var c controlClient
	cmd := &cobra.Command{
		Use:     "restart deployment/NAME",
		Short:   "Replace every instance, as the deployment's strategy says",
		Example: "  crossfade rollout restart deployment/reviews-v1",
		Args:    wants("deployment/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			if err := c.command(cmd.Context(), "/api/v1/restart", map[string]any{"name": name}); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "deployment/%s restarted\n", name); err != nil {
				return err
			}
			s, err := c.status(cmd.Context(), name)
			if note := unawaited(s); err == nil && note != "" { // the command is given, whatever becomes of the question
				fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			return nil
		},
	}
	c.add(cmd.Flags(), "deployment")
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
		Use:   "status deployment/NAME",
		Short: "Wait until a deployment runs as wanted",
		Long:  "status waits until every replica is of the newest revision and ready and no other is left; it fails when that takes longer than --timeout.",
		Args:  wants("deployment/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return rolledOut(ctx, &c, name, cmd.OutOrStdout())
		},
	}
	c.add(cmd.Flags(), "deployment")
	cmd.ValidArgsFunction = c.complete
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	return cmd
}

// rolledOut waits until a deployment is as wanted, and writes a line whenever it comes nearer.
func rolledOut(ctx context.Context, c *controlClient, name string, w io.Writer) error {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	said := ""
	for {
		s, err := c.status(ctx, name)
		if err != nil {
			return err
		}
		line := progressLine(s)
		if line != said {
			said = line
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		if complete(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("deployment/%s is not rolled out: %s: %w", name, line, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func complete(s control.WorkloadStatus) bool {
	return s.Updated == s.Replicas && s.Ready == s.Replicas && s.Total == s.Replicas
}

func progressLine(s control.WorkloadStatus) string {
	if complete(s) {
		return fmt.Sprintf("deployment/%s is rolled out: %d of %d ready", s.Name, s.Ready, s.Replicas)
	}
	return fmt.Sprintf("deployment/%s: %d of %d are new, %d ready, %d run", s.Name, s.Updated, s.Replicas, s.Ready, s.Total)
}
