package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"crossfade.dev/internal/agent"
	"crossfade.dev/internal/hold"
	"crossfade.dev/internal/hold/etcd"
	"crossfade.dev/internal/hold/nacos"
	"crossfade.dev/internal/hold/zookeeper"
	"crossfade.dev/internal/registry"
)

// holdHelp says what --hold takes.
const holdHelp = "zookeeper://HOST:PORT[,HOST:PORT…]?listen=127.0.0.1:2181, nacos://HOST:PORT?listen=127.0.0.1:8848 or etcd://HOST:PORT?listen=127.0.0.1:2379&prefix=/services/"

// A registrationProxy listens when it has been opened.
type registrationProxy interface {
	hold.Proxy
	Close() error
}

// proxyOpeners open registration proxies, by the scheme of their URL.
func proxyOpeners() map[string]func(context.Context, hold.URL) (registrationProxy, error) {
	openers := map[string]func(context.Context, hold.URL) (registrationProxy, error){
		zookeeper.Scheme: func(ctx context.Context, u hold.URL) (registrationProxy, error) {
			return opened(zookeeper.Open(ctx, u))
		},
		nacos.Scheme: func(ctx context.Context, u hold.URL) (registrationProxy, error) { return opened(nacos.Open(ctx, u)) },
	}
	for _, scheme := range etcd.Schemes() {
		openers[scheme] = func(ctx context.Context, u hold.URL) (registrationProxy, error) { return opened(etcd.Open(ctx, u)) }
	}
	return openers
}

// opened is p as an interface, nil where it could not be opened.
func opened[P registrationProxy](p P, err error) (registrationProxy, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// openHolds has the agent hold back what its application registers at these registries, of which each listens from now
// on. What it returns ends that, where the agent has not run.
func openHolds(ctx context.Context, a *agent.Agent, urls []string) (closeAll func() error, err error) {
	var proxies []registrationProxy
	closeAll = func() error {
		var errs []error
		for _, p := range proxies {
			errs = append(errs, p.Close())
		}
		return errors.Join(errs...)
	}
	if len(urls) == 0 {
		return closeAll, nil
	}
	gate := &hold.Gate{Log: a.Log}
	for i, raw := range urls {
		u, p, err := openHold(ctx, raw)
		if err == nil {
			proxies = append(proxies, p)
			gate.Proxies = append(gate.Proxies, p)
			err = agree(gate, u, i == 0)
		}
		if err != nil {
			return nil, errors.Join(refusedHold(raw, err), closeAll())
		}
	}
	a.Gate = gate
	return closeAll, nil
}

// refusedHold is why a URL has no proxy: what it says is wrong, or it cannot listen there.
func refusedHold(raw string, err error) error {
	code := 2
	if errors.As(err, new(*net.OpError)) || errors.As(err, new(*os.SyscallError)) {
		code = 1
	}
	err = fmt.Errorf("--hold %s: %w", registry.ShownURL(raw), err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%w; it is another program's, perhaps the registry's, or another agent's: say another listen=, and give the application that one", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		err = fmt.Errorf("%w; it is no address of this machine: say another listen=", err)
	}
	return exitError{code, err}
}

func openHold(ctx context.Context, raw string) (hold.URL, registrationProxy, error) {
	u, err := hold.ParseURL(raw)
	if err != nil {
		return u, nil, err
	}
	openers := proxyOpeners()
	open := openers[u.Scheme]
	if open == nil {
		return u, nil, fmt.Errorf("there is no registration proxy for %s: there are %s; TLS towards ZooKeeper is zookeeper://…&tls=true, and there is none towards Nacos",
			u.Scheme, strings.Join(slices.Sorted(maps.Keys(openers)), ", "))
	}
	p, err := open(ctx, u)
	return u, p, err
}

// agree has one gate go by what all of its URLs say.
func agree(gate *hold.Gate, u hold.URL, first bool) error {
	if first {
		gate.Annotate, gate.FailOpen = u.Annotate, u.FailOpen
	}
	if gate.Annotate != u.Annotate || gate.FailOpen != u.FailOpen {
		return errors.New("annotate and away hold for all that one application registers: say the same in every --hold")
	}
	return nil
}
