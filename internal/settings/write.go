package settings

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// A written file is what a plan makes of one: data in place of base, both nil where there is none.
type fileChange struct {
	rel        string // relative to the directory, with slashes
	base, data *string
}

// write makes a change to a file as a whole, or not at all: a reader sees the file as it was or as it is to be. What has
// changed since base was read is left alone. The directory cannot be left, neither by a name nor by a link; a link in it
// stays one, and the file's mode and owner stay its own.
func (e *Editor) write(ctx context.Context, c fileChange) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", c.rel, err)
		}
	}()
	base, err := filepath.EvalSymlinks(e.base())
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	local, info, err := resolved(root, base, filepath.FromSlash(c.rel))
	if err != nil {
		return err
	}
	if err := unchanged(root, local, c.base); err != nil {
		return err
	}
	if c.data == nil {
		return root.Remove(filepath.FromSlash(c.rel))
	}
	beside := path.Join(filepath.ToSlash(filepath.Dir(local)), ".crossfade-"+rand.Text()+".tmp") // config reads nothing that begins with a dot
	if err := e.fill(ctx, root, beside, *c.data, info); err != nil {
		return errors.Join(err, ignoreAbsent(root.Remove(beside)))
	}
	if err := root.Rename(beside, local); err != nil {
		return errors.Join(err, ignoreAbsent(root.Remove(beside)))
	}
	return syncDir(root, filepath.Dir(local))
}

// resolved follows links to the file that a name in the directory stands for; info is nil where there is none yet.
func resolved(root *os.Root, base, name string) (string, fs.FileInfo, error) {
	target, err := filepath.EvalSymlinks(filepath.Join(base, name))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := root.Lstat(name); err == nil {
			return "", nil, fmt.Errorf("%w: it is a link to a file that is not there", ErrRequest)
		}
		return name, nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	local, err := filepath.Rel(base, target)
	if err != nil || !filepath.IsLocal(local) {
		return "", nil, fmt.Errorf("%w: it is a link to outside of the configuration's directory; edit it there", ErrRequest)
	}
	info, err := root.Stat(local)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is no regular file", ErrRequest)
	}
	return local, info, err
}

// unchanged says with ErrDigest that a file is not what it was when it was read; nil is one that was not there.
func unchanged(root *os.Root, local string, base *string) error {
	now, err := root.ReadFile(local)
	switch {
	case errors.Is(err, fs.ErrNotExist) && base == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return ErrDigest
	case err != nil:
		return err
	case base == nil || *base != string(now):
		return ErrDigest
	}
	return nil
}

// fill writes a new file to disk, with the mode and the owner of the one whose place it will take.
func (e *Editor) fill(ctx context.Context, root *os.Root, name, data string, was fs.FileInfo) (err error) {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if was != nil {
		if err := f.Chmod(was.Mode().Perm()); err != nil {
			return err
		}
		e.give(ctx, f, was)
	}
	if _, err := f.WriteString(data); err != nil {
		return err
	}
	return f.Sync()
}

// give hands a new file to the owner of another. Only root may; of others the text matters more.
func (e *Editor) give(ctx context.Context, f *os.File, was fs.FileInfo) {
	owner, ok := was.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		e.log().WarnContext(ctx, "a file of configuration has another owner now", "file", was.Name(), "err", err)
	}
}

func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
