//go:build integration

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freshClients is how many connections are open at once at most.
const freshClients = 16

// freshWhile sends requests, each on a connection of its own, from many addresses, while something is done and until
// there were so many of them. What is done begins when they are under way.
func (w *drainWorld) freshWhile(t *testing.T, least uint64, do func()) *drainAccount {
	t.Helper()
	return w.freshTo(t, []string{"http://" + ingress + "/get"}, least, do)
}

// freshTo is freshWhile to somewhere else.
func (w *drainWorld) freshTo(t *testing.T, to []string, least uint64, do func()) *drainAccount {
	t.Helper()
	account := newDrainAccount()
	over, ended := make(chan struct{}), make(chan error, 1)
	underWay := w.underWay(t)
	go func() {
		var err error
		defer func() { ended <- err }()
		for err == nil {
			select {
			case <-over:
				if account.sent >= least {
					return
				}
			default:
			}
			err = freshOnce(t, account, to)
		}
	}()
	underWay()
	do()
	close(over)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return account
}

// freshOnce sends some of them.
func freshOnce(t *testing.T, into *drainAccount, to []string) error {
	t.Helper()
	args := append([]string{
		"load", "--requests", "1000", "--connections", strconv.Itoa(freshClients), "--keepalive=false", "--source", "127.9.0.0/24",
		"--timeout", "20s", "--max-loss", "100%", "--quiet", "--output", "json",
	}, to...)
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, stderr.String())
	}
	into.enter("http/1.1", decode[account](t, string(out)))
	return nil
}

// fresh replaces every gateway, by the same and by another program, under fresh connections.
func (w *drainWorld) fresh(t *testing.T, all *drainAccount) {
	t.Helper()
	since := time.Now()
	total, programs := newDrainAccount(), []string{w.another(t), binary(t)}
	perRound := uint64(2000)
	if full() {
		perRound = 10_000
	}
	for round := range rounds(1, 10) {
		restarted := w.freshWhile(t, perRound, func() { w.restart(t) })
		upgraded := w.freshWhile(t, perRound, func() { w.upgrade(t, programs[round%2]) })
		total.add(restarted)
		total.add(upgraded)
	}
	total.wantWhole(t, "fresh connections through rolling restarts and binary upgrades", 2*perRound*uint64(rounds(1, 10)))
	w.wantTried(t, since, 3*rounds(1, 10))
	all.add(total)
}

// secureServer is what the example's Gateway serves, with a port of TLS before it.
const secureServer = `  servers:
    - hosts: ['*']
      port: {number: 443, name: https, protocol: HTTPS}
      tls: {mode: SIMPLE, serverCertificate: front.crt, privateKey: front.key}
`

// secure has configuration bring a port of TLS under fresh connections to the other one, and take it away again; and
// replaces every gateway while it is asked there: whose handshake is under way is not lost either.
func (w *drainWorld) secure(t *testing.T, all *drainAccount) {
	t.Helper()
	_, authority := certify(t, w.dir)
	servers := regexp.MustCompile(`(?m)^  servers:\n`)
	var overTLS *drainAccount
	plain := w.freshWhile(t, 1000, func() {
		saved(t, "config.applied", func() { w.rewriteIn(t, "gateway.yaml", servers, secureServer) })
		eventually(t, soon, func() string {
			if !answers(secureIngress) {
				return "somebody at " + secureIngress
			}
			return ""
		})
		overTLS = w.freshTo(t, []string{"--cacert", authority, "https://" + secureIngress + "/get"}, 1000, func() { w.restart(t) })
		saved(t, "config.applied", func() {
			w.rewriteIn(t, "gateway.yaml", regexp.MustCompile(regexp.QuoteMeta(secureServer)), "  servers:\n")
		})
		eventually(t, soon, func() string {
			if answers(secureIngress) {
				return "nobody at " + secureIngress
			}
			return ""
		})
	})
	plain.wantWhole(t, "fresh connections while configuration brings another port and takes it away", 1000)
	overTLS.wantWhole(t, "fresh connections of TLS through a rolling restart", 1000)
	all.add(plain)
	all.add(overTLS)
}

// leavesWhole has all gateways leave, and nobody come after them. Who had connected is answered; who comes later is
// refused, and nobody is told anything else.
func (w *drainWorld) leavesWhole(t *testing.T) {
	a := w.freshWhile(t, 1000, func() { cli(t, "drain", "gateway", "--wait") })
	t.Logf("the whole gateway leaves: %s", a)
	if len(a.lost) != 1 || a.lost["http/1.1: refused"] == 0 {
		t.Errorf("when the whole gateway left, requests were lost as %v, want some, and all of them refused", a.lost)
	}
}

// crashes is what may go wrong in the middle of a release. Whatever happens to who is new, the old ones go on.
func (w *drainWorld) crashes(t *testing.T) {
	t.Run("successors are killed", w.successorsKilled)
	t.Run("successors are told to stop", w.successorsStopped)
	t.Run("the next version does not start", w.brokenUpgrade)
	t.Run("two upgrades at once", w.twoUpgrades)
	t.Run("a gateway is killed", w.gatewayKilled)
	t.Run("told to stop while starting", w.stoppedWhileStarting)
}

// signalAtSight sends a signal to the first n processes that a match finds, each as soon as it is seen.
func (w *drainWorld) signalAtSight(t *testing.T, signal syscall.Signal, n int, match func(proc) bool) {
	t.Helper()
	hit := map[int]bool{}
	eventually(t, late, func() string {
		for _, p := range w.replicas(t) {
			if len(hit) < n && !hit[p.pid] && match(p) && syscall.Kill(p.pid, signal) == nil {
				hit[p.pid] = true
			}
		}
		if len(hit) < n {
			return fmt.Sprintf("%d new gateways to send %v to, got %d", n, signal, len(hit))
		}
		return ""
	})
}

// notAmong matches processes that were not there before.
func notAmong(old []proc) func(proc) bool {
	return func(p proc) bool {
		return !slices.ContainsFunc(old, func(o proc) bool { return o.pid == p.pid })
	}
}

// successorsKilled kills three successors in mid hand-over.
func (w *drainWorld) successorsKilled(t *testing.T) {
	w.successorsSignalled(t, syscall.SIGKILL)
}

// successorsStopped sends SIGTERM to three successors while they start.
func (w *drainWorld) successorsStopped(t *testing.T) {
	w.successorsSignalled(t, syscall.SIGTERM)
}

func (w *drainWorld) successorsSignalled(t *testing.T, signal syscall.Signal) {
	t.Helper()
	old := w.awaitReplicas(t, drainGateways)
	a := w.freshWhile(t, 1000, func() {
		cli(t, "upgrade", ingressGateway, "--binary", w.another(t))
		w.signalAtSight(t, signal, 3, notAmong(old))
		w.awaitOthers(t, drainGateways, old)
	})
	if signal == syscall.SIGTERM {
		a.wantWhole(t, "three successors that were told to stop in mid hand-over", 1000)
		return
	}
	a.wantInFlight(t, "three successors that were killed in mid hand-over", 3*freshClients)
}

// wantInFlight sees that no more was lost than those who were killed may have had accepted, and nothing that they had
// not.
func (a *drainAccount) wantInFlight(t *testing.T, what string, most uint64) {
	t.Helper()
	t.Logf("%s: %s", what, a)
	if n := a.losses(); n > most {
		t.Errorf("%s: %d of %d requests were lost, want %d at most, which they may have had", what, n, a.sent, most)
	}
	for how := range a.lost {
		if !slices.Contains([]string{"http/1.1: eof", "http/1.1: reset", "http/1.1: cut"}, how) {
			t.Errorf("%s: lost by %s, which is not what happens to what a killed process had", what, how)
		}
	}
}

// broken is a version that looks well and is killed as soon as it is to serve, before it is ready.
const broken = "#!/bin/sh\n[ \"$1\" = gateway ] || exec %s \"$@\"\nkill -9 $$\n"

// brokenUpgrade upgrades to what does not start, which is refused, and to what dies before it is ready; and then to one
// that works.
func (w *drainWorld) brokenUpgrade(t *testing.T) {
	old := w.awaitReplicas(t, drainGateways)
	next := w.another(t)
	for name, text := range map[string]string{".never": "#!/bin/sh\nexit 1\n", ".broken": fmt.Sprintf(broken, next)} {
		if err := os.WriteFile(next+name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := try(t, "upgrade", ingressGateway, "--binary", next+".never"); err == nil {
		t.Errorf("an upgrade to what does not start was not refused")
	}
	a := w.freshWhile(t, 1000, func() {
		cli(t, "upgrade", ingressGateway, "--binary", next+".broken")
		eventually(t, soon, func() string {
			failed := slices.DeleteFunc(events(t), func(e event) bool { return e.Kind != "gateway.upgrade_failed" })
			if len(failed) < 3 {
				return fmt.Sprintf("three events of the kind gateway.upgrade_failed, got %+v", failed)
			}
			return ""
		})
		alive := w.replicas(t)
		for _, p := range old {
			if !slices.ContainsFunc(alive, func(a proc) bool { return a.pid == p.pid }) {
				t.Errorf("%s left for a version that does not start", p)
			}
		}
		cli(t, "upgrade", ingressGateway, "--binary", next)
		w.awaitOthers(t, drainGateways, old)
	})
	a.wantWhole(t, "an upgrade to what dies before it is ready", 1000)
}

// twoUpgrades asks for two versions at the same time: one of them is what there is in the end, everywhere.
func (w *drainWorld) twoUpgrades(t *testing.T) {
	old := w.awaitReplicas(t, drainGateways)
	programs := []string{w.another(t), w.another(t)}
	a := w.freshWhile(t, 1000, func() {
		var both sync.WaitGroup
		for _, program := range programs {
			both.Go(func() {
				if _, err := try(t, "upgrade", ingressGateway, "--binary", program); err != nil {
					t.Log(err)
				}
			})
		}
		both.Wait()
		var last []proc
		eventually(t, late, func() string {
			last = w.awaitOthers(t, drainGateways, old)
			for _, p := range last {
				if got := executable(p); got != executable(last[0]) || !slices.Contains(programs, got) {
					return fmt.Sprintf("one of %v everywhere, got %s", programs, got)
				}
			}
			return ""
		})
	})
	a.wantWhole(t, "two upgrades at once", 1000)
}

// gatewayKilled kills the only gateway there is, several times. Each loses what it had accepted, and who came after that
// waits for the next one.
func (w *drainWorld) gatewayKilled(t *testing.T) {
	w.scaleGateways(t, 1)
	old := w.awaitReplicas(t, 1)
	const kills = 5
	a := w.freshWhile(t, 1000, func() {
		for range kills {
			w.underWay(t)()
			kill(t, old[0])
			old = w.awaitOthers(t, 1, old)
		}
	})
	a.wantInFlight(t, fmt.Sprintf("%d times kill -9 of the only gateway", kills), kills*freshClients)
	if a.losses() == 0 {
		t.Errorf("invalid run: kill -9 of the only gateway cost nothing: it had nothing, or the load does not see losses")
	}
	w.scaleGateways(t, drainGateways)
	w.awaitReplicas(t, drainGateways)
}

// stoppedWhileStarting starts a whole world beside this one, and stops it again at several moments: it ends, as it was
// told, and leaves nothing behind.
func (w *drainWorld) stoppedWhileStarting(t *testing.T) {
	for _, after := range []time.Duration{0, 50 * time.Millisecond, 300 * time.Millisecond, time.Second} {
		said := &transcript{}
		cmd := exec.Command(binary(t), "up", "-f", w.dir, "--state", t.TempDir(), "--admin", "127.0.7.1:15000", "--control", "127.0.7.1:15014",
			"--mesh", "127.0.7.1:15001", "--gateway-address", "127.0.7.1")
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(after)
		below := descendants(t, cmd.Process.Pid)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), late)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil && after >= 300*time.Millisecond { // before that it may not have come to listen for signals
				t.Errorf("told to stop after %v: %v\n%s", after, err, said)
			}
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			t.Fatalf("told to stop after %v, it has not ended %v later: %v\n%s", after, late, <-ended, said)
		}
		cancel()
		for _, p := range below {
			if again, ok := readProc("/proc/" + strconv.Itoa(p.pid)); ok && again.name() == p.name() {
				t.Errorf("told to stop after %v, it left behind: %s", after, p)
			}
		}
	}
}
