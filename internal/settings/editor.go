package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// A Store keeps Lifecycles that people have put there, as text by NAMESPACE/NAME.
type Store interface {
	ListLifecycles(ctx context.Context) (map[string]string, error)

	// SwapLifecycle puts a document there, or takes it away where next is nil, if what is there is was: nil for none. It says
	// whether it is so now.
	SwapLifecycle(ctx context.Context, namespace, name string, was, next *string) (bool, error)
}

// An Editor reads and writes the documents of one configuration. Its fields must not change once it is used. Several
// goroutines may use it.
//
// What it writes it has checked as control will read it: a change that brings an error in is refused. A change is about
// one document and is made only while that document is what its editor has seen, by its digest: nobody else's change is lost, neither
// in a file nor in the store.
type Editor struct {
	Dir      string // the directory of configuration, or its one file
	Options  config.Options
	Store    Store                               // nil: there is none
	ReadOnly string                              // why nothing may be written; "" is that it may
	Snapshot func() *fleet.Snapshot              // what is in force, for workloads that only agents know; nil: there are none
	User     func(*http.Request) string          // who asks; nil: nobody in particular
	Trusted  func(*http.Request) bool            // whether who asks may see credentials in what is edited here; nil: everybody may
	Changed  func(ctx context.Context, c Change) // is told of what was written; nil: nobody
	Log      *slog.Logger

	writing sync.Mutex
}

// A Change is what somebody has done to a document.
type Change struct {
	By     string // who
	What   string // "VirtualService default/reviews"
	Action string // "created", "changed" or "deleted"
	File   string // relative to the directory; "" is the store
	Line   int    // of the document in it, from 1
}

// Sources of documents.
const (
	fromFile = "file"
	fromEtcd = "etcd"
)

// A Document is one document of the configuration.
type Document struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`           // relative to the directory; "" in the store
	Line      int    `json:"line,omitempty"` // of its first line, from 1
	Source    string `json:"source"`         // "file" or "etcd"
	Digest    string `json:"digest"`         // of its text
	Writable  bool   `json:"writable"`
	Why       string `json:"why,omitempty"`    // it is not
	Hidden    bool   `json:"hidden,omitempty"` // its text is a secret
}

// what names a document for people.
func (d *Document) what() string { return d.Kind + " " + d.Namespace + "/" + d.Name }

// What the editor refuses.
var (
	ErrUnknown  = errors.New("there is none")
	ErrDigest   = errors.New("the document has been changed since; load it again")
	ErrReadOnly = errors.New("nothing may be written")
	ErrAway     = errors.New("the store of Lifecycles cannot be read now")
	ErrRequest  = errors.New("cannot be done")
)

// base is the directory that names of files are relative to.
func (e *Editor) base() string {
	if info, err := os.Stat(e.Dir); err == nil && !info.IsDir() {
		return filepath.Dir(e.Dir)
	}
	return e.Dir
}

// oneFile says whether the configuration is one file.
func (e *Editor) oneFile() bool {
	info, err := os.Stat(e.Dir)
	return err == nil && !info.IsDir()
}

// relative is the name of a file in the directory, as the API shows it; false where it is not in there.
func (e *Editor) relative(name string) (string, bool) {
	rel, err := filepath.Rel(e.base(), name)
	if err != nil || !filepath.IsLocal(rel) {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// destination checks the name of a file that a new document is to stand in.
func (e *Editor) destination(rel string) error {
	local := filepath.FromSlash(rel)
	fail := func(why string) error { return fmt.Errorf("file %q: %w: %s", rel, ErrRequest, why) }
	switch ext := strings.ToLower(filepath.Ext(local)); {
	case !filepath.IsLocal(local) || filepath.Clean(local) != local || strings.ContainsFunc(rel, func(c rune) bool { return c < ' ' || c == '\\' }):
		return fail("name one in the directory of configuration")
	case ext != ".yaml" && ext != ".yml":
		return fail("its name must end in .yaml or .yml, or it is not read")
	case e.oneFile() && local != filepath.Base(e.Dir):
		return fail("the configuration is one file, " + filepath.Base(e.Dir))
	}
	for part := range strings.SplitSeq(filepath.ToSlash(local), "/") {
		if strings.HasPrefix(part, ".") {
			return fail("what begins with a dot is not read")
		}
	}
	if !e.plainDir(filepath.Dir(local)) {
		return fail("there is no such directory; what links lead to is not read")
	}
	return nil
}

// plainDir says whether a name, relative to the directory, is that of a directory, and no link on the way to it.
func (e *Editor) plainDir(local string) bool {
	base, err := filepath.EvalSymlinks(e.base())
	if err != nil {
		return false
	}
	found, err := filepath.EvalSymlinks(filepath.Join(base, local))
	if err != nil || found != filepath.Join(base, local) {
		return false
	}
	info, err := os.Stat(found)
	return err == nil && info.IsDir()
}
