// Command crossfade makes every release lossless: a gateway, a control plane, an agent and the tools that
// prove nothing was lost, in one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal drains, a later one ends at once. One that comes with the first, as from timeout(1), which
	// signals a program and then its whole group, is the same wish.
	context.AfterFunc(ctx, func() { time.AfterFunc(time.Second, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
