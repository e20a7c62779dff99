package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry/etcd"
)

func newApplyCommand() *cobra.Command {
	var registry, path string
	cmd := &cobra.Command{
		Use:   "apply -f FILE --registry URL",
		Short: "Put Lifecycles into the registry, for every control that follows it",
		Long: `apply puts the Lifecycles of a file into the registry, each in place of the one of that name. It checks all of them
first, as validate does, and puts none if one is broken. Controls have them at once; they hold for instances that start
after that. A Lifecycle in a control's own files goes before one of the same name in the registry.`,
		Example: "  crossfade apply -f lifecycles.yaml --registry etcd://127.0.0.1:2379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runApply(cmd, registry, path)
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", `file of Lifecycles, or "-" for standard input`)
	addRegistryFlag(cmd, &registry)
	require(cmd, "file")
	return cmd
}

func newDeleteCommand() *cobra.Command {
	var registry, namespace string
	cmd := &cobra.Command{
		Use:     "delete " + lifecycleArg + " --registry URL",
		Short:   "Take a Lifecycle out of the registry",
		Example: "  crossfade delete lifecycle/reviews --registry etcd://127.0.0.1:2379",
		Args:    wants(lifecycleArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, _ := strings.Cut(args[0], "/")
			if !strings.EqualFold(kind, "lifecycle") && !strings.EqualFold(kind, "lifecycles") || name == "" || strings.Contains(name, "/") {
				return exitError{2, fmt.Errorf("%q: want %s; everything else is configuration, which control reads from its files", args[0], lifecycleArg)}
			}
			return withLifecycles(registry, func(store *etcd.Client) error {
				was, err := store.DeleteLifecycle(cmd.Context(), namespace, name)
				if err == nil && !was {
					err = fmt.Errorf("there is no Lifecycle %s/%s in %s", namespace, name, registry)
				}
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "lifecycle/%s deleted\n", name)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the Lifecycle")
	addRegistryFlag(cmd, &registry)
	return cmd
}

// lifecycleArg is how a Lifecycle is named on the command line.
const lifecycleArg = "lifecycle/NAME"

func addRegistryFlag(cmd *cobra.Command, registry *string) {
	cmd.Flags().StringVar(registry, "registry", "", "the etcd that controls follow: etcd://HOST:PORT[,HOST:PORT…][/PREFIX], etcds:// for TLS, or what up says it is")
	require(cmd, "registry")
}

// withLifecycles does something with the place in a registry where people put Lifecycles.
func withLifecycles(rawURL string, do func(*etcd.Client) error) error {
	opened, err := openRegistry(rawURL)
	if err != nil {
		return exitError{2, err}
	}
	if opened.people == nil {
		err = exitError{2, fmt.Errorf("--registry %s: only an etcd keeps Lifecycles; put the file into control's directory", rawURL)}
	} else {
		err = do(opened.people)
	}
	return errors.Join(err, opened.close())
}

func runApply(cmd *cobra.Command, registry, path string) error {
	name, data, err := readDocuments(path, cmd.InOrStdin())
	if err != nil {
		return err
	}
	all, findings := config.ParseLifecycles(name, data)
	for _, f := range findings {
		fmt.Fprintln(cmd.ErrOrStderr(), f)
	}
	if all == nil {
		return exitError{1, fmt.Errorf("%s: nothing was put into the registry; mend the errors above", name)}
	}
	documents, err := separate(name, data)
	if err != nil {
		return err
	}
	return withLifecycles(registry, func(store *etcd.Client) error {
		return putLifecycles(cmd.Context(), cmd.OutOrStdout(), store, documents)
	})
}

func putLifecycles(ctx context.Context, out io.Writer, store *etcd.Client, documents []document) error {
	for _, d := range documents {
		if err := store.PutLifecycle(ctx, d.Namespace, d.Name, d.text); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "lifecycle/%s applied\n", d.Name); err != nil {
			return err
		}
	}
	return nil
}

func readDocuments(path string, stdin io.Reader) (name string, data []byte, err error) {
	if path != "-" {
		data, err = os.ReadFile(path)
		return path, data, err
	}
	data, err = io.ReadAll(io.LimitReader(stdin, maxStdin))
	if err != nil {
		err = fmt.Errorf("apply: standard input: %w", err)
	}
	return "stdin", data, err
}

// A document is one Lifecycle, as it was written.
type document struct {
	fleet.Lifecycle

	text string
}

// separate returns the documents of a file that has no errors. Each is kept under its own name.
func separate(file string, data []byte) ([]document, error) {
	var documents []document
	var text bytes.Buffer
	end := func() error {
		defer text.Reset()
		if !says(text.String()) {
			return nil
		}
		parsed, _ := config.ParseLifecycles(file, text.Bytes())
		if len(parsed) != 1 {
			return exitError{1, fmt.Errorf("%s: a document has %s, want one in each; part them by ---", file, plural(len(parsed), "Lifecycle"))}
		}
		documents = append(documents, document{parsed[0], text.String()})
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if marker := strings.TrimRight(line, " \t\r\n"); marker == "---" || strings.HasPrefix(line, "--- ") {
			if err := end(); err != nil {
				return nil, err
			}
			line = strings.TrimPrefix(line, "---")
		}
		text.WriteString(line)
	}
	return documents, end()
}

// says tells whether a document has more than blank lines and comments.
func says(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}
