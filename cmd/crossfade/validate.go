package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

const maxStdin = 64 << 20

// validateFlags say how configuration is read and findings are written.
type validateFlags struct {
	privileged bool
	strict     bool
	place      localityFlag
	labels     labelFlags
	output     string // "text", "json" or "sarif"
}

func newValidateCommand() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:   "validate DIR|FILE|-",
		Short: "Check configuration, and say what would not be applied",
		Long: `validate reads configuration as control would: every .yaml, .yml and .json file in and below a directory,
one file, or standard input. It prints a line for each finding: the place, how bad it is, the field, and what to
do. Errors are what crossfade would refuse: it applies a configuration whole or not at all.

With --strict=false, what crossfade reads but does not enforce yet (retries, faults, mirrors, CORS, connection
pools, outlier detection) is a warning instead of an error. What would do harm if it were left undone stays one.

With --output json, the answer is one object with "findings", each with file, line, column, severity, rule, object,
field and message; with --output sarif, a log that code hosts show beside the lines it is about.

Exit status: 0 no errors, 1 errors, 2 wrong usage.`,
		Example: `  crossfade validate examples/bookinfo
  kubectl get gateway,virtualservice,destinationrule -o yaml | crossfade validate -
  crossfade validate --output sarif config > crossfade.sarif`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exitError{2, errors.New(`validate: name one directory or file, or "-"`)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runValidate(cmd, f, args[0]) },
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{2, fmt.Errorf("validate: %w", err)} })
	flags := cmd.Flags()
	flags.BoolVar(&f.privileged, "privileged-ports", false, "as control with --privileged-ports would")
	flags.BoolVar(&f.strict, "strict", true, "refuse what is not enforced yet; false warns")
	f.place.add(flags)
	f.labels.add(flags)
	flags.StringVarP(&f.output, "output", "o", "text", "text, json or sarif")
	offerOutputs(cmd, "text", "json", "sarif")
	return cmd
}

func runValidate(cmd *cobra.Command, f validateFlags, path string) error {
	write := map[string]func(io.Writer, string, *fleet.Desired, []config.Finding) error{
		"text": writeFindings, "json": writeFindingsJSON, "sarif": writeSARIF,
	}[f.output]
	if write == nil {
		return exitError{2, fmt.Errorf("validate: --output %s: want text, json or sarif", f.output)}
	}
	o := controlFlags{
		mesh: "127.0.0.1:15001", privileged: f.privileged, strict: f.strict, place: f.place, labels: f.labels, alone: true,
	}.options()
	desired, findings, err := readConfig(path, cmd.InOrStdin(), o)
	if err != nil {
		return err
	}
	if err := write(cmd.OutOrStdout(), path, desired, findings); err != nil {
		return err
	}
	if desired == nil {
		return exitError{1, nil}
	}
	return nil
}

func writeFindings(w io.Writer, path string, d *fleet.Desired, findings []config.Finding) error {
	for _, f := range findings {
		fmt.Fprintln(w, f)
	}
	_, err := fmt.Fprintln(w, verdict(path, d, findings))
	return err
}

// A validation is the answer of validate in JSON.
type validation struct {
	OK       bool             `json:"ok"` // it would be applied
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
	Findings []config.Finding `json:"findings"`
}

func writeFindingsJSON(w io.Writer, _ string, d *fleet.Desired, findings []config.Finding) error {
	v := validation{OK: d != nil, Errors: countErrors(findings), Findings: findings}
	v.Warnings = len(findings) - v.Errors
	if findings == nil {
		v.Findings = []config.Finding{}
	}
	return printJSON(w, v)
}

func countErrors(findings []config.Finding) int {
	bad := 0
	for _, f := range findings {
		if f.Severity == config.Error {
			bad++
		}
	}
	return bad
}

// readConfig reads configuration from a path, or from stdin for "-".
func readConfig(path string, stdin io.Reader, o config.Options) (*fleet.Desired, []config.Finding, error) {
	if path != "-" {
		desired, findings := config.Load(path, o)
		return desired, findings, nil
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxStdin))
	if err != nil {
		return nil, nil, fmt.Errorf("validate: standard input: %w", err)
	}
	desired, findings := config.Parse([]config.File{{Name: "stdin", Data: data}}, o)
	return desired, findings, nil
}

// verdict is the last line: what there is, or how much is wrong.
func verdict(path string, d *fleet.Desired, findings []config.Finding) string {
	if path == "-" {
		path = "stdin"
	}
	var parts []string
	bad := countErrors(findings)
	if bad > 0 {
		parts = append(parts, plural(bad, "error"))
	}
	if warnings := len(findings) - bad; warnings > 0 {
		parts = append(parts, plural(warnings, "warning"))
	}
	if d != nil {
		parts = append(parts, plural(len(d.Services), "service"), plural(len(d.Listeners), "listener"),
			plural(len(d.Workloads), "deployment"))
		if n := len(d.Lifecycles); n > 0 {
			parts = append(parts, plural(n, "lifecycle"))
		}
		return fmt.Sprintf("%s: ok: %s", path, strings.Join(parts, ", "))
	}
	return fmt.Sprintf("%s: %s; nothing of it would be applied", path, strings.Join(parts, ", "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
