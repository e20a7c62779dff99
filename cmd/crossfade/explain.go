package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/admin"
)

// explainFlags say whom to ask and how to answer.
type explainFlags struct {
	client adminClient
	output string // "text" or "json"
}

func newExplainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [SERVICE]",
		Short: "Say in sentences which endpoint gets what share of the requests, and why",
		Long: `explain says for a service and each of its subsets how it balances, which warm-up is in force and where
it is configured, what passed, and then for each endpoint: its stage and age, its share, what part of the requests
it should get, what it got since it joined, the reason, and when it will be at its full share.`,
		Example:           "  crossfade explain reviews\n  crossfade explain reviews:9080 --output json",
		Args:              cobra.MaximumNArgs(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return runExplain(cmd, &f, args) },
		ValidArgsFunction: completeServices(&f.client),
	}
	f.client.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	offerOutputs(cmd, "text", "json")
	return cmd
}

func runExplain(cmd *cobra.Command, f *explainFlags, args []string) error {
	if f.output != "text" && f.output != "json" {
		return exitError{2, fmt.Errorf("--output %s: want text or json", f.output)}
	}
	answer, err := ask[admin.Explanation](cmd.Context(), &f.client, "/api/v1/explain", named(args))
	if err != nil {
		return err
	}
	if f.output == "json" {
		return printJSON(cmd.OutOrStdout(), answer)
	}
	return printExplanation(cmd.OutOrStdout(), answer)
}

// printExplanation writes one paragraph for each pool, with an indented one for each of its endpoints.
func printExplanation(w io.Writer, x admin.Explanation) error {
	var text strings.Builder
	if x.Rejected != nil {
		text.WriteString(rejectionLine(x.Rejected) + "\n\n")
	}
	for i, p := range x.Pools {
		if i > 0 {
			text.WriteString("\n")
		}
		for _, s := range p.Sentences {
			text.WriteString(s + "\n")
		}
		for _, e := range p.Endpoints {
			text.WriteString("  • " + e.Sentence + "\n")
		}
	}
	if len(x.Pools) == 0 {
		text.WriteString("There are no services yet." + seeEvents + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}
