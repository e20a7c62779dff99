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

func newValidateCommand() *cobra.Command {
	var privileged bool
	cmd := &cobra.Command{
		Use:   "validate DIR|FILE|-",
		Short: "Check configuration, and say what would not be applied",
		Long: `validate reads configuration as control would: every .yaml, .yml and .json file in and below a directory,
one file, or standard input. It prints a line for each finding: the place, how bad it is, the field, and what to
do. Errors are what crossfade would refuse: it applies a configuration whole or not at all.

Exit status: 0 no errors, 1 errors, 2 wrong usage.`,
		Example: `  crossfade validate examples/bookinfo
  kubectl get gateway,virtualservice,destinationrule -o yaml | crossfade validate -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exitError{2, errors.New(`validate: name one directory or file, or "-"`)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o := controlFlags{mesh: "127.0.0.1:15001", privileged: privileged}.options()
			desired, findings, err := readConfig(args[0], cmd.InOrStdin(), o)
			if err != nil {
				return err
			}
			for _, f := range findings {
				fmt.Fprintln(cmd.OutOrStdout(), f)
			}
			fmt.Fprintln(cmd.OutOrStdout(), verdict(args[0], desired, findings))
			if desired == nil {
				return exitError{1, nil}
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exitError{2, fmt.Errorf("validate: %w", err)} })
	cmd.Flags().BoolVar(&privileged, "privileged-ports", false, "as control with --privileged-ports would")
	return cmd
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
	bad := 0
	for _, f := range findings {
		if f.Severity == config.Error {
			bad++
		}
	}
	if bad > 0 {
		parts = append(parts, plural(bad, "error"))
	}
	if warnings := len(findings) - bad; warnings > 0 {
		parts = append(parts, plural(warnings, "warning"))
	}
	if d != nil {
		parts = append(parts, plural(len(d.Services), "service"), plural(len(d.Listeners), "listener"),
			plural(len(d.Workloads), "deployment"))
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
