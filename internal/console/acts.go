package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/control"
	"crossfade.dev/internal/fleet"
	"crossfade.dev/internal/warmup"
)

// An Act is what somebody asks for.
type Act struct {
	Action    string   `json:"action"`
	Kind      string   `json:"kind"` // of what: "deployment", "gateway" or "endpoint"
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`            // of the deployment, the gateway, or the endpoint; to drain and undrain, of a gateway's replica
	Value     *float64 `json:"value,omitempty"` // scale: how many; weight: the factor
}

func (c *Console) mountActs(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/v1/act", func(w http.ResponseWriter, r *http.Request) {
		var a Act
		if err := decode(r.Body, &a); err != nil {
			tooMuch, _ := errors.AsType[*http.MaxBytesError](err)
			status := http.StatusBadRequest
			if tooMuch != nil {
				status = http.StatusRequestEntityTooLarge
			}
			refuse(w, status, err)
			return
		}
		if err := c.act(r.Context(), &a, User(r)); err != nil {
			refuse(w, actStatus(err), err, c.meant(&a, err)...)
			return
		}
		c.Log.InfoContext(r.Context(), "console: act", "action", a.Action, "kind", a.Kind, "namespace", a.Namespace, "name", a.Name, "by", User(r))
		reply(w, http.StatusOK, map[string]string{"status": "accepted"})
	})
}

// decode reads one JSON value whose fields are all known.
func decode(from io.Reader, into any) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("body: something follows the value")
	}
	return nil
}

// errAct says that there is no such act.
var errAct = errors.New("there is no such act")

// moveTable is what can be done to a warm-up.
var moveTable = map[string]warmup.Move{
	"warmup.skip": warmup.Skip, "warmup.pause": warmup.Pause, "warmup.resume": warmup.Resume, "warmup.restart": warmup.Restart,
}

// act does what somebody asks for. Whoever does it writes the event.
func (c *Console) act(ctx context.Context, a *Act, by string) error {
	if err := a.check(); err != nil {
		return err
	}
	of := control.Target{Namespace: a.Namespace, Name: a.Name, By: by}
	if move, is := moveTable[a.Action]; is && a.Kind == "endpoint" {
		return c.Control.Move(ctx, of, move)
	}
	switch a.Action + " " + a.Kind {
	case "weight endpoint":
		return c.Control.Weigh(ctx, of, *a.Value)
	case "scale deployment":
		return scale(ctx, of, *a.Value, c.Control.Scale)
	case "scale gateway":
		return scale(ctx, of, *a.Value, c.Control.ScaleGateway)
	case "restart deployment":
		return c.Control.Restart(ctx, of)
	case "restart gateway":
		return c.Control.RestartGateway(ctx, of)
	case "drain gateway", "undrain gateway":
		return c.drain(ctx, of, a.Action == "undrain")
	}
	return fmt.Errorf("%q of a %q: %w; see docs/guides/console.md", a.Action, a.Kind, errAct)
}

// check says what is wrong with an act, whatever it is.
func (a *Act) check() error {
	if a.Namespace == "" || a.Name == "" || len(a.Namespace) > maxName || len(a.Name) > maxName {
		return fmt.Errorf("%s: namespace and name have 1 to %d bytes", a.Action, maxName)
	}
	if valued := a.Action == "scale" || a.Action == "weight"; valued != (a.Value != nil) {
		return fmt.Errorf("%s: value is for scale and weight, and they need it", a.Action)
	}
	return nil
}

// scale asks for a number of replicas, which must be one.
func scale(ctx context.Context, of control.Target, value float64, ask func(context.Context, control.Target, int) error) error {
	if value != math.Trunc(value) || math.Abs(value) > fleet.MaxReplicas {
		return fmt.Errorf("replicas is %v: want a whole number, %d at most", value, fleet.MaxReplicas)
	}
	return ask(ctx, of, int(value))
}

// drain makes a gateway's replica leave, or calls it back. What it says then, it says itself; that somebody asked is an event of ours.
func (c *Console) drain(ctx context.Context, of control.Target, back bool) error {
	replicas := c.Control.View().Replicas
	i := slices.IndexFunc(replicas, func(r fleet.Replica) bool { return r.Namespace == of.Namespace && r.ID == of.Name })
	if i < 0 {
		return fmt.Errorf("%s/%s: %w", of.Namespace, of.Name, control.ErrNoGateway)
	}
	if err := c.Drain(ctx, replicas[i], back); err != nil {
		return fmt.Errorf("%s: %w", of.Name, err)
	}
	kind := "gateway.drain.asked"
	if back {
		kind = "gateway.undrain.asked"
	}
	return c.Control.Tell(ctx, fleet.Event{Kind: kind, Endpoint: of.Name, By: of.By})
}

// actStatus is the status of an act that was not done.
func actStatus(err error) int {
	switch {
	case errors.Is(err, control.ErrRefused):
		return http.StatusConflict
	case errors.Is(err, control.ErrUnknown), errors.Is(err, control.ErrNoGateway), errors.Is(err, control.ErrNoEndpoint):
		return http.StatusNotFound
	case errors.Is(err, control.ErrStopped):
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// meant are names that an act was perhaps to have, where there is nobody of the name that it has.
func (c *Console) meant(a *Act, err error) []string {
	if actStatus(err) != http.StatusNotFound {
		return nil
	}
	s := c.Control.View().Snapshot
	var names []string
	switch {
	case a.Action == "drain" || a.Action == "undrain":
		for i := range s.Replicas {
			names = append(names, s.Replicas[i].ID)
		}
	case a.Kind == "gateway":
		for _, g := range fleet.OrDefault(s.Groups) {
			names = append(names, g.Name)
		}
	case a.Kind == "deployment":
		for i := range s.Workloads {
			names = append(names, s.Workloads[i].Name)
		}
	default:
		for i := range s.Services {
			for j := range s.Services[i].Endpoints {
				names = append(names, s.Services[i].Endpoints[j].Name)
			}
		}
	}
	return admin.Suggest(a.Name, names)
}
