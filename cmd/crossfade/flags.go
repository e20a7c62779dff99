package main

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// portOffset is added to gateway ports below 1024 unless --privileged-ports: 80 is served at 8080.
const portOffset = 8000

// logFlags say what a program writes to its standard error.
type logFlags struct{ level slog.Level }

func (f *logFlags) add(flags *pflag.FlagSet) {
	f.level = slog.LevelInfo
	flags.TextVar(&f.level, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn or error")
}

func (f *logFlags) logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: f.level, ReplaceAttr: withUnits}))
}

// withUnits writes durations as "95.5ms", to three digits, where JSON would have 95544513.
func withUnits(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		d, digit := a.Value.Duration(), time.Duration(1)
		for (d / digit).Abs() >= 1000 {
			digit *= 10
		}
		a.Value = slog.StringValue(d.Round(digit).String())
	}
	return a
}

// A localityFlag says where a gateway stands. The zero value is nowhere in particular.
type localityFlag struct{ fleet.Locality }

func (f *localityFlag) add(flags *pflag.FlagSet) {
	flags.Var(f, "locality", "where the gateway stands, for what balances by locality: REGION[/ZONE[/SUBZONE]]")
}

// Set reads the flag; the empty text is nowhere in particular.
func (f *localityFlag) Set(text string) (err error) {
	if config.Dotted(text) {
		return fmt.Errorf("did you mean %s? Dots are for the label istio-locality", strings.ReplaceAll(text, ".", "/"))
	}
	f.Locality, err = fleet.ParseLocality(text)
	return err
}

// Type names what the flag takes, in help.
func (f *localityFlag) Type() string { return "place" }

// labelFlags are what gateways carry beside [config.DefaultLabels]. The nil map is none.
type labelFlags map[string]string

func (f *labelFlags) add(flags *pflag.FlagSet) {
	flags.Var(f, "label", "a label that the gateway carries beside istio=ingressgateway and app=istio-ingressgateway; may be repeated")
}

// Set adds a label.
func (f *labelFlags) Set(text string) error {
	name, value, err := config.ParseLabel(text)
	if err != nil {
		return err
	}
	if other, twice := (*f)[name]; twice && other != value {
		return fmt.Errorf("%s is %s already", name, other)
	}
	if *f == nil {
		*f = labelFlags{}
	}
	(*f)[name] = value
	return nil
}

// String shows the labels, in order.
func (f *labelFlags) String() string { return strings.Join(f.list(), ",") }

// Type names what the flag takes, in help.
func (f *labelFlags) Type() string { return "NAME=VALUE" }

// list is what the flags were given.
func (f *labelFlags) list() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(*f)) {
		list = append(list, name+"="+(*f)[name])
	}
	return list
}

// all is everything that a gateway with these flags carries.
func (f *labelFlags) all() map[string]string {
	labels := config.DefaultLabels()
	maps.Copy(labels, *f)
	return labels
}

// defaultState is where programs keep what must survive a restart.
func defaultState() string {
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "crossfade")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return filepath.Join(os.TempDir(), "crossfade")
	}
	return filepath.Join(home, ".local", "state", "crossfade")
}

// offerOutputs offers the values of the flag --output to the shell.
func offerOutputs(cmd *cobra.Command, values ...string) {
	completeFlag(cmd, "output", cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// completeFlag offers what f finds as values of a flag to the shell.
func completeFlag(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that does not exist: a mistake in this package
	}
}

// require makes flags mandatory.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that does not exist: a mistake in this package
		}
	}
}
