package settings

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"crossfade.dev/internal/config"
)

// maxBody bounds a request: a document that people write is far smaller.
const maxBody = 1 << 20

// Handler serves /api/v1/documents, /api/v1/templates and /api/v1/settings/…. Who may ask is its caller's business: every
// POST needs the role that may change things.
func (e *Editor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/documents", e.serveDocuments)
	mux.HandleFunc("GET /api/v1/documents/{id...}", e.serveDocument)
	mux.HandleFunc("GET /api/v1/templates", e.serveTemplates)
	mux.HandleFunc("GET /api/v1/settings/start", e.serveStart)
	mux.HandleFunc("GET /api/v1/settings/gateway", e.serveGateway)
	text := func(r *documentRequest) (propose, *string, error) {
		if r.YAML == "" {
			return nil, nil, fmt.Errorf("yaml: %w: it is missing", ErrRequest)
		}
		return e.proposeText(r), r.Digest, nil
	}
	gone := func(r *documentRequest) (propose, *string, error) {
		if r.ID == "" || r.YAML != "" || r.File != "" || r.Source != "" {
			return nil, nil, fmt.Errorf("%w: what is to go is named by id and digest alone", ErrRequest)
		}
		return proposeDelete(r.ID), r.Digest, nil
	}
	form := func(r *startRequest) (propose, *string, error) { return e.proposeStart(r), r.Digest, nil }
	gateway := func(r *gatewayRequest) (propose, *string, error) { return e.proposeGateway(r), r.Digest, nil }
	seen := func(r *documentRequest) bool { return r.ID == "" || r.Digest != nil }
	mux.HandleFunc("POST /api/v1/documents/check", serveCheck(e, text))
	mux.HandleFunc("POST /api/v1/documents/apply", serveApply(e, text, seen))
	mux.HandleFunc("POST /api/v1/documents/delete/check", serveCheck(e, gone))
	mux.HandleFunc("POST /api/v1/documents/delete", serveApply(e, gone, seen))
	mux.HandleFunc("POST /api/v1/settings/start/check", serveCheck(e, form))
	mux.HandleFunc("POST /api/v1/settings/start/apply", serveApply(e, form, func(r *startRequest) bool { return r.Digest != nil }))
	mux.HandleFunc("POST /api/v1/settings/gateway/check", serveCheck(e, gateway))
	mux.HandleFunc("POST /api/v1/settings/gateway/apply", serveApply(e, gateway, func(r *gatewayRequest) bool { return r.Digest != nil }))
	return mux
}

// Documents are all documents, in a list.
type Documents struct {
	Writable  bool       `json:"writable"`
	Why       string     `json:"why,omitempty"` // it is not
	Etcd      bool       `json:"etcd"`          // Lifecycles may be kept in etcd
	Documents []Document `json:"documents"`
	Findings  []Finding  `json:"findings"` // of the configuration as it is
}

func (e *Editor) serveDocuments(w http.ResponseWriter, r *http.Request) {
	if !parameters(w, r) {
		return
	}
	s := e.shelf(r.Context())
	trusted := e.trusts(r)
	all := Documents{Writable: e.ReadOnly == "", Why: e.ReadOnly, Etcd: e.Store != nil, Documents: []Document{}, Findings: []Finding{}}
	for i := range s.documents {
		d := s.documents[i]
		if !trusted {
			d = d.forView()
		}
		all.Documents = append(all.Documents, d.Document)
	}
	_, findings := e.asItIs(s)
	for _, f := range findings {
		all.Findings = append(all.Findings, e.finding(f, nil))
	}
	if s.away != nil {
		all.Findings = append(all.Findings, Finding{Severity: config.Warning, Rule: config.Unreadable, Message: s.away.Error() + "; its Lifecycles are not in this list"})
	}
	answer(w, http.StatusOK, all)
}

func (e *Editor) serveDocument(w http.ResponseWriter, r *http.Request) {
	if !parameters(w, r) {
		return
	}
	d, err := e.shelf(r.Context()).find(r.PathValue("id"))
	if err != nil {
		fail(w, err)
		return
	}
	seen := *d
	if !e.trusts(r) {
		seen = d.forView()
	}
	shown := struct {
		Document

		YAML string `json:"yaml"`
	}{seen.Document, seen.shown}
	if seen.Hidden {
		shown.YAML = ""
	}
	answer(w, http.StatusOK, shown)
}

// trusts says whether who asks may see the credentials of documents that are edited here.
func (e *Editor) trusts(r *http.Request) bool { return e.Trusted == nil || e.Trusted(r) }

func (e *Editor) serveTemplates(w http.ResponseWriter, r *http.Request) {
	if !parameters(w, r) {
		return
	}
	d, _ := config.LoadOver(e.Dir, nil, e.Options) // where it has errors, templates speak of a service of their own
	answer(w, http.StatusOK, map[string][]Template{"templates": templates(d)})
}

func (e *Editor) serveStart(w http.ResponseWriter, r *http.Request) {
	if !parameters(w, r, "workload") {
		return
	}
	if !r.URL.Query().Has("workload") {
		rows, err := e.StartRows(r.Context())
		reply(w, map[string]any{"workloads": rows}, err)
		return
	}
	form, err := e.StartForm(r.Context(), r.URL.Query().Get("workload"))
	reply(w, form, err)
}

func (e *Editor) serveGateway(w http.ResponseWriter, r *http.Request) {
	if !parameters(w, r, "name") {
		return
	}
	if !r.URL.Query().Has("name") {
		rows, err := e.GatewayRows(r.Context())
		reply(w, map[string]any{"gateways": rows}, err)
		return
	}
	form, err := e.GatewayForm(r.Context(), r.URL.Query().Get("name"))
	reply(w, form, err)
}

// serveCheck answers what a change would come to.
func serveCheck[R any](e *Editor, of func(*R) (propose, *string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wanted := new(R)
		if !parameters(w, r) || !body(w, r, wanted) {
			return
		}
		propose, digest, err := of(wanted)
		if err != nil {
			fail(w, err)
			return
		}
		p, err := e.check(r.Context(), propose, digest)
		if err != nil {
			fail(w, err)
			return
		}
		answer(w, http.StatusOK, p.Check)
	}
}

// serveApply makes a change; seen says whether a request names what it was made of.
func serveApply[R any](e *Editor, of func(*R) (propose, *string, error), seen func(*R) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wanted := new(R)
		if !parameters(w, r) || !body(w, r, wanted) {
			return
		}
		propose, digest, err := of(wanted)
		if err == nil && !seen(wanted) {
			err = fmt.Errorf("digest: %w: it is missing; send that of what was looked at", ErrRequest)
		}
		if err != nil {
			fail(w, err)
			return
		}
		by := ""
		if e.User != nil {
			by = e.User(r)
		}
		// What has been begun is brought to its end, whether or not the page still waits.
		done, err := e.apply(context.WithoutCancel(r.Context()), by, propose, digest)
		reply(w, done, err)
	}
}

// parameters refuses parameters that nobody knows.
func parameters(w http.ResponseWriter, r *http.Request, known ...string) bool {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		fail(w, fmt.Errorf("parameters: %w: %w", ErrRequest, err))
		return false
	}
	for name := range values {
		if !slices.Contains(known, name) {
			fail(w, fmt.Errorf("parameter %q: %w: it is not known", name, ErrRequest))
			return false
		}
	}
	return true
}

// body reads a request, and answers when it is none.
func body(w http.ResponseWriter, r *http.Request, into any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		answer(w, http.StatusRequestEntityTooLarge, problem{Error: fmt.Sprintf("the request has more than %d bytes", maxBody), Suggestions: []string{}})
		return false
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err = d.Decode(into); err == nil {
			if _, more := d.Token(); !errors.Is(more, io.EOF) {
				err = errors.New("something follows the request")
			}
		}
	}
	if err != nil {
		fail(w, fmt.Errorf("body: %w: %w", ErrRequest, err))
		return false
	}
	return true
}

// A problem is the answer to what cannot be done.
type problem struct {
	Error       string    `json:"error"`
	Suggestions []string  `json:"suggestions"`
	Digest      *string   `json:"digest,omitempty"`   // with 409: what is there now
	Findings    []Finding `json:"findings,omitempty"` // with 422
}

func reply(w http.ResponseWriter, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, v)
}

func fail(w http.ResponseWriter, err error) {
	p, status := problem{Error: err.Error(), Suggestions: []string{}}, http.StatusInternalServerError
	changed, isChanged := errors.AsType[*digestError](err)
	refused, isRefused := errors.AsType[*refusal](err)
	switch {
	case isChanged:
		p.Digest, status = &changed.now, http.StatusConflict
	case isRefused:
		p.Findings, status = refused.findings, http.StatusUnprocessableEntity
	case errors.Is(err, ErrDigest):
		status = http.StatusConflict
	case errors.Is(err, ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, ErrAway):
		status = http.StatusServiceUnavailable
	case errors.Is(err, ErrReadOnly):
		status = http.StatusForbidden
	case errors.Is(err, ErrRequest):
		status = http.StatusBadRequest
	}
	answer(w, status, p)
}

func answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(data, '\n')); err != nil {
		return // who asked is gone; nobody is left to tell
	}
}
