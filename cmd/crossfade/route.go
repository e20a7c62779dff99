package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/http1"
	"crossfade.dev/internal/route"
)

// routeFlags describe a request, and say whose routes it is held against.
type routeFlags struct {
	client  adminClient
	file    string
	lenient bool
	host    string
	path    string
	method  string
	headers []string
	labels  map[string]string
	carried labelFlags // by the gateway, where configuration is read
	port    uint32
	gateway string
	https   bool
	output  string // "text" or "json"
}

func newRouteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "route",
		Short: "Look into routes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRouteExplainCommand())
	return cmd
}

func newRouteExplainCommand() *cobra.Command {
	var f routeFlags
	cmd := &cobra.Command{
		Use:   "explain --host HOST",
		Short: "Say which route a request falls under, and why the earlier ones did not match",
		Long: `route explain holds one request, that is not sent, against the routes of every listener that knows its host: those
of a directory of configuration (-f), or those that a running gateway works by (--admin). It names the rule that
matches, with the line it stands on, and for each rule before it the first condition that did not hold.

Exit status: 0 a rule matches (or a redirect to https answers), 1 none does, 2 wrong usage.`,
		Example: `  crossfade route explain -f examples/bookinfo --host reviews --path /x -H 'end-user: jason'
  crossfade route explain --host shop.example.com --gateway front --method POST`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRouteExplain(cmd, &f) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{2, fmt.Errorf("route explain: %w", err)} })
	f.client.add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "file", "f", "", `directory or file of configuration, "-" for standard input; without it the gateway at --admin is asked`)
	flags.BoolVar(&f.lenient, "lenient", false, "read configuration as with --strict=false")
	flags.StringVar(&f.host, "host", "", "host that the request names, with or without a port")
	flags.StringVar(&f.path, "path", "/", "path, with its query")
	flags.StringVar(&f.method, "method", "GET", "method")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header, as in 'end-user: jason'; may be repeated")
	flags.StringToStringVar(&f.labels, "source-labels", nil, "labels of the instance that calls, as in app=productpage")
	flags.Uint32Var(&f.port, "port", 0, "port that the request is for, as configuration names it")
	flags.StringVar(&f.gateway, "gateway", "", `only what a Gateway lets in: its name, "namespace/name", a listener's name, or "mesh"`)
	flags.BoolVar(&f.https, "https", false, "the request comes through TLS")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	f.carried.add(flags)
	offerOutputs(cmd, "text", "json")
	require(cmd, "host")
	return cmd
}

// A routing is what became of a request at one listener.
type routing struct {
	Listener string        `json:"listener"`
	Domain   string        `json:"domain"`
	Redirect bool          `json:"https_redirect,omitempty"`
	Steps    []routingStep `json:"steps"`
}

// A routingStep is one rule that the request was held against.
type routingStep struct {
	Rule    string   `json:"rule"` // what it is called, else where it stands
	Place   string   `json:"place"`
	Object  string   `json:"object,omitempty"`
	Matched bool     `json:"matched"`
	Action  string   `json:"action"`
	Reasons []string `json:"reasons,omitempty"` // for each match, why it did not hold
}

func runRouteExplain(cmd *cobra.Command, f *routeFlags) error {
	if f.output != "text" && f.output != "json" {
		return exitError{2, fmt.Errorf("route explain: --output %s: want text or json", f.output)}
	}
	request, err := f.request()
	if err != nil {
		return err
	}
	listeners, err := f.listeners(cmd)
	if err != nil {
		return err
	}
	routings, err := f.explain(listeners, request)
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = printJSON(cmd.OutOrStdout(), routings)
	} else {
		err = printRoutings(cmd.OutOrStdout(), f, routings)
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(routings, func(r routing) bool { return r.answered() }) {
		return exitError{1, nil}
	}
	return nil
}

func (r *routing) answered() bool {
	return r.Redirect || len(r.Steps) > 0 && r.Steps[len(r.Steps)-1].Matched
}

func (f *routeFlags) request() (*route.Request, error) {
	q := &route.Request{
		Method: []byte(f.method), Host: []byte(f.host), Path: []byte(f.path), HTTPS: f.https, Port: f.port, Labels: f.labels,
	}
	if !strings.HasPrefix(f.path, "/") && f.path != "*" {
		return nil, exitError{2, fmt.Errorf(`route explain: --path %s: want a path that begins with "/"`, f.path)}
	}
	var read http1.Request // what a gateway makes of the path: dot segments and needless escapes go
	if _, err := read.Parse([]byte("OPTIONS " + f.path + " HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return nil, exitError{2, fmt.Errorf("route explain: --path %s: a gateway refuses it: %w", f.path, err)}
	}
	q.Path = read.Path
	for _, line := range f.headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, exitError{2, fmt.Errorf("route explain: -H %q: want 'name: value'", line)}
		}
		q.Fields = append(q.Fields, http1.Field{Name: []byte(strings.TrimSpace(name)), Value: []byte(strings.TrimSpace(value))})
	}
	return q, nil
}

// listeners are those of the configuration, or of the running gateway.
func (f *routeFlags) listeners(cmd *cobra.Command) ([]fleet.Listener, error) {
	if f.file == "" {
		dump, err := ask[admin.ConfigDump](cmd.Context(), &f.client, "/config_dump", url.Values{})
		if err != nil {
			return nil, err
		}
		if dump.Snapshot == nil {
			return nil, fmt.Errorf("%s has no configuration yet", f.client.address)
		}
		return dump.Snapshot.Listeners, nil
	}
	o := controlFlags{mesh: "127.0.0.1:15001", labels: f.carried}.options()
	o.Lenient = f.lenient
	desired, findings, err := readConfig(f.file, cmd.InOrStdin(), o)
	if err != nil {
		return nil, err
	}
	for _, finding := range findings {
		if finding.Severity == config.Error {
			fmt.Fprintln(cmd.ErrOrStderr(), finding)
		}
	}
	if desired == nil {
		return nil, errors.New("route explain: the configuration would not be applied; see crossfade validate")
	}
	return desired.Listeners, nil
}

// explain holds the request against every listener that is meant and knows its host.
func (f *routeFlags) explain(listeners []fleet.Listener, q *route.Request) ([]routing, error) {
	routings := []routing{}
	known := false
	for i := range listeners {
		l := &listeners[i]
		if !f.means(l) {
			continue
		}
		known = true
		table, err := route.Compile(l)
		if err != nil {
			return nil, fmt.Errorf("route explain: %w", err)
		}
		at := *q
		at.HTTPS = at.HTTPS || len(l.TLS) > 0
		if _, _, err := net.SplitHostPort(f.host); l.Mesh && f.port != 0 && err != nil {
			at.Host = []byte(net.JoinHostPort(f.host, strconv.Itoa(int(f.port))))
		}
		if e := table.Explain(&at); e.Domain != "" {
			routings = append(routings, routingOf(l, &e))
		}
	}
	if !known {
		var names []string
		for i := range listeners {
			names = append(names, listeners[i].Name)
		}
		return nil, fmt.Errorf("route explain: nothing serves gateway %q, port %d; there are: %s", f.gateway, f.port, strings.Join(names, ", "))
	}
	return routings, nil
}

// means says whether a listener is one that the request could have been sent to.
func (f *routeFlags) means(l *fleet.Listener) bool {
	if f.port != 0 && !l.Mesh && l.Port != f.port {
		return false
	}
	_, name, _ := strings.Cut(l.Origin.Name, "/")
	return f.gateway == "" || f.gateway == l.Name || !l.Mesh && (f.gateway == l.Origin.Name || f.gateway == name)
}

func routingOf(l *fleet.Listener, e *route.Explanation) routing {
	out := routing{Listener: l.Name, Domain: e.Domain, Redirect: e.HTTPS, Steps: []routingStep{}}
	for _, s := range e.Steps {
		r := s.Rule.Route
		place := fmt.Sprintf("%s:%d", r.Origin.File, r.Origin.Line)
		step := routingStep{Rule: r.Name, Place: place, Matched: s.Matched, Action: action(r), Reasons: s.Reasons}
		if r.Origin.Kind != "" {
			step.Object = r.Origin.Kind + " " + r.Origin.Name
		}
		if s.Matched && len(step.Reasons) > 0 {
			step.Reasons = step.Reasons[:len(step.Reasons)-1]
		}
		out.Steps = append(out.Steps, step)
	}
	return out
}

// action says what a route does.
func action(r *fleet.Route) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("redirects with %d", r.Redirect.Code)
	case r.Respond != nil:
		return fmt.Sprintf("answers with %d", r.Respond.Status)
	}
	sum := uint64(0)
	for _, d := range r.Destinations {
		sum += uint64(d.Weight)
	}
	var to []string
	for _, d := range r.Destinations {
		name := d.Service
		if d.Subset != "" {
			name += " subset " + d.Subset
		}
		if len(r.Destinations) > 1 && sum > 0 {
			name += fmt.Sprintf(" (%.4g%%)", 100*float64(d.Weight)/float64(sum))
		}
		to = append(to, name)
	}
	return "sends to " + strings.Join(to, ", ")
}

func printRoutings(w io.Writer, f *routeFlags, routings []routing) error {
	var text strings.Builder
	for i, r := range routings {
		if i > 0 {
			text.WriteString("\n")
		}
		fmt.Fprintf(&text, "%s: %s %s falls under %s.\n", r.Listener, f.method, f.host+f.path, r.Domain)
		if r.Redirect {
			text.WriteString("  ✓ It is redirected to https, before any rule is looked at.\n")
		}
		for _, s := range r.Steps {
			printStep(&text, &s)
		}
		if !r.answered() {
			text.WriteString("  No rule matches: the answer is 404.\n")
		}
	}
	if len(routings) == 0 {
		fmt.Fprintf(&text, "No virtual host is for %s: the answer is 404.\n", f.host)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func printStep(text *strings.Builder, s *routingStep) {
	name := s.Object
	if s.Rule != "" {
		name = fmt.Sprintf("route %q of %s", s.Rule, s.Object)
	}
	if s.Matched {
		fmt.Fprintf(text, "  ✓ %s: %s %s.\n", s.Place, name, s.Action)
	} else {
		fmt.Fprintf(text, "  ✗ %s: %s does not match.\n", s.Place, name)
	}
	for i, reason := range s.Reasons {
		fmt.Fprintf(text, "      match %d: %s\n", i+1, reason)
	}
}
