//go:build integration

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// root is the project's directory; binaries are in its bin.
const root = "../.."

func TestMain(m *testing.M) {
	if order := os.Getenv(siegeOrder); order != "" {
		os.Exit(besiege(order))
	}
	if order := os.Getenv(namedOrder); order != "" {
		os.Exit(beNamed(order))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	if err := becomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	if os.Getenv(aloneVariable) != "" {
		return runAll(m)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "make", "--no-print-directory", "build")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: make build: %v\n%s", err, out)
		return 1
	}
	return runAll(m)
}

// binary returns the absolute path of the shipped binary.
func binary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", "crossfade"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// full says whether windows have the length that the README speaks of.
func full() bool { return os.Getenv("CROSSFADE_FULL") != "" }

// need skips the test when a command is not installed, except where nothing may be skipped.
func need(t *testing.T, command string) {
	t.Helper()
	if _, err := exec.LookPath(command); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and CI skips nothing: run scripts/setup", command)
	}
	t.Skipf("%s is not installed: run scripts/setup", command)
}

// eventually calls ask until it is satisfied, and fails the test when it has not been within a bound that no
// working system comes near. ask says what it still waits for; "" is satisfied.
func eventually(t *testing.T, bound time.Duration, ask func() (waiting string)) {
	t.Helper()
	deadline := time.NewTimer(bound)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		waiting := ask()
		if waiting == "" {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("still waiting after %v: %s", bound, waiting)
		case <-again.C:
		}
	}
}
