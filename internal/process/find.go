package process

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Find returns the path of a program as a shell would: one with a slash is a path, from dir where it is relative; any
// other is looked for in PATH.
func Find(program, dir string) (string, error) {
	if strings.Contains(program, "/") {
		if !filepath.IsAbs(program) {
			program = filepath.Join(dir, program)
		}
		return filepath.Abs(program)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("find program %q: %w", program, err)
	}
	return filepath.Abs(path)
}
