package main

import (
	"context"
	"fmt"
	"os/user"
	"slices"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

func newWarmupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "warmup",
		Short: "Skip, pause, resume or restart the warm-up of an endpoint",
		Long: `warmup changes how far one endpoint is on its warm-up, in every service and subset that it is in, and for as
long as this instance lives: over restarts of control and gateways, changes of configuration and lost readiness.`,
	}
	for _, c := range []struct {
		move  warmup.Move
		short string
		long  string
		done  string
	}{
		{warmup.Skip, "End the warm-up at once", "skip gives an endpoint its full share at once.", "skipped"},
		{
			warmup.Pause, "Keep the share where it is",
			"pause keeps an endpoint at the share that it has now. The shift budget still raises it where others would carry too much.",
			"paused",
		},
		{warmup.Resume, "Go on from where it was paused", "resume lets a paused warm-up go on from where it is.", "resumed"},
		{
			warmup.Restart, "Begin the warm-up anew",
			"restart takes an endpoint back to the beginning of its warm-up, for instance after its caches were emptied. The instance itself runs on.",
			"restarted",
		},
	} {
		cmd.AddCommand(newMoveCommand(c.move, c.short, c.long, c.done))
	}
	return cmd
}

func newMoveCommand(move warmup.Move, short, long, done string) *cobra.Command {
	var c controlClient
	cmd := &cobra.Command{
		Use:     move.String() + " ENDPOINT",
		Short:   short,
		Long:    long + "\n\nENDPOINT is a name as \"crossfade get endpoints\" shows it.",
		Example: "  crossfade warmup " + move.String() + " reviews-v2-1",
		Args:    wants("ENDPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[0], "action": move, "by": whoami()}
			if err := c.command(cmd.Context(), "/api/v1/warmup", body); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: warm-up %s\n", args[0], done)
			return err
		},
	}
	c.add(cmd.Flags(), "endpoint")
	cmd.ValidArgsFunction = c.completeEndpoints
	return cmd
}

// whoami names who gives a command, for the events that tell of it; "" when nobody knows.
func whoami() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// completeEndpoints offers the endpoints that are not leaving to the shell.
func (c *controlClient) completeEndpoints(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	all, err := ask[admin.EndpointList](ctx, &c.api, "/api/v1/endpoints", nil)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
	}
	var names []string
	for _, e := range all.Endpoints {
		if e.Stage != fleet.Draining {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
