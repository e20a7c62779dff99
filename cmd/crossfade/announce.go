package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/feed"
	"crossfade.dev/internal/fleet"
)

// announce waits until the gateway is ready and says where everything is and what to try.
func announce(ctx context.Context, f upFlags, link *feed.Client, stdout io.Writer) error {
	var view fleet.View
	told := time.Now() // what was before is no news
	for view.Snapshot == nil || !answers(ctx, "http://"+f.gatewayAdmin+"/ready") {
		if view = newest(ctx, link); view.Snapshot != nil {
			told = news(stdout, view.Events, told, "gateway.") // they may never come up
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	if _, err := io.WriteString(stdout, banner(f, view)); err != nil {
		return err
	}
	narrate(ctx, link, view, stdout)
	return nil
}

// banner says where everything is, and what to try.
func banner(f upFlags, view fleet.View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\ncrossfade %s is up with %s\n\n", version, f.dir)
	if f.console.listen != "" {
		fmt.Fprintf(&b, "  console           %s\n", f.console.shown())
	}
	first := ""
	for _, l := range view.Listeners {
		if l.Mesh {
			fmt.Fprintf(&b, "  between services  http://%s (set as HTTP_PROXY for every local instance)\n", l.Address)
			continue
		}
		fmt.Fprintf(&b, "  %-16s  %s (Gateway port %d)\n", "gateway", address(&l), l.Port)
		first = cmp.Or(curl(view, &l), first)
	}
	if at := f.health(); at != "" {
		fmt.Fprintf(&b, "  health checks     http://%s/healthz/ready\n", at)
	}
	var replicas []string
	for _, g := range fleet.OrDefault(view.Groups) {
		replicas = append(replicas, fmt.Sprintf("%d of %s/%s", g.Replicas, g.Namespace, g.Name))
	}
	fmt.Fprintf(&b, "  replicas          %s (crossfade get gateways -o wide)\n", strings.Join(replicas, ", "))
	fmt.Fprintf(&b, "  gateway's admin   http://%s\n  control's admin   http://%s\n  feed              %s\n", f.gatewayAdmin, f.admin, f.socket)
	for _, url := range f.registries {
		if url == overFeed {
			continue
		}
		fmt.Fprintf(&b, "  registry          %s\n", url)
	}
	fmt.Fprintf(&b, "  state             %s (remove it to start anew)\n", f.state)
	for _, l := range view.Workloads {
		if l.Replicas != l.Declared {
			fmt.Fprintf(&b, "\n  deployment/%s was scaled to %d; the configuration says %d\n", l.Name, l.Replicas, l.Declared)
		}
	}
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n")
	for _, try := range tries(view, first) {
		fmt.Fprintf(&b, "  %s\n", try)
	}
	fmt.Fprintf(&b, "\nCtrl-C drains and stops everything.\n\n")
	return b.String()
}

// narrate says what becomes of edits of the configuration, until ctx ends.
func narrate(ctx context.Context, link *feed.Client, last fleet.View, stdout io.Writer) {
	told := latest(last.Events)
	for ctx.Err() == nil {
		_ = link.Follow(ctx, feed.Hello{ID: "up", Role: "observer"}, func(v fleet.View) { // it is followed again
			told = news(stdout, v.Events, told, "")
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// news writes what events since a moment mean, those whose kind begins with something, and returns the next such moment.
func news(w io.Writer, events []fleet.Event, since time.Time, kind string) time.Time {
	for _, e := range events {
		if !e.Time.After(since) || !strings.HasPrefix(e.Kind, kind) {
			continue
		}
		if line := sentence(e); line != "" {
			_, _ = fmt.Fprintf(w, "%s  %s\n", e.Time.Format(time.TimeOnly), line) // nobody is left to tell
		}
	}
	return latest(events)
}

func latest(events []fleet.Event) time.Time {
	var t time.Time
	for _, e := range events {
		if e.Time.After(t) {
			t = e.Time
		}
	}
	return t
}

// sentence is what an event about the configuration means to who edits it; "" for other events.
func sentence(e fleet.Event) string {
	switch e.Kind {
	case "config.applied":
		return "configuration applied (" + e.Reason + ")"
	case "config.rejected":
		return "configuration not applied, what was in force stays so: " + e.Reason
	case "config.warning":
		return e.Reason
	case "listener.failed":
		return "not everything is served: " + e.Reason
	case "gateway.died", "gateway.killed", "gateway.upgrade_failed":
		return "gateway: " + e.Reason
	default:
		return ""
	}
}

// tries are three things to do with what runs.
func tries(v fleet.View, curl string) []string {
	list := []string{"crossfade get endpoints -w"}
	if curl != "" {
		list = append([]string{curl}, list...)
	}
	for _, l := range v.Workloads {
		if l.Replicas == 0 {
			return append(list, fmt.Sprintf("crossfade scale deployment/%s --replicas=1", l.Name))
		}
	}
	for _, l := range v.Workloads {
		return append(list, "crossfade rollout restart deployment/"+l.Name)
	}
	return append(list, "crossfade explain "+v.Services[0].Host)
}

// address is the URL of what a gateway listens on.
func address(l *fleet.Listener) string {
	scheme := "http://"
	if len(l.TLS) > 0 {
		scheme = "https://"
	}
	return scheme + strings.Replace(l.Address, "0.0.0.0", "127.0.0.1", 1)
}

// curl is a command that asks at a gateway's listener; "" where it would get nothing: where all is gRPC, or every client
// must show a certificate.
func curl(v fleet.View, l *fleet.Listener) string {
	switch {
	case onlyGRPC(v, l):
		return ""
	case len(l.TLS) == 0:
		return "curl " + address(l) + path(v)
	}
	for _, t := range l.TLS {
		if t.ClientCA != "" || len(t.Hosts) == 0 {
			continue
		}
		url := address(l)
		if t.Hosts[0] == "*" {
			return "curl -k " + url + path(v)
		}
		name := strings.Replace(t.Hosts[0], "*", "www", 1)
		at, port, _ := strings.Cut(strings.TrimPrefix(url, "https://"), ":")
		return fmt.Sprintf("curl -k --resolve %s:%s:%s https://%s:%s%s", name, port, at, name, port, path(v))
	}
	return ""
}

// onlyGRPC says whether all that a listener's routes lead to speaks gRPC.
func onlyGRPC(v fleet.View, l *fleet.Listener) bool {
	grpc := map[string]bool{}
	for i := range v.Services {
		grpc[v.Services[i].Name] = v.Services[i].Protocol == "grpc"
	}
	some := false
	for _, h := range l.Hosts {
		for i := range h.Routes {
			r := &h.Routes[i]
			if len(r.Destinations) == 0 || slices.ContainsFunc(r.Destinations, func(d fleet.Destination) bool { return !grpc[d.Service] }) {
				return false
			}
			some = true
		}
	}
	return some
}

// path is one that some route of a gateway matches exactly, or "/".
func path(v fleet.View) string {
	for _, l := range v.Listeners {
		for _, h := range l.Hosts {
			for _, r := range h.Routes {
				for _, m := range r.Matches {
					if !l.Mesh && m.Path.Exact != "" {
						return m.Path.Exact
					}
				}
			}
		}
	}
	return "/"
}

// answers says whether a GET of url is answered with 200.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	var client http.Client
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// newest returns control's newest view; without a snapshot when control does not answer.
func newest(ctx context.Context, link *feed.Client) fleet.View {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	views := make(chan fleet.View, 1)
	_ = link.Follow(ctx, feed.Hello{ID: "up", Role: "observer"}, func(v fleet.View) { // it ends with ctx or is tried again
		select {
		case views <- v:
		default:
		}
		cancel()
	})
	select {
	case v := <-views:
		return v
	default:
		return fleet.View{}
	}
}
