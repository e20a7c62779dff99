package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/drain"
)

// leaveFlags are those of the commands that make a gateway leave, and call it back.
type leaveFlags struct {
	client   adminClient
	wait     bool
	graceful bool
	timeout  time.Duration
}

func newDrainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "drain", Short: "Make a gateway leave without losing a request"}
	cmd.AddCommand(newDrainGatewayCommand())
	return cmd
}

func newDrainGatewayCommand() *cobra.Command {
	var f leaveFlags
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Make a gateway tell that it leaves, then stop accepting, and end what is open",
		Long: `gateway makes the gateway at --admin leave: load balancers hear of it at its health port, clients with their answers;
then it stops accepting, and serves what is open. It stays, and answers at its admin port, until it is stopped.

With --wait the command shows how far that is, and at the end what became of every request; its exit code is 3 when some
had to be cut. It is 1 when --timeout ends the wait first; the gateway goes on leaving all the same. A supervisor's
--admin stands for all of its replicas; it starts no others until somebody asks for them: crossfade rollout restart.

With "crossfade up", which no load balancer stands before, nothing is waited for: the gateway stops accepting at once.`,
		Example: "  crossfade drain gateway --wait\n  crossfade drain gateway --admin http://127.0.0.1:15101",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if f.graceful {
				query.Set("graceful", "")
			}
			if err := f.post(cmd.Context(), "/drain_listeners", query); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), "gateway drains"); err != nil || !f.wait {
				return err
			}
			return f.drained(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	f.add(flags)
	flags.BoolVar(&f.wait, "wait", false, "wait until nothing is open any more, and say what became of every request")
	flags.BoolVar(&f.graceful, "graceful", true, "go on accepting until load balancers have heard of it; false stops at once")
	flags.DurationVar(&f.timeout, "timeout", 0, "how long to wait; 0 is as long as it takes")
	return cmd
}

func newUndrainCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "undrain", Short: "Call back a gateway that was told to leave"}
	var f leaveFlags
	gateway := &cobra.Command{
		Use:   "gateway",
		Short: "Call back a gateway that was told to leave and still accepts",
		Long: `gateway calls the gateway at --admin back: its health port says again that it serves. It fails once the gateway has
stopped accepting: then only a new process serves again. Of replicas, new ones: crossfade rollout restart.`,
		Example: "  crossfade undrain gateway",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.post(cmd.Context(), "/healthcheck/ok", nil); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "gateway serves")
			return err
		},
	}
	f.add(gateway.Flags())
	cmd.AddCommand(gateway)
	return cmd
}

func (f *leaveFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.client.address, "admin", "http://127.0.0.1:15000", "admin API of the gateway, or of the supervisor of its replicas")
}

func (f *leaveFlags) post(ctx context.Context, path string, query url.Values) error {
	answer, err := f.client.send(ctx, http.MethodPost, path, query, nil)
	if err != nil {
		return err
	}
	return answer.Close() // it only says that the command is accepted
}

// drained follows a leave until it is over, writes a line whenever its stage changes, and at the end what it came to.
func (f *leaveFlags) drained(ctx context.Context, w io.Writer) error {
	if f.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.timeout)
		defer cancel()
	}
	for said := ""; ; {
		r, err := ask[drain.Report](ctx, &f.client, "/api/v1/drain", nil)
		switch line := stageText(r.Stage); {
		case ctx.Err() != nil:
			return notDrained(ctx, said)
		case err != nil && said != "":
			return fmt.Errorf("it ended while it was waited for, %s: %w", said, err)
		case err != nil:
			return err
		case r.Stage == drain.Closed:
			return writeDrained(w, &r)
		case r.Stage == drain.Serving && said != "" && said != line:
			return errors.New("it was called back, and serves")
		case line != said:
			said = line
			if _, err := fmt.Fprintf(w, "%s: %s\n", line, openText(&r)); err != nil {
				return err
			}
		}
		if !pause(ctx, statusEvery) {
			return notDrained(ctx, said)
		}
	}
}

func notDrained(ctx context.Context, said string) error {
	return fmt.Errorf("%w: the gateway is not drained, and %s; it goes on by itself",
		waitEnded(ctx), cmp.Or(said, "has not said how far it is"))
}

// stageText says in words how far a data plane is on its way out.
func stageText(s drain.Stage) string {
	return map[drain.Stage]string{
		drain.Serving: "serves", drain.LameDuck: "tells that it leaves", drain.Draining: "accepts nothing new",
		drain.Forced: "ends what is still open", drain.Closed: "drained",
	}[s]
}

func openText(r *drain.Report) string {
	open := 0
	for _, p := range r.Protocols {
		open += p.Leave.Open
	}
	return admin.Count(open) + " open"
}

// writeDrained writes what a leave came to, and fails when something was cut.
func writeDrained(w io.Writer, r *drain.Report) error {
	if _, err := fmt.Fprintf(w, "drained in %s: %s\n", admin.Span(leaveTime(r)), stagesText(r)); err != nil {
		return err
	}
	rows := protocolRows(r)
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no request was open, and none came")
		return err
	}
	if err := (&table{out: w}).write(append([][]string{protocolHead()}, rows...)...); err != nil {
		return err
	}
	if r.Cut > 0 {
		return exitError{exitCut, errors.New(drain.Lost(r.Cut))}
	}
	return nil
}

// leaveTime is how long a leave took, or is taking.
func leaveTime(r *drain.Report) time.Duration {
	var seconds float64
	for stage, s := range r.Seconds {
		if stage != drain.Serving && stage != drain.Closed {
			seconds += s
		}
	}
	return time.Duration(seconds * float64(time.Second))
}

// stagesText says how long a leave was in each of its stages.
func stagesText(r *drain.Report) string {
	var parts []string
	for _, stage := range slices.Sorted(maps.Keys(r.Seconds)) {
		if stage != drain.Serving && stage != drain.Closed {
			parts = append(parts, stage.String()+" "+admin.Span(time.Duration(r.Seconds[stage]*float64(time.Second))))
		}
	}
	return strings.Join(parts, ", ")
}

func protocolHead() []string {
	return []string{"PROTOCOL", "BEFORE", "SINCE", "OPEN", "COMPLETED", "FAILED", "TOLD", "CUT"}
}

// protocolRows are what became of the requests of each protocol: those that were open when the leave began, and those
// that came since.
func protocolRows(r *drain.Report) (rows [][]string) {
	for _, p := range slices.Sorted(maps.Keys(r.Protocols)) {
		q := r.Protocols[p]
		rows = append(rows, []string{
			p.String(), admin.Count(q.Before), admin.Count(q.Leave.Opened), admin.Count(q.Leave.Open),
			admin.Count(q.Leave.Completed), admin.Count(q.Leave.Failed), admin.Count(q.Leave.Told), admin.Count(q.Leave.Cut),
		})
	}
	return rows
}
