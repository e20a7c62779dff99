package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
)

// lookEvery is how often control is asked again about what it does not stream.
const lookEvery = time.Second

// newGetGatewayCommands are those that look at what only control knows.
func newGetGatewayCommands(f *getFlags) []*cobra.Command {
	var namespace string
	gateways := &cobra.Command{
		Use: "gateways", Aliases: []string{"gateway", "gw"}, Args: cobra.NoArgs,
		Short: "Show gateways: how many replicas are wanted, ready, of the newest revision",
		Long: `gateways shows every gateway, as control knows it from its supervisors: how many replicas are wanted, ready, and of the
newest revision (NEW); how many run, those that still leave among them; and the drain timeout of its annotation, if it has
one: replicas that would be killed before it is over refuse it, and log why (gateway.drain.refused). With -o wide it shows
every replica. Gateways without a supervisor have no replicas, and are not counted.`,
		Example: "  crossfade get gateways -w\n  crossfade get gateways -n istio-system -o wide",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := gatewayView(f.output == "wide")
			v.only = only(func(g control.GatewayStatus) bool { return namespace == "" || g.Namespace == namespace })
			return look(cmd, f, "/api/v1/gateways", v)
		},
	}
	gateways.Flags().StringVarP(&namespace, "namespace", "n", "", "only gateways of this namespace")
	drains := &cobra.Command{
		Use: "drains [NAME]", Aliases: []string{"drain"}, Args: cobra.MaximumNArgs(1),
		Short: "Show what the latest leaves of gateways and instances came to, oldest first",
		Long: `drains shows the latest leaves of gateways, of each replica its own, and of instances, as agent/INSTANCE: how far it
is, and what became of its requests; with -o wide, of those of each protocol. BEFORE were open when it began, SINCE came
since. Of these, OPEN still are, COMPLETED had their whole answer, FAILED were ended by the client or the endpoint, and
CUT by who leaves: that is what the leave has cost. TOLD is how many heard that it leaves, however they ended. An agent
counts requests only where it stands in front of its application.`,
		Example: "  crossfade get drains --since 10m\n  crossfade get drains ingressgateway-2 -o json\n  crossfade get drains agent/reviews-v1-2",
		RunE: func(cmd *cobra.Command, args []string) error {
			since, err := admin.ParseSince(f.since, time.Now())
			if err != nil {
				return exitError{2, fmt.Errorf("--%w", err)}
			}
			v := drainView(f.output == "wide")
			if f.since != "" || len(args) > 0 {
				v.empty = " Nobody has left of whom that is true."
			}
			v.only = only(func(r drain.Report) bool {
				return !r.Began.Before(since) && (len(args) == 0 || r.ID == args[0] || r.ID == "agent/"+args[0])
			})
			return look(cmd, f, "/api/v1/drains", v)
		},
	}
	drains.Flags().StringVar(&f.since, "since", "", sinceUsage)
	for _, c := range []*cobra.Command{gateways, drains} {
		c.Flags().String("control", "http://127.0.0.1:15014", "admin API of control")
	}
	return []*cobra.Command{gateways, drains}
}

// look is get of what only control knows, and does not stream.
func look[T any](cmd *cobra.Command, f *getFlags, path string, v view[[]T, T]) error {
	f.client.control = true // whichever flag names it
	if !cmd.Flags().Changed("admin") {
		f.client.address = cmd.Flags().Lookup("control").Value.String()
	}
	if f.watch {
		return lookAgain(cmd, f, path, v)
	}
	return get(cmd, f, path, nil, v)
}

// only leaves the items that are wanted.
func only[T any](want func(T) bool) func([]T) []T {
	return func(items []T) []T { return slices.DeleteFunc(items, func(item T) bool { return !want(item) }) }
}

// lookAgain prints what there is, and then what changes, until the command ends.
func lookAgain[T any](cmd *cobra.Command, f *getFlags, path string, v view[[]T, T]) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	t := &table{out: out}
	var before memory
	for first := true; ; first = false {
		items, err := ask[[]T](ctx, &f.client, path, nil)
		if err != nil {
			return ended(ctx, err)
		}
		items = v.only(items)
		if first && f.output != "json" {
			if err := t.write(v.head(items)); err != nil {
				return err
			}
		}
		for _, item := range items {
			line, err := json.Marshal(item)
			switch {
			case err != nil:
				return err
			case before.has(string(line)):
				continue
			case f.output == "json":
				_, err = out.Write(append(bytes.TrimSpace(line), '\n'))
			default:
				err = t.write(v.rows(item)...)
			}
			if err != nil {
				return err
			}
		}
		if !pause(ctx, lookEvery) {
			return nil
		}
	}
}

// pause waits for d, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// gatewayView shows gateways, or, where it is wide, their replicas.
func gatewayView(wide bool) view[[]control.GatewayStatus, control.GatewayStatus] {
	return view[[]control.GatewayStatus, control.GatewayStatus]{
		head: func([]control.GatewayStatus) []string {
			if wide {
				return []string{"GATEWAY", "REPLICA", "STATE", "NEW", "PID", "ADMIN", "REVISION", "PROGRAM"}
			}
			return []string{"GATEWAY", "REPLICAS", "READY", "NEW", "RUNNING", "DRAIN"}
		},
		list: func(l []control.GatewayStatus) []control.GatewayStatus { return l },
		rows: func(g control.GatewayStatus) (rows [][]string) {
			name := g.Namespace + "/" + g.Name
			if !wide {
				row := []string{name, admin.Count(g.Replicas), admin.Count(g.Ready), admin.Count(g.Updated), admin.Count(g.Total), ""}
				if g.Drain > 0 {
					row[5] = admin.Span(g.Drain)
				}
				if slices.ContainsFunc(g.Processes, func(r fleet.Replica) bool { return r.Drained && !r.Leaving }) {
					row[2] += " (drained)"
				}
				return [][]string{row}
			}
			for _, r := range g.Processes {
				rows = append(rows, replicaRow(&g, name, r))
			}
			if len(rows) == 0 {
				rows = [][]string{{name, "", "", "", "", "", g.Revision, g.Binary}}
			}
			return rows
		},
	}
}

func replicaRow(g *control.GatewayStatus, name string, r fleet.Replica) []string {
	state := "starting"
	switch {
	case r.Leaving:
		state = "leaving"
	case r.Drained:
		state = "drained"
	case r.Ready:
		state = "ready"
	}
	newest, program := "no", "" // what an old one runs, nobody knows any more
	if r.Revision == g.Revision {
		newest, program = "yes", g.Binary
	}
	return []string{name, r.ID, state, newest, strconv.Itoa(r.PID), r.Admin, r.Revision, program}
}

// drainView shows leaves, or, where it is wide, what became of each protocol's requests.
func drainView(wide bool) view[[]drain.Report, drain.Report] {
	return view[[]drain.Report, drain.Report]{
		head: func([]drain.Report) []string {
			if wide {
				return append([]string{"BEGAN", "GATEWAY", "STAGE", "TOOK"}, protocolHead()...)
			}
			return []string{"BEGAN", "GATEWAY", "STAGE", "TOOK", "BEFORE", "SINCE", "OPEN", "COMPLETED", "FAILED", "TOLD", "CUT", "REASON"}
		},
		list:  func(l []drain.Report) []drain.Report { return l },
		empty: " Nobody has left since control knows of gateways.",
		rows: func(r drain.Report) (rows [][]string) {
			front := []string{r.Began.Local().Format(time.DateTime), r.ID, r.Stage.String(), admin.Span(leaveTime(&r))}
			if wide {
				for _, row := range protocolRows(&r) {
					rows = append(rows, slices.Concat(front, row))
				}
				if len(rows) > 0 {
					return rows
				}
				return [][]string{append(front, make([]string, len(protocolHead()))...)}
			}
			return [][]string{slices.Concat(front, sums(&r), []string{cmp.Or(r.Reason, "unknown")})}
		},
	}
}

// sums are the counts of all protocols together.
func sums(r *drain.Report) []string {
	var all drain.Requests
	for _, p := range r.Protocols {
		all.Before += p.Before
		all.Leave.Open += p.Leave.Open
		all.Leave.Opened += p.Leave.Opened
		all.Leave.Completed += p.Leave.Completed
		all.Leave.Failed += p.Leave.Failed
		all.Leave.Told += p.Leave.Told
		all.Leave.Cut += p.Leave.Cut
	}
	row := []string{admin.Count(all.Before)}
	for _, n := range []uint64{all.Leave.Opened, uint64(all.Leave.Open), all.Leave.Completed, all.Leave.Failed, all.Leave.Told, all.Leave.Cut} {
		row = append(row, admin.Count(n))
	}
	return row
}
