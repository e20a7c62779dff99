package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// extensionTable are the endings of files that are read.
var extensionTable = []string{".yaml", ".yml", ".json"}

// listDir names the files of configuration in and below a directory, or the one file that path names.
func listDir(path string) ([]string, []Finding) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, []Finding{unreadable(path, err)}
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	root := path + string(filepath.Separator) // so that a link to a directory is followed
	var names []string
	var findings []Finding
	walk := func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			findings = append(findings, unreadable(name, err))
		case name != root && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type()&fs.ModeSymlink != 0 && isDir(name):
			findings = append(findings, Finding{
				File: name, Severity: Warning, Rule: Unused, Message: "a symbolic link to a directory is not followed",
			})
		case !d.IsDir() && slices.Contains(extensionTable, strings.ToLower(filepath.Ext(name))):
			names = append(names, name)
		}
		return nil
	}
	if err := filepath.WalkDir(root, walk); err != nil {
		findings = append(findings, unreadable(path, err))
	}
	if len(names) == 0 && len(findings) == 0 {
		findings = append(findings, nothingIn(path))
	}
	return names, findings
}

func nothingIn(dir string) Finding {
	return Finding{File: dir, Rule: Missing, Message: "there is no " + strings.Join(extensionTable, ", ") + " file here"}
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

var errNotRegular = errors.New("it is no regular file")

// readFile reads a regular file; a pipe or a device could keep the reader waiting for ever.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("it has %d bytes; more than %d are not read", info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

func unreadable(name string, err error) Finding {
	return Finding{File: name, Rule: Unreadable, Message: "cannot be read: " + faultOf(err).Error()}
}

// faultOf is what went wrong with a file, for messages that name the file already.
func faultOf(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
