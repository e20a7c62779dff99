package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestValidateExitCodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(file, []byte("kind: Service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"validate", "../../examples/bookinfo"}, 0},
		{[]string{"validate", file}, 1},
		{[]string{"validate", "nowhere"}, 1},
		{[]string{"validate"}, 2},
		{[]string{"validate", "a", "b"}, 2},
		{[]string{"validate", "--strikt", file}, 2},
		{[]string{"validate", "--output", "xml", file}, 2},
		{[]string{"validate", "--output", "json", file}, 1},
		{[]string{"validate", "--output", "sarif", "../../examples/bookinfo"}, 0},
	} {
		var stdout, stderr bytes.Buffer
		if got := run(t.Context(), c.args, &stdout, &stderr); got != c.want {
			t.Errorf("%v: got exit code %d, want %d\n%s%s", c.args, got, c.want, &stdout, &stderr)
		}
	}
}
