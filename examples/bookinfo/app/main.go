// Command bookinfo is the four services of Istio's Bookinfo sample in one small program, with a cold start to
// try a warm-up on.
//
//	bookinfo productpage --listen 127.0.0.1:9080
//	bookinfo reviews --version v3 --latency 5ms --cold-start 3s --cold-factor 10
//
// A service calls the others by name, http://reviews:9080/, through HTTP_PROXY if that is set: it knows nothing
// of the mesh around it.
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

const usage = `usage: bookinfo SERVICE [flags]

services: productpage, details, reviews, ratings`

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
		fmt.Fprintln(os.Stderr, "bookinfo:", err)
		os.Exit(1)
	}
}

// options are what one service is started with.
type options struct {
	service  string
	version  string
	listen   string
	instance string        // named in every answer
	grace    time.Duration // for requests in flight once asked to stop
	cold     cold
	calls    calls
}

// parse reads the command line; the environment fills in where to listen and the instance's name.
func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	if len(args) == 0 {
		return options{}, fmt.Errorf("%w\n%s", errUsage, usage)
	}
	o := options{service: args[0], calls: newCalls()}
	f := flag.NewFlagSet("bookinfo "+o.service, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.version, "version", "v1", "of reviews: v1 has no stars, v2 black ones, v3 red ones; others only say it")
	f.StringVar(&o.listen, "listen", net.JoinHostPort(first(getenv("HOST"), "127.0.0.1"), first(getenv("PORT"), "9080")), "address to serve")
	f.StringVar(&o.instance, "instance", getenv("POD_NAME"), "name to answer with (default SERVICE-VERSION)")
	f.DurationVar(&o.grace, "grace", 30*time.Second, "time for requests in flight after SIGTERM")
	f.DurationVar(&o.cold.latency, "latency", 0, "time a request takes when warm")
	f.DurationVar(&o.cold.start, "cold-start", 0, "not ready for this long")
	f.Float64Var(&o.cold.factor, "cold-factor", 1, "the first request takes this many times the latency")
	f.Float64Var(&o.cold.requests, "cold-requests", 1000, "requests after which the excess has fallen to 1/e")
	f.StringVar(&o.calls.details, "details", "http://details:9080", "where details answers")
	f.StringVar(&o.calls.reviews, "reviews", "http://reviews:9080", "where reviews answers")
	f.StringVar(&o.calls.ratings, "ratings", "http://ratings:9080", "where ratings answers")
	f.DurationVar(&o.calls.client.Timeout, "call-timeout", 3*time.Second, "of a call to another service")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return options{}, err
		}
		return options{}, fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.NArg() > 0 {
		return options{}, fmt.Errorf("%w: unexpected %q", errUsage, f.Arg(0))
	}
	if o.cold.factor < 1 || o.cold.requests <= 0 {
		return options{}, fmt.Errorf("%w: -cold-factor is at least 1 and -cold-requests above 0", errUsage)
	}
	o.instance = first(o.instance, o.service+"-"+o.version)
	return o, nil
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// run serves one service until ctx ends, and then for as long as requests in flight need.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	o, err := parse(args, getenv, stderr)
	if err != nil {
		return err
	}
	handler, err := newHandler(&o)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("service", o.service, "instance", o.instance)
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", o.version, "ready_in", o.cold.start)
	return serve(ctx, listener, handler, o.grace, log)
}

// serve accepts connections until ctx ends. Whoever ends it has seen to it that nothing new comes: the listener
// closes at once, what is in flight is finished.
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
