package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// ErrUnknown says that there is no workload of that name.
var ErrUnknown = errors.New("no such deployment")

// A WorkloadStatus is how far a workload is, as the API shows it.
type WorkloadStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Replicas  int    `json:"replicas"` // wanted
	Revision  string `json:"revision"`
	Ready     int    `json:"ready"`   // offered to requests, or able to serve where no service selects it
	Updated   int    `json:"updated"` // of the wanted revision
	Total     int    `json:"total"`   // running, those that leave included

	// The longest warm-up that a rolling update does not wait for, and whose it is; see [fleet.Workload.Unawaited].
	MinReady    time.Duration `json:"min_ready_ns"`
	Unawaited   time.Duration `json:"unawaited_ns,omitempty"`
	UnawaitedBy string        `json:"unawaited_by,omitempty"`
}

// Scale asks for a number of replicas. It holds until configuration says something new.
func (c *Control) Scale(ctx context.Context, t Target, replicas int) error {
	if replicas < 0 {
		return fmt.Errorf("scale %s/%s: replicas is %d, it must be 0 or more", t.Namespace, t.Name, replicas)
	}
	if replicas > fleet.MaxReplicas {
		return fmt.Errorf("scale %s/%s: replicas is %d, it must be %d or less", t.Namespace, t.Name, replicas, fleet.MaxReplicas)
	}
	return c.commandWorkload(ctx, t, func(w *world, now time.Time) {
		w.scaled[key(t.Namespace, t.Name)] = replicas
		w.tell(fleet.Event{Kind: "workload.scaled", Endpoint: t.Name, Reason: replicasText(replicas), By: t.who()}, now)
	})
}

func replicasText(n int) string {
	if n == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", n)
}

// Restart asks for every instance of a workload to be replaced.
func (c *Control) Restart(ctx context.Context, t Target) error {
	return c.commandWorkload(ctx, t, func(w *world, now time.Time) {
		w.restarted[key(t.Namespace, t.Name)] = stamp(now)
		w.tell(fleet.Event{Kind: "workload.restarted", Endpoint: t.Name, By: t.who()}, now)
	})
}

func (c *Control) commandWorkload(ctx context.Context, t Target, f func(w *world, now time.Time)) error {
	var err error
	ran := c.command(ctx, func(w *world, now time.Time) {
		var names []string
		for _, l := range w.desired.Workloads {
			if l.Namespace == t.Namespace && l.Name == t.Name {
				f(w, now)
				return
			}
			names = append(names, key(l.Namespace, l.Name))
		}
		err = fmt.Errorf("%s/%s: %w; there are: %s", t.Namespace, t.Name, ErrUnknown, strings.Join(names, ", "))
	})
	return errors.Join(ran, err)
}

// Workloads says how far every workload is.
func (c *Control) Workloads() []WorkloadStatus {
	s := c.View().Snapshot
	list := []WorkloadStatus{}
	for _, l := range s.Workloads {
		status := WorkloadStatus{Namespace: l.Namespace, Name: l.Name, Replicas: l.Replicas, Revision: l.Revision, MinReady: l.MinReady}
		status.Unawaited, status.UnawaitedBy = l.Unawaited(s.Services, s.Lifecycles)
		for i := range s.Instances {
			in := &s.Instances[i]
			if in.Namespace != l.Namespace || in.Workload != l.Name {
				continue
			}
			status.Total++
			if in.Leaving {
				continue
			}
			if in.Revision == l.Revision {
				status.Updated++
			}
			if offered(s, in) {
				status.Ready++
			}
		}
		list = append(list, status)
	}
	return list
}

func offered(s *fleet.Snapshot, in *fleet.Instance) bool {
	selected := false
	for i := range s.Services {
		for j := range s.Services[i].Endpoints {
			if e := &s.Services[i].Endpoints[j]; e.Incarnation == in.Incarnation {
				selected = true
				if !e.Stage.Offered() {
					return false
				}
			}
		}
	}
	return selected || in.Ready
}

// Handler serves the commands: POST /api/v1/scale, /api/v1/restart, /api/v1/upgrade, /api/v1/warmup and
// /api/v1/weight, and GET /api/v1/workloads, /api/v1/gateways and /api/v1/drains.
func (c *Control) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/scale", c.serveScale)
	mux.HandleFunc("POST /api/v1/restart", c.serveRestart)
	mux.HandleFunc("POST /api/v1/upgrade", c.serveUpgrade)
	mux.HandleFunc("POST /api/v1/warmup", c.serveWarmup)
	mux.HandleFunc("POST /api/v1/weight", c.serveWeight)
	mux.HandleFunc("GET /api/v1/workloads", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, c.Workloads()) })
	mux.HandleFunc("GET /api/v1/gateways", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, c.Gateways()) })
	mux.HandleFunc("GET /api/v1/drains", func(rw http.ResponseWriter, _ *http.Request) { answer(rw, c.Drains()) })
	mux.HandleFunc("GET /api/v1/lifecycles", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, append([]fleet.Lifecycle{}, c.View().Lifecycles...))
	})
	return mux
}

// A ref is what a command is about.
type ref struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	By        string `json:"by"` // who asks; "" is somebody
}

func (r *ref) target() Target { return Target{Namespace: r.Namespace, Name: r.Name, By: r.By} }

// complete fills in what need not be said, and fails when something is missing.
func (r *ref) complete() error {
	r.Namespace = cmp.Or(r.Namespace, "default")
	if r.Name == "" {
		return errors.New("name is missing")
	}
	return nil
}

// A kindRef is what a command is about that is for deployments and for gateways.
type kindRef struct {
	ref

	Kind string `json:"kind"` // "deployment", which is the default, or "gateway"
}

func (r *kindRef) gateway() bool { return r.Kind == "gateway" }

func (r *kindRef) complete() error {
	switch r.Kind {
	case "", "deployment":
	case "gateway":
		r.Namespace = cmp.Or(r.Namespace, fleet.GatewayNamespace)
	default:
		return fmt.Errorf("kind is %q, it must be deployment or gateway", r.Kind)
	}
	return r.ref.complete()
}

func (c *Control) serveScale(rw http.ResponseWriter, r *http.Request) {
	var t struct {
		kindRef

		Replicas *int `json:"replicas"`
	}
	switch {
	case !read(rw, r, &t):
	case t.Replicas == nil:
		http.Error(rw, "replicas is missing", http.StatusBadRequest)
	case t.gateway():
		done(rw, c.ScaleGateway(r.Context(), t.target(), *t.Replicas))
	default:
		done(rw, c.Scale(r.Context(), t.target(), *t.Replicas))
	}
}

func (c *Control) serveRestart(rw http.ResponseWriter, r *http.Request) {
	var t struct{ kindRef }
	switch {
	case !read(rw, r, &t):
	case t.gateway():
		done(rw, c.RestartGateway(r.Context(), t.target()))
	default:
		done(rw, c.Restart(r.Context(), t.target()))
	}
}

func (c *Control) serveUpgrade(rw http.ResponseWriter, r *http.Request) {
	var t struct {
		kindRef

		Binary string `json:"binary"`
	}
	t.Kind = "gateway"
	switch {
	case !read(rw, r, &t):
	case !t.gateway():
		http.Error(rw, "only gateways can be upgraded; what a deployment runs stands in its configuration", http.StatusBadRequest)
	default:
		done(rw, c.UpgradeGateway(r.Context(), t.target(), t.Binary))
	}
}

func (c *Control) serveWarmup(rw http.ResponseWriter, r *http.Request) {
	var t struct {
		ref

		Action *warmup.Move `json:"action"`
	}
	switch {
	case !read(rw, r, &t):
	case t.Action == nil:
		http.Error(rw, "action is missing", http.StatusBadRequest)
	default:
		done(rw, c.Move(r.Context(), t.target(), *t.Action))
	}
}

func (c *Control) serveWeight(rw http.ResponseWriter, r *http.Request) {
	var t struct {
		ref

		Factor *float64 `json:"factor"`
	}
	switch {
	case !read(rw, r, &t):
	case t.Factor == nil:
		http.Error(rw, "factor is missing", http.StatusBadRequest)
	default:
		done(rw, c.Weigh(r.Context(), t.target(), *t.Factor))
	}
}

// read reads a command, and answers when it is none.
func read(rw http.ResponseWriter, r *http.Request, into interface{ complete() error }) bool {
	d := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 1<<16))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(rw, "body: "+err.Error(), http.StatusBadRequest)
		return false
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		http.Error(rw, "body: something follows the command; send one at a time", http.StatusBadRequest)
		return false
	}
	if err := into.complete(); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func done(rw http.ResponseWriter, err error) {
	switch {
	case err == nil:
		answer(rw, map[string]string{"status": "accepted"})
	case errors.Is(err, ErrRefused):
		http.Error(rw, err.Error(), http.StatusConflict)
	case errors.Is(err, ErrUnknown), errors.Is(err, ErrNoGateway), errors.Is(err, ErrNoEndpoint):
		http.Error(rw, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrStopped):
		http.Error(rw, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(rw, err.Error(), http.StatusBadRequest)
	}
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := rw.Write(slices.Concat(data, []byte("\n"))); err != nil {
		return // the client is gone; nobody is left to tell
	}
}
