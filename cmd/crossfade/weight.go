package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/control"
)

func newWeightCommand() *cobra.Command {
	var c controlClient
	cmd := &cobra.Command{
		Use:   "weight ENDPOINT FACTOR",
		Short: "Multiply the weight of an endpoint",
		Long: `weight multiplies what an endpoint gets of the requests by a factor from 0 to 10: 0.5 halves it, 0 sends nothing
new to it without stopping it, and 1 takes every other factor back. It holds for as long as this instance lives, over
restarts of control and gateways. Warm-up goes on beside it: an endpoint gets weight × factor × share.

ENDPOINT is a name as "crossfade get endpoints" shows it.`,
		Example: "  crossfade weight reviews-v2-1 0.5\n  crossfade weight reviews-v2-1 1",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			factor, err := strconv.ParseFloat(args[1], 64)
			if err != nil || !(factor >= 0 && factor <= control.MaxFactor) {
				return exitError{2, fmt.Errorf("factor %q: want a number from 0 to %d", args[1], control.MaxFactor)}
			}
			body := map[string]any{"name": args[0], "factor": factor, "by": whoami()}
			if err := c.command(cmd.Context(), "/api/v1/weight", body); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: weight × %v\n", args[0], factor)
			return err
		},
	}
	c.add(cmd.Flags(), "endpoint")
	cmd.ValidArgsFunction = c.completeEndpoints
	return cmd
}
