package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// version is stamped by the linker: -X main.version=….
var version = "devel"

// run executes one command line and returns its exit code: 0 done, 1 failed, 2 misused, or what the command
// asked for with an exitError.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot() //nolint:contextcheck // commands get ctx when they run.
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		if exit.err != nil {
			fmt.Fprintln(stderr, "crossfade:", exit.err)
		}
		return exit.code
	}
	fmt.Fprintln(stderr, "crossfade:", err)
	return 1
}

// An exitError asks for an exit code; a nil err says nothing more.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return fmt.Sprintf("exit %d: %v", e.code, e.err) }
func (e exitError) Unwrap() error { return e.err }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "crossfade",
		Short:         "Make every release lossless",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newUpCommand(),
		newControlCommand(),
		newGatewayCommand(),
		newScaleCommand(),
		newRolloutCommand(),
		newGetCommand(),
		newExplainCommand(),
		newLoadCommand(),
		newValidateCommand(),
	)
	return root
}
