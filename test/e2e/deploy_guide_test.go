//go:build integration

package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guideCommand is a command of ours, or one of curl's, as the guide shows it to be typed.
var guideCommand = regexp.MustCompile(`(?m)^\$ ((?:crossfade|curl) .*)$`)

// TestReleasesGuide types what docs/guides/releases.md says, in its order, where a gateway runs in replicas.
func TestReleasesGuide(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "guides", "releases.md"))
	if err != nil {
		t.Fatal(err)
	}
	y := newYard(t, map[string]string{"istiogateway.yaml": rollingYAML})
	supervisor := y.supervise(t, "--drain-min", "4s", "--drain-notice", "30s", "--drain-quiet", "1s")
	y.awaitReplicas(t, supervisor)
	here := t.TempDir() // where ./crossfade-next is
	program, err := os.ReadFile(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(here, "crossfade-next"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	// Each command is typed once: the drain that ends all is the last that needs somebody who serves.
	var now, last []string
	for _, found := range guideCommand.FindAllStringSubmatch(string(text), -1) {
		if command := found[1]; strings.HasPrefix(command, "crossfade drain gateway --wait") || strings.HasPrefix(command, "crossfade get drains") {
			last = append(last, command)
		} else {
			now = append(now, command)
		}
	}
	if len(now) < 10 || len(last) < 4 {
		t.Fatalf("found %q, %q: the guide has more", now, last)
	}
	for _, command := range append(now, last...) {
		if url, ok := strings.CutPrefix(command, "curl -X POST "); ok {
			ask(t, http.MethodPost, url)
			continue
		}
		typed := exec.CommandContext(bounded(t), binary(t), strings.Fields(command)[1:]...)
		typed.Dir = here
		out, err := typed.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s", command, err, out, supervisor.said)
		}
		t.Logf("$ %s\n%s", command, out)
	}
}
