// Package console is the page that an engineer keeps open during a release, and the API behind it: what history keeps, as JSON and
// as server-sent events; what may be changed, and who may change it.
//
// A request passes, in this order: the Host and origin checks of admin's ports; who asks, and which role that gives; for everything
// that changes something, the role operate, a token against forged requests, and bounds on the body. What comes behind trusts that.
package console

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/history"
	"crossfade.dev/internal/release"
)

// Options say what a console shows, and to whom.
type Options struct {
	History  *history.History
	Control  *control.Control
	Drain    Drain
	Settings http.Handler // of /api/v1/documents, /templates and /settings; it may ask for [User]. Nil where there is nothing to edit
	Report   Report       // nil where releases are not written as pages
	Program  string       // who runs this: "up" or "control"
	Version  string
	Access   Access
	Log      *slog.Logger // nil is silent
}

// Drain makes the replica of a gateway leave or, with back, calls it back.
type Drain func(ctx context.Context, replica fleet.Replica, back bool) error

// Report writes a release as a page of its own, with the lives of those that came and went. It needs no script.
type Report func(w io.Writer, r release.Release, lives []release.Episode) error

// A Console serves the page and its API. Use New.
type Console struct {
	Options

	listener net.Listener
	hub      *hub
	doors    *doors
	page     *page
}

// New returns the console that answers at listener, which [Listen] opened. It does nothing until Run.
func New(listener net.Listener, o Options) (*Console, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	page, err := newPage(built)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	doors, err := newDoors(o.Access, o.Log)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &Console{Options: o, listener: listener, hub: newHub(o.History), doors: doors, page: page}, nil
}

// Run serves until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		c.hub.run(ctx)
	}()
	err := (&admin.Server{Listener: c.listener, Handler: c.Handler(), Log: c.Log}).Run(ctx)
	stop()
	<-ticked
	return err
}

// Handler returns everything that the console serves.
func (c *Console) Handler() http.Handler {
	api := http.NewServeMux()
	c.mountReads(api)
	c.mountActs(api)
	if c.Settings != nil {
		for _, path := range []string{"/api/v1/documents", "/api/v1/documents/", "/api/v1/templates", "/api/v1/settings/"} {
			api.Handle(path, c.Settings)
		}
	}
	api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s %s", r.Method, r.URL.Path))
	})
	mux := http.NewServeMux()
	mux.Handle("/api/", c.doors.admit(api))
	c.doors.mount(mux)
	mux.Handle("/", c.doors.entrance(c.page))
	return guarded(c.Access.Hosts, mux)
}
