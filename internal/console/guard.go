package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"crossfade.dev/internal/admin"
)

// policy is what a browser lets our page do: load what we serve, talk to us, and nothing else. Nothing may stand in a line of it,
// no text becomes markup or a script in it, and nobody may frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// guarded lets through to next what was meant for this program: see [admin.Guard]. An answer of the API is not for pages of other
// sites either, but that a link leads to it.
func guarded(hosts []string, next http.Handler) http.Handler {
	refused := admin.Refuses(hosts...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		head.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			head.Set("Strict-Transport-Security", "max-age=31536000")
		}
		err := refused(r)
		if err == nil && foreign(r) {
			err = errors.New("refused: a page of another site asks")
		}
		if err != nil {
			refuse(w, http.StatusForbidden, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// foreign says whether a page of another site asks for something that it cannot show, by what its browser says; an older one says
// only for which page it asks, and that where it streams.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "":
		origin := r.Header.Get("Origin")
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host))
	case "same-origin", "none":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// reply answers with JSON, in which nothing reads as markup.
func reply(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		data, status = []byte(`{"error":"the answer cannot be written as JSON"}`), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // the client left: there is nobody to tell
}

// refuse answers with an [admin.Problem].
func refuse(w http.ResponseWriter, status int, err error, suggestions ...string) {
	reply(w, status, admin.Problem{Error: err.Error(), Suggestions: suggestions})
}
