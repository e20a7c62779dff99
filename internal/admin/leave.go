package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"crossfade.dev/internal/drain"
)

// A Leaver can be taken out of service. Its methods only begin what they say, and may be called by many at a time.
type Leaver interface {
	Leave(reason string)            // after lame duck, once nobody new comes
	LeaveNow(reason string)         // without it
	Fail(reason string)             // fails health checks, tells clients, and serves on
	Stay(ctx context.Context) error // undoes that, while everything is still accepted; else an error that says why not
	Report() *drain.Report          // what it has come to
}

// leaving are the paths of a program that can be taken out of service.
func (a *api) leaving() []Mount {
	if a.Leaver == nil {
		return nil
	}
	return []Mount{
		{"POST /drain_listeners", "stop accepting, and serve what is open; ?graceful: first tell balancers and clients; the process stays", http.HandlerFunc(a.drainListeners)},
		{"POST /healthcheck/fail", "fail health checks and tell clients to go elsewhere, but serve on", http.HandlerFunc(a.healthcheckFail)},
		{"POST /healthcheck/ok", "undo that, unless something has stopped accepting", http.HandlerFunc(a.healthcheckOK)},
		{"GET /api/v1/drain", "what the leave has come to, as JSON", http.HandlerFunc(a.apiDrain)},
	}
}

// drainListeners takes Envoy's parameters. Its skip_exit says what is so anyway: that the process stays.
func (a *api) drainListeners(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	err := checkParameters(query, "graceful", "skip_exit")
	graceful, err2 := given(query, "graceful")
	_, err3 := given(query, "skip_exit")
	for _, err := range []error{err, err2, err3} {
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
	}
	if graceful {
		a.Leaver.Leave("POST /drain_listeners?graceful")
	} else {
		a.Leaver.LeaveNow("POST /drain_listeners")
	}
	writeText(w, "OK\n")
}

// given reads a parameter that says yes by being there.
func given(query url.Values, name string) (bool, error) {
	text := query.Get(name)
	if !query.Has(name) || text == "" {
		return query.Has(name), nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s=%q is neither true nor false", name, text)
	}
	return on, nil
}

func (a *api) healthcheckFail(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query()); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	a.Leaver.Fail("POST /healthcheck/fail")
	writeText(w, "OK\n")
}

func (a *api) healthcheckOK(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query()); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if err := a.Leaver.Stay(r.Context()); err != nil {
		refuse(w, http.StatusConflict, err)
		return
	}
	writeText(w, "OK\n")
}

func (a *api) apiDrain(w http.ResponseWriter, r *http.Request) {
	if err := checkParameters(r.URL.Query()); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, a.Leaver.Report())
}

// leaveMetrics are those of a program's leave, and of the leaves of those that it runs.
type leaveMetrics struct{ stage, seconds, open, requests, leaves, conns *prometheus.Desc }

func newLeaveMetrics(desc func(name, help string, labels ...string) *prometheus.Desc) leaveMetrics {
	return leaveMetrics{
		stage:    desc("drain_stage", "How far the program is on its way out: 0 serving, 1 lame duck, 2 draining, 3 forced, 4 closed."),
		seconds:  desc("drain_seconds", "Time that the leave has spent in a stage.", "stage"),
		open:     desc("drain_requests_open", "Requests that are open.", "protocol"),
		requests: desc("drain_requests_total", "What became of requests after a leave had begun.", "protocol", "kind"),
		leaves:   desc("leaves_total", "Replicas that ended: clean, with requests that they cut, or killed.", "outcome"),
		conns:    desc("drain_connections", "Clients' connections that are open."),
	}
}

// collect sends also what is zero: that a counter rises is seen only if what it rose from was.
func (m *leaveMetrics) collect(out exposition, w *World) {
	if w.Drain == nil && w.Leaves == nil {
		return
	}
	r, over := cmp.Or(w.Drain, new(drain.Report)), cmp.Or(w.Leaves, new(Leaves))
	if w.Drain != nil { // else nobody is there who could leave
		out.gauge(m.stage, float64(r.Stage))
	}
	out.gauge(m.conns, float64(w.Conns))
	for stage, seconds := range r.Seconds {
		out.gauge(m.seconds, seconds, stage.String())
	}
	for protocol := range drain.Protocol(drain.Protocols) {
		c, past := r.Protocols[protocol].Leave, over.Requests[protocol]
		addCount(&c, &past)
		out.gauge(m.open, float64(c.Open), protocol.String())
		for kind, n := range map[string]uint64{"completed": c.Completed, "failed": c.Failed, "told": c.Told, "cut": c.Cut} {
			out.number(m.requests, prometheus.CounterValue, float64(n), protocol.String(), kind)
		}
	}
	if w.Leaves != nil {
		for _, how := range outcomeTable {
			out.number(m.leaves, prometheus.CounterValue, float64(over.Ended[how]), string(how))
		}
	}
}
