package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
	"crossfade.dev/internal/series"
)

// What one answer holds at most.
const (
	maxEvents   = 2000
	maxEpisodes = 2000
	maxName     = 512 // bytes of anything that is named
)

// What a parameter may say; the first where it says nothing.
var (
	byTable     = []string{"whole", "version", "endpoint"}
	stateTable  = []string{"all", "running", "gone"}
	sourceTable = []string{"", "prometheus"}
)

var (
	// errUnknown says that there is no thing of some name.
	errUnknown = errors.New("there is no")
	// errElsewhere says that somebody else did not answer.
	errElsewhere = errors.New("who was asked for it does not answer")
)

// A Session is who looks, and what they may do.
type Session struct {
	Role     Role   `json:"role"`
	User     string `json:"user"`
	Loopback bool   `json:"loopback"` // nobody had to log in
	CSRF     string `json:"csrf"`     // for the X-Crossfade-CSRF field of everything that is no GET
	Version  string `json:"version"`
	Program  string `json:"program"`
}

func (c *Console) mountReads(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/session", read(c.session))
	mux.HandleFunc("GET /api/v1/overview", read(func(*http.Request) (any, error) { return c.History.Overview(), nil }))
	mux.HandleFunc("GET /api/v1/services/{name}", read(c.service))
	mux.HandleFunc("GET /api/v1/events", read(c.events, "since", "limit"))
	mux.HandleFunc("GET /api/v1/series", read(c.series, "service", "by", "outside", "from", "to", "step", "source"))
	mux.HandleFunc("GET /api/v1/heat", read(c.heat, "service", "from", "to", "step"))
	mux.HandleFunc("GET /api/v1/episodes", read(c.episodes, "service", "workload", "state", "limit"))
	mux.HandleFunc("GET /api/v1/episodes/{id}", kept("episode", c.episode))
	mux.HandleFunc("GET /api/v1/releases", read(func(*http.Request) (any, error) {
		return map[string][]history.ReleaseRow{"releases": list(c.History.Releases())}, nil
	}))
	mux.HandleFunc("GET /api/v1/releases/{id}", kept("release", c.release))
	if c.Report != nil {
		mux.HandleFunc("GET /api/v1/releases/{id}/report", c.report)
	}
	mux.HandleFunc("GET /api/v1/stream", c.stream)
}

// read answers with what a function finds, as JSON, where only known parameters are given.
func read(find func(*http.Request) (any, error), names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := known(r.URL.Query(), names...)
		if err == nil && slices.ContainsFunc([]string{r.PathValue("name"), r.PathValue("id")}, func(s string) bool { return len(s) > maxName }) {
			err = fmt.Errorf("a name has %d bytes at most", maxName)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		body, err := find(r)
		if err != nil {
			w.Header().Del("Content-Disposition")
			missing(w, err)
			return
		}
		reply(w, http.StatusOK, body)
	}
}

// kept answers with one thing of a kind, by its id: to look at or, with download, as a file.
func kept[T any](kind string, find func(id string) (T, error)) http.HandlerFunc {
	one := read(func(r *http.Request) (any, error) { return find(r.PathValue("id")) }, "download")
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("download") {
			w.Header().Set("Content-Disposition", `attachment; filename="`+kind+`-`+plain(r.PathValue("id"))+`.json"`)
		}
		one(w, r)
	}
}

// missing answers with why there is no answer.
func missing(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	switch {
	case errors.Is(err, errUnknown), errors.Is(err, history.ErrUnknown):
		status = http.StatusNotFound
	case errors.Is(err, errElsewhere):
		status = http.StatusBadGateway
	}
	if u, ok := errors.AsType[*unknown](err); ok {
		refuse(w, status, err, u.near...)
		return
	}
	refuse(w, status, err)
}

// An unknown is a name that nothing has.
type unknown struct {
	thing, name string
	near        []string // that was perhaps meant
}

func (u *unknown) Error() string { return fmt.Sprintf("there is no %s %q", u.thing, u.name) }
func (u *unknown) Unwrap() error { return errUnknown }

func unknownService(h *history.History, name string) error {
	all := h.Overview().Services
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].Name
	}
	return &unknown{"service", name, admin.Suggest(name, names)}
}

func (c *Console) session(r *http.Request) (any, error) {
	who := whoOf(r)
	return Session{
		Role: who.Role, User: who.Name, Loopback: who.session == "", CSRF: c.doors.token(who), Version: c.Version, Program: c.Program,
	}, nil
}

func (c *Console) service(r *http.Request) (any, error) {
	s, ok := c.History.Service(r.PathValue("name"))
	if !ok {
		return nil, unknownService(c.History, r.PathValue("name"))
	}
	return s, nil
}

func (c *Console) events(r *http.Request) (any, error) {
	query := r.URL.Query()
	since, err := moment(query, "since")
	if err != nil {
		return nil, err
	}
	limit, err := number(query, "limit", 200, 1, maxEvents)
	if err != nil {
		return nil, err
	}
	return map[string][]fleet.Event{"events": list(c.History.Events(since, limit))}, nil
}

// list is a list that is [] in JSON where it is empty.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func (c *Console) series(r *http.Request) (any, error) {
	q, err := c.query(r.URL.Query())
	if err != nil {
		return nil, err
	}
	curves, err := c.History.Series(r.Context(), q)
	return curves, asked(err)
}

func (c *Console) heat(r *http.Request) (any, error) {
	q, err := c.query(r.URL.Query())
	if err != nil {
		return nil, err
	}
	heat, err := c.History.Heat(r.Context(), q)
	return heat, asked(err)
}

// asked is an error of history: the question's fault, or that of whoever else was asked.
func asked(err error) error {
	if err == nil || errors.Is(err, history.ErrQuery) || errors.Is(err, history.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", errElsewhere, err)
}

// query reads what curves are wanted: of the last quarter of an hour by the second, unless it is said otherwise.
func (c *Console) query(values url.Values) (q series.Query, err error) {
	q.Service = values.Get("service")
	outside, err := oneOf(values, "outside", []string{"", "1"})
	if err != nil {
		return q, err
	}
	q.Outside = outside != ""
	by, err := oneOf(values, "by", byTable)
	if err != nil {
		return q, err
	}
	q.By = series.By(by)
	if q.Source, err = oneOf(values, "source", sourceTable); err != nil {
		return q, err
	}
	if q.To, err = unix(values, "to", c.History.Settled()+1); err != nil {
		return q, err
	}
	if q.From, err = unix(values, "from", max(0, q.To-series.Seconds)); err != nil {
		return q, err
	}
	q.Step, err = number(values, "step", 1, 1, 86400)
	return q, err // history checks the rest
}

func (c *Console) episodes(r *http.Request) (any, error) {
	values := r.URL.Query()
	state, err := oneOf(values, "state", stateTable)
	if err != nil {
		return nil, err
	}
	limit, err := number(values, "limit", 200, 1, maxEpisodes)
	if err != nil {
		return nil, err
	}
	q := history.EpisodeQuery{Service: values.Get("service"), Workload: values.Get("workload"), State: state, Limit: limit}
	return map[string][]history.EpisodeRow{"episodes": list(c.History.Episodes(q))}, nil
}

func (c *Console) episode(id string) (release.Episode, error) {
	e, ok := c.History.Episode(id)
	if !ok {
		return e, &unknown{thing: "instance", name: id}
	}
	return e, nil
}

func (c *Console) release(id string) (release.Release, error) {
	r, ok := c.History.Release(id)
	switch {
	case !ok && id == "latest":
		return r, fmt.Errorf("%w release yet", errUnknown)
	case !ok:
		return r, &unknown{thing: "release", name: id}
	}
	return r, nil
}

// plain is a name with nothing in it that a file name or a header field could not have.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name[:min(len(name), maxName)])
}
