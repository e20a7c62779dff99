// Command bench measures crossfade beside its peers: the same work, in turns, the proxy alone on one core, clients
// and endpoints on the other. It writes what it finds to docs/benchmarks. The Makefile runs it; BENCH, BENCH_PEERS
// and BENCH_ROUNDS select.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	err := dispatch(os.Args[1:])
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(max(1, exit.ExitCode())) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "relay":
			return runRelay(args[1:])
		case "reverseproxy":
			return runReverseProxy(args[1:])
		default:
			return fmt.Errorf("%q: there are the roles relay and reverseproxy, and none without arguments", args[0])
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if os.Getenv(inside) == "" {
		return enter(ctx)
	}
	return measure(ctx)
}

func measure(ctx context.Context) error {
	files, err := settle()
	if err != nil {
		return err
	}
	b := bench{}
	if b.options, err = readOptions(); err != nil {
		return err
	}
	b.out, b.idlers = os.Stderr, idlers(files)
	if b.uncounted = counts(ctx); b.uncounted != nil {
		fmt.Fprintln(b.out, "instructions are not counted:", b.uncounted)
	}
	outcomes, err := b.run(ctx)
	if err != nil {
		return err
	}
	return errors.Join(err, report(ctx, b.options, outcomes))
}
