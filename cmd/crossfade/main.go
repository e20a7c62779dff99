// Command crossfade makes every release lossless: a gateway, a control plane, an agent and the tools that
// prove nothing was lost, in one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the first signal drains, the second ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
