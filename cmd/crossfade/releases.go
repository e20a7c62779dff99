package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// What release show exits with, beside 0 for lossless and 1 for anything else.
const (
	exitLossy    = 3
	exitUnproven = 4
)

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
			if output != "table" && output != "wide" && output != "json" {
				return exitError{2, fmt.Errorf("--output %q: want table, wide or json", output)}
			}
			if err := c.open(); err != nil {
				return err
			}
			rows, err := c.releases(cmd.Context())
			if err != nil {
				return err
			}
			rows = rows[:min(len(rows), max(0, limit))]
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

	which   string // as releaseArg has it
	since   string
	output  string
	wait    bool
	timeout time.Duration
	notes   io.Writer
}

func newReleaseShowCommand() *cobra.Command {
	var s showing
	cmd := &cobra.Command{
		Use:   "show " + releaseArg,
		Short: "Show a release, and exit by its verdict",
		Long: `show shows a release: its verdict, what was served and lost, who came and went. Its exit code is the verdict: 0 lossless,
3 lossy, 4 unproven or not over, 1 anything else. Without a name it is the newest; of a deployment or a gateway, its newest.
With --wait it waits for the end; with --since, for one that began then or later, so that a pipeline does not get the
verdict of the release before.`,
		Example: `  crossfade release show
  crossfade release show deployment/reviews-v2 --wait --since 10s
  crossfade release show latest -o html > report.html`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.which, s.notes = "latest", cmd.ErrOrStderr()
			if len(args) > 0 {
				s.which = args[0]
			}
			return s.show(cmd.Context(), cmd.OutOrStdout())
		},
	}
	s.add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringVarP(&s.output, "output", "o", "text", "text, json or html: a page that needs nothing else")
	flags.StringVar(&s.since, "since", "", "only a release that began then or later: a time (2026-01-02T15:04:05Z), or how long ago (5m)")
	flags.BoolVar(&s.wait, "wait", false, "wait until it is over, or until there is one")
	flags.DurationVar(&s.timeout, "timeout", rolloutTimeout, "how long to wait")
	offerOutputs(cmd, "text", "json", "html")
	cmd.ValidArgsFunction = s.complete
	return cmd
}

// show writes the release, and returns its verdict as an exit code.
func (s *showing) show(ctx context.Context, w io.Writer) error {
	if s.output != "text" && s.output != "json" && s.output != "html" {
		return exitError{2, fmt.Errorf("--output %q: want text, json or html", s.output)}
	}
	since, err := admin.ParseSince(s.since, time.Now())
	if err != nil {
		return exitError{2, fmt.Errorf("--%w", err)}
	}
	if err := s.open(); err != nil {
		return err
	}
	var r *release.Release
	if s.wait {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		r, err = s.await(ctx, since)
	} else {
		r, err = s.find(ctx, since)
	}
	if err != nil {
		return err
	}
	if err := s.write(ctx, w, r); err != nil {
		return err
	}
	return verdictOf(r)
}

// verdictOf is the exit code of a release.
func verdictOf(r *release.Release) error {
	switch r.Verdict {
	case release.Lossless:
		return nil
	case release.Lossy:
		return exitError{code: exitLossy}
	default:
		return exitError{code: exitUnproven}
	}
}

// errNone says that there is no such release yet.
var errNone = errors.New("there is no such release")

// await asks until the release is over. A console that is started anew in the middle is waited for.
func (s *showing) await(ctx context.Context, since time.Time) (*release.Release, error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	said, away := "", time.Time{}
	for {
		r, err := s.find(ctx, since)
		var line string
		switch {
		case err == nil && r.Verdict != release.Running:
			return r, nil
		case err == nil:
			s.which, away = r.ID, time.Time{} // a newer one is another
			line = fmt.Sprintf("%s: %d came, %d of them warm; %d went, %d of them gone", r.ID, len(r.Came), warmOf(r), len(r.Went), r.Drains.Drained+r.Drains.Killed)
		case errors.Is(err, errNone):
			line = "waiting for a release to begin"
		case errors.Is(err, errAway) && ctx.Err() == nil:
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) > watchPatience {
				return nil, err
			}
			line = err.Error() + "; it is asked again"
		case ctx.Err() != nil && said != "":
			return nil, fmt.Errorf("%w: %s", waitEnded(ctx), said)
		default:
			return nil, err
		}
		if line != said {
			said = line
			fmt.Fprintln(s.notes, line)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", waitEnded(ctx), said)
		case <-tick.C:
		}
	}
}

func warmOf(r *release.Release) (n int) {
	for _, w := range r.Warm {
		if w.Done {
			n++
		}
	}
	return n
}

// find returns the release that is meant. The error wraps errNone where there is none yet.
func (s *showing) find(ctx context.Context, since time.Time) (*release.Release, error) {
	id, err := s.id(ctx, since)
	switch {
	case err != nil:
		return nil, err
	case id == "":
		return nil, s.none(since)
	}
	body, err := s.get(ctx, "releases", id)
	if err != nil {
		return nil, err
	}
	var r release.Release
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("release %s: %w", id, err)
	}
	if r.Began.Before(since) {
		return nil, s.none(since)
	}
	return &r, nil
}

// id returns the id of the release that is meant; "" where there is none.
func (s *showing) id(ctx context.Context, since time.Time) (string, error) {
	kind, name, object := strings.Cut(s.which, "/")
	switch {
	case object && kind != "deployment" && kind != "gateway":
		return "", exitError{2, fmt.Errorf("%q: want an id, latest, deployment/NAME or gateway/NAME", s.which)}
	case !object && s.which != "latest":
		return s.which, nil
	}
	rows, err := s.releases(ctx)
	if err != nil {
		return "", err
	}
	for i := range rows {
		r := &rows[i]
		fits := !object || r.Name == name && (kind == "gateway") == (r.Kind == release.Gateway)
		if fits && !r.Began.Before(since) {
			return r.ID, nil
		}
	}
	return "", nil
}

// none says that there is none.
func (s *showing) none(since time.Time) error {
	text := "crossfade releases lists those that there were"
	if !since.IsZero() {
		text = "since " + since.Local().Format(time.DateTime) + "; --wait waits for one"
	}
	return fmt.Errorf("%w (%s): %s", errNone, s.which, text)
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
