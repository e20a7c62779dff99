package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

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
	root.InitDefaultCompletionCmd(args...) // it remembers stdout
	checkArgs(root)
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
		// cobra would look for missing flags later, and not say what kind of error it is.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return misuse(cmd, cmd.ValidateRequiredFlags()) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if name := cmd.Flags().Arg(0); cmd.HasSubCommands() && name != "" {
			return unknownCommand(cmd, name) // rather than its flags
		}
		return misuse(cmd, err)
	})
	root.AddCommand(
		newUpCommand(),
		newControlCommand(),
		newGatewayCommand(),
		newAgentCommand(),
		newEtcdCommand(),
		newSuperviseCommand(),
		newScaleCommand(),
		newRolloutCommand(),
		newUpgradeCommand(),
		newDrainCommand(),
		newUndrainCommand(),
		newWarmupCommand(),
		newWeightCommand(),
		newApplyCommand(),
		newDeleteCommand(),
		newReleasesCommand(),
		newReleaseCommand(),
		newGetCommand(),
		newExplainCommand(),
		newLoadCommand(),
		newValidateCommand(),
		newRouteCommand(),
		newVersionCommand(),
	)
	return root
}

// checkArgs makes misuse of every command below cmd, and of itself, an error with exit code 2 that says what was
// perhaps meant.
func checkArgs(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		checkArgs(c)
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = runGroup
		return
	}
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err != nil && len(args) == 1 && cmd.Flags().Lookup("file") != nil && !cmd.Flags().Changed("file") {
			return exitError{2, fmt.Errorf("%s reads its configuration from -f: %s -f %s", cmd.Name(), cmd.CommandPath(), args[0])}
		}
		if err != nil && strings.HasPrefix(err.Error(), "unknown command") { // as cobra has it
			return exitError{2, fmt.Errorf("%q is one too many: %s takes no arguments, only flags", args[0], cmd.CommandPath())}
		}
		return misuse(cmd, err)
	}
}

// runGroup is what a command does that only has others below it: the top one helps, the rest want a name.
func runGroup(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0:
		return unknownCommand(cmd, args[0])
	case !cmd.HasParent():
		return cmd.Help()
	}
	return misuse(cmd, fmt.Errorf("what? There are: %s", strings.Join(commandNames(cmd), ", ")))
}

func unknownCommand(cmd *cobra.Command, name string) error {
	err := fmt.Errorf("there is no %q; there are: %s", cmd.CommandPath()+" "+name, strings.Join(commandNames(cmd), ", "))
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		err = fmt.Errorf("there is no %q; did you mean %s?", cmd.CommandPath()+" "+name, strings.Join(near, " or "))
	}
	return exitError{2, err}
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// misuse makes an error one of using cmd wrongly, if there is one.
func misuse(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[exitError](err); ok || err == nil {
		return err
	}
	return exitError{2, fmt.Errorf("%s: %w; see \"%s --help\"", strings.TrimPrefix(cmd.CommandPath(), "crossfade "), err, cmd.CommandPath())}
}

// wants takes exactly these arguments, and says which is missing or too much. What a name stands for is known: an
// endpoint, a factor, a deployment.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		usage := cmd.CommandPath() + " " + strings.Join(names, " ")
		switch {
		case len(args) < len(names):
			missing := map[string]string{"ENDPOINT": "an endpoint", "FACTOR": "a factor", "deployment/NAME": "a deployment", objectArg: "a deployment or a gateway", lifecycleArg: "a Lifecycle"}[names[len(args)]]
			return exitError{2, fmt.Errorf("name %s: %s", missing, usage)}
		case len(args) > len(names):
			return exitError{2, fmt.Errorf("%q is one too many: %s", args[len(names)], usage)}
		}
		return nil
	}
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which crossfade this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "crossfade %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
