package console

import (
	"bytes"
	"net/http"

	"crossfade.dev/internal/release"
)

// reportPolicy is for a page that carries all of its style in itself, and has no script.
const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-downloads"

// report answers with a release as a page of its own.
func (c *Console) report(w http.ResponseWriter, r *http.Request) {
	if err := known(r.URL.Query(), "download"); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	one, err := c.release(r.PathValue("id"))
	if err != nil {
		missing(w, err)
		return
	}
	var lives []release.Episode
	for _, ids := range [][]string{one.Came, one.Went} {
		for _, id := range ids {
			if e, ok := c.History.Episode(id); ok {
				lives = append(lives, e)
			}
		}
	}
	var b bytes.Buffer
	if err := c.Report(&b, one, lives); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	if r.URL.Query().Has("download") {
		w.Header().Set("Content-Disposition", `attachment; filename="release-`+plain(one.ID)+`.html"`)
	}
	w.Header().Set("Content-Security-Policy", reportPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the client left: there is nobody to tell
}
