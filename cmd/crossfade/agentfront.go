package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/agent"
	"crossfade.dev/internal/config"
	"crossfade.dev/internal/drain"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/gateway"
	"crossfade.dev/internal/proxy"
)

// checkPort is where checks are passed on to the application, apart from what others send: Istio's.
const checkPort = 15021

// A door is a port at which an agent stands in front of its application.
type door struct{ listen, app netip.AddrPort }

type doors []door

// doorsOf reads what --inbound says.
func doorsOf(pairs []string, address netip.Addr) (doors, error) {
	var all doors
	for _, pair := range pairs {
		listen, app, both := strings.Cut(pair, "=")
		if port, err := parsePort(pair); err == nil {
			loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
			if address == loopback {
				return nil, fmt.Errorf("--inbound %s: the application cannot have the same port of %v; say LISTEN=APP, both as address:port, or another --address", pair, address)
			}
			all = append(all, door{netip.AddrPortFrom(address, uint16(port)), netip.AddrPortFrom(loopback, uint16(port))})
			continue
		}
		at, err := netip.ParseAddrPort(listen)
		to, err2 := netip.ParseAddrPort(app)
		if !both || err != nil || err2 != nil {
			return nil, fmt.Errorf("--inbound %s: want PORT, or LISTEN=APP, both as address:port", pair)
		}
		all = append(all, door{at, to})
	}
	return all, nil
}

// standBefore has the agent know where its application is, behind the doors. It returns at which port others reach what
// the application has at one.
func (all doors) standBefore(a *agent.Agent) (seen func(port uint32) (uint32, bool)) {
	a.Inner = map[uint32]uint32{}
	for _, d := range all {
		if !a.Bind.IsValid() {
			a.Bind = d.app.Addr()
		}
		if d.listen.Port() == checkPort {
			continue
		}
		a.Inner[uint32(d.listen.Port())] = uint32(d.app.Port())
		if a.First == 0 {
			a.First = uint32(d.listen.Port())
		}
	}
	return func(port uint32) (uint32, bool) {
		if port == 0 {
			port = a.First
		}
		for _, d := range all {
			if d.listen.Port() == checkPort {
				return checkPort, true
			}
		}
		_, through := a.Inner[port]
		return port, through
	}
}

// taken adds to an error that an address is taken by which flag another one is given: a second agent on one machine, or a
// gateway, has the usual ones.
func taken(err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%w; it is another program's, perhaps another agent's: each on one machine needs --readiness-address, --offline and, with --inbound, --admin of its own", err)
}

// frontTimers are how what stands before an instance ends: nothing is open any more, or has had its time. Who has only just
// connected, or keeps a connection and asks now and then, is heard until nobody has asked for a moment.
func frontTimers() drain.Timers {
	const goodbye, quiet = 2 * time.Second, time.Second
	return drain.Timers{Quiet: quiet, Requests: goodbye, Long: goodbye}
}

// addFront has the agent stand in front of its application.
func addFront(a *agent.Agent, said *config.Agent, all doors) error {
	pairs := make([]string, 0, len(all))
	for _, d := range all {
		pairs = append(pairs, d.listen.String()+"="+d.app.String())
	}
	fixed, err := inbound(pairs)
	if err != nil {
		return err
	}
	address := said.Admin
	if address == "" {
		address = "127.0.0.1:15000"
	}
	front := &proxy.Front{Note: a.Note}
	opened := make(chan struct{})
	var once sync.Once
	a.Front, a.Opened = front, opened
	a.DataPlane = func(ctx context.Context) error {
		g := gateway.Gateway{
			ID: "front/" + a.Instance.Name, Version: version, Log: a.Log, Timers: frontTimers(), Fixed: fixed, Front: front,
			Opened: func() { once.Do(func() { close(opened) }) },
		}
		g.Proxy.Seed, g.Proxy.Locality = seed(a.Instance.Incarnation), fleet.Locality{}
		var err error
		if g.Admin, err = admin.Listen(ctx, address); err != nil {
			return unlessDone(ctx, err)
		}
		if a.Log == nil {
			g.Log = slog.New(slog.DiscardHandler)
		}
		return g.Run(ctx)
	}
	return nil
}
