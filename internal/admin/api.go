package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"crossfade.dev/internal/fleet"
)

// writeJSON writes body, indented for the people who read it with curl.
func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := newEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the client left: there is nobody to tell
}

func newEncoder(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // it is never shown as HTML; see Guard
	return encoder
}

// refuse answers with a Problem.
func refuse(w http.ResponseWriter, status int, err error, suggestions ...string) {
	writeJSON(w, status, Problem{Error: err.Error(), Suggestions: suggestions})
}

// unknown answers that there is no thing of that name, with those that were perhaps meant, else with those there are.
func unknown(w http.ResponseWriter, thing, name string, names []string) {
	near := Suggest(name, names)
	err := fmt.Errorf("no %s %q", thing, name)
	if len(near) == 0 {
		err = fmt.Errorf("%w; %s", err, thereAre(names))
	}
	refuse(w, http.StatusNotFound, err, near...)
}

// checkParameters refuses parameters that a path does not know: what has no effect must not look as if it had.
func checkParameters(values url.Values, known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("parameter %q is not known; there are %q", name, known)
		}
	}
	return nil
}

func (a *api) apiServices(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	world := a.world()
	name, ok := a.named(w, world, query, "service", "watch")
	if !ok {
		return
	}
	if query.Get("watch") != "" {
		watch(a, w, r, stream[ServiceStatus]{
			list: func(world World) []ServiceStatus { return world.services(name) },
			key:  func(s ServiceStatus) string { return s.Name },
			sign: func(s ServiceStatus) any {
				s.Pools = slices.Clone(s.Pools)
				for i := range s.Pools {
					s.Pools[i].Traffic = nil
				}
				return s
			},
			gone: func(s ServiceStatus) ServiceStatus { s.Removed = true; return s },
		})
		return
	}
	writeJSON(w, http.StatusOK, ServiceList{Snapshot: world.View.Number, Rejected: world.rejection(), Services: world.services(name)})
}

func (a *api) apiEndpoints(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	world := a.world()
	name, ok := a.named(w, world, query, "service", "subset", "watch")
	if !ok {
		return
	}
	subset := query.Get("subset")
	if subset != "" && !slices.ContainsFunc(world.poolsOf(name), func(p Pool) bool { return p.Pool.Subset == subset }) {
		unknown(w, "subset", subset, world.subsets(name))
		return
	}
	if query.Get("watch") != "" {
		watch(a, w, r, stream[EndpointStatus]{
			list: func(world World) []EndpointStatus { return world.endpoints(name, subset, time.Now()) },
			key:  func(e EndpointStatus) string { return e.Service + "\x00" + e.Incarnation },
			sign: signEndpoint,
			gone: func(e EndpointStatus) EndpointStatus { e.Removed = true; return e },
		})
		return
	}
	writeJSON(w, http.StatusOK, EndpointList{Snapshot: world.View.Number, Endpoints: world.endpoints(name, subset, time.Now())})
}

// signEndpoint keeps what makes an endpoint worth showing again: not its age, not its counts, and its share only
// to a hundredth.
func signEndpoint(e EndpointStatus) any {
	e.Age, e.Traffic, e.Load = 0, nil, nil
	if e.Ramp != nil {
		hundredth := func(f float64) float64 { return float64(int(f*100+0.5)) / 100 }
		e.Ramp = &Ramp{Share: hundredth(e.Ramp.Share), Fraction: hundredth(e.Ramp.Fraction), Level: e.Ramp.Level, Part: hundredth(e.Ramp.Part), Reason: e.Ramp.Reason}
	}
	return e
}

func (a *api) apiEvents(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	err := checkParameters(query, "since", "watch")
	var since time.Time
	if err == nil {
		since, err = ParseSince(query.Get("since"), time.Now())
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	list := func(world World) []fleet.Event {
		events := []fleet.Event{}
		for _, e := range world.View.Events {
			if e.Time.After(since) {
				events = append(events, e)
			}
		}
		return events
	}
	if query.Get("watch") != "" {
		watch(a, w, r, stream[fleet.Event]{
			list: list,
			key:  func(e fleet.Event) string { return fingerprint(e) },
		})
		return
	}
	world := a.world()
	writeJSON(w, http.StatusOK, EventList{Snapshot: world.View.Number, Events: list(world)})
}

// ParseSince reads a moment, or how long ago it was; the empty text is the beginning.
func ParseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	since, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("since %q is neither a time like 2026-01-02T15:04:05Z nor a duration like 5m", text)
	}
	return since, nil
}

func (a *api) apiExplain(w http.ResponseWriter, r *http.Request) {
	world := a.world()
	name, ok := a.named(w, world, r.URL.Query(), "service")
	if ok {
		writeJSON(w, http.StatusOK, world.explain(name, time.Now()))
	}
}

// named returns the service that the query asks for. When it asks for what does not exist, named answers the
// request itself and returns false.
func (a *api) named(w http.ResponseWriter, world World, query url.Values, known ...string) (string, bool) {
	if err := checkParameters(query, known...); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return "", false
	}
	name := query.Get("service")
	if name != "" && len(world.find(name)) == 0 {
		unknown(w, "service", name, world.serviceNames())
		return "", false
	}
	return name, true
}

// serviceNames returns every name that find knows, without the longer forms of a host.
func (w World) serviceNames() []string {
	var names []string
	for _, s := range w.View.Services {
		names = append(names, s.Name, s.Host)
	}
	return names
}

func (w World) subsets(name string) []string {
	var subsets []string
	for _, p := range w.poolsOf(name) {
		subsets = append(subsets, p.Pool.Subset)
	}
	return subsets
}
