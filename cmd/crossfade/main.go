// Command crossfade makes every release lossless: a gateway, a control plane, an agent and the tools that
// prove nothing was lost, in one binary.
package main

import (
	"context"
	"os"
)

func main() {
	ctx, stop := withSignals(context.Background())
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
