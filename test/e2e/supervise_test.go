//go:build integration

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Where a supervisor of a yard serves.
const (
	keepAddress = "127.7.20.1"
	keepDoor    = keepAddress + ":8080"
	keepAdmin   = keepAddress + ":15000"
)

// keeper starts a supervisor that serves at an address of its own, and waits until it is ready.
func (y *yard) keeper(t *testing.T) *worker {
	t.Helper()
	w := begin(t, y.command("supervise", "--feed", "unix:"+y.feed, "--state", y.state, "--address", keepAddress, "--admin", keepAdmin,
		"--drain-min", "0s", "--drain-notice", "0s", "--drain", "10s", "--drain-long", "10s", "--drain-spread", "1s", "--grace", "60s", "--log-level", "WARN"))
	w.awaitReady(t, keepAddress+":15021")
	awaitConsole(t)
	return w
}

// awaitConsole waits until the supervisor knows that its replicas are ready: it hears of it a moment after them.
func awaitConsole(t *testing.T) {
	t.Helper()
	eventually(t, soon, func() string {
		if got := statusOf("http://" + keepAdmin + "/ready"); got != http.StatusOK {
			return fmt.Sprintf("%s/ready, which answers %d", keepAdmin, got)
		}
		return ""
	})
}

func (w *worker) replicas(t *testing.T) []proc {
	t.Helper()
	return slices.DeleteFunc(descendants(t, w.cmd.Process.Pid), func(p proc) bool { return !isGateway(p) })
}

// TestSupervisor looks at what people see of gateways in replicas, and at what becomes of replicas without a supervisor.
func TestSupervisor(t *testing.T) {
	y := newYard(t, nil)
	w := y.keeper(t)
	t.Run("one gateway to people", func(t *testing.T) { oneToPeople(t) })
	t.Run("killed replica loses what is open", func(t *testing.T) {
		half := beginHalf(t)
		for _, p := range w.replicas(t) {
			kill(t, p)
		}
		if err := half.end(); err == nil {
			t.Error("a request that was open in a replica that was killed was answered: this test would not see a loss")
		}
		w.awaitReady(t, keepAddress+":15021")
	})
	t.Run("killed supervisor loses nothing", func(t *testing.T) { supervisorKilled(t, y, w) })
}

// oneToPeople changes all replicas under load, again and again, while the admin API is asked everything that people ask:
// every answer is there, and at the end the counters are the clients'.
func oneToPeople(t *testing.T) {
	t.Helper()
	ask(t, http.MethodPost, "http://"+keepAdmin+"/reset_counters")
	asked := make(chan int)
	var over atomic.Bool
	go func() {
		n := 0
		for ; !over.Load(); n++ {
			for _, path := range []string{"/ready", "/stats", "/stats?format=json", "/stats/prometheus", "/clusters", "/config_dump", "/server_info", "/api/v1/services", "/api/v1/endpoints", "/api/v1/events", "/api/v1/explain", "/api/v1/drain"} {
				resp, err := fresh().Get("http://" + keepAdmin + path)
				if err != nil {
					t.Errorf("%s, while replicas come and go: %v", path, err)
					continue
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s, while replicas come and go: got %s: %s", path, resp.Status, body)
				}
			}
		}
		asked <- n
	}()
	load := beginLoad(t, 300, "--keepalive=false", "--source", "127.7.21.0/28", "-X", "POST", "--data", "hello", "http://"+keepDoor+"/")
	for _, replicas := range []int{3, 1, 4, 2} {
		cli(t, "scale", "gateway/ingressgateway", "--replicas="+strconv.Itoa(replicas), "--wait")
		cli(t, "rollout", "restart", "gateway/ingressgateway")
		cli(t, "rollout", "status", "gateway/ingressgateway")
	}
	cli(t, "scale", "gateway/ingressgateway", "--replicas=1", "--wait")
	account, shots := load.stop(t)
	over.Store(true)
	if n := <-asked; n < 3 {
		t.Errorf("invalid run: asked %d times", n)
	}
	if account.LostTotal > 0 {
		t.Errorf("%d of %d requests were lost: %+v", account.LostTotal, account.Sent, lost(shots))
	}
	for _, command := range []string{"get services", "get endpoints", "get events", "explain pages.yard"} {
		cli(t, append(strings.Fields(command), "--admin", keepAdmin)...)
	}
	want := fmt.Sprintf("http.http-80.downstream_rq_2xx: %d", account.OK)
	eventually(t, soon, func() string {
		got := strings.TrimSpace(ask(t, http.MethodGet, "http://"+keepAdmin+"/stats?filter=http-80.downstream_rq_2xx"))
		if got != want {
			return fmt.Sprintf("the clients' count: %s, got %s", want, got)
		}
		return ""
	})
	t.Logf("%d requests through 11 generations of replicas: none lost, all counted", account.Sent)
}

// supervisorKilled kills a supervisor under a request that is open: its replicas hear of it and finish what they have.
func supervisorKilled(t *testing.T, y *yard, w *worker) {
	t.Helper()
	cli(t, "scale", "gateway/ingressgateway", "--replicas=2", "--wait")
	half := beginHalf(t)
	replicas := w.replicas(t)
	w.signal(t, syscall.SIGKILL)
	eventually(t, soon, func() string {
		if !gone(keepDoor) {
			return keepDoor + " to accept no more"
		}
		return ""
	})
	if err := half.end(); err != nil {
		t.Errorf("open when the supervisor was killed: %v", err)
	}
	for _, p := range replicas {
		eventually(t, late, func() string {
			if _, alive := readProc(fmt.Sprintf("/proc/%d", p.pid)); alive {
				return p.String() + " to end"
			}
			return ""
		})
		if report := y.report(t, p.after("--id")); report.Cut != 0 || report.Stage != "closed" {
			t.Errorf("%s: got %+v, want it closed and nothing cut", p.after("--id"), report)
		}
	}
	if _, err := os.Stat(filepath.Join(y.state, "supervisor.json")); err != nil {
		t.Error(err)
	}
	again := y.keeper(t) // what was wanted is known, and the ports are free
	if n := len(again.replicas(t)); n == 0 {
		t.Error("a new supervisor runs nobody")
	}
	again.signal(t, syscall.SIGTERM)
	if code := again.leave(t); code != 0 {
		t.Errorf("told to stop: got exit code %d, want 0", code)
	}
}

// A half is a request whose body is half sent: it is open.
type half struct {
	nc      net.Conn
	answers *bufio.Reader
}

func beginHalf(t *testing.T) *half {
	t.Helper()
	nc, err := net.Dial("tcp", keepDoor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	h := &half{nc, bufio.NewReader(nc)}
	// An answer of 100 says that the request is open.
	if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: pages\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := h.answers.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("got %q, %v, want HTTP/1.1 100", line, err)
	}
	if _, err := h.answers.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "first"); err != nil {
		t.Fatal(err)
	}
	return h
}

// end sends the other half and wants all of it back.
func (h *half) end() error {
	if _, err := io.WriteString(h.nc, "other"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(h.answers, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "firstother" {
		return fmt.Errorf("got %s with %q: %w", resp.Status, body, err)
	}
	return nil
}
