package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// A controlClient gives commands to a running control.
type controlClient struct {
	api       adminClient
	namespace string
}

// add adds the flags of a command about a thing that lives in a namespace.
func (c *controlClient) add(flags *pflag.FlagSet, thing string) {
	c.api.control = true
	flags.StringVar(&c.api.address, "control", "http://127.0.0.1:15014", "admin API of control")
	flags.StringVarP(&c.namespace, "namespace", "n", "default", "namespace of the "+thing)
}

// command gives control a command, and returns when it is done.
func (c *controlClient) command(ctx context.Context, path string, body map[string]any) error {
	body["namespace"] = c.namespace
	answer, err := c.api.send(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return err
	}
	return answer.Close() // it only says that the command is accepted
}

// waitFlags are those of commands whose outcome may be waited for.
type waitFlags struct {
	wait    bool
	timeout time.Duration
	leaves  *leaves // since begin
}

func (f *waitFlags) add(flags *pflag.FlagSet) {
	flags.BoolVar(&f.wait, "wait", false, "wait until it runs as wanted, and show how far it is")
	flags.DurationVar(&f.timeout, "timeout", rolloutTimeout, "how long to wait")
}

// begin watches the leaves of an object's replicas from now on, if it is waited for.
func (f *waitFlags) begin(ctx context.Context, c *controlClient, o object) (err error) {
	if f.wait {
		f.leaves, err = c.leaves(ctx, o)
	}
	return err
}

// until waits for an object, if that is asked for.
func (f *waitFlags) until(cmd *cobra.Command, c *controlClient, o object) error {
	if !f.wait {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	return rolledOut(ctx, c, o, f.leaves, cmd.OutOrStdout())
}

func newScaleCommand() *cobra.Command {
	var c controlClient
	var w waitFlags
	var replicas int
	cmd := &cobra.Command{
		Use:   "scale " + objectArg + " --replicas=N",
		Short: "Set how many replicas of a deployment or a gateway run",
		Long: `scale sets the replicas of a deployment or a gateway. It holds, over restarts of control too, until the
configuration says another number. Those that are too many leave without losing a request; a gateway keeps at least one.`,
		Example: "  crossfade scale deployment/reviews-v2 --replicas=1\n  crossfade scale gateway/ingressgateway --replicas=1 --wait",
		Args:    wants(objectArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := readObject(args[0])
			if err != nil {
				return err
			}
			if err := checkReplicas(o, replicas); err != nil {
				return err
			}
			if err := w.begin(cmd.Context(), &c, o); err != nil {
				return err
			}
			if err := c.tell(cmd.Context(), "/api/v1/scale", o, map[string]any{"replicas": replicas}); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s scaled to %d\n", o, replicas); err != nil {
				return err
			}
			c.noteNobody(cmd, o)
			return w.until(cmd, &c, o)
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", 0, "how many")
	c.addObjects(cmd.Flags())
	w.add(cmd.Flags())
	cmd.ValidArgsFunction = c.complete
	require(cmd, "replicas")
	return cmd
}
