package settings

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/config"
	"crossfade.dev/internal/curve"
	"crossfade.dev/internal/fleet"
)

// quadratic is the aggression of a share that is the square of progress.
const quadratic = 0.5

// A Start is how the instances of an application come up, as a form has it.
type Start struct {
	Enabled        bool    `json:"enabled"`
	DelayS         float64 `json:"delay_s"`
	WarmupS        float64 `json:"warmup_s"`   // 0 is none
	Curve          string  `json:"curve"`      // "quadratic", "linear" or "power"
	Aggression     float64 `json:"aggression"` // share = progress^(1/aggression); read with "power" only
	MinimumPercent float64 `json:"minimum_percent"`
	Readiness      string  `json:"readiness"` // "registered" or "warm"
}

// Paths of a Start's fields in a Lifecycle.
var startPathTable = []struct {
	input string
	path  []string
	label string // that goes before it
}{
	{"enabled", []string{"spec", "enabled"}, fleet.LosslessEnable},
	{"delay_s", []string{"spec", "registration", "delay"}, fleet.LosslessDelay},
	{"warmup_s", []string{"spec", "warmup", "duration"}, fleet.LosslessWarmup},
	{"curve", []string{"spec", "warmup", "curve"}, ""},
	{"aggression", []string{"spec", "warmup", "aggression"}, ""},
	{"minimum_percent", []string{"spec", "warmup", "minimumPercent"}, ""},
	{"readiness", []string{"spec", "readiness"}, ""},
}

// A From is where a value of a form comes from.
type From struct {
	From  string `json:"from"` // "default", "lifecycle", "label", "gateway" or "none"
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`
	Text  string `json:"text,omitempty"`
	Fixed bool   `json:"fixed,omitempty"` // the form cannot change it
}

// A Target is what a form would write by default.
type Target struct {
	File   string `json:"file"`
	Name   string `json:"name"` // of the object
	New    bool   `json:"new"`
	Source string `json:"source"`
}

// A StartForm is the form of an application's graceful start.
type StartForm struct {
	Workload string          `json:"workload"` // "default/reviews-v2"
	Kind     string          `json:"kind"`     // "deployment", or "agent" of one that only its agents know
	Values   Start           `json:"values"`
	From     map[string]From `json:"from"`     // by field of values
	Document *Document       `json:"document"` // the Lifecycle that holds for it; nil: none
	Shared   []string        `json:"shared"`   // other workloads that it holds for
	Scope    string          `json:"scope"`    // "own" or "document": what is changed when nobody says
	Target   Target          `json:"target"`
	Digest   string          `json:"digest"`
	Probe    *Probe          `json:"probe"`
	Notes    []string        `json:"notes"`
	Instead  []string        `json:"instead"` // warm-ups of DestinationRules, by service: where there is one, it goes before the form's
	Writable bool            `json:"writable"`
	Why      string          `json:"why,omitempty"`
	Limits   StartLimits     `json:"limits"`
}

// StartLimits bound the values of a Start.
type StartLimits struct {
	TimeS           float64 `json:"time_s"`
	AggressionLeast float64 `json:"aggression_least"`
	AggressionMost  float64 `json:"aggression_most"`
}

// A StartRow is one application in the list of those that have a StartForm.
type StartRow struct {
	Workload string  `json:"workload"`
	Kind     string  `json:"kind"`
	Enabled  bool    `json:"enabled"`
	WarmupS  float64 `json:"warmup_s"`
}

// Scopes of a change of graceful start.
const (
	ownScope      = "own"      // a Lifecycle for this workload alone
	documentScope = "document" // the one that holds, for all that it holds for
)

// A startState is what there is to know of a workload's start.
type startState struct {
	workload *workload
	held     fleet.Lifecycle
	holds    bool
	document *document // of held; nil where it is no document by itself
	deployed *document // the Deployment's
	shared   []string
	written  Start // as the Lifecycle says, or the defaults
	names    map[string]bool
}

// startOf returns what there is to know of a workload's start.
func (e *Editor) startOf(s *shelf, d *fleet.Desired, key string) (*startState, error) {
	people := e.workloads(d)
	i := slices.IndexFunc(people, func(w workload) bool { return w.key() == key })
	if i < 0 {
		return nil, fmt.Errorf("workload %q: %w", key, ErrUnknown)
	}
	st := newStart(&people[i], d)
	st.deployed, st.names = s.of("Deployment", key), map[string]bool{}
	for j := range d.Lifecycles {
		if l := &d.Lifecycles[j]; l.Namespace == st.workload.namespace {
			st.names[l.Name] = true
		}
	}
	if !st.holds {
		return st, nil
	}
	if own := lifecycleKey(&st.held); st.held.Origin.File != "" {
		st.document = s.of("Lifecycle", own)
	} else if doc, err := s.find("etcd.Lifecycle." + strings.Replace(own, "/", ".", 1)); err == nil {
		st.document = doc
	}
	for j := range people {
		if l, ok := people[j].held(d.Lifecycles); ok && j != i && lifecycleKey(&l) == lifecycleKey(&st.held) {
			st.shared = append(st.shared, people[j].key())
		}
	}
	return st, nil
}

// newStart is what configuration says of a workload's start.
func newStart(w *workload, d *fleet.Desired) *startState {
	st := &startState{workload: w}
	if st.held, st.holds = w.held(d.Lifecycles); st.holds {
		st.written = startOfLife(st.held)
	} else {
		st.written = startOfLife(fleet.DefaultLifecycle())
		st.written.Enabled = false
	}
	return st
}

// startOfLife is a Lifecycle as a form has it.
func startOfLife(l fleet.Lifecycle) Start {
	v := Start{
		Enabled: !l.Off, DelayS: inSeconds(l.Delay), WarmupS: inSeconds(l.Warmup.Window), Curve: "power",
		Aggression: cmp.Or(l.Warmup.Aggression, 1), MinimumPercent: percent(l.Warmup.Minimum), Readiness: ready(&l),
	}
	switch v.Aggression {
	case quadratic:
		v.Curve = "quadratic"
	case 1:
		v.Curve = "linear"
	}
	return v
}

// percent writes a fraction as people do: 0.07 is 7, not 7.000000000000001.
func percent(fraction float64) float64 {
	const digits = 1e9
	return math.Round(fraction*100*digits) / digits
}

// labelled returns the fields that labels of the instances say, and go before any Lifecycle.
func (st *startState) labelled() map[string]bool {
	fixed := map[string]bool{}
	for _, f := range startPathTable {
		if _, says := st.workload.labels[f.label]; says && f.label != "" {
			fixed[f.input] = true
		}
	}
	return fixed
}

// values are what holds for the workload: its Lifecycle with its labels before it.
func (st *startState) values() Start {
	v := st.written
	l := fleet.DefaultLifecycle()
	l.Delay, l.Warmup.Window = st.held.Delay, seconds(v.WarmupS)
	if l, err := l.For(withoutSwitch(st.workload.labels)); err == nil {
		v.DelayS, v.WarmupS = inSeconds(l.Delay), inSeconds(l.Warmup.Window)
	}
	if on := st.workload.labels[fleet.LosslessEnable]; on != "" {
		v.Enabled = on == "true"
	}
	return v
}

// withoutSwitch is labels without the one that switches graceful start off, and what the others say with it.
func withoutSwitch(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	delete(labels, fleet.LosslessEnable)
	return labels
}

// seconds is a form's number of seconds, to the thousandth.
func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s*1000)) * time.Millisecond
}

// inSeconds is a duration as a form has it: the number that reads best, and that seconds makes the same of.
func inSeconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// scope is what is changed when nobody says.
func (st *startState) scope() string {
	if len(st.shared) > 0 {
		return ownScope
	}
	return documentScope
}

// StartForm returns the form of a workload, NAMESPACE/NAME. An error wraps ErrUnknown where there is none.
func (e *Editor) StartForm(ctx context.Context, key string) (*StartForm, error) {
	s, d, err := e.everything(ctx)
	if err != nil {
		return nil, err
	}
	st, err := e.startOf(s, d, key)
	if err != nil {
		return nil, err
	}
	form := &StartForm{
		Workload: key, Kind: st.workload.kind(), Values: st.values(), From: st.from(d), Shared: append([]string{}, st.shared...), Scope: st.scope(),
		Probe: st.probe(), Notes: st.notes(d), Instead: append([]string{}, policyWarmups(d, st.workload)...), Writable: true,
		Limits: StartLimits{fleet.MaxLifecycleTime.Seconds(), curve.Flattest, curve.Steepest},
	}
	if st.document != nil {
		form.Document, form.Digest = &st.document.Document, st.document.Digest
	}
	p, err := e.startDraft(st, form.Scope)
	switch {
	case err != nil:
		form.Writable, form.Why = false, strings.TrimSuffix(err.Error(), ": "+ErrRequest.Error())
	case e.whyNot(&p) != "":
		form.Writable, form.Why = false, e.whyNot(&p)
	}
	form.Target = Target{File: p.file, Name: scalarOf(p.text, "metadata", "name"), New: p.was == nil, Source: p.source}
	return form, nil
}

// StartRows lists the applications that there are.
func (e *Editor) StartRows(ctx context.Context) ([]StartRow, error) {
	_, d, err := e.everything(ctx)
	if err != nil {
		return nil, err
	}
	rows := []StartRow{}
	for _, w := range e.workloads(d) {
		v := newStart(&w, d).values()
		rows = append(rows, StartRow{w.key(), w.kind(), v.Enabled, v.WarmupS})
	}
	return rows, nil
}

// everything reads all documents, and what they come to; an error where they have errors.
func (e *Editor) everything(ctx context.Context) (*shelf, *fleet.Desired, error) {
	s := e.shelf(ctx)
	d, err := e.desired(s)
	return s, d, err
}

// desired is what all documents come to. Where they have errors, it is a *refusal; without the store nobody can say.
func (e *Editor) desired(s *shelf) (*fleet.Desired, error) {
	if s.away != nil {
		return nil, s.away
	}
	d, findings := e.asItIs(s)
	if d != nil {
		return d, nil
	}
	wrong := &refusal{why: "the configuration has errors, so that nobody can say what holds; mend them first"}
	for _, f := range findings {
		if f.Severity == config.Error {
			wrong.findings = append(wrong.findings, e.finding(f, nil))
		}
	}
	return nil, wrong
}
