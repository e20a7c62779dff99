package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
)

// getFlags are what the commands that look have in common.
type getFlags struct {
	client adminClient
	watch  bool
	output string // "table", "wide" or "json"
	subset string
	since  string
}

func newGetCommand() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get services|endpoints|events|gateways|drains|lifecycles",
		Short: "Show what a running gateway, agent or control sees",
		Long: `get shows services, endpoints, events, gateways, drains or Lifecycles as tables or JSON. With --watch it goes on and prints
every row that changes; when the program that it asks is started again, it waits for that, 30 s at most, and goes on.`,
	}
	flags := cmd.PersistentFlags()
	f.client.add(flags)
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on and print every row that changes")
	flags.StringVarP(&f.output, "output", "o", "table", "table, wide or json")
	offerOutputs(cmd, "table", "wide", "json")
	services := &cobra.Command{
		Use: "services [NAME]", Aliases: []string{"service", "svc"}, Args: cobra.MaximumNArgs(1),
		Short:   "Show services and their subsets: how they balance and warm up, and what passed",
		Example: "  crossfade get services\n  crossfade get services reviews -o wide",
		RunE: func(cmd *cobra.Command, args []string) error {
			return get(cmd, &f, "/api/v1/services", named(args), serviceView(f.output == "wide"))
		},
	}
	endpoints := &cobra.Command{
		Use: "endpoints [SERVICE]", Aliases: []string{"endpoint", "ep"}, Args: cobra.MaximumNArgs(1),
		Short:   "Show endpoints: stage, age, share, what they should get and what they got",
		Long:    endpointsHelp,
		Example: "  crossfade get endpoints reviews -w\n  crossfade get endpoints reviews --subset v2 -o wide",
		RunE: func(cmd *cobra.Command, args []string) error {
			query := named(args)
			if f.subset != "" {
				query.Set("subset", f.subset)
			}
			return get(cmd, &f, "/api/v1/endpoints", query, endpointView(f.output == "wide"))
		},
	}
	endpoints.Flags().StringVar(&f.subset, "subset", "", "show them as this subset sees them")
	completeFlag(endpoints, "subset", completeSubsets(&f.client))
	events := &cobra.Command{
		Use: "events", Aliases: []string{"event", "ev"}, Args: cobra.NoArgs,
		Short:   "Show what happened, oldest first",
		Long:    "events shows what happened, oldest first. FROM is the program that saw it: a gateway's replica, its supervisor, control.",
		Example: "  crossfade get events --since 5m\n  crossfade get events -w -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if f.since != "" {
				query.Set("since", f.since)
			}
			return get(cmd, &f, "/api/v1/events", query, eventView(f.output == "wide"))
		},
	}
	events.Flags().StringVar(&f.since, "since", "", sinceUsage)
	for _, c := range []*cobra.Command{services, endpoints} {
		c.ValidArgsFunction = completeServices(&f.client)
	}
	cmd.AddCommand(services, endpoints, events)
	cmd.AddCommand(newGetGatewayCommands(&f)...)
	cmd.AddCommand(newGetLifecyclesCommand(&f))
	return cmd
}

// endpointsHelp says what the columns mean.
const endpointsHelp = `endpoints shows who takes a service's requests. SHARE is the part of its full weight that an endpoint gets, TRAFFIC
the part of the requests, now. DUE and GOT are requests since it joined; where keys decide, nobody knows what is due.
WEIGHT is shown where it differs, and with -o wide.

REASON is one word for why the share is what it is: a dash is an ordinary full share, "new" is on its first way up.
"crossfade explain" says it in a sentence, and docs/guides/balancing.md, "What REASON says", has all of them.`

const sinceUsage = "only what is younger: a duration (5m) or a time (2026-01-02T15:04:05Z)"

// named is the query for the service that args name, if they do.
func named(args []string) url.Values {
	query := url.Values{}
	if len(args) > 0 {
		query.Set("service", args[0])
	}
	return query
}

// seeEvents is where to look when there is nothing: what does not come up says why.
const seeEvents = ` What happened so far: "crossfade get events".`

// A view says how things are shown: L is the answer that lists them, T one of them.
type view[L, T any] struct {
	head  func([]T) []string // of a table that begins with these
	only  func(L) L          // leaves what was asked for; nil leaves all
	list  func(L) []T
	rows  func(T) [][]string
	once  bool     // what was shown is not shown again, though a stream begins anew
	empty string   // what to do where there is nothing
	width []string // cells as wide as they become while something is watched; nil where they stay as they are
}

// get asks for path and shows the answer as the flags want it.
func get[L, T any](cmd *cobra.Command, f *getFlags, path string, query url.Values, v view[L, T]) error {
	out := cmd.OutOrStdout()
	if !slices.Contains([]string{"table", "wide", "json"}, f.output) {
		return exitError{2, fmt.Errorf("--output %s: want table, wide or json", f.output)}
	}
	f.client.notes = cmd.ErrOrStderr()
	switch {
	case f.watch && f.output == "json":
		return follow(cmd.Context(), &f.client, path, query, v.shown(func(line []byte, _ T) error {
			_, err := fmt.Fprintf(out, "%s\n", line)
			return err
		}))
	case f.watch:
		return watchTable(cmd, f, path, query, v)
	}
	answer, err := ask[L](cmd.Context(), &f.client, path, query)
	if err != nil {
		return err
	}
	if v.only != nil {
		answer = v.only(answer)
	}
	if f.output == "json" {
		return printJSON(out, answer)
	}
	if list, ok := any(answer).(admin.ServiceList); ok && list.Rejected != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), rejectionLine(list.Rejected)) // beside the table: that is for scripts, too
	}
	items := v.list(answer)
	if len(items) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "Nothing yet."+v.empty)
		return nil
	}
	rows := [][]string{v.head(items)}
	for _, item := range items {
		rows = append(rows, v.rows(item)...)
	}
	return (&table{out: out}).write(rows...)
}

// watchTable prints the rows there are, and then each that changes. What there is now decides how wide the
// columns are.
func watchTable[L, T any](cmd *cobra.Command, f *getFlags, path string, query url.Values, v view[L, T]) error {
	t := &table{out: io.Discard}
	if err := t.write(v.width); err != nil {
		return err
	}
	answer, err := ask[L](cmd.Context(), &f.client, path, query)
	if err != nil {
		return ended(cmd.Context(), err)
	}
	items := v.list(answer)
	head := v.head(items)
	for _, item := range items {
		if err := t.write(v.rows(item)...); err != nil {
			return err
		}
	}
	t.out = cmd.OutOrStdout()
	if err := t.write(head); err != nil {
		return err
	}
	return follow(cmd.Context(), &f.client, path, query, v.shown(func(_ []byte, item T) error { return t.write(v.rows(item)...) }))
}

// shown returns show, without what it has shown before where that is to be shown once.
func (v view[L, T]) shown(show func([]byte, T) error) func([]byte, T) error {
	if !v.once {
		return show
	}
	var before memory
	return func(line []byte, item T) error {
		if before.has(string(line)) {
			return nil
		}
		return show(line, item)
	}
}

// A memory knows the last lines that it was asked about: at least generation of them.
type memory struct{ young, old map[string]bool }

// generation is more than the events that there are at a time.
const generation = 4096

// has says whether it was asked about line before.
func (m *memory) has(line string) bool {
	if m.young[line] || m.old[line] {
		return true
	}
	if len(m.young) == generation || m.young == nil {
		m.old, m.young = m.young, map[string]bool{}
	}
	m.young[line] = true
	return false
}

// rejectionLine says that what is in force is not what is on disk.
func rejectionLine(r *admin.Rejection) string {
	return fmt.Sprintf("The newest configuration was not applied (%s), what was in force before stays so: %s",
		r.Time.Local().Format(time.DateTime), r.Reason)
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func serviceView(wide bool) view[admin.ServiceList, admin.ServiceStatus] {
	return view[admin.ServiceList, admin.ServiceStatus]{
		head: func([]admin.ServiceStatus) []string {
			head := []string{"SERVICE", "SUBSET", "ALGORITHM", "WARM-UP", "ENDPOINTS", "WARMING", "DRAINING", "REQUESTS", "FAILED"}
			if wide {
				head = append(head, "P50", "P99", "ACTIVE", "PROTOCOL", "ENDPOINTS SPEAK", "ORIGIN")
			}
			return head
		},
		list:  func(l admin.ServiceList) []admin.ServiceStatus { return l.Services },
		empty: seeEvents,
		rows: func(s admin.ServiceStatus) (rows [][]string) {
			if s.Removed {
				return [][]string{{s.Name, "", "", "", "removed"}}
			}
			for _, p := range s.Pools {
				rows = append(rows, poolRow(&s, p, wide))
			}
			return rows
		},
	}
}

func poolRow(s *admin.ServiceStatus, p admin.PoolStatus, wide bool) []string {
	row := []string{
		s.Name, p.Subset, p.AlgorithmText(), p.WarmupText(),
		admin.Count(p.Endpoints), admin.Count(p.Stages.Warming), admin.Count(p.Stages.Draining), "", "",
	}
	if t := p.Traffic; t != nil {
		row[7], row[8] = admin.Count(t.Requests), admin.Count(t.Failed)
	}
	if wide {
		more := []string{"", "", "", s.Protocol, p.HTTPText(), origin(p.Origin)}
		if t := p.Traffic; t != nil {
			more[0], more[1] = latencies(t)
			more[2] = admin.Count(t.Active)
		}
		row = append(row, more...)
	}
	return row
}

// latencies are within what time half of the answers came, and 99 % of them; empty when there was none.
func latencies(t *admin.TrafficStatus) (p50, p99 string) {
	if len(t.Answers) == 0 {
		return "", ""
	}
	return admin.Span(t.P50), admin.Span(t.P99)
}

// origin is where configuration stands: "bookinfo.yaml:41".
func origin(o fleet.Origin) string {
	if o.File == "" {
		return ""
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// endpointView shows endpoints. WEIGHT is a column wherever anybody's differs from the others'.
func endpointView(wide bool) view[admin.EndpointList, admin.EndpointStatus] {
	weights := wide
	return view[admin.EndpointList, admin.EndpointStatus]{
		head: func(items []admin.EndpointStatus) []string {
			weights = weights || slices.ContainsFunc(items, func(e admin.EndpointStatus) bool { return e.WeightText() != items[0].WeightText() })
			head := []string{"SERVICE", "ENDPOINT", "ADDRESS", "STAGE", "AGE", "SHARE", "TRAFFIC", "DUE", "GOT", "REASON"}
			if weights {
				head = append(head, "WEIGHT")
			}
			if wide {
				head = append(head, "INCARNATION", "REQUESTS", "FAILED", "ACTIVE", "P50", "P99", "LOCALITY", "GROUP", "REGISTERED IN", "LABELS")
			}
			return head
		},
		list:  func(l admin.EndpointList) []admin.EndpointStatus { return l.Endpoints },
		empty: seeEvents,
		rows: func(e admin.EndpointStatus) [][]string {
			row := endpointRow(e)
			if weights {
				row = append(row, e.WeightText())
			}
			if wide {
				row = append(row, endpointDetails(e)...)
			}
			return [][]string{row}
		},
		width: []string{"reviews:9080", "reviews-v1-1", "127.1.0.3:9080", "Draining", "59 m 59 s", "99.9 %", "99.9 %", "99999.9", "99,999", "bypass-single"},
	}
}

// endpointRow shows an endpoint: TRAFFIC is the part of requests that it should get now, DUE and GOT are requests
// since it joined. What is due to somebody where keys decide, nobody knows.
func endpointRow(e admin.EndpointStatus) []string {
	stage := e.Stage.String()
	switch {
	case e.Removed:
		stage = "removed"
	case e.Ejected:
		stage += " (ejected)"
	}
	row := []string{e.Service, e.Name, e.Address.String(), stage, admin.Span(e.Age), "", "", "", "", ""}
	if r := e.Ramp; r != nil && !e.Removed {
		row[5], row[6] = admin.Percent(r.Share), admin.Percent(r.Fraction)
		if row[8], row[9] = admin.Count(r.Actual), e.ReasonText(); !r.Keyed {
			row[7] = strconv.FormatFloat(r.Expected, 'f', 1, 64)
		}
	}
	return row
}

func endpointDetails(e admin.EndpointStatus) []string {
	details := []string{e.Incarnation, "", "", "", "", "", e.Locality.String(), e.GroupText(), e.RegistriesText(), labels(e.Labels)}
	if t := e.Traffic; t != nil {
		details[1], details[2], details[3] = admin.Count(t.Requests), admin.Count(t.Failed), admin.Count(t.Active)
		details[4], details[5] = latencies(t)
	}
	return details
}

// labels writes labels as selectors are written: "app=reviews,version=v2".
func labels(all map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pairs = append(pairs, name+"="+all[name])
	}
	return strings.Join(pairs, ",")
}

func eventView(wide bool) view[admin.EventList, fleet.Event] {
	return view[admin.EventList, fleet.Event]{
		head: func([]fleet.Event) []string {
			head := []string{"TIME", "KIND", "FROM", "SERVICE", "ENDPOINT", "REASON"}
			if wide {
				head = append(head, "INCARNATION")
			}
			return head
		},
		list:  func(l admin.EventList) []fleet.Event { return l.Events },
		width: []string{time.DateTime, "registration.completed", "agent/tclggjpza5-0", "reviews:9080", "reviews-v1-1"},
		once:  true,
		rows: func(e fleet.Event) [][]string {
			row := []string{e.Time.Local().Format(time.DateTime), e.Kind, e.From, e.Service, e.Endpoint, e.Reason}
			if wide {
				row = append(row, e.Incarnation)
			}
			return [][]string{row}
		},
	}
}
