// Command httpbin answers requests with what it saw of them, and in the ways that their paths ask for: slowly, in
// pieces, compressed, with any status. Its paths are those of httpbin.org, and a WebSocket echo beside them.
//
//	httpbin --listen 127.0.0.1:8000
//
// It knows nothing of the mesh around it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "httpbin:", err)
		os.Exit(1)
	}
}

// options are what the program is started with.
type options struct {
	listen string
	grace  time.Duration // for requests in flight once asked to stop
}

// parse reads the command line; the environment fills in where to listen.
func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	var o options
	f := flag.NewFlagSet("httpbin", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", net.JoinHostPort(or(getenv("HOST"), "127.0.0.1"), or(getenv("PORT"), "8000")), "address to serve")
	f.DurationVar(&o.grace, "grace", 30*time.Second, "time for requests in flight after SIGTERM")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return o, err
	case err != nil:
		return o, fmt.Errorf("%w: %w", errUsage, err)
	case f.NArg() > 0:
		return o, fmt.Errorf("%w: unexpected %q", errUsage, f.Arg(0))
	}
	return o, nil
}

// run serves until ctx ends, and then for as long as requests in flight need.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	o, err := parse(args, getenv, stderr)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	log.InfoContext(ctx, "listening", "address", listener.Addr().String())
	return serve(ctx, listener, newHandler(), o.grace, log)
}

// serve accepts connections until ctx ends. Whoever ends it has seen to it that nothing new comes.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, grace time.Duration, log *slog.Logger) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	log.InfoContext(ctx, "stopping", "grace", grace)
	if err := server.Shutdown(ctx); err != nil {
		return fmt.Errorf("requests were still in flight after %s: %w", grace, err)
	}
	return nil
}
