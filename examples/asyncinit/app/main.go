// Command asyncinit is a service as many are: it opens its port at once, and goes on to load what it needs. A TCP check
// passes from the first moment; requests fail until the loading is over, 8 s later.
//
//	asyncinit --listen 127.0.0.1:9080 --init 8s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Getenv, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "asyncinit:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then what is in flight.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) error {
	flags := flag.NewFlagSet("asyncinit", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", net.JoinHostPort(getenv("HOST"), getenv("PORT")), "address to listen on")
	initTime := flags.Duration("init", 8*time.Second, "how long it loads after its port is open")
	if err := flags.Parse(args); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: newService(*initTime), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	fmt.Fprintf(stderr, "asyncinit listens on %s and can serve in %s\n", l.Addr(), *initTime)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	const grace = 10 * time.Second
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return server.Shutdown(last)
}

// A service fails every request until it has loaded what it needs.
type service struct {
	loaded time.Time
}

// newService begins to load.
func newService(takes time.Duration) *service {
	return &service{loaded: time.Now().Add(takes)}
}

// ServeHTTP answers GET /health with 200 once it can serve, and every other path with a word of its own. Until then
// both are 503, as of a program whose tables are empty. What changes something is not to be tried again by whoever gets
// that, so it is lost.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-asyncinit-instance", "pid-"+strconv.Itoa(os.Getpid()))
	if left := time.Until(s.loaded); left > 0 {
		http.Error(w, "still loading", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready to serve", r.URL.Path)
}
