//go:build integration

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// recordYAML has the instances of plain record what they are asked for, and new ones warmed up with it.
const recordYAML = `apiVersion: crossfade.dev/v1alpha1
kind: Lifecycle
metadata: {name: plain}
spec:
  service: plain
  warmup: {duration: 0s}
  warmupRequests: {record: {paths: [/book/], keep: 40}, count: 400, onFailure: refuse}
`

// TestRecordedWarmup scales a service out whose first instance was asked for books. Nobody wrote down which: the newcomer
// is sent what the front of the first one has seen, and that alone, before it is registered.
func TestRecordedWarmup(t *testing.T) {
	need(t, "javac")
	m := launch(t, "coldjvm", func(m *mesh) {
		m.rewriteIn(t, "shop.yaml", regexp.MustCompile(`(name: (?:share|requests|both)\nspec:\n  replicas: )1`), "${1}0")
		m.write(t, "record.yaml", recordYAML)
	})
	old := await(t, "plain", "Serving")
	m.answers(t, "plain")
	l := beginLoad(t, 50, append([]string{"-H", "Authorization: Bearer hunter2"}, coldURLs("plain")...)...)
	l.seconds(t, 22) // an agent tells of them every ten seconds
	scale(t, "plain", 2)
	var newcomer endpoint
	for _, e := range awaitAll(t, "plain", 2, func(e endpoint) bool { return e.Stage == "Serving" }) {
		if e.Incarnation != old.Incarnation {
			newcomer = e
		}
	}
	if _, shots := l.stop(t); len(lost(shots)) != 0 {
		t.Errorf("lost %d of %d requests", len(lost(shots)), len(shots))
	}
	said := map[string]string{}
	for _, e := range events(t) {
		if e.Incarnation == newcomer.Incarnation {
			said[e.Kind] = e.Reason
		}
	}
	t.Logf("%s; %s", said["warmup.requests.started"], said["warmup.requests.ended"])
	if ended := said["warmup.requests.ended"]; !strings.HasPrefix(ended, "count reached ") || !strings.Contains(ended, "400 sent") || strings.Contains(ended, "failed") {
		t.Errorf("warm-up requests of the newcomer: %q, want 400 sent and answered", ended)
	}
	var kinds int
	if _, err := fmt.Sscanf(said["warmup.requests.started"], "%d kinds", &kinds); err != nil || kinds != 20 {
		t.Errorf("warmed up with %q, want the 20 books, and no quote", said["warmup.requests.started"])
	}
}
