package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
)

// A world is a console of a control that runs, with a deployment, a service and a gateway.
type world struct {
	*Console

	t       *testing.T
	drained []string // ids of replicas, with "back" where they were called back
	handler http.Handler
}

// evil is a name as somebody would choose it who wants it to be read as markup.
const evil = `"><img src=x onerror=alert(1)>` + "\u2028</script>"

func newWorld(t *testing.T, a Access) *world {
	t.Helper()
	c := control.New(fleet.View{}, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	h, err := history.New(history.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t}
	w.Console, err = New(nil, Options{
		History: h, Control: c, Program: "up", Version: "test", Access: a,
		Drain: func(_ context.Context, r fleet.Replica, back bool) error {
			id := r.ID
			if back {
				id += " back"
			}
			w.drained = append(w.drained, id)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.handler = w.Handler()
	w.configure("reviews")
	return w
}

// configure has control know a deployment and a service of a name, and history look.
func (w *world) configure(name string) {
	w.t.Helper()
	err := w.Control.Configure(w.t.Context(), &fleet.Desired{
		Digest:    name,
		Workloads: []fleet.Workload{{Namespace: "default", Name: name, Replicas: 1}},
		Services:  []fleet.Service{{Name: name + ":9080", Host: name, Namespace: "default", Port: 9080, Protocol: "http", Pools: make([]fleet.Pool, 1)}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.History.View(w.Control.View())
}

// events are control's, as they are now.
func (w *world) events(kind string) (list []fleet.Event) {
	for _, e := range w.Control.View().Events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// ask sends a request as a browser on this machine would; fields are names and values.
func (w *world) ask(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	return ask(w.handler, method, target, body, fields...)
}

func ask(h http.Handler, method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:15010"
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
			continue
		}
		r.Header.Set(fields[i], fields[i+1])
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder
}

// csrf is what the page would have read.
func (w *world) csrf(fields ...string) string {
	return decoded[Session](w.t, w.ask("GET", "/api/v1/session", "", fields...)).CSRF
}

// act asks for an act as the page would, with what fields add.
func (w *world) act(body string, fields ...string) *httptest.ResponseRecorder {
	return w.ask("POST", "/api/v1/act", body, append([]string{
		"Content-Type", "application/json", "X-Crossfade-CSRF", w.csrf(fields...),
	}, fields...)...)
}

func decoded[T any](t *testing.T, r *httptest.ResponseRecorder) (value T) {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%d %s: %v", r.Code, data, err)
	}
	return value
}

// escaped is evil in a path or a query.
var escaped = url.PathEscape(evil)

// eventBy is an event of somebody of a name, about a thing of that name.
func eventBy(name string) fleet.Event {
	return fleet.Event{Kind: "settings.changed", Endpoint: name, Service: name, Reason: name, By: name}
}

// newRequest is an act of this size as the page would send it.
func newRequest(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "/api/v1/act", strings.NewReader(body))
	r.Host = "127.0.0.1:15010"
	r.Header.Set("Content-Type", "application/json")
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder
}
