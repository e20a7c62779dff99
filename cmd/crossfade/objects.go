package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
)

// An object is what is scaled, restarted and upgraded: a deployment or a gateway.
type object struct{ kind, name string }

func (o object) String() string { return o.kind + "/" + o.name }

func (o object) gateway() bool { return o.kind == "gateway" }

// objectKindTable are the kinds, by what people write.
var objectKindTable = map[string]string{
	"deployment": "deployment", "deployments": "deployment", "deploy": "deployment",
	"gateway": "gateway", "gateways": "gateway", "gw": "gateway", "istiogateway": "gateway",
}

// objectArg is how an object is named on the command line.
const objectArg = "deployment/NAME|gateway/NAME"

// readObject reads "deployment/NAME" or "gateway/NAME".
func readObject(arg string) (object, error) {
	kind, name, ok := strings.Cut(arg, "/")
	known := objectKindTable[strings.ToLower(kind)]
	switch {
	case !ok || name == "":
		return object{}, exitError{2, fmt.Errorf("%q: want deployment/NAME or gateway/NAME", arg)}
	case known == "":
		return object{}, exitError{2, fmt.Errorf("%q: only deployments and gateways can be scaled and restarted here, want deployment/NAME or gateway/NAME", arg)}
	}
	return object{known, name}, nil
}

// addObjects is add for a command about either kind.
func (c *controlClient) addObjects(flags *pflag.FlagSet) {
	c.add(flags, "deployment or gateway")
	c.namespace = ""
	namespace := flags.Lookup("namespace")
	namespace.DefValue = ""
	namespace.Usage += fmt.Sprintf(" (default %q of a deployment, %q of a gateway)", "default", fleet.GatewayNamespace)
}

// tell gives control a command about an object.
func (c *controlClient) tell(ctx context.Context, path string, o object, more map[string]any) error {
	body := map[string]any{"kind": o.kind, "name": o.name, "by": whoami()}
	maps.Copy(body, more)
	return c.command(ctx, path, body)
}

func (c *controlClient) namespaceOf(kind string) string {
	if kind == "gateway" {
		return cmp.Or(c.namespace, fleet.GatewayNamespace)
	}
	return cmp.Or(c.namespace, "default")
}

// A progress is how far an object is towards what people want of it.
type progress struct {
	object
	replicas, updated, ready, total int             // wanted; of the newest revision; able to serve; running
	processes                       []fleet.Replica // of a gateway
}

func (p progress) done() bool {
	return p.updated == p.replicas && p.ready == p.replicas && p.total == p.replicas
}

func (p progress) String() string {
	switch {
	case p.done():
		return fmt.Sprintf("%s is rolled out: %d of %d ready", p.object, p.ready, p.replicas)
	case p.gateway() && p.total == 0:
		return fmt.Sprintf("%s: no supervisor runs a replica of it, %d are wanted", p.object, p.replicas)
	}
	return fmt.Sprintf("%s: %d of %d are new, %d ready, %d run", p.object, p.updated, p.replicas, p.ready, p.total)
}

// progress asks how far an object is.
func (c *controlClient) progress(ctx context.Context, o object) (progress, error) {
	if o.gateway() {
		g, err := c.gateway(ctx, o.name)
		return progress{o, g.Replicas, g.Updated, g.Ready, g.Total, g.Processes}, err
	}
	w, err := c.status(ctx, o.name)
	return progress{o, w.Replicas, w.Updated, w.Ready, w.Total, nil}, err
}

// workloads returns all deployments.
func (c *controlClient) workloads(ctx context.Context) ([]control.WorkloadStatus, error) {
	return ask[[]control.WorkloadStatus](ctx, &c.api, "/api/v1/workloads", nil)
}

// gateways returns all gateways.
func (c *controlClient) gateways(ctx context.Context) ([]control.GatewayStatus, error) {
	return ask[[]control.GatewayStatus](ctx, &c.api, "/api/v1/gateways", nil)
}

// status says how far a deployment is.
func (c *controlClient) status(ctx context.Context, name string) (control.WorkloadStatus, error) {
	all, err := c.workloads(ctx)
	if err != nil {
		return control.WorkloadStatus{}, err
	}
	namespace := c.namespaceOf("deployment")
	var names []string
	for _, w := range all {
		if w.Name == name && w.Namespace == namespace {
			return w, nil
		}
		names = append(names, w.Namespace+"/"+w.Name)
	}
	return control.WorkloadStatus{}, fmt.Errorf("%s/%s: %w; there are: %s", namespace, name, control.ErrUnknown, strings.Join(names, ", "))
}

// gateway says how far a gateway is.
func (c *controlClient) gateway(ctx context.Context, name string) (control.GatewayStatus, error) {
	all, err := c.gateways(ctx)
	if err != nil {
		return control.GatewayStatus{}, err
	}
	namespace := c.namespaceOf("gateway")
	var names []string
	for _, g := range all {
		if g.Name == name && g.Namespace == namespace {
			return g, nil
		}
		names = append(names, g.Namespace+"/"+g.Name)
	}
	return control.GatewayStatus{}, fmt.Errorf("%s/%s: %w; there are: %s", namespace, name, control.ErrNoGateway, strings.Join(names, ", "))
}

// onlyGateway is the gateway that is meant where nobody says which.
func (c *controlClient) onlyGateway(ctx context.Context) (object, error) {
	all, err := c.gateways(ctx)
	if err != nil {
		return object{}, err
	}
	namespace := c.namespaceOf("gateway")
	all = slices.DeleteFunc(all, func(g control.GatewayStatus) bool { return g.Namespace != namespace })
	switch len(all) {
	case 0:
		return object{}, fmt.Errorf("there is no gateway in namespace %s; crossfade get gateways shows all", namespace)
	case 1:
		return object{"gateway", all[0].Name}, nil
	}
	return object{}, exitError{2, fmt.Errorf("which? There are: gateway/%s and %d more", all[0].Name, len(all)-1)}
}

// noteNobody tells people that nobody does what they asked for, if that is so. The command is given, whatever becomes
// of the question.
func (c *controlClient) noteNobody(cmd *cobra.Command, o object) {
	p, err := c.progress(cmd.Context(), o)
	if err == nil && p.total == 0 && o.gateway() {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: no supervisor runs replicas of %s now; start one with \"crossfade up\" or \"crossfade supervise\"\n", o)
	}
}

// completionTimeout is how long a shell waits for names.
const completionTimeout = time.Second

// complete offers the deployments and gateways to the shell.
func (c *controlClient) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	var names []string
	if all, err := c.workloads(ctx); err == nil { // else there is nobody to ask: nothing to offer
		for _, w := range all {
			if w.Namespace == c.namespaceOf("deployment") {
				names = append(names, "deployment/"+w.Name)
			}
		}
	}
	gateways, directive := c.completeGateways(cmd, args, "")
	return append(names, gateways...), directive
}

// completeGateways offers the gateways to the shell.
func (c *controlClient) completeGateways(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	all, err := c.gateways(ctx)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
	}
	var names []string
	for _, g := range all {
		if g.Namespace == c.namespaceOf("gateway") {
			names = append(names, "gateway/"+g.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// checkReplicas says what is wrong with a number of replicas before anybody is asked.
func checkReplicas(o object, n int) error {
	switch {
	case n < 0:
		return exitError{2, fmt.Errorf("--replicas %d: want 0 or more", n)}
	case o.gateway() && n == 0:
		return exitError{2, fmt.Errorf("--replicas 0: without a replica nobody would serve; want 1 to %d, or stop the gateway's supervisor", fleet.MaxGatewayReplicas)}
	case o.gateway() && n > fleet.MaxGatewayReplicas:
		return exitError{2, fmt.Errorf("--replicas %d: want 1 to %d", n, fleet.MaxGatewayReplicas)}
	}
	return nil
}
