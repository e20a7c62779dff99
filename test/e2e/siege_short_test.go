//go:build integration

package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestSiegeWithFewDescriptors lets more clients come than a gateway has descriptors: it turns away whom it cannot
// serve, says so at once, serves those that it let in, goes on answering people, and recovers.
func TestSiegeWithFewDescriptors(t *testing.T) {
	const (
		door        = "127.0.0.1:8090"
		descriptors = 400
		crowd       = 2 * descriptors
	)
	if tally := send(t, order{Kind: "camp"}).next(t); len(tally) > 0 {
		t.Fatalf("the endpoints: %v", tally)
	}
	var said transcript
	gateway := exec.Command("sh", "-c", fmt.Sprintf("ulimit -n %d; exec \"$0\" \"$@\"", descriptors),
		binary(t), "gateway", "--inbound", fmt.Sprintf("%s=%s:%d", door, campServices[0].addresses[0], campPort),
		"--admin", gatewayAdmin, "--drain", "1s")
	gateway.Stdout, gateway.Stderr = &said, &said
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		interrupt(t, gateway)
		if t.Failed() {
			t.Logf("%s said:\n%s", gateway, said.String())
		}
	})
	s := &siege{t: t, gateway: gateway.Process.Pid}
	eventually(t, soon, func() string {
		resp, err := fresh().Get("http://" + door + "/1")
		if err != nil {
			return err.Error()
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.Status
		}
		return ""
	})
	const counter = "http.inbound-8090."
	crew := send(t, order{Kind: "idle", N: crowd, From: "127.9.0.30", To: door, Path: "/100"})
	turned := 0
	for end, n := range crew.next(t) {
		if !strings.HasSuffix(end, "status 503") {
			t.Errorf("%d of the crowd ended with %s, want status 503", n, end)
		}
		turned += n
	}
	stats := s.stats() // people are let in
	if n := stats[counter+"downstream_cx_overload_reject"]; n != turned {
		t.Errorf("the gateway counted %d as turned away, want %d", n, turned)
	}
	tally := crew.end(t)
	if again := tally["answered again"]; again+turned != crowd || again < descriptors/2 {
		t.Errorf("of %d clients %d were turned away and %d let in and answered again; want all, and at least %d let in",
			crowd, turned, again, descriptors/2)
	}
	eventually(t, soon, func() string {
		if n := s.stats()[counter+"downstream_cx_active"]; n > 0 {
			return fmt.Sprintf("%d connections to go", n)
		}
		return ""
	})
	after := send(t, order{Kind: "idle", N: descriptors / 4, From: "127.9.0.31", To: door, Path: "/100"})
	if tally := after.next(t); len(tally) > 0 {
		t.Errorf("when the crowd had left: %v", tally)
	}
	if tally := after.end(t); tally["answered again"] != descriptors/4 {
		t.Errorf("when the crowd had left: %v, want %d answered again", tally, descriptors/4)
	}
	if said := said.String(); strings.Contains(said, "too many open files") {
		t.Errorf("the gateway ran out of descriptors: %s", said)
	}
}
