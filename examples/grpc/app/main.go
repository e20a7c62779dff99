// Command grpc-echo is a small gRPC service, echo.Echo, that gives back what it is sent: once, many times, at the end
// or all the while. Every answer names the instance in its headers. It also serves grpc.health.v1.
//
//	grpc-echo --listen 127.0.0.1:9080 --latency 20ms
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
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
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
		fmt.Fprintln(os.Stderr, "grpc-echo:", err)
		os.Exit(1)
	}
}

// options are what the service is started with.
type options struct {
	listen    string
	version   string
	instance  string        // named in every answer
	grace     time.Duration // for calls in flight once asked to stop
	latency   time.Duration // of each message
	coldStart time.Duration
}

// parse reads the command line; the environment fills in where to listen and the instance's name.
func parse(args []string, getenv func(string) string, stderr io.Writer) (options, error) {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	var o options
	f := flag.NewFlagSet("grpc-echo", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.listen, "listen", net.JoinHostPort(or(getenv("HOST"), "127.0.0.1"), or(getenv("PORT"), "9080")), "address to serve")
	f.StringVar(&o.version, "version", "v1", "named in every answer")
	f.StringVar(&o.instance, "instance", or(getenv("POD_NAME"), "echo"), "name to answer with")
	f.DurationVar(&o.grace, "grace", 30*time.Second, "time for calls in flight after SIGTERM")
	f.DurationVar(&o.latency, "latency", 0, "time a message takes")
	f.DurationVar(&o.coldStart, "cold-start", 0, "not serving, says grpc.health.v1, for this long")
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

// run serves until ctx ends, and then for as long as calls in flight need.
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
	log := slog.New(slog.NewTextHandler(stderr, nil)).With("instance", o.instance)
	log.InfoContext(ctx, "listening", "address", listener.Addr().String(), "version", o.version, "ready_in", o.coldStart)
	return serve(ctx, listener, &o, log)
}

// serve answers calls until ctx ends. Whoever ends it has seen to it that nothing new comes: what is in flight is
// finished.
func serve(ctx context.Context, listener net.Listener, o *options, log *slog.Logger) error {
	server, status := grpc.NewServer(), health.NewServer()
	server.RegisterService(newEcho(o).describe(), nil)
	healthpb.RegisterHealthServer(server, status)
	status.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	ready := time.AfterFunc(o.coldStart, func() { status.SetServingStatus("", healthpb.HealthCheckResponse_SERVING) })
	defer ready.Stop()

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.InfoContext(ctx, "stopping", "grace", o.grace)
	late := time.AfterFunc(o.grace, server.Stop)
	server.GracefulStop()
	if !late.Stop() {
		return fmt.Errorf("calls were still in flight after %s", o.grace)
	}
	return nil
}
