package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/registry"
	"crossfade.dev/internal/registry/etcd"
	"crossfade.dev/internal/registry/file"
	"crossfade.dev/internal/store"
	snapshots "crossfade.dev/internal/store/file"
)

// registryHelp says what --registry takes.
const registryHelp = "etcd://HOST:PORT[,HOST:PORT…][/PREFIX], etcds:// for TLS, or file://DIR"

// An openedRegistry is a registry as one program uses it.
type openedRegistry struct {
	name      string // what control calls it: "etcd", "file"
	registrar registry.Registrar
	source    registry.Source
	store     store.Store  // nil: it keeps nothing but instances
	people    *etcd.Client // where people put Lifecycles; nil: nowhere
	close     func() error
}

// openRegistry opens the registry that a URL names. Nothing is asked of it yet: one that is away is no error here.
func openRegistry(rawURL string) (openedRegistry, error) {
	scheme, _, _ := strings.Cut(rawURL, "://")
	switch {
	case scheme == file.Scheme:
		dir, err := file.Open(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		return openedRegistry{name: "file", registrar: dir, source: dir, close: func() error { return nil }}, nil
	case slices.Contains(etcd.Schemes(), scheme):
		client, err := etcd.Dial(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		return openedRegistry{name: "etcd", registrar: client, source: client, store: client, people: client, close: client.Close}, nil
	}
	return openedRegistry{}, fmt.Errorf("registry %q: want %s", rawURL, registryHelp)
}

// registered opens control's registry, if it has one.
func (f controlFlags) registered(c *control.Control) (openedRegistry, error) {
	if f.registry == "" {
		return openedRegistry{close: func() error { return nil }}, nil
	}
	opened, err := openRegistry(f.registry)
	if err != nil {
		return opened, exitError{2, err}
	}
	c.Await(opened.name)
	return opened, nil
}

// followRegistry tells control what its registry lists and, where that can, keeps there what control must not forget,
// until ctx ends.
func followRegistry(ctx context.Context, c *control.Control, r openedRegistry, log *slog.Logger) error {
	if r.source == nil {
		return nil
	}
	tell := func(err error) {
		if err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "registry", "name", r.name, "err", err)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	if r.store != nil {
		keeper := control.Keeper{Control: c, Store: r.store, Parse: parseLifecycles, Boot: snapshots.BootClock, Log: log}
		if err := keeper.Recall(ctx); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "what the registry has kept is not there yet", "name", r.name, "err", err)
		}
		group.Go(func() error { return ended(ctx, keeper.Run(ctx)) })
	}
	group.Go(func() error {
		return ended(ctx, r.source.Watch(ctx,
			func(l registry.List) { tell(c.Registered(ctx, r.name, l)) },
			func(err error) { tell(c.RegistryAway(ctx, r.name, err)) }))
	})
	return group.Wait()
}

// parseLifecycles reads a document that people have put into a registry.
func parseLifecycles(name, text string) ([]fleet.Lifecycle, error) {
	lifecycles, findings := config.ParseLifecycles(name, []byte(text))
	var errs []error
	for _, f := range findings {
		if lifecycles == nil {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return lifecycles, errors.Join(errs...)
}

// lifecyclesOf reads what people have put into a registry. What is wrong with a document is logged, and the others hold.
func lifecyclesOf(ctx context.Context, people *etcd.Client, log *slog.Logger) ([]fleet.Lifecycle, error) {
	documents, err := people.ListLifecycles(ctx)
	if err != nil {
		return nil, err
	}
	var all []fleet.Lifecycle
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		parsed, err := parseLifecycles(name, documents[name])
		if err != nil {
			log.WarnContext(ctx, "a Lifecycle in the registry cannot be used", "lifecycle", name, "err", err)
		}
		all = append(all, parsed...)
	}
	return all, nil
}
