package config

import (
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"crossfade.dev/internal/fleet"
)

// Files names the files that Load reads of a directory, or the one file that dir names, in order. What cannot be read has
// a finding.
func Files(dir string) ([]string, []Finding) { return listDir(dir) }

// LoadOver is Load of a directory as it would be with other files laid over it: by name, as [Files] has them, what a file
// would hold. Nil is a file that would not be there. What is named need not be in the directory yet.
func LoadOver(dir string, over map[string][]byte, o Options) (*fleet.Desired, []Finding) {
	l := newLoader(o)
	l.over = map[string][]byte{}
	for name, data := range over {
		l.over[filepath.Clean(name)] = data
	}
	l.look(dir)
	return l.build()
}

// list names the files of a directory with those that are laid over it.
func (l *loader) list(dir string) ([]string, []Finding) {
	names, findings := listDir(dir)
	if len(l.over) == 0 {
		return names, findings
	}
	known := map[string]bool{}
	names = slices.DeleteFunc(names, func(name string) bool {
		known[filepath.Clean(name)] = true
		data, laid := l.over[filepath.Clean(name)]
		return laid && data == nil
	})
	for name, data := range l.over {
		if data != nil && !known[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		findings = slices.DeleteFunc(findings, func(f Finding) bool { return f.Rule == Missing })
	} else if len(findings) == 0 {
		findings = []Finding{nothingIn(dir)}
	}
	return names, findings
}

// laid returns the file that lies over the one of this name, where one does.
func (l *loader) laid(name string) (*parsedFile, bool, error) {
	data, found := l.over[filepath.Clean(name)]
	switch {
	case !found:
		return nil, false, nil
	case data == nil:
		return nil, true, &fs.PathError{Op: "read", Path: name, Err: syscall.ENOENT}
	}
	return l.parse(File{Name: name, Data: data}), true, nil
}
