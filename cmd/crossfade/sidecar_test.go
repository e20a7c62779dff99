package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/health"
)

// A sidecar speaks to its application in the version of HTTP in which the request came, and lets checks by gRPC
// through: while nobody answers behind it, it answers as gRPC does.
func TestSidecarSpeaksAsItIsSpokenTo(t *testing.T) {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == "application/grpc" {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			_, _ = io.WriteString(w, "\x00\x00\x00\x00\x02\x08\x01") // it is serving
			return
		}
		_, _ = fmt.Fprint(w, r.Proto)
	}))
	app.Config.Protocols = new(http.Protocols)
	app.Config.Protocols.SetHTTP1(true)
	app.Config.Protocols.SetUnencryptedHTTP2(true)
	app.Start()
	defer app.Close()
	at := "127.0.0.1:" + freePort(t)
	ctx, stop := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{
			"gateway", "--inbound", at + "=" + app.Listener.Addr().String(), "--admin", "127.0.0.1:" + freePort(t), "--log-level", "error",
		}, &out, &errs)
	}()
	waitFor(t, "the sidecar serves", func() bool { return body("http://"+at) != "" })
	if got := body("http://" + at); got != "HTTP/1.1" {
		t.Errorf("the application was spoken to in %s, want HTTP/1.1", got)
	}
	client := http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}, Timeout: 10 * time.Second}
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true) //nolint:forcetypeassert // it is one
	resp, err := client.Get("http://" + at)
	must(t, err)
	got, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	client.CloseIdleConnections()
	if string(got) != "HTTP/2.0" || resp.ProtoMajor != 2 {
		t.Errorf("the application was spoken to in %s, and the client in %s; want HTTP/2 for both", got, resp.Proto)
	}
	ask := func() error { return health.AskGRPC(t.Context(), netip.MustParseAddrPort(at), "shop.Cart") }
	if err := ask(); err != nil {
		t.Errorf("a check by gRPC: got %v", err)
	}
	app.Close()
	if err, want := ask(), "gRPC status 14 UNAVAILABLE: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("a check by gRPC without an application: got %v, want %q and why", err, want)
	}
	stop()
	if code := <-code; code != 0 {
		t.Errorf("got exit code %d, %s", code, errs.String())
	}
}
