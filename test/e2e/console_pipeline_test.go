//go:build integration

package e2e

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// gate is a step of a pipeline: it returns its exit code, and what it says.
func gate(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	text, err := exec.CommandContext(bounded(t), binary(t), args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), string(text)
	} else if err != nil {
		t.Fatal(err)
	}
	return 0, string(text)
}

// A pipeline asks for the verdict of what it has just begun: of a rollout, of one whose program dies at once, and of what takes that back.
// Nothing is lost by any, and one of the three is no success.
func TestPipeline(t *testing.T) {
	const page = "deployment/productpage-v1"
	m := start(t, func(m *mesh) {
		slowly(t, m)
		m.rewrite(t, regexp.MustCompile(`(name: productpage-v1\n(?s:.*?)\nspec:\n)`), "${1}  progressDeadlineSeconds: 5\n")
	})
	load := startLoad(t, 100)
	for range 2 { // each asks for its own, however soon
		cli(t, "rollout", "restart", page)
		if code, out := gate(t, "release", "show", page, "--wait"); code != 0 || !strings.Contains(out, "lossless: ") || !strings.Contains(out, ": restart, 1 replica\n") {
			t.Errorf("a rollout exits with %d:\n%s", code, out)
		}
	}
	if n := len(m.releases(t)); n != 2 {
		t.Errorf("got %d releases, want those of two rollouts", n)
	}
	version := regexp.MustCompile(`"productpage", "--(version|nonsense)"`)
	begin := time.Now().Format(time.RFC3339Nano)
	m.rewrite(t, version, `"productpage", "--nonsense"`)
	code, out := gate(t, "release", "show", page, "--wait", "--since", begin)
	if code != 5 || !strings.HasPrefix(out, "stalled: it has come no nearer for 5s: 0 of 1 replica ready; productpage-v1-") || !strings.Contains(out, "instance.died: exit code 2") {
		t.Errorf("a program that dies at once exits with %d:\n%s", code, out)
	}
	begin = time.Now().Format(time.RFC3339Nano)
	m.rewrite(t, version, `"productpage", "--version"`)
	if code, out := gate(t, "release", "show", page, "--wait", "--since", begin); code != 0 {
		t.Errorf("the way back exits with %d:\n%s", code, out)
	}
	all := m.releases(t)
	if code, out := gate(t, "release", "show", all[1].ID, "--wait"); code != 4 || !strings.Contains(out, "it never came to be as it was asked for: "+all[0].ID+" was asked for first") {
		t.Errorf("what was taken back exits with %d:\n%s", code, out)
	}
	if a, _ := load.stop(t); a.LostTotal != 0 {
		t.Errorf("the load lost %v of %d", a.Lost, a.Sent)
	}
}

// releases are those that the console has, the newest first.
func (m *mesh) releases(t *testing.T) []released {
	t.Helper()
	all, err := console[struct {
		Releases []released `json:"releases"`
	}](t, "releases")
	if err != nil {
		t.Fatal(err)
	}
	return all.Releases
}
