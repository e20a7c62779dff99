package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	f.Locality, err = fleet.ParseLocality(text)
	return err
}

// Type names what the flag takes, in help.
func (f *localityFlag) Type() string { return "place" }

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

// require makes flags mandatory.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that does not exist: a mistake in this package
		}
	}
}
