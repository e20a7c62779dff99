package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/control"
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

// workloads returns all deployments.
func (c *controlClient) workloads(ctx context.Context) ([]control.WorkloadStatus, error) {
	return ask[[]control.WorkloadStatus](ctx, &c.api, "/api/v1/workloads", nil)
}

// status says how far a deployment is.
func (c *controlClient) status(ctx context.Context, name string) (control.WorkloadStatus, error) {
	all, err := c.workloads(ctx)
	if err != nil {
		return control.WorkloadStatus{}, err
	}
	var names []string
	for _, w := range all {
		if w.Name == name && w.Namespace == c.namespace {
			return w, nil
		}
		names = append(names, w.Namespace+"/"+w.Name)
	}
	return control.WorkloadStatus{}, fmt.Errorf("%s/%s: %w; there are: %s", c.namespace, name, control.ErrUnknown, strings.Join(names, ", "))
}

// completionTimeout is how long a shell waits for names.
const completionTimeout = time.Second

// complete offers the deployments to the shell.
func (c *controlClient) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	all, err := c.workloads(ctx)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
	}
	var names []string
	for _, w := range all {
		if w.Namespace == c.namespace {
			names = append(names, "deployment/"+w.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// deploymentName reads "deployment/NAME" (or deploy/NAME, deployments/NAME), the only kind there is.
func deploymentName(arg string) (string, error) {
	kind, name, ok := strings.Cut(arg, "/")
	switch {
	case !ok || name == "":
		return "", exitError{2, fmt.Errorf("%q: want deployment/NAME", arg)}
	case kind != "deployment" && kind != "deployments" && kind != "deploy":
		return "", exitError{2, fmt.Errorf("%q: only deployments can be scaled and restarted here, want deployment/NAME", arg)}
	}
	return name, nil
}

func newScaleCommand() *cobra.Command {
	var c controlClient
	var replicas int
	cmd := &cobra.Command{
		Use:     "scale deployment/NAME --replicas=N",
		Short:   "Set how many replicas of a deployment run",
		Long:    "scale sets a deployment's replicas. It holds, over restarts of control too, until the configuration says another number.",
		Example: "  crossfade scale deployment/reviews-v2 --replicas=1",
		Args:    wants("deployment/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			if replicas < 0 {
				return exitError{2, fmt.Errorf("--replicas %d: want 0 or more", replicas)}
			}
			if err := c.command(cmd.Context(), "/api/v1/scale", map[string]any{"name": name, "replicas": replicas}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deployment/%s scaled to %d\n", name, replicas)
			return err
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", 0, "how many")
	c.add(cmd.Flags(), "deployment")
	cmd.ValidArgsFunction = c.complete
	require(cmd, "replicas")
	return cmd
}
