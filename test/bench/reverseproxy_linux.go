package main

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/test/bench/wire"
)

// runRelay is the role of the physical floor.
func runRelay(args []string) error {
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	from, to := flags.Int("listen", 0, "port of 127.0.0.1"), flags.Int("to", 0, "port of 127.0.0.1")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return wire.Relay(*from, *to)
}

// runReverseProxy is the role of the proxy that net/http offers.
func runReverseProxy(args []string) error {
	flags := flag.NewFlagSet("reverseproxy", flag.ContinueOnError)
	listen := flags.Int("listen", 0, "port of 127.0.0.1")
	endpoints := flags.String("endpoints", "", "ports of 127.0.0.1, by commas")
	routes := flags.Int("routes", 1, "hosts that are routed")
	second := flags.Bool("http2", false, "HTTP/2 alone, on both sides")
	certificate, key := flags.String("certificate", "", "file"), flags.String("key", "", "file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var members []*url.URL
	for port := range strings.SplitSeq(*endpoints, ",") {
		members = append(members, &url.URL{Scheme: "http", Host: "127.0.0.1:" + port})
	}
	known := map[string]bool{}
	for _, name := range (scene{routes: *routes}).hosts() {
		known[name] = true
	}
	front, back := new(http.Protocols), new(http.Protocols)
	front.SetHTTP1(!*second)
	front.SetHTTP2(*second)
	front.SetUnencryptedHTTP2(*second)
	back.SetHTTP1(!*second)
	back.SetUnencryptedHTTP2(*second)
	var turn atomic.Uint64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(members[turn.Add(1)%uint64(len(members))])
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			Protocols: back, MaxIdleConns: 0, MaxIdleConnsPerHost: 256, IdleConnTimeout: 2 * time.Minute, DisableCompression: true,
		},
		BufferPool: &buffers{},
		ErrorLog:   slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	server := http.Server{
		Addr: fmt.Sprintf("127.0.0.1:%d", *listen), Protocols: front, ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !known[r.Host] {
				http.NotFound(w, r)
				return
			}
			proxy.ServeHTTP(w, r)
		}),
	}
	if *certificate == "" {
		return server.ListenAndServe()
	}
	return errors.Join(server.ListenAndServeTLS(*certificate, *key))
}

// buffers pools the buffers through which bodies are copied.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
