package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// What release show exits with, beside 0 for lossless and 1 for anything else.
const (
	exitLossy    = 3
	exitUnproven = 4
	exitStalled  = 5
)

// verdictTimeout is how long a verdict is waited for where nobody says how long: longer than a Deployment's usual progress deadline, so that
// what comes no nearer ends as stalled.
const verdictTimeout = 30 * time.Minute

// releaseArg is what names a release.
const releaseArg = "[ID|latest|deployment/NAME|gateway/NAME]"

func newReleasesCommand() *cobra.Command {
	var c consoleClient
	var output string
	var limit int
	cmd := &cobra.Command{
		Use:   "releases",
		Short: "List releases and their verdicts, the newest first",
		Long: `releases lists what the console has recognised as a release: each rollout and scaling of a deployment, each change of
instances that came or went on their own, each rollout, scaling or drain of a gateway. LOST are requests that were lost
while it ran, by the counters of the data planes.`,
		Example: "  crossfade releases\n  crossfade releases -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "table" && output != "wide" && output != "json":
				return exitError{2, fmt.Errorf("--output %q: want table, wide or json", output)}
			case limit < 1:
				return exitError{2, fmt.Errorf("--limit %d: want 1 or more", limit)}
			}
			if err := c.open(); err != nil {
				return err
			}
			rows, err := c.releases(cmd.Context())
			if err != nil {
				return err
			}
			rows = rows[:min(len(rows), limit)]
			if output == "json" {
				return writeIndented(cmd.OutOrStdout(), map[string][]history.ReleaseRow{"releases": rows})
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There was no release yet.")
				return err
			}
			return (&table{out: cmd.OutOrStdout()}).write(releaseTable(rows, output == "wide")...)
		},
	}
	c.add(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, wide or json")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many")
	offerOutputs(cmd, "table", "wide", "json")
	return cmd
}

// releaseTable are the rows of a table of releases, with its head.
func releaseTable(list []history.ReleaseRow, wide bool) [][]string {
	head := []string{"ID", "WHAT", "BEGAN", "TOOK", "SERVED", "LOST", "VERDICT"}
	if wide {
		head = append([]string{"NAMESPACE", "NAME", "KIND"}, append(head, "WHY")...)
	}
	rows := [][]string{head}
	for i := range list {
		r := &list[i]
		spent := ""
		if !r.Ended.IsZero() {
			spent = r.Ended.Sub(r.Began).Round(time.Second).String()
		}
		row := []string{
			r.ID, r.What, r.Began.Local().Format(time.DateTime), spent,
			strconv.FormatUint(r.Served, 10), strconv.FormatUint(r.Lost, 10), string(r.Verdict),
		}
		if wide {
			row = append([]string{r.Namespace, r.Name, string(r.Kind)}, append(row, r.Why)...)
		}
		rows = append(rows, row)
	}
	return rows
}

func newReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Look at one release, and ask for its verdict"}
	cmd.AddCommand(newReleaseShowCommand())
	return cmd
}

// A showing is what somebody wants to know of a release.
type showing struct {
	consoleClient

	which     string // as releaseArg has it
	namespace string
	since     string
	output    string
	wait      bool
	timeout   time.Duration
	notes     io.Writer

	object *object // that which names; nil is none
}

func newReleaseShowCommand() *cobra.Command {
	var s showing
	cmd := &cobra.Command{
		Use:   "show " + releaseArg,
		Short: "Show a release, and exit by its verdict",
		Long: `show shows a release: its verdict, what was served and lost, who came and went. Its exit code is the verdict: 0 lossless,
3 lossy, 4 unproven or not over, 5 stalled, 1 anything else. Without a name it is the newest; of a deployment or a gateway,
its newest: after crossfade rollout restart, scale and upgrade that is the one that they began.
With --wait it waits until the release is over, or has stalled: it has come no nearer to its end for as long as the
Deployment's progressDeadlineSeconds. With --since it is one that began then or later, and with both one that may have yet to begin,
as after a change of a file.`,
		Example: `  crossfade release show
  crossfade rollout restart deployment/reviews-v1 && crossfade release show deployment/reviews-v1 --wait
  crossfade release show latest -o html > report.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.which, s.notes = "latest", cmd.ErrOrStderr()
			if len(args) > 0 {
				s.which = args[0]
			}
			if err := s.check(cmd.Flags().Changed("timeout")); err != nil {
				return err
			}
			return s.show(cmd.Context(), cmd.OutOrStdout())
		},
	}
	s.add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVarP(&s.namespace, "namespace", "n", "", fmt.Sprintf("namespace of the deployment or gateway (default %q of a deployment, %q of a gateway)", "default", fleet.GatewayNamespace))
	flags.StringVarP(&s.output, "output", "o", "text", "text, json or html: a page that needs nothing else")
	flags.StringVar(&s.since, "since", "", "only a release that began then or later: a time (2026-01-02T15:04:05Z), or how long ago (5m)")
	flags.BoolVar(&s.wait, "wait", false, "wait until there is one, and it is over or has stalled")
	flags.DurationVar(&s.timeout, "timeout", verdictTimeout, "how long --wait waits")
	offerOutputs(cmd, "text", "json", "html")
	cmd.ValidArgsFunction = s.complete
	return cmd
}

// verdictOf is the exit code of a release.
func verdictOf(r *release.Release) error {
	switch r.Verdict {
	case release.Lossless:
		return nil
	case release.Lossy:
		return exitError{code: exitLossy}
	case release.Stalled:
		return exitError{code: exitStalled}
	default:
		return exitError{code: exitUnproven}
	}
}

// releases asks for all that are kept, the newest first.
func (c *consoleClient) releases(ctx context.Context) ([]history.ReleaseRow, error) {
	body, err := c.get(ctx, "releases")
	if err != nil {
		return nil, err
	}
	var list struct {
		Releases []history.ReleaseRow `json:"releases"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("list of releases: %w", err)
	}
	return list.Releases, nil
}

// complete offers the ids of releases to the shell.
func (s *showing) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	if len(args) > 0 || s.open() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	rows, err := s.releases(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // nobody to ask: nothing to offer
	}
	ids := []cobra.Completion{"latest"}
	for i := range rows {
		ids = append(ids, cobra.CompletionWithDesc(rows[i].ID, rows[i].What))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
