package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/control"
)

// consoleOf serves all of a control's admin API, as the control command does.
func consoleOf(t *testing.T, c *control.Control) string {
	t.Helper()
	server := httptest.NewServer(admin.Handler(admin.Config{
		Program: "control", Started: time.Now(), World: func() admin.World { return admin.World{View: c.View(), Ready: true} },
		Mounts: []admin.Mount{{Pattern: "POST /api/v1/weight", Help: "weight", Handler: c.Handler()}},
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestWeightOfTheLastOne holds that who takes the last endpoint of a service away is told what that means.
func TestWeightOfTheLastOne(t *testing.T) {
	c, _ := startControl(t)
	serving(t, c)
	api := consoleOf(t, c)
	const last = "nobody of reviews:9080 gets requests now: they are answered with 503\n"
	weigh := func(name, factor, want string) {
		t.Helper()
		code, stdout, stderr := crossfade(t.Context(), "weight", name, factor, "--control", api)
		if want = name + ": weight × " + factor + "\n" + want; code != 0 || stdout != want {
			t.Errorf("weight %s %s: got %d, %q, %q, want %q", name, factor, code, stdout, stderr, want)
		}
	}
	weigh("reviews-v1-1", "0", last) // the other waits for its check
	weigh("reviews-v1-1", "1", "")
	if err := c.Verdict(t.Context(), "reviews-v1-2", true, "HTTP 200"); err != nil {
		t.Fatal(err)
	}
	weigh("reviews-v1-1", "0", "")
	weigh("reviews-v1-2", "0.5", "")
	weigh("reviews-v1-2", "0", last)
}

// TestNoControl asks a gateway for what only control can do.
func TestNoControl(t *testing.T) {
	at := gatewayFor(t, still)
	for _, line := range []string{
		"warmup skip reviews-v2-1", "weight reviews-v2-1 1", "scale deployment/reviews --replicas=1", "rollout status deployment/reviews",
	} {
		code, _, stderr := crossfade(t.Context(), append(strings.Fields(line), "--control", at)...)
		if want := at + ` is no control's admin API: name that with --control`; code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: got %d, %q, want %q", line, code, stderr, want)
		}
	}
}
