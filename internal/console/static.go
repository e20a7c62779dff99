package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// built is the page as `npm run build` in web/ writes it.
//
//go:embed all:dist
var built embed.FS

// A page serves the files of the page from memory, as they are or compressed: each once, when somebody first asks for it.
type page struct {
	files map[string]*file // by path: "/index.html"
}

type file struct {
	plain  []byte
	zipped func() []byte // nil where that is no smaller
	kind   string        // Content-Type
	tag    string        // of plain, in quotes
	hashed bool          // its name changes with its content
}

// index is what every path is answered with that belongs to a view of the page.
const index = "/index.html"

func newPage(from fs.FS) (*page, error) {
	p := &page{files: map[string]*file{}}
	err := fs.WalkDir(from, "dist", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		p.files[strings.TrimPrefix(name, "dist")] = newFile(name, data)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	if p.files[index] == nil {
		return nil, errors.New("read the page: it has no index.html; npm run build in web/ makes it")
	}
	return p, nil
}

func newFile(name string, data []byte) *file {
	sum := sha256.Sum256(data)
	f := &file{
		plain: data, zipped: sync.OnceValue(func() []byte { return zip(data) }), kind: mime.TypeByExtension(path.Ext(name)), tag: `"` + hex.EncodeToString(sum[:16]) + `"`,
		hashed: strings.HasPrefix(name, "dist/assets/"),
	}
	if kind, known := kindTable[path.Ext(name)]; known { // whatever this machine believes
		f.kind = kind
	}
	return f
}

// zip compresses; nil where that makes nothing smaller.
func zip(data []byte) []byte {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := z.Write(data); err != nil {
		return nil
	}
	if err := z.Close(); err != nil || b.Len() >= len(data) {
		return nil
	}
	return b.Bytes()
}

var kindTable = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".json": "application/json", ".webmanifest": "application/manifest+json", ".png": "image/png", ".ico": "image/x-icon",
}

// ServeHTTP is http.Handler's. A path that is no file's, but may be one of a view, is answered with the page, which knows its views.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s %s: the page is only read", r.Method, r.URL.Path))
		return
	}
	f := p.files[r.URL.Path]
	if f == nil && path.Ext(r.URL.Path) == "" && !strings.HasPrefix(r.URL.Path, "/assets/") || viewed(r.URL.Path) {
		f = p.files[index]
	}
	if f == nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s", r.URL.Path))
		return
	}
	f.serve(w, r)
}

// viewed says whether a path names something that a view shows: names may have dots in them.
func viewed(of string) bool {
	for _, view := range []string{"/services/", "/instances/", "/releases/", "/settings/"} {
		if strings.HasPrefix(of, view) {
			return true
		}
	}
	return false
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Type", f.kind)
	head.Set("Etag", f.tag)
	head.Set("Cache-Control", "no-cache") // it is asked for again, and mostly has not changed
	if f.hashed {
		head.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	data := f.plain
	head.Set("Vary", "Accept-Encoding")
	if takesGzip(r.Header.Values("Accept-Encoding")) {
		if zipped := f.zipped(); zipped != nil {
			head.Set("Content-Encoding", "gzip")
			head.Set("Etag", strings.TrimSuffix(f.tag, `"`)+`-gzip"`) // another representation
			data = zipped
		}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// takesGzip says whether gzip is accepted; where it says with which weight, that is not 0.
func takesGzip(fields []string) bool {
	for part := range strings.SplitSeq(strings.Join(fields, ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			weight = strings.ReplaceAll(weight, " ", "")
			return strings.Trim(strings.TrimPrefix(weight, "q="), "0.") != "" || weight == ""
		}
	}
	return false
}
