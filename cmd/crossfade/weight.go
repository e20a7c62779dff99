package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/admin"
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
		Args:    wants("ENDPOINT", "FACTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			factor, err := strconv.ParseFloat(args[1], 64)
			if err != nil || !(factor >= 0 && factor <= control.MaxFactor) {
				return noFactor(args[1])
			}
			body := map[string]any{"name": args[0], "factor": factor, "by": whoami()}
			if err := c.command(cmd.Context(), "/api/v1/weight", body); err != nil {
				return err
			}
			if _, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: weight × %v\n", args[0], factor); err != nil || factor > 0 {
				return err
			}
			return c.tellOfNobody(cmd.Context(), args[0], cmd.OutOrStdout())
		},
	}
	c.add(cmd.Flags(), "endpoint")
	cmd.ValidArgsFunction = c.completeEndpoints
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if flag, ok := errors.AsType[*pflag.NotExistError](err); ok && strings.ContainsAny(flag.GetSpecifiedName(), "0123456789.") {
			return noFactor("-" + flag.GetSpecifiedShortnames())
		}
		return misuse(cmd, err)
	})
	return cmd
}

func noFactor(text string) error {
	return exitError{2, fmt.Errorf("factor %q: want a number from 0 to %d", text, control.MaxFactor)}
}

// tellOfNobody says which services and subsets have nobody left who gets requests, of those that the endpoint of this
// name is in.
func (c *controlClient) tellOfNobody(ctx context.Context, name string, w io.Writer) error {
	now, err := ask[admin.Explanation](ctx, &c.api, "/api/v1/explain", nil)
	if err != nil {
		return err
	}
	for _, p := range now.Pools {
		in := slices.ContainsFunc(p.Endpoints, func(e admin.EndpointExplanation) bool { return e.Name == name })
		if !in || slices.ContainsFunc(p.Endpoints, func(e admin.EndpointExplanation) bool { return e.Gets() }) {
			continue
		}
		pool := p.Service
		if p.Status.Subset != "" {
			pool += ", subset " + p.Status.Subset
		}
		if _, err := fmt.Fprintf(w, "nobody of %s gets requests now: they are answered with 503\n", pool); err != nil {
			return err
		}
	}
	return nil
}
