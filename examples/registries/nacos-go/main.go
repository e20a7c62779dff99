// Nacos-go is an HTTP service that registers itself in Nacos with the official Go client (gRPC), and a client of it that
// goes by the weights in the registry. Neither knows anything of crossfade.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// An app is one of the two.
type app struct {
	service string
	listen  netip.AddrPort
	weight  float64
	every   time.Duration
	naming  naming_client.INamingClient
	say     func(format string, args ...any)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "nacos-go:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "serve" && args[0] != "consume" {
		return errors.New("usage: nacos-go serve|consume [flags]")
	}
	flags := flag.NewFlagSet("nacos-go "+args[0], flag.ContinueOnError)
	server := flags.String("registry", "127.0.0.1:8848", "Nacos, HTTP; gRPC is 1000 above")
	listen := flags.String("listen", "127.0.0.1:9001", "where it serves, and what it registers")
	work := flags.String("work", "", "a `directory` for the client's cache and log")
	a := app{say: speaker(out)}
	flags.StringVar(&a.service, "service", "orders", "the service's name")
	flags.Float64Var(&a.weight, "weight", 100, "the weight it registers with; this client's choice goes by its integer part")
	flags.DurationVar(&a.every, "every", 100*time.Millisecond, "between two calls")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var err error
	if a.listen, err = netip.ParseAddrPort(*listen); err != nil {
		return err
	}
	if a.naming, err = connect(*server, *work); err != nil {
		return err
	}
	defer a.naming.CloseClient()
	if args[0] == "serve" {
		return a.serve(ctx)
	}
	return a.consume(ctx)
}

func connect(server, work string) (naming_client.INamingClient, error) {
	at, err := netip.ParseAddrPort(server)
	if err != nil {
		return nil, err
	}
	client := constant.NewClientConfig(constant.WithTimeoutMs(3000), constant.WithNotLoadCacheAtStart(true), constant.WithUpdateCacheWhenEmpty(true), constant.WithLogLevel("warn"))
	if work != "" {
		client.CacheDir, client.LogDir = work, work
	}
	return clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig:  client,
		ServerConfigs: []constant.ServerConfig{*constant.NewServerConfig(at.Addr().String(), uint64(at.Port()))},
	})
}

// speaker returns what writes one line for each thing that happens, with when.
func speaker(out io.Writer) func(string, ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, "%d %s\n", time.Now().UnixMilli(), fmt.Sprintf(format, args...))
	}
}

func (a *app) serve(ctx context.Context) error {
	server := &http.Server{Addr: a.listen.String(), ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, a.listen) })}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()

	ip, port := a.listen.Addr().String(), uint64(a.listen.Port())
	began := time.Now()
	if _, err := a.naming.RegisterInstance(vo.RegisterInstanceParam{
		ServiceName: a.service, Ip: ip, Port: port, Weight: a.weight,
		Enable: true, Healthy: true, Ephemeral: true, Metadata: map[string]string{"version": "v1"},
	}); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	a.say("registered after %d ms", time.Since(began).Milliseconds())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	if _, err := a.naming.DeregisterInstance(vo.DeregisterInstanceParam{ServiceName: a.service, Ip: ip, Port: port, Ephemeral: true}); err != nil {
		a.say("deregister: %v", err)
	} else {
		a.say("deregistered")
	}
	rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return server.Shutdown(rest)
}

// consume asks one instance at a time, by the client's own weighted choice, and says which.
func (a *app) consume(ctx context.Context) error {
	if err := a.naming.Subscribe(&vo.SubscribeParam{ServiceName: a.service, SubscribeCallback: a.list}); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	again := time.NewTicker(a.every)
	defer again.Stop()
	client := &http.Client{Timeout: 20 * time.Second}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		one, err := a.naming.SelectOneHealthyInstance(vo.SelectOneHealthInstanceParam{ServiceName: a.service})
		if err != nil {
			continue // nobody is there
		}
		address := fmt.Sprintf("%s:%d", one.Ip, one.Port)
		switch err := call(ctx, client, address); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			a.say("lost %s: %v", address, err)
		default:
			a.say("pick %s", address)
		}
	}
}

func call(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

// list says who is there, and with which weight.
func (a *app) list(all []model.Instance, err error) {
	if err != nil {
		a.say("list: %v", err)
		return
	}
	var words []string
	for _, i := range all {
		words = append(words, fmt.Sprintf("%s:%d=%g", i.Ip, i.Port, i.Weight))
	}
	slices.Sort(words)
	a.say("list %s", strings.Join(words, " "))
}
