//go:build integration

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// ingressServer is the place in examples/warmups where the gateway's port is.
var ingressServer = regexp.MustCompile(`(?m)^    - port: \{number: 80, .*\n      hosts: .*\n`)

// shareAmong starts gateways until there are n that follow control, and returns an address at which each is reached.
//
// On one machine not every gateway can have all the ports that the configuration names. Each is handed one: this
// test keeps a port taken until its turn, and stops the others for the moment in which the one takes it.
func (m *mesh) shareAmong(t *testing.T, n int) (doors []string) {
	t.Helper()
	var held []net.Listener
	servers := []string{"$0"}
	for i := 1; i < n; i++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 8080+i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		servers = append(servers, fmt.Sprintf("    - port: {number: %d, name: http-%d, protocol: HTTP}\n      hosts: [\"*\"]\n", 80+i, i))
	}
	saved(t, "config.applied", func() { m.rewrite(t, ingressServer, strings.Join(servers, "")) })
	doors = []string{ingress}
	others := []proc{m.gateway(t)}
	for i, l := range held {
		p := m.anotherGateway(t, i+2)
		var resume []func()
		for _, other := range others {
			resume = append(resume, pause(t, other))
		}
		door := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, soon, func() string {
			if m.status(t, "http://"+door+"/careful/details/0") != http.StatusOK {
				return p.String() + " at " + door
			}
			return ""
		})
		for _, r := range resume {
			r()
		}
		doors, others = append(doors, door), append(others, p)
	}
	return doors
}

// anotherGateway starts a gateway that follows up's control, and waits until it knows the world.
func (m *mesh) anotherGateway(t *testing.T, number int) proc {
	t.Helper()
	first := m.gateway(t)
	admin := fmt.Sprintf("127.0.0.1:%d", 15200+number)
	var said transcript
	cmd := exec.Command(binary(t), "gateway", "--id", fmt.Sprintf("gateway-%d", number), "--feed", first.after("--feed"),
		"--admin", admin, "--state", t.TempDir(), "--health", "", "--drain-min", "0s", "--drain-notice", "0s", "--drain", "1s", "--log-level", "WARN")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		interrupt(t, cmd)
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd, said.String())
		}
	})
	eventually(t, soon, func() string {
		all, err := try(t, "get", "endpoints", "--admin", admin)
		if err != nil || !strings.Contains(all, "careful-1") {
			return fmt.Sprintf("gateway-%d to know careful-1: %v %s", number, err, all)
		}
		return ""
	})
	return proc{pid: cmd.Process.Pid, args: cmd.Args}
}
