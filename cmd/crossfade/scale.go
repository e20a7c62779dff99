package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/control"
)

// A controlClient gives commands to a running control.
type controlClient struct {
	address   string
	namespace string
}

func (c *controlClient) add(flags *pflag.FlagSet) {
	flags.StringVar(&c.address, "control", "http://127.0.0.1:15014", "admin API of control")
	flags.StringVarP(&c.namespace, "namespace", "n", "default", "namespace of the deployment")
}

// do sends one request to control and returns the body of a good answer.
func (c *controlClient) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	base := c.address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(data))
	if err != nil {
		return nil, exitError{2, fmt.Errorf("--control %s: want http://HOST:PORT", c.address)}
	}
	// A client of its own: what is asked is on this machine, whatever HTTP_PROXY says.
	client := &http.Client{Timeout: adminTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			return nil, fmt.Errorf("no control answers at %s (%w): start one with \"crossfade up -f DIR\", or name one with --control", base, op.Err)
		}
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("control refuses: %s", strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

// workloads returns all deployments.
func (c *controlClient) workloads(ctx context.Context) ([]control.WorkloadStatus, error) {
	answer, err := c.do(ctx, http.MethodGet, "/api/v1/workloads", nil)
	if err != nil {
		return nil, err
	}
	var all []control.WorkloadStatus
	if err := json.Unmarshal(answer, &all); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.address, err)
	}
	return all, nil
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
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := deploymentName(args[0])
			if err != nil {
				return err
			}
			if replicas < 0 {
				return exitError{2, fmt.Errorf("--replicas %d: want 0 or more", replicas)}
			}
			_, err = c.do(cmd.Context(), http.MethodPost, "/api/v1/scale", map[string]any{
				"namespace": c.namespace, "name": name, "replicas": replicas,
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "deployment/%s scaled to %d\n", name, replicas)
			return err
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", 0, "how many")
	c.add(cmd.Flags())
	cmd.ValidArgsFunction = c.complete
	require(cmd, "replicas")
	return cmd
}
