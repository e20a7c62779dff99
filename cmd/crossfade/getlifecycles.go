package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry/etcd"
)

// newGetLifecyclesCommand shows how instances come up and leave, by what is in force now.
func newGetLifecyclesCommand(f *getFlags) *cobra.Command {
	registry := ""
	cmd := &cobra.Command{
		Use: "lifecycles [NAME]", Aliases: []string{"lifecycle", "lc"}, Args: cobra.MaximumNArgs(1),
		Short: "Show Lifecycles: how instances come up and leave",
		Long: `lifecycles shows the Lifecycles in force, as control has them from its files and from its registry. An instance goes by
the one that names most of its labels, and by what that said when it started. FROM is where it is written: in a file, or in
the registry, where "crossfade apply" puts it. With --registry it shows what is there, whether it is in force or not.`,
		Example: "  crossfade get lifecycles\n  crossfade get lifecycles reviews -o json\n  crossfade get lifecycles --registry etcd://127.0.0.1:2379",
		RunE: func(cmd *cobra.Command, args []string) error {
			v := lifecycleView(f.output == "wide")
			v.only = only(func(l fleet.Lifecycle) bool { return len(args) == 0 || l.Name == args[0] })
			if registry != "" {
				return lookInRegistry(cmd, f, registry, v)
			}
			return look(cmd, f, "/api/v1/lifecycles", v)
		},
	}
	cmd.Flags().String("control", "http://127.0.0.1:15014", "admin API of control")
	cmd.Flags().StringVar(&registry, "registry", "", "show what is in this etcd, instead of what control has")
	return cmd
}

// lookInRegistry shows the Lifecycles that people have put into a registry, and what is wrong with them.
func lookInRegistry(cmd *cobra.Command, f *getFlags, registry string, v view[[]fleet.Lifecycle, fleet.Lifecycle]) error {
	if f.watch || !slices.Contains([]string{"table", "wide", "json"}, f.output) {
		return exitError{2, errors.New("with --registry: --output table, wide or json, without --watch")}
	}
	return withLifecycles(registry, func(store *etcd.Client) error {
		documents, err := store.ListLifecycles(cmd.Context())
		if err != nil {
			return err
		}
		all := []fleet.Lifecycle{}
		for _, name := range slices.Sorted(maps.Keys(documents)) {
			parsed, err := parseLifecycles(name, documents[name])
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), err)
			}
			for _, l := range parsed {
				l.Origin = fleet.Origin{Kind: registry}
				all = append(all, l)
			}
		}
		if all = v.only(all); f.output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		rows := [][]string{v.head(all)}
		for _, l := range all {
			rows = append(rows, v.rows(l)...)
		}
		return (&table{out: cmd.OutOrStdout()}).write(rows...)
	})
}

func lifecycleView(wide bool) view[[]fleet.Lifecycle, fleet.Lifecycle] {
	return view[[]fleet.Lifecycle, fleet.Lifecycle]{
		head: func([]fleet.Lifecycle) []string {
			head := []string{"LIFECYCLE", "FOR", "DELAY", "WARM-UP", "REQUESTS", "READY", "FROM"}
			if wide {
				head = append(head, "WEIGHT", "QUIET", "CALLERS", "TIMEOUT", "FRONT")
			}
			return head
		},
		list:  func(l []fleet.Lifecycle) []fleet.Lifecycle { return l },
		empty: " Without a Lifecycle an instance registers when it can serve, and has no warm-up of its own.",
		rows: func(l fleet.Lifecycle) [][]string {
			row := []string{
				l.Namespace + "/" + l.Name, selects(&l), spanOr(l.Delay, "none"), comesUp(&l), requests(l.Requests),
				string(cmp.Or(l.Ready, fleet.ReadyRegistered)), writtenIn(l.Origin),
			}
			if l.Off {
				row[3] = "off"
			}
			if wide {
				leave := fleet.DefaultLeave()
				row = append(row, weightOf(&l), admin.Span(cmp.Or(l.Leave.Quiet, leave.Quiet)), admin.Span(cmp.Or(l.Leave.Callers, leave.Callers)),
					admin.Span(cmp.Or(l.Leave.Timeout, leave.Timeout)), frontLimits(l.Front))
			}
			return [][]string{row}
		},
	}
}

// selects says whose Lifecycle it is.
func selects(l *fleet.Lifecycle) string {
	var parts []string
	if l.Service != "" {
		parts = append(parts, l.Service)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Labels)) {
		parts = append(parts, name+"="+l.Labels[name])
	}
	return cmp.Or(strings.Join(parts, ", "), "all")
}

// comesUp says how long the warm-up by share is, in the words of pools.
func comesUp(l *fleet.Lifecycle) string {
	return admin.PoolStatus{Policy: fleet.Policy{Warmup: l.Warmup}}.WarmupText()
}

// weightOf says which weight registries have of an instance that warms up.
func weightOf(l *fleet.Lifecycle) string {
	if l.Ramp {
		return rampedWeight
	}
	return fullWeight
}

func requests(r *fleet.WarmupRequests) string {
	switch {
	case r == nil:
		return "none"
	case r.Record != nil && len(r.Requests) == 0:
		return "recorded"
	case r.Record != nil:
		return plural(len(r.Requests), "kind") + ", recorded"
	}
	return plural(len(r.Requests), "kind")
}

func writtenIn(o fleet.Origin) string {
	switch {
	case o.File == "" && o.Kind == "store": // what people have put into the etcd that control follows
		return "registry"
	case o.File == "":
		return o.Kind
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

func frontLimits(f fleet.FrontLimits) string {
	if f == (fleet.FrontLimits{}) {
		return "default"
	}
	return fmt.Sprintf("%d to %d at once", f.Least, f.Most)
}

func spanOr(d time.Duration, none string) string {
	if d == 0 {
		return none
	}
	return admin.Span(d)
}
