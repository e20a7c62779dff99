//go:build integration

package e2e

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// balancerRounds is how often each gateway is restarted behind the load balancer, without a loss.
func balancerRounds() int {
	if full() {
		return 20
	}
	return 1
}

// A balancer is an HAProxy that passes TCP on and knows of gateways what their health port says, as a load balancer of
// a cloud does. It tries nobody a second time, so whatever a gateway loses is lost.
type balancer struct {
	*worker
	door, stats string
	gateways    []string // addresses
	args        []string // of each gateway
	running     []*worker
	y           *yard
}

// balance starts gateways and a load balancer in front of them.
func (y *yard) balance(t *testing.T, gateways []string, args ...string) *balancer {
	t.Helper()
	haproxy := installed(t, "haproxy")
	dir := filepath.Dir(filepath.Dir(y.feed)) // short, for a Unix socket
	b := &balancer{door: "127.7.0.1:8080", stats: filepath.Join(dir, "stats.sock"), gateways: gateways, args: args, y: y}
	var config strings.Builder
	fmt.Fprintf(&config, `global
  maxconn 4000
  stats socket %s mode 600 level admin
defaults
  mode tcp
  retries 0
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout check 1s
frontend door
  bind %s
  default_backend gateways
backend gateways
  balance roundrobin
  option httpchk GET /healthz/ready
  http-check expect status 200
  default-server inter 100ms fall 2 rise 2
`, b.stats, b.door)
	for _, address := range gateways {
		fmt.Fprintf(&config, "  server %s %s:8080 check port 15021\n", address, address)
		b.running = append(b.running, y.gateway(t, address, args...))
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.worker = begin(t, exec.Command(haproxy, "-db", "-f", file))
	eventually(t, soon, func() string {
		if _, err := os.Stat(b.stats); err != nil {
			return "the load balancer: " + err.Error()
		}
		return ""
	})
	for _, address := range gateways {
		b.await(t, address, "UP")
	}
	return b
}

// ask sends a command to the load balancer's own socket.
func (b *balancer) ask(t *testing.T, command string) string {
	t.Helper()
	nc, err := net.Dial("unix", b.stats)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, command+"\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// counters are what the load balancer knows of each gateway, by address and name.
func (b *balancer) counters(t *testing.T) map[string]map[string]string {
	t.Helper()
	rows := csv.NewReader(strings.NewReader(strings.TrimPrefix(b.ask(t, "show stat"), "# ")))
	rows.FieldsPerRecord = -1
	all, err := rows.ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("show stat: %v, %v", all, err)
	}
	byName := map[string]map[string]string{}
	for _, row := range all[1:] {
		line := map[string]string{}
		for i, name := range all[0] {
			if i < len(row) {
				line[name] = row[i]
			}
		}
		byName[line["svname"]] = line
	}
	return byName
}

// await waits until the load balancer has found a gateway to be so.
func (b *balancer) await(t *testing.T, address, status string) {
	t.Helper()
	eventually(t, soon, func() string {
		if got := b.counters(t)[address]["status"]; got != status {
			return fmt.Sprintf("the load balancer to find %s %s, which is %s", address, status, got)
		}
		return ""
	})
}

// errors are what the load balancer saw go wrong with a gateway: connections that were not made, tried again, given to
// another, or that ended in an error.
func (b *balancer) errors(t *testing.T, address string) map[string]int {
	t.Helper()
	of, errors := b.counters(t)[address], map[string]int{}
	for _, name := range []string{"econ", "eresp", "wretr", "wredis"} {
		n, err := strconv.Atoi(of[name])
		if err != nil {
			t.Fatalf("%s of %s is %q in %v", name, address, of[name], of)
		}
		if n > 0 {
			errors[name] = n
		}
	}
	return errors
}

// restart tells a gateway to leave, and starts it anew when it has. With drained, the load balancer has been told to
// send it nobody new before.
func (b *balancer) restart(t *testing.T, i int, drained bool) (code int) {
	t.Helper()
	server := "set server gateways/" + b.gateways[i] + " state "
	if drained {
		b.ask(t, server+"drain")
		b.await(t, b.gateways[i], "DRAIN")
	}
	b.running[i].signal(t, syscall.SIGTERM)
	code = b.running[i].leave(t)
	b.running[i] = b.y.gateway(t, b.gateways[i], b.args...)
	if drained {
		b.ask(t, server+"ready")
	}
	b.await(t, b.gateways[i], "UP")
	return code
}

// roll restarts all gateways one after another under load, again and again, and wants nothing lost. It returns how many
// connections came to gateways that were leaving.
func (b *balancer) roll(t *testing.T, drained bool) (came uint64) {
	t.Helper()
	s := b.strain(t)
	for range balancerRounds() {
		for i, address := range b.gateways {
			if code := b.restart(t, i, drained); code != 0 {
				t.Errorf("%s left with exit code %d, want 0: nothing had to be cut", address, code)
			}
			d := b.y.report(t, "gateway-"+address)
			came += d.AcceptedIn
			t.Logf("%s: %d connections came while it left; seconds %v", address, d.AcceptedIn, d.Seconds)
		}
	}
	s.loads[0].seconds(t, 1)
	sent, missed, how := s.stop(t)
	if missed > 0 {
		t.Errorf("%d of %d were lost, want none\n%s", missed, sent, how)
	}
	for _, address := range b.gateways {
		if errors := b.errors(t, address); len(errors) > 0 {
			t.Errorf("the load balancer saw errors at %s: %v", address, errors)
		}
	}
	t.Logf("%d restarts, %d requests; %d connections came to gateways that were leaving\n%s", balancerRounds()*len(b.gateways), sent, came, how)
	return came
}

// strain sends fresh connections, requests with a body on connections that are kept, and streams of HTTP/2.
func (b *balancer) strain(t *testing.T) *strain {
	t.Helper()
	url := "http://" + b.door + "/"
	s := &strain{}
	s.add(t, "fresh connections", 400, "--keepalive=false", "--source", "127.9.0.0/24", url)
	s.add(t, "keep-alive POST", 200, "--connections", "40", "--method", "POST", "--body", "1KB", url)
	s.add(t, "HTTP/2 POST", 200, "--http2", "--connections", "6", "--method", "POST", "--body", "20KB", url)
	s.loads[2].seconds(t, 2) // the others are older
	return s
}

// TestRollingRestartBehindALoadBalancer restarts three gateways one after another behind a load balancer that knows of
// them only what their health port says. In its lame duck a gateway accepts until that has looked; without one it is
// gone first, and what the load balancer still sends it is lost.
func TestRollingRestartBehindALoadBalancer(t *testing.T) {
	gateways := []string{"127.7.1.1", "127.7.1.2", "127.7.1.3"}
	// The load balancer looks ten times a second, not every few seconds, and so everything is shorter.
	timers := []string{"--drain-quiet", "1s", "--drain", "10s", "--drain-long", "10s", "--drain-spread", "1s", "--grace", "60s"}
	t.Run("with a lame duck", func(t *testing.T) {
		b := newYard(t, nil).balance(t, gateways, append(timers, "--drain-min", "1s", "--drain-notice", "5s")...)
		if came := b.roll(t, false); came == 0 {
			t.Errorf("nobody connected in a lame duck: this run proves nothing")
		}
	})
	t.Run("drained by the load balancer", func(t *testing.T) {
		// Nobody new comes, so the lame duck is over when that has been seen for a while.
		newYard(t, nil).balance(t, gateways, append(timers, "--drain-min", "0", "--drain-notice", "5s")...).roll(t, true)
	})
	t.Run("without one", func(t *testing.T) {
		b := newYard(t, nil).balance(t, gateways, append(timers, "--drain-min", "0", "--drain-notice", "0")...)
		for run := 1; run <= 5; run++ {
			s := b.strain(t)
			for i := range gateways {
				b.restart(t, i, false)
			}
			if sent, missed, how := s.stop(t); missed > 0 {
				t.Logf("run %d: %d of %d were lost\n%s", run, missed, sent, how)
				return
			}
		}
		t.Errorf("five runs lost nothing: what sees nothing proves nothing")
	})
}
