package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/fleet"
)

// tryFor is how long a new program has to say which version it is.
const tryFor = 10 * time.Second

func newUpgradeCommand() *cobra.Command {
	var c controlClient
	var w waitFlags
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade [gateway/NAME]",
		Short: "Replace the replicas of a gateway by ones that run a new program",
		Long: `upgrade replaces every replica of a gateway, one after another, by one that runs the program --binary, or, without
that, what is on disk now where its program was. The new ones take over the listening sockets, a new one serves before an
old one is told to leave, and old ones stay until their last request has ended. A program that never becomes ready
replaces nobody: give back the old one with --binary.`,
		Example: "  crossfade upgrade --wait\n  crossfade upgrade gateway/ingressgateway --binary /opt/crossfade-0.5/crossfade --wait",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := c.upgraded(cmd.Context(), args)
			if err != nil {
				return err
			}
			var to string
			body := map[string]any{}
			if binary == "" {
				to, err = c.onDisk(cmd.Context(), o)
			} else {
				body["binary"], to, err = tried(cmd.Context(), binary)
			}
			if err != nil {
				return err
			}
			if err := w.begin(cmd.Context(), &c, o); err != nil {
				return err
			}
			if err := c.tell(cmd.Context(), "/api/v1/upgrade", o, body); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s upgrades to %s\n", o, to); err != nil {
				return err
			}
			c.noteNobody(cmd, o)
			return w.until(cmd, &c, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&binary, "binary", "", "program to run; without it, what is now where the gateway's program was")
	c.addGateway(flags)
	w.add(flags)
	cmd.ValidArgsFunction = c.completeGateways
	return cmd
}

// addGateway is add for a command about a gateway.
func (c *controlClient) addGateway(flags *pflag.FlagSet) {
	c.add(flags, "gateway")
	c.namespace = ""
	namespace := flags.Lookup("namespace")
	namespace.DefValue = fleet.GatewayNamespace
}

// upgraded is the gateway that args name, or the only one.
func (c *controlClient) upgraded(ctx context.Context, args []string) (object, error) {
	if len(args) == 0 {
		return c.onlyGateway(ctx)
	}
	o, err := readObject(args[0])
	if err == nil && !o.gateway() {
		err = exitError{2, fmt.Errorf("%q: only gateways can be upgraded; what a deployment runs stands in its configuration", args[0])}
	}
	return o, err
}

// onDisk says what program a gateway's replicas will run where nobody names one.
func (c *controlClient) onDisk(ctx context.Context, o object) (string, error) {
	g, err := c.gateway(ctx, o.name)
	if err == nil && g.Binary == "" {
		return "what is on disk where its supervisor's program was", nil
	}
	return "what is on disk at " + g.Binary, err
}

// tried makes sure that a program starts here and is a crossfade, and returns its absolute path and its version.
func tried(ctx context.Context, binary string) (path, version string, err error) {
	path, err = filepath.Abs(binary)
	if err != nil {
		return "", "", fmt.Errorf("--binary %s: %w", binary, err)
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "version").Output() //nolint:gosec // whoever runs this names the program
	exit, started := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return "", "", fmt.Errorf("--binary %s: \"%s version\" was not answered within %v", binary, path, tryFor)
	case started:
		said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return "", "", fmt.Errorf("--binary %s: it is no crossfade: \"%s version\" ended with %w: %s", binary, path, exit, cmp.Or(said, "it said nothing"))
	case err != nil:
		return "", "", fmt.Errorf("--binary %s: it does not start here: %w", binary, err)
	}
	version, _, _ = strings.Cut(string(out), "\n")
	if !strings.HasPrefix(version, "crossfade ") {
		return "", "", fmt.Errorf("--binary %s: it is no crossfade: %q is what it answers to \"version\"", binary, version)
	}
	return path, version, nil
}
