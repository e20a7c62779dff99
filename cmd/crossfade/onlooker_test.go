package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
)

// TestACommandIsAnsweredWhenItsReleaseIsKnown: a pipeline that asks for the newest release right after a command is not to get the one before.
func TestACommandIsAnsweredWhenItsReleaseIsKnown(t *testing.T) {
	c := control.New(fleet.View{Snapshot: &fleet.Snapshot{}, Taken: time.Now()}, slog.New(slog.DiscardHandler))
	h, err := history.New(history.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o := &onlooker{Control: c, history: h, changed: make(chan struct{})}
	go func() { _ = c.Run(t.Context()) }()
	go func() { _ = o.run(t.Context()) }()
	if err := c.Configure(t.Context(), &fleet.Desired{Digest: "1", Workloads: []fleet.Workload{{Name: "shop", Namespace: "default", Replicas: 1, Declared: 1, Revision: "r1"}}}); err != nil {
		t.Fatal(err)
	}
	o.await(t.Context(), c.View()) // what was there before anybody looked is no release
	server := httptest.NewServer(o.shown(c.Handler()))
	defer server.Close()
	for n := range 200 {
		resp, err := server.Client().Post(server.URL+"/api/v1/scale", "application/json", strings.NewReader(fmt.Sprintf(`{"namespace":"default","name":"shop","replicas":%d}`, n+2)))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatalf("scale: %s", resp.Status)
		}
		list := h.Releases()
		if want := fmt.Sprintf(" → %d", n+2); len(list) == 0 || !strings.HasSuffix(list[0].What, want) {
			t.Fatalf("after the answer to scaling to %d the newest release of %d is not of that: %+v", n+2, len(list), list[:min(1, len(list))])
		}
	}
}
