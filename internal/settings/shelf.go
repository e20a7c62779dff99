package settings

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/fleet"
)

// A shelf is every document there is, read at one time.
type shelf struct {
	files     map[string]string // their text, by name relative to the directory
	documents []document        // by file and line; those of the store last
	away      error             // why the store cannot be read; nil: it can, or there is none

	loaded   bool // desired and findings are what all of it comes to
	desired  *fleet.Desired
	findings []config.Finding
}

// A document is a Document with its text.
type document struct {
	Document

	text  string
	veil  []*yaml.Node // values that nobody is shown
	shown string       // the text without them; not looked at where all of it is Hidden
	fixed bool         // it is of no kind that is edited here, or a secret
	span  span
	root  *yaml.Node // nil where it cannot be read
}

// writableTable are the kinds that are edited here. What others say runs on this machine, or comes from elsewhere.
var writableTable = []string{"VirtualService", "DestinationRule", "Gateway", "IstioGateway", "Lifecycle"}

// storeTime bounds how long a page waits for the store: files are shown and edited without it.
const storeTime = 3 * time.Second

// maxText bounds a file that is edited, as config bounds what it reads.
const maxText = 4 << 20

// shelf reads all documents.
func (e *Editor) shelf(ctx context.Context) *shelf {
	s := &shelf{files: map[string]string{}}
	names, _ := config.Files(e.Dir) // what cannot be read is a finding of the whole
	for _, name := range names {
		rel, ok := e.relative(name)
		if !ok {
			continue
		}
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxText {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		s.files[rel] = string(data)
		s.addFile(rel, string(data))
	}
	slices.SortStableFunc(s.documents, func(a, b document) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	if e.Store != nil {
		listing, cancel := context.WithTimeout(ctx, storeTime)
		stored, err := e.Store.ListLifecycles(listing)
		cancel()
		if err != nil {
			s.away = fmt.Errorf("%w: %w", ErrAway, err)
		}
		s.addStored(stored)
	}
	s.identify()
	if e.ReadOnly != "" {
		for i := range s.documents {
			s.documents[i].Writable, s.documents[i].Why = false, e.ReadOnly
		}
	}
	return s
}

func (s *shelf) addFile(rel, text string) {
	for _, at := range split(text) {
		d := newDocument(text[at.from:at.to])
		d.File, d.Line, d.Source, d.span = rel, at.line, fromFile, at
		s.documents = append(s.documents, d)
	}
}

func (s *shelf) addStored(stored map[string]string) {
	names := make([]string, 0, len(stored))
	for name := range stored {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		d := newDocument(stored[name])
		d.Line, d.Source = 1, fromEtcd
		namespace, own, _ := strings.Cut(name, "/")
		if d.Namespace != namespace || d.Name != own { // it cannot be read, or says another name than it is kept under
			d.Kind, d.Namespace, d.Name = "Lifecycle", namespace, own
		}
		s.documents = append(s.documents, d)
	}
}

// newDocument reads what a document's text says of itself.
func newDocument(text string) document {
	d := document{text: text}
	d.Digest = textDigest(text)
	if n, err := root(text); err == nil && n != nil && n.Kind == yaml.MappingNode {
		d.root = n
		d.Kind, d.Namespace, d.Name = scalar(n, "kind"), scalar(n, "metadata", "namespace"), scalar(n, "metadata", "name")
		switch {
		case d.Namespace != "" || d.Name == "":
		case d.Kind == "IstioGateway":
			d.Namespace = fleet.GatewayNamespace
		default:
			d.Namespace = "default"
		}
	}
	if d.Kind != "WarmupRequests" && !slices.Contains(writableTable, d.Kind) { // what is edited is shown as it is, or the masks would be written
		d.veil = secretValues(d.root)
	}
	shown, ok := masked(text, d.veil)
	d.shown, d.Hidden = shown, !ok || unusual(text) || secret(text, d.root)
	d.Why = d.whyFixed()
	d.Writable = d.Why == ""
	if d.fixed = !d.Writable; d.Hidden || d.shown != text {
		d.Digest = veiled(&d) // by that of its text a secret could be guessed
	}
	return d
}

// whyFixed says why a document is not edited here; "" is that it is. What cannot be read may be mended.
func (d *document) whyFixed() string {
	switch {
	case unusual(d.text):
		return "it has ends of lines that only YAML knows: edit it where it lies"
	case d.Hidden:
		return "it holds a secret: edit it where it lies"
	case d.root != nil && !slices.Contains(writableTable, d.Kind):
		return cmp.Or(d.Kind, "what has no kind") + " is not edited here, only " + strings.Join(writableTable, ", ")
	}
	return ""
}

// forView is a document for those who may not change it: without the credentials in it. Nobody can tell what they are by the digest.
func (d *document) forView() document {
	if d.Hidden || d.root == nil {
		return *d
	}
	text, ok := masked(d.text, slices.Concat(d.veil, credentials(d.root)))
	if ok && text == d.shown {
		return *d
	}
	seen := *d
	seen.shown, seen.Hidden = text, !ok
	seen.Digest = veiled(&seen)
	return seen
}

// veiled names what is shown of a document, not its text.
func veiled(d *document) string {
	if d.Hidden {
		return textDigest("hidden " + d.Kind + "/" + d.Namespace + "/" + d.Name)
	}
	return textDigest("shown " + d.shown)
}

// textDigest names a text.
func textDigest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// identify gives every document an id that no other has.
func (s *shelf) identify() {
	seen := map[string]int{}
	for i := range s.documents {
		d := &s.documents[i]
		id := identity(d)
		if seen[id]++; seen[id] > 1 || strings.HasPrefix(id, "~") {
			id = fmt.Sprintf("%s~%d", id, seen[id])
		}
		d.ID = id
	}
}

func identity(d *document) string {
	if d.Kind == "" || d.Name == "" {
		return "~" + d.File
	}
	id := d.Kind + "." + d.Namespace + "." + d.Name
	if d.Source == fromEtcd {
		return "etcd." + id
	}
	return id
}

// find returns the document with an id.
func (s *shelf) find(id string) (*document, error) {
	for i := range s.documents {
		if s.documents[i].ID == id {
			return &s.documents[i], nil
		}
	}
	if s.away != nil && strings.HasPrefix(id, "etcd.") {
		return nil, s.away
	}
	return nil, fmt.Errorf("%q: %w", id, ErrUnknown)
}

// of returns the document of an object that configuration knows by its kind and namespace/name; nil where none is.
func (s *shelf) of(kind, key string) *document {
	for i := range s.documents {
		if d := &s.documents[i]; d.Kind == kind && d.Namespace+"/"+d.Name == key && d.Source == fromFile {
			return d
		}
	}
	return nil
}

// stored are the documents of the store, by NAMESPACE/NAME.
func (s *shelf) stored() map[string]string {
	all := map[string]string{}
	for i := range s.documents {
		if d := &s.documents[i]; d.Source == fromEtcd {
			all[d.Namespace+"/"+d.Name] = d.text
		}
	}
	return all
}

// path is where a file of the configuration is, as config names it.
func (e *Editor) path(rel string) string {
	if e.oneFile() {
		return e.Dir
	}
	return filepath.Join(e.Dir, filepath.FromSlash(rel))
}
