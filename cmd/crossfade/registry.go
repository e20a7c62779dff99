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
	"crossfade.dev/internal/registry/nacos"
	"crossfade.dev/internal/registry/zookeeper"
	"crossfade.dev/internal/store"
	snapshots "crossfade.dev/internal/store/file"
)

// registryHelp says what --registry takes.
const registryHelp = "etcd://HOST:PORT[,HOST:PORT…][/PREFIX], zookeeper://HOST:PORT[,…][/ROOT], nacos://HOST:PORT[,…][/NAMESPACE], " +
	"etcds://, zookeepers:// and nacoss:// for TLS, or file://DIR"

// An openedRegistry is a registry as one program uses it.
type openedRegistry struct {
	name      string // what control calls it: "etcd", "file", "nacos-2"
	url       string
	registrar registry.Registrar
	source    registry.Source
	store     store.Store  // nil: it keeps nothing but instances
	people    *etcd.Client // where people put Lifecycles; nil: nowhere
	foreign   bool         // others than crossfade read it, and write there
	close     func() error
}

// openRegistry opens the registry that a URL names. Nothing is asked of it yet: one that is away is no error here.
func openRegistry(rawURL string) (openedRegistry, error) {
	opened := openedRegistry{url: rawURL, close: func() error { return nil }}
	scheme, _, _ := strings.Cut(rawURL, "://")
	switch {
	case scheme == file.Scheme:
		dir, err := file.Open(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		opened.name, opened.registrar, opened.source = "file", dir, dir
	case slices.Contains(etcd.Schemes(), scheme):
		client, err := etcd.Dial(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		opened.name, opened.registrar, opened.source, opened.store, opened.people, opened.close = "etcd", client, client, client, client, client.Close
	case slices.Contains(zookeeper.Schemes(), scheme):
		client, err := zookeeper.Dial(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		opened.name, opened.registrar, opened.source, opened.close, opened.foreign = "zookeeper", client, client, client.Close, true
	case slices.Contains(nacos.Schemes(), scheme):
		client, err := nacos.Dial(rawURL)
		if err != nil {
			return openedRegistry{}, err
		}
		opened.name, opened.registrar, opened.source, opened.close, opened.foreign = "nacos", client, client, client.Close, true
	default:
		return openedRegistry{}, fmt.Errorf("registry %q: want %s", registry.ShownURL(rawURL), registryHelp)
	}
	return opened, nil
}

// openedRegistries are those that one control follows.
type openedRegistries []openedRegistry

// openRegistries opens the registries that URLs name. The second one of a kind is called that and -2.
func openRegistries(urls []string) (openedRegistries, error) {
	var all openedRegistries
	kinds := map[string]int{}
	for i, url := range urls {
		opened, err := openRegistry(url)
		if err == nil && slices.Contains(urls[:i], url) {
			err = errors.Join(fmt.Errorf("--registry %s is given twice", url), opened.close())
		}
		if err != nil {
			all.close()
			return nil, exitError{2, err}
		}
		if kinds[opened.name]++; kinds[opened.name] > 1 {
			opened.name = fmt.Sprintf("%s-%d", opened.name, kinds[opened.name])
		}
		all = append(all, opened)
	}
	return all, nil
}

// close ends them: what was kept is there, and nobody waits for more.
func (all openedRegistries) close() {
	for _, r := range all {
		_ = r.close()
	}
}

func (all openedRegistries) names() []string {
	names := make([]string, len(all))
	for i, r := range all {
		names[i] = r.name
	}
	return names
}

// follow tells control what its registries list and, in the first that can, keeps what control must not forget, until ctx
// ends.
func (all openedRegistries) follow(ctx context.Context, c *control.Control, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	kept := false
	for _, r := range all {
		if len(all) > 1 {
			log.InfoContext(ctx, "registry", "name", r.name, "url", r.url)
		}
		if kept {
			r.store = nil
		}
		kept = kept || r.store != nil
		group.Go(func() error { return followRegistry(ctx, c, r, log) })
	}
	return group.Wait()
}

// followRegistry tells control what one registry lists and, where that can, keeps there what control must not forget,
// until ctx ends.
func followRegistry(ctx context.Context, c *control.Control, r openedRegistry, log *slog.Logger) error {
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
