package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/console"
	"crossfade.dev/internal/fleet"
)

// What up is told about the console, its control hears.
func TestConsoleFlagsArePassedOn(t *testing.T) {
	for _, given := range [][]string{
		nil,
		{"--console="},
		{"--console=127.0.0.1:16000", "--console-role=view"},
		{"--console=127.0.0.1:15010"}, // the usual one, asked for: it must be free
		{"--console-tls-cert=c", "--console-tls-key=k", "--console-tokens=t", "--console-url=https://x"},
		{
			"--console-oidc-issuer=https://i", "--console-oidc-client-id=c", "--console-oidc-client-secret-file=s",
			"--console-oidc-operate=groups=cn=release,ou=ops", "--console-oidc-operate=c=d", "--console-oidc-view=e=f",
		},
	} {
		up, control := newUpCommand(), newControlCommand()
		var first, second consoleFlags
		// Flags of a command are written where its own are: these have theirs.
		up.ResetFlags()
		control.ResetFlags()
		first.add(up)
		second.add(control)
		if err := up.ParseFlags(given); err != nil {
			t.Fatal(err)
		}
		first.asked = up.Flags().Changed("console")
		if err := control.ParseFlags(first.args()); err != nil {
			t.Fatal(err)
		}
		second.asked = control.Flags().Changed("console")
		if who := second.oidc.Operate; len(who) > 0 && !slices.Equal(who, []string{"groups=cn=release,ou=ops", "c=d"}) { // not whoever is of some ou
			t.Errorf("%q: %q may operate", given, who)
		}
		if first.listen == "" {
			first.asked = true // that there is none is said
		}
		if diff := cmp.Diff(first, second, cmp.AllowUnexported(consoleFlags{})); diff != "" {
			t.Errorf("%q (-up +control):\n%s", given, diff)
		}
	}
}

// That somebody else has the usual address is told, and no reason to do without control; an address that was asked for must be free.
func TestConsoleAddressTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, asked := range []bool{false, true} {
		var log bytes.Buffer
		f := consoleFlags{listen: taken.Addr().String(), asked: asked, role: "operate"}
		listener, err := f.listener(t.Context(), &console.Access{}, slog.New(slog.NewTextHandler(&log, nil)))
		if listener != nil || (err != nil) != asked || strings.Contains(log.String(), "--console puts it elsewhere") == asked {
			t.Errorf("asked for %t: got %v, %v and %q", asked, listener, err, &log)
		}
	}
}

// A replica is drained by its admin, where that is on this machine and is its own.
func TestConsoleDrainsAReplica(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/server_info" {
			if err := json.NewEncoder(w).Encode(admin.ServerInfo{ID: "ingressgateway-1", PID: 7}); err != nil {
				t.Error(err)
			}
			return
		}
		got = append(got, r.Method+" "+r.URL.RequestURI())
	}))
	defer server.Close()
	at := strings.TrimPrefix(server.URL, "http://")
	good := fleet.Replica{ID: "ingressgateway-1", PID: 7, Admin: at}
	other, restarted, remote, nowhere := good, good, good, good
	other.ID, restarted.PID, remote.Admin, nowhere.Admin = "ingressgateway-2", 8, "10.0.0.1:15101", ""
	for want, r := range map[string]fleet.Replica{
		"is not this replica but ingressgateway-1": other, "is not this replica": restarted, `"10.0.0.1:15101", which is not on this machine`: remote, `"", which is not`: nowhere,
	} {
		if err := drainReplica(t.Context(), r, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", r, err, want)
		}
	}
	if len(got) != 0 {
		t.Fatalf("somebody else was told %q", got)
	}
	for _, back := range []bool{false, true} {
		if err := drainReplica(t.Context(), good, back); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"POST /drain_listeners?graceful=", "POST /healthcheck/ok"}; !slices.Equal(got, want) {
		t.Errorf("it was told %q, want %q", got, want)
	}
}

// What edits the configuration shows its credentials to those who may act, and to nobody whom the console has not let through.
func TestCredentialsAreNotForEverybody(t *testing.T) {
	e := editor(t.Context(), &controlFlags{dir: t.TempDir()}, nil, nil, slog.New(slog.DiscardHandler))
	if e.Trusted == nil || e.Trusted(httptest.NewRequest(http.MethodGet, "/", http.NoBody)) {
		t.Error("somebody unknown would see them")
	}
}
