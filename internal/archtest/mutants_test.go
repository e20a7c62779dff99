package archtest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Every mutant, a patch that breaks one rule to see whether a test notices, fits the code as it is, and says which
// rule that is. Whether somebody notices is what scripts/mutants shows; it takes minutes.
func TestMutantsStillApply(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: whether patches apply is not known")
	}
	patches, err := filepath.Glob(filepath.Join(root, "test/mutants/*.patch"))
	if err != nil {
		t.Fatal(err)
	}
	if len(patches) < 30 {
		t.Errorf("there are %d mutants, want 30 or more", len(patches))
	}
	for _, patch := range patches {
		name := filepath.Base(patch)
		rule, test := header(t, patch)
		if !strings.HasPrefix(rule, "# rule: ") || !strings.HasPrefix(test, "# test: ./internal/") {
			t.Errorf("%s begins with %q and %q, want \"# rule: SENTENCE\" and \"# test: PACKAGE [REGEXP]\"", name, rule, test)
		}
		cmd := exec.Command("git", "apply", "--check", filepath.Join("test/mutants", name))
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s does not apply any more, write it anew: %v\n%s", name, err, out)
		}
	}
}

// Header returns the first two lines of a file.
func header(t *testing.T, path string) (first, second string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	first = lines.Text()
	lines.Scan()
	return first, lines.Text()
}
