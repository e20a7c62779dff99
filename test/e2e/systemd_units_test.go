//go:build integration

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// exposure is what `systemd-analyze security` may say of a service at most; 0 is none, 10 is all.
const exposure = 2.0

// TestSystemdUnits has systemd read the units of deploy/systemd, and say how much they leave to a service.
func TestSystemdUnits(t *testing.T) {
	analyze := installed(t, "systemd-analyze")
	dir := t.TempDir()
	units, err := filepath.Glob(filepath.Join(root, "deploy", "systemd", "crossfade-*.*"))
	if err != nil || len(units) != 3 {
		t.Fatalf("units %v, %v", units, err)
	}
	var here []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// Where it is installed, there is a program; verify looks for it.
		text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/crossfade", binary(t)))
		here = append(here, filepath.Join(dir, filepath.Base(unit)))
		if err := os.WriteFile(here[len(here)-1], text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(bounded(t), analyze, append([]string{"verify", "--man=no"}, here...)...).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	version := systemdVersion(t, analyze)
	for line := range strings.Lines(string(out)) {
		if version < 253 && strings.Contains(line, "notify-reload") {
			continue // as the unit says
		}
		t.Errorf("systemd-analyze verify: %s", line)
	}
	for _, unit := range here {
		if filepath.Ext(unit) != ".service" {
			continue
		}
		out, err := exec.CommandContext(bounded(t), analyze, "security", "--no-pager", "--offline=true",
			fmt.Sprintf("--threshold=%.0f", exposure*10), unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s leaves more than %.1f to the service: %v\n%s", unit, exposure, err, out)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		t.Log(strings.TrimSpace(lines[len(lines)-1]))
	}
}

func systemdVersion(t *testing.T, analyze string) int {
	t.Helper()
	out, err := exec.CommandContext(bounded(t), analyze, "--version").Output()
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		t.Fatalf("systemd-analyze --version: %v: %s", err, out)
	}
	version, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// TestSystemdGrace sees that systemd waits for as long as the gateway may take, and the gateway knows it.
func TestSystemdGrace(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "systemd", "crossfade-gateway.service"))
	if err != nil {
		t.Fatal(err)
	}
	var command []string
	var stop string
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "ExecStart":
			command = strings.Fields(value)
		case "TimeoutStopSec":
			stop = value
		}
	}
	if told := (proc{args: command}).after("--grace"); told == "" || told != stop {
		t.Errorf("the gateway is told a grace period of %q, TimeoutStopSec is %q", told, stop)
	}
	_, err = try(t, append(command[1:], "--grace=1s")...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("with a grace period of 1 s the supervisor ended with %v, want exit code 2", err)
	}
	found := drainMayTake.FindStringSubmatch(err.Error())
	if found == nil {
		t.Fatalf("no sum in: %v", err)
	}
	sum, err := time.ParseDuration(found[1])
	if grace, err2 := time.ParseDuration(stop); err != nil || err2 != nil || sum > grace {
		t.Errorf("a drain takes %v at most (%v), TimeoutStopSec is %v (%v)", sum, err, grace, err2)
	}
}

// TestUnitsUser has the gateway leave as the user that the units name, who is not root: no right that they do not grant
// may be what it takes to lose nothing.
func TestUnitsUser(t *testing.T) {
	var nobody *syscall.Credential
	if os.Getuid() == 0 {
		nobody = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	y := newYardOf(t, map[string]string{"istiogateway.yaml": rollingYAML}, nobody)
	supervisor := y.supervise(t)
	y.awaitReplicas(t, supervisor)
	s := beginSystemd(t)
	cli(t, "rollout", "restart", "gateway/ingressgateway")
	cli(t, "rollout", "status", "gateway/ingressgateway")
	s.loads[0].seconds(t, 1)
	if sent, missed, how := s.stop(t); missed > 0 {
		t.Errorf("a restart of all replicas lost %d of %d, want none\n%s", missed, sent, how)
	}
	supervisor.signal(t, syscall.SIGTERM)
	if code := supervisor.leave(t); code != 0 {
		t.Errorf("the supervisor left with exit code %d, want 0: nothing had to be cut", code)
	}
	if said := supervisor.said.String(); strings.Contains(said, "not permitted") {
		t.Errorf("it complains of what its user may not do:\n%s", said)
	}
}
