package control

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// program returns the path, without symbolic links, of a program that replicas may run. Commands come over a port that
// everybody on this machine can reach, so a program that somebody else could have written, or could put another in the
// place of, is refused.
func program(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("program %q: want an absolute path; replicas run elsewhere", path)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("program: %w", err)
	}
	info, err := os.Stat(resolved)
	switch {
	case err != nil:
		return "", fmt.Errorf("program: %w", err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return "", fmt.Errorf("program %s: it cannot be executed", path)
	}
	for at := resolved; ; at = filepath.Dir(at) {
		if info, err = os.Stat(at); err != nil {
			return "", fmt.Errorf("program: %w", err)
		}
		if !ours(info) {
			return "", fmt.Errorf("program %s: %s belongs to somebody else, or others may write there; move the program to where only you and root may", path, at)
		}
		if at == filepath.Dir(at) {
			return resolved, nil
		}
	}
}

// ours says whether nobody but root and whoever runs this can change a file, or what is in a directory. In a sticky
// directory everybody can change only what is theirs.
func ours(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid != 0 && int(owner.Uid) != os.Getuid() {
		return false
	}
	sticky := info.IsDir() && info.Mode()&fs.ModeSticky != 0
	return sticky || info.Mode()&0o022 == 0
}
