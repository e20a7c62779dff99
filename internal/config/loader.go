package config

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// racy is how old a change must be for the time of change to tell the next one apart: file systems count it in steps.
const racy = 2 * time.Second

// A loader turns files into a Desired, time and again: a file that is as it was is neither read nor parsed once more.
// It serves one goroutine.
type loader struct {
	options Options
	reader  *reader
	known   map[string]*parsedFile // by name, from earlier looks
	over    map[string][]byte      // by clean name: what is read instead of a file; nil is none, see [LoadOver]

	files    []*parsedFile    // of the latest look, in order
	findings []Finding        // that came up when the files were read
	absent   map[string]error // files that objects name, and that could not be read

	reads, parses int // files that were read and parsed so far
}

// A parsedFile is a file, taken apart. It does not change.
type parsedFile struct {
	name     string
	info     os.FileInfo // when it was read; nil where it was not
	read     time.Time
	sum      [sha256.Size]byte
	objects  []*object
	findings []Finding
}

func newLoader(o Options) *loader {
	return &loader{options: o, reader: newReader(o.Lenient), known: map[string]*parsedFile{}}
}

// look reads the files of a directory, or the one file that dir names.
func (l *loader) look(dir string) {
	names, findings := l.list(dir)
	l.files, l.findings = nil, findings
	for _, name := range names {
		f, err := l.file(name)
		if err != nil {
			l.findings = append(l.findings, unreadable(name, err))
			continue
		}
		l.add(f)
	}
	l.lookBeside()
	clear(l.known)
	for _, f := range l.files {
		l.known[f.name] = f
	}
}

// lookBeside reads the files that objects name and that are not among those that were read.
func (l *loader) lookBeside() {
	l.absent = map[string]error{}
	read := map[string]bool{}
	for _, f := range l.files {
		read[filepath.Clean(f.name)] = true
	}
	for _, f := range slices.Clone(l.files) {
		for _, o := range f.objects {
			name := o.namedFile()
			if name == "" || read[name] {
				continue
			}
			read[name] = true
			beside, err := l.file(name)
			if err != nil {
				l.absent[name] = faultOf(err)
				continue
			}
			beside.objects = slices.DeleteFunc(slices.Clone(beside.objects), func(o *object) bool { return o.kind != requestsKind })
			l.add(beside)
		}
	}
}

func (l *loader) add(f *parsedFile) { l.files = append(l.files, f) }

// file returns a file as it is now.
func (l *loader) file(name string) (*parsedFile, error) {
	if f, laid, err := l.laid(name); laid {
		return f, err
	}
	old := l.known[name]
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if old != nil && old.still(info) {
		return old, nil
	}
	now := time.Now()
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	l.reads++
	if old != nil && old.sum == sha256.Sum256(data) {
		same := *old
		same.info, same.read = info, now
		return &same, nil
	}
	f := l.parse(File{Name: name, Data: data})
	f.info, f.read = info, now
	return f, nil
}

// still says whether a file is certain to be what it was when it was read.
func (f *parsedFile) still(info os.FileInfo) bool {
	return f.info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() &&
		f.info.ModTime().Equal(info.ModTime()) && f.read.Sub(info.ModTime()) > racy
}

func (l *loader) parse(f File) *parsedFile {
	l.parses++
	out := &parsedFile{name: f.Name, sum: sha256.Sum256(f.Data)}
	out.objects, out.findings = l.reader.file(f)
	return out
}

// seen is the same for looks at the same files with the same content and the same findings.
func (l *loader) seen() string {
	type file struct {
		Name string
		Sum  [sha256.Size]byte
	}
	var files []file
	for _, f := range l.files {
		files = append(files, file{f.name, f.sum})
	}
	return digest(struct {
		Files    []file
		Findings []Finding
	}{files, l.findings})
}

// build puts the files of the latest look together.
func (l *loader) build() (*fleet.Desired, []Finding) {
	findings := append([]Finding(nil), l.findings...)
	var objects []*object
	for _, f := range l.files {
		objects = append(objects, f.objects...)
		findings = append(findings, f.findings...)
	}
	desired, faults := build(objects, l.absent, l.options)
	findings = tidy(append(findings, faults...))
	if HasErrors(findings) {
		return nil, findings
	}
	return desired, findings
}
