package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/console"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/history/prometheus"
	"crossfade.dev/internal/release"
	"crossfade.dev/internal/settings"
)

// An onlooker is a control of which history is kept, and shown. Nothing that it does changes what control decides.
type onlooker struct {
	*control.Control

	history *history.History
	console *console.Console // nil is none
	log     *slog.Logger

	mu      sync.Mutex
	number  uint64        // of the latest snapshot that history was shown
	changed chan struct{} // closed when that changes
}

// newOnlooker returns what looks at c, as the flags want it.
func newOnlooker(ctx context.Context, f *controlFlags, c *control.Control, registered openedRegistries, log *slog.Logger) (*onlooker, error) {
	longer, err := f.longer()
	if err != nil {
		return nil, err
	}
	h, err := history.New(history.Options{Dir: filepath.Join(f.state, "history"), Log: log, Longer: longer})
	if err != nil {
		log.WarnContext(ctx, "history does not survive a restart", "err", err)
		if h, err = history.New(history.Options{Log: log, Longer: longer}); err != nil {
			return nil, err
		}
	}
	c.Tells(h.Told)
	o := &onlooker{Control: c, history: h, log: log, changed: make(chan struct{})}
	access, err := f.console.access(f.state, log)
	if err != nil {
		return nil, err
	}
	listener, err := f.console.listener(ctx, &access, log)
	if err != nil || listener == nil {
		return o, err
	}
	program := "control"
	if f.told {
		program = "up"
	}
	o.console, err = console.New(listener, console.Options{
		History: h, Control: c, Drain: drainReplica, Settings: editor(ctx, f, c, registered, log).Handler(),
		Report: release.HTML, Program: program, Version: version, Access: access, Log: log,
	})
	return o, err
}

// editor is what edits the configuration that control watches, and the Lifecycles that it is given.
func editor(ctx context.Context, f *controlFlags, c *control.Control, registered openedRegistries, log *slog.Logger) *settings.Editor {
	e := &settings.Editor{
		Dir: f.dir, Options: f.options(), User: console.User, Trusted: console.Operates, Log: log,
		Snapshot: func() *fleet.Snapshot { return c.View().Snapshot },
		Changed: func(_ context.Context, change settings.Change) { // it is written down though who asked has gone
			where := "the registry"
			if change.File != "" {
				where = fmt.Sprintf("%s:%d", change.File, change.Line)
			}
			event := fleet.Event{Kind: "settings." + change.Action, Reason: change.What + " in " + where, By: change.By}
			if err := c.Tell(ctx, event); err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "a change of settings is not in the events", "what", change.What, "err", err)
			}
		},
	}
	for _, r := range registered {
		if r.people != nil && e.Store == nil {
			e.Store = r.people
		}
	}
	return e
}

// Report is feed.Control's: history is told what control has taken. Only data planes count: gateways, and agents with a front.
func (o *onlooker) Report(ctx context.Context, r fleet.Report) error {
	if err := o.Control.Report(ctx, r); err != nil {
		return err
	}
	if r.Role != "gateway" && r.Role != "agent" {
		return nil
	}
	if err := o.history.Report(ctx, r); err != nil {
		o.log.ErrorContext(ctx, "history", "err", err)
	}
	return nil
}

// run keeps history and shows it until ctx ends.
func (o *onlooker) run(ctx context.Context) error {
	group, own := errgroup.WithContext(ctx)
	group.Go(func() error { return o.history.Run(own) })
	group.Go(func() error { return ended(ctx, o.Watch(own, o.show)) }) // control may hear of the end before own does
	if o.console != nil {
		group.Go(func() error { return o.console.Run(own) })
	}
	return group.Wait()
}

// show shows history what there is.
func (o *onlooker) show(v fleet.View) {
	o.history.View(v)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number = v.Number
	close(o.changed)
	o.changed = make(chan struct{})
}

// shownWithin is how long an answer waits for history at most.
const shownWithin = 2 * time.Second

// shown answers as next does, and not before history has been shown what came of it: whoever asks for releases right after a command is
// answered with the one that it began.
func (o *onlooker) shown(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r) // so short an answer goes when this returns
		ctx, cancel := context.WithTimeout(r.Context(), shownWithin)
		defer cancel()
		o.await(ctx, o.View())
	})
}

// await waits until history has been shown a view, or ctx ends.
func (o *onlooker) await(ctx context.Context, v fleet.View) {
	for v.Config != "" { // else there is nothing to be shown yet
		o.mu.Lock()
		number, changed := o.number, o.changed
		o.mu.Unlock()
		if number >= v.Number {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// prometheusHelp is that of --prometheus.
const prometheusHelp = "URL of a Prometheus that scrapes the gateways, for curves from before what control keeps"

// longer is what knows more than is kept here.
func (f controlFlags) longer() (history.Longer, error) {
	if f.prometheus == "" {
		return nil, nil //nolint:nilnil // nobody is no error
	}
	client, err := prometheus.New(f.prometheus, &http.Client{})
	if err != nil {
		return nil, exitError{2, fmt.Errorf("--prometheus: %w", err)}
	}
	return client, nil
}
